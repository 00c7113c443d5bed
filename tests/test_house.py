"""The house keeps its rules: layers, purity, what the simulator needs, size, words.

Every rule is also shown to catch a planted violation, and to leave alone what looks like one.
"""

from pathlib import Path
from typing import Final

import pytest

from tests import house

ROOT: Final = Path(__file__).resolve().parent.parent
TEXTS: Final = (".py", ".md", ".toml", ".yml", ".yaml", ".json", ".html", ".js", ".css", ".txt", ".cfg", ".lock")

SILENT: Final = frozenset(
    (
        # Names of asyncio, logging, click and kademlia, explained there.
        "connection_made", "connection_lost", "datagram_received", "error_received", "data_received", "eof_received",
        "pause_writing", "resume_writing", "formatMessage", "emit", "get_command", "list_commands",
        # Explained where they are declared, once for all that implement them.
        *(
            f"{implementation}.{name}"
            for implementation, path, declaration in (
                ("Peer", "node/service.py", "PeerService"),
                ("SqliteRecordStore", "node/ports.py", "RecordStore"),
                ("AvailableRules", "protocol/election/rules.py", "Rules"),
                ("QuorumRules", "protocol/election/rules.py", "Rules"),
            )
            for name in house.methods_of((ROOT / path).read_text(), declaration)
        ),
    )
)  # fmt: skip
"""The only exceptions from docstrings beside those of ``house.without_docstring``."""


