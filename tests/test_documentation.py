"""What the documentation shows is what the program does: marked examples are run, command by command.

A block after ``<!-- run: NAME -->`` is a story: all blocks of one name in one file run in order, in one home. The
default API ports that a page shows stand for those that the peers got.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import PAIR, Home, running_home

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"<!-- run: (?P<name>[a-z ]+) -->\n```\n(?P<body>.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)#:]+)(#[^)]*)?\)")
_NAMED_FILE = re.compile(r"`((?:protocol|bootstrap|node|simulations|tests|docs|benchmarks)/[\w./-]*)`")


def stories() -> list[tuple[Path, str, list[str]]]:
    """Every story of every page: its commands, in order."""
    found: dict[tuple[Path, str], list[str]] = {}
    for page in PAGES:
        for block in _BLOCK.finditer(page.read_text()):
            commands = [line[2:] for line in block["body"].splitlines() if line.startswith("$ ")]
            found.setdefault((page, block["name"]), []).extend(commands)
    return [(page, name, commands) for (page, name), commands in found.items()]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with running_home(tmp_path / "home") as home:
        yield home


@pytest.mark.parametrize(("page", "name", "commands"), stories(), ids=lambda value: getattr(value, "stem", None))
def test_examples_run(home: Home, tmp_path: Path, page: Path, name: str, commands: list[str]) -> None:
    """Each command of a story ends with exit code 0 and prints something."""
    assert len(commands) >= 5, "a story is worth telling"
    environment = {**home.environment, "PATH": f"{PAIR.parent}{os.pathsep}{os.environ['PATH']}"}
    if any(command.startswith("curl") for command in commands) and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for command in commands:
        command = with_real_ports(home, command)
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{page.name}: {command}\n{done.stdout}\n{done.stderr}{home.logs()}"
        assert "Traceback" not in done.stderr


def with_real_ports(home: Home, command: str) -> str:
    """Return the command with each default API address replaced by that of the peer it means."""
    for number in re.findall(r"127\.0\.0\.1:840(\d)", command):
        api = home.peers()[f"peer-{number}"]["api"]
        command = command.replace(f"http://127.0.0.1:840{number}", api)
    return command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    """A page that sends its reader elsewhere sends them to something."""
    text = page.read_text()
    targets = [(page.parent / match["target"]).resolve() for match in _LINK.finditer(text)]
    targets += [ROOT / match[1] for match in _NAMED_FILE.finditer(text) if "*" not in match[1]]
    missing = [str(target) for target in targets if not target.exists()]

    assert not missing