def modules_of(*folders: str) -> list[Path]:
    """Return all modules below these folders, in a fixed order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def dotted_name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def report(complaints: dict[str, list[str]]) -> str:
    """Return one line for each complaint, as editors like to jump to."""
    return "\n".join(f"{name}:{complaint}" for name, found in complaints.items() for complaint in found)


def test_imports_point_one_way() -> None:
    """protocol ← bootstrap ← node ← simulations ← benchmarks ← tests (DESIGN section 3)."""
    found = {
        name_of(path): house.wrong_imports(path.read_text(), module=dotted_name_of(path))
        for path in modules_of(*house.LAYERS)
    }

    assert report(found) == ""


def test_protocol_is_pure() -> None:
    """No I/O, clock, entropy, waiting, and no iteration over sets (DESIGN section 3)."""
    paths = modules_of("protocol")
    sets = frozenset[str]().union(*(house.attributes_of_sets(path.read_text()) for path in paths))
    found = {
        name_of(path): house.impurities(path.read_text(), module=dotted_name_of(path), set_attributes=sets)
        for path in paths
    }

    assert report(found) == ""


def test_what_is_simulated_does_not_escape_the_simulator() -> None:
    """Time, entropy, loops, signals and threads of ``bootstrap/`` and ``node/`` can be replaced from outside."""
    found = {
        name_of(path): house.escapes(path.read_text(), path=name_of(path)) for path in modules_of("bootstrap", "node")
    }

    assert report(found) == ""


def test_files_and_functions_fit() -> None:
    """A file has one subject, a function fits a screen."""
    found = {name_of(path): house.too_long(path.read_text()) for path in modules_of(*house.SHIPPED)}

    assert report(found) == ""


def test_everything_public_says_what_it_is() -> None:
    """Each public module, class and function has a docstring."""
    found = {
        name_of(path): house.without_docstring(path.read_text(), allowed=SILENT)
        for path in modules_of(*house.SHIPPED)
    }

    assert report(found) == ""


def test_no_text_names_a_folder_of_its_author() -> None:
    """What is written here is true on every machine."""
    folders = [ROOT / name for name in (*house.LAYERS, "docs", ".ci") if (ROOT / name).exists()]
    paths = [path for folder in folders for path in folder.rglob("*")] + list(ROOT.iterdir())
    texts = sorted(path for path in paths if path.is_file() and (path.suffix in TEXTS or path.parent.name == ".ci"))
    found = {name_of(path): house.absolute_paths(path.read_text(errors="replace"), root=ROOT) for path in texts}

    assert report(found) == ""


@pytest.mark.parametrize(
    "source",
    [
        "import node.peer",
        "from node import peer",
        "from tests.waiting import until",
        "def f():\n    from simulations import clock",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from node.peer import Peer",
        "import importlib\nimportlib.import_module('node.peer')",
    ],
)
def test_an_import_against_the_layers_is_seen(source: str) -> None:
    """Wherever in the module it hides."""
    assert len(house.wrong_imports(source, module="bootstrap.module")) == 1


def test_relative_imports_count_as_what_they_mean() -> None:
    """``from ..`` can leave a package."""
    assert house.wrong_imports("from ...node import peer", module="bootstrap.inner.module")
    assert not house.wrong_imports("from . import seeds\nfrom protocol import ids", module="bootstrap.module")


@pytest.mark.parametrize(
    "line",
    [
        "import asyncio",
        "import socket",
        "import os",
        "import time",
        "import logging",
        "import secrets",
        "import uuid",
        "from datetime import datetime",
        "from random import random",
        "import random\nrandom.random()",
        "import random\nrandom.Random(7)",
        "Ed25519PrivateKey.generate()",
        "async def f():\n    pass",
        "async def f():\n    await g()",
        "print('x')",
        "open('x')",
        "key = hash(peer)",
        "order = id(peer)",
        "def f():\n    global count\n    count = 1",
    ],
)
def test_an_impurity_is_seen(line: str) -> None:
    """Each thing that ``protocol/`` may not do, alone."""
    assert house.impurities(line)


@pytest.mark.parametrize(
    "line",
    [
        "for x in {1, 2}: f(x)",
        "for x in set(y): f(x)",
        "ids = frozenset(y)\nfor x in ids: f(x)",
        "def f(ids: frozenset[bytes]):\n    return [x for x in ids]",
        "class A:\n    seen: set[int]\n    def f(self):\n        return tuple(self.seen)",
        "def __init__(self):\n    self.seen: set[int] = set()\ndef f(self):\n    return list(self.seen)",
        "def ids() -> set[int]: ...\nfor x in ids(): f(x)",
        "for x in a.keys() & b.keys(): f(x)",
        "for x in a.keys() - b: f(x)",
        "y = [*{1, 2}]",
        "y = {x: 1 for x in set(z)}",
        "y = dict.fromkeys(set(z))",
        "y = next(iter(set(z)))",
        "seen: set[int] = set()\nx = seen.pop()",
        "x = random.choice(list(set(y)))",
        "x = min(set(y), key=f)",
        "for x in first.union(second): f(x)",
        "x = b''.join({b'a', b'b'})",
        "x = tuple(f(y) for y in {1, 2})",
    ],
)
def test_going_through_a_set_is_seen(line: str) -> None:
    """The order of a set differs from run to run, so it must never reach an effect."""
    assert house.set_iterations(line)


@pytest.mark.parametrize(
    "line",
    [
        "for x in sorted({1, 2}): f(x)",
        "x = sorted(y for y in {1, 2})",
        "x = len(set(y))",
        "x = 3 in {1, 2}",
        "x = any(f(y) for y in set(z))",
        "x = {f(y) for y in z}",
        "x = {f(y) for y in set(z)}",
        "x = set(a) & set(b)",
        "x = min(set(y))",
        "for x in [1, 2]: f(x)",
        "for x in mapping.items(): f(x)",
        "x = mapping.pop(key)",
        "import random\ndef f(source: random.Random): return source.choice([1, 2])",
        "def f(x):\n    ids = set(x)\ndef g(ids: tuple[int, ...]):\n    return list(ids)",
    ],
)
def test_what_does_not_depend_on_the_order_of_a_set_is_let_pass(line: str) -> None:
    """A rule that cries wolf would be switched off."""
    assert house.impurities(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "from time import monotonic",
        "from random import Random",
        "from os import urandom",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import UTC, datetime\ndatetime.now(UTC)",
        "from datetime import datetime\ndatetime.utcnow()",
        "import random\nrandom.Random()",
        "import random\nrandom.SystemRandom()",
        "import random\nrandom.choice([1])",
        "import asyncio\nasyncio.run(f())",
        "import asyncio\nasyncio.Runner()",
        "import asyncio\nasyncio.to_thread(f)",
        "import uvloop\nuvloop.install()",
        "import signal",
        "from threading import Thread",
        "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor()",
        "import pickle",
        "loop.add_signal_handler(2, f)",
    ],
)
def test_an_escape_from_the_simulator_is_seen(line: str) -> None:
    """Each thing that ``bootstrap/`` and ``node/`` may not do, alone."""
    assert house.escapes(line, path="node/peer.py")


def test_only_the_entrances_of_a_process_make_loops_and_handle_signals() -> None:
    """The program of a peer and the command line do; what they may not do either stays forbidden."""
    loops = "import asyncio, signal\nasyncio.run(f())\nasyncio.Runner()\nloop.add_signal_handler(2, f)"

    assert house.escapes(loops, path="node/main.py") == []
    assert house.escapes(loops, path="node/cli/up.py") == []
    assert len(house.escapes(loops, path="node/driver.py")) == 4
    assert house.escapes("import pickle", path="node/main.py")


def test_seeded_draws_and_named_moments_are_let_pass() -> None:
    """The rules forbid what nobody can repeat, not randomness and dates."""
    source = "import datetime, os, random\nrandom.Random(os.urandom(16))\ndatetime.datetime.fromtimestamp(0)"

    assert house.escapes(source, path="node/peer.py") == []


def test_a_file_and_a_function_that_are_too_long_are_seen() -> None:
    """One line more than allowed is too long; as many as allowed is not."""
    function = "def f():\n" + "    pass\n" * house.FUNCTION_LINES_MAX
    assert len(house.too_long(function)) == 1
    assert house.too_long("def f():\n" + "    pass\n" * (house.FUNCTION_LINES_MAX - 1)) == []
    assert len(house.too_long("x = 1\n" * (house.FILE_LINES_MAX + 1))) == 1
    assert house.too_long("x = 1\n" * house.FILE_LINES_MAX) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        '"""Module."""\nclass A: pass',
        '"""Module."""\ndef f(): pass',
        '"""Module."""\nasync def f(): pass',
        '"""Module."""\nclass A:\n    """A."""\n    def f(self): pass',
    ],
)
def test_a_missing_docstring_is_seen(source: str) -> None:
    """Of the module, a class, a function, a coroutine, a method."""
    assert len(house.without_docstring(source)) == 1


def test_what_needs_no_docstring_is_let_pass() -> None:
    """Private and special names, nested functions, declarations, methods of a library, empty packages."""
    source = (
        '"""Module."""\ndef _f(): pass\nclass A:\n    """A."""\n    def __init__(self): pass\n    def f(self): ...\n'
        "    def emit(self): pass\n    @x.setter\n    def x(self, x): pass\nclass _B:\n    def f(self): pass\n"
    )
    assert house.without_docstring(source, allowed=frozenset(["emit"])) == []
    assert house.without_docstring(source, allowed=frozenset(["A.emit"])) == []
    assert house.without_docstring(source, allowed=frozenset(["B.emit"]))
    assert house.without_docstring("") == []


def test_a_path_of_the_author_is_seen() -> None:
    """Homes of people, and the folder that holds this very copy."""
    root = Path("/a/place/of/mine")
    home = "/" + "home/somebody/notes"  # in two parts: this file is looked at as well

    assert len(house.absolute_paths(f"see {home}", root=root)) == 1
    assert len(house.absolute_paths(f"cd {root}\ncat {root}/x", root=root)) == 2
    assert house.absolute_paths("see /etc/hosts, ~/home/x and $HOME/home/x/y", root=root) == []
