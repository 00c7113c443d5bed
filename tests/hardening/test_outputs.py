"""What commands, logs and files show: no secret, nothing that moves a cursor, nothing that other users can read."""

import contextlib
import itertools
import json
import os
import pty
import re
import select
import socket
import subprocess
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import psutil
import pytest

from bootstrap.home import NetworkFolder
from node.cli.scrubbing import Scrubber
from tests.faults.asking import ask, put
from tests.running import PAIR, Home, running_home

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("outputs")]

HOSTILE: Final = (
    "esc \x1b[2J\x1b]0;owned\x07 end",
    "c1 \x9b31m \x9d0;owned\x9c end",
    "lines\r\nFAKE: all is well\n",
    "bidi \u202egnp.exe\u202c \u2066x\u2069",
    "separators \u2028 \u2029 \u0085 \x0b \x0c",
    "nul\x00bel\x07back\x08\x08del\x7f",
    "zero\u200bwidth\ufeff\u00ad tag\U000e0041",
)
"""Keys, values and texts that make a terminal do something, or a line look like another."""

_HARMLESS: Final = frozenset("\r\n\t")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Two peers that were started where new files are open to everybody, with hostile keys and values."""
    with running_home(tmp_path_factory.mktemp("outputs")) as home:
        home.inside = ("sh", "-c", 'umask 0 && exec "$@"', "sh")
        home.up(2)
        for text in HOSTILE:
            put(home, "peer-1", text, text.encode())
        yield home


def on_terminal(
    home: Home, *arguments: str, seconds: float = 60.0, is_enough: Callable[[bytes], bool] = lambda shown: False
) -> bytes:
    """Run ``pair`` on a terminal to its end, or until that ``is_enough``; return all that it printed there."""
    master, slave = pty.openpty()
    environment = {name: value for name, value in home.environment.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    process = subprocess.Popen(
        [str(PAIR), *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True
    )
    os.close(slave)
    shown, ends = b"", time.monotonic() + seconds
    try:
        while time.monotonic() < ends and not is_enough(shown):
            if not select.select([master], [], [], 0.1)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                piece = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(10)
        os.close(master)
    return shown


def unsafe(shown: bytes) -> list[str]:
    """Return what a terminal would obey: all but colours of our own tables, which hold nothing foreign."""
    text = re.sub(r"\x1b\[(1|3[0-9]|0)m", "", shown.decode())
    return [
        repr(character)
        for character in text
        if character not in _HARMLESS and (unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    ]


@pytest.mark.parametrize(
    "command",
    [
        ("keys",),
        ("--explain", "keys"),
        ("status",),
        ("members",),
        ("leader",),
        ("ps",),
        ("invite", "list"),
        ("doctor",),
        *(("get", text) for text in HOSTILE if "\0" not in text),
        *(("--explain", "get", text) for text in HOSTILE[:2]),
        *(("put", text, text) for text in HOSTILE[:3]),
        *(("get", f"missing {text}") for text in HOSTILE if "\0" not in text),
        *(("--peer", text, "status") for text in HOSTILE if "\0" not in text),
        ("delete", HOSTILE[0] + " missing"),
        ("join", HOSTILE[0]),
        ("ban", HOSTILE[0]),
        ("elect", "--to", HOSTILE[0]),
    ],
    ids=repr,
)
def test_no_command_lets_foreign_text_reach_the_terminal(home: Home, command: tuple[str, ...]) -> None:
    """Bytes of each command's output on a terminal (threats, section 5)."""
    shown = on_terminal(home, *command)

    assert shown
    assert unsafe(shown) == []


def test_watch_escapes_what_it_follows(home: Home) -> None:
    """A stream as well."""
    shown: list[bytes] = []

    def is_enough(so_far: bytes) -> bool:
        return so_far.count(b"watched") >= 3 * len(HOSTILE)

    watching = threading.Thread(
        target=lambda: shown.append(on_terminal(home, "watch", "watched", is_enough=is_enough))
    )
    watching.start()
    for text in itertools.cycle(HOSTILE):
        if not watching.is_alive():
            break
        put(home, "peer-1", f"watched {text}", text.encode())
        watching.join(0.1)

    assert is_enough(shown[0]), shown[0]
    assert unsafe(shown[0]) == []


class _HostileApi(BaseHTTPRequestHandler):
    """Answers every question with a problem, or a document, full of hostile text."""

    def do_GET(self) -> None:
        evil = HOSTILE[0] + HOSTILE[1]
        is_problem = "leader" in self.path
        document = {
            "id": evil, "name": evil, "network": evil, "version": evil, "ready": True, "role": evil, "term": 1,
            "leader": evil, "mode": evil, "members": {"alive": 1, "suspect": 0, "failed": 0, "left": 0},
            "keys_held": 1, "uptime_s": 1.0, "profile": evil, "keys": [{"key": evil}], "complete": True,
        }  # fmt: skip
        problem = {"type": evil, "title": evil, "status": 503, "detail": evil, "next_step": evil}
        body = json.dumps(problem if is_problem else document).encode()
        self.send_response(503 if is_problem else 200)
        self.send_header("Content-Type", "application/problem+json" if is_problem else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def hostile_api() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _HostileApi)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("command", ["status", "members", "leader", "keys", "get x", "delete x", "put x y"])
def test_hostile_peer_cannot_talk_to_the_terminal(home: Home, hostile_api: str, command: str) -> None:
    """A command may be pointed at any address: names, ids and problems of whoever answers are escaped too."""
    token = home.folder / "token"
    token.write_text("pairt_not_a_secret_of_this_network")
    shown = on_terminal(home, "--peer", hostile_api, "--token-file", str(token), *command.split())

    assert shown and b"Traceback" not in shown
    assert unsafe(shown) == []


def test_log_holds_one_line_for_each_event_and_nothing_that_moves_a_cursor(home: Home) -> None:
    """Whatever others made the peer log."""
    run = json.loads((home.folder / "local" / "peer-1" / "run.json").read_text())
    for text in HOSTILE:
        ask(home, "peer-1", "GET", f"/v1/kv?key={quote(text)}&unknown={quote(text)}")
        for address in (run["address"], urlsplit(run["api"]).netloc):
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as stranger:
                stranger.sendall(f"GET /{text} HTTP/1.1\r\nHost: {text}\r\nX-{text}: {text}\r\n\r\n".encode())
    for log in home.folder.glob("*/*/peer.log"):
        assert unsafe(log.read_bytes()) == []


def test_files_are_closed_to_others_under_any_umask(home: Home) -> None:
    """Started with umask 0: keys, tokens, records and logs are their owner's (threats, key files)."""
    opened = [path for path in home.folder.rglob("*") if path.name != "token" and path.lstat().st_mode & 0o077]

    shared = [path for path in opened if path.is_socket() or not _is_secret(path)]
    assert [path for path in opened if path not in shared] == []


def _is_secret(path: Path) -> bool:
    return path.suffix in (".key", ".json", ".sqlite", ".log") or path.name in ("vote", "chunks") or path.is_dir()


def test_secrets_show_nowhere(home: Home) -> None:
    """Canary: every secret of the network, in each form, in arguments, environments, logs and outputs."""
    scrubber = Scrubber([NetworkFolder(home.folder / "local")])
    token = home.ok("token").text.strip()
    assert scrubber.clean(token.encode()) != token.encode(), "the search finds a secret where there is one"
    outputs = [
        home.run(*command).stdout + home.run(*command).stderr.encode()
        for command in (
            ("doctor",),
            ("--json", "doctor"),
            ("--json", "--explain", "get", HOSTILE[0]),
            ("--json", "status"),
            ("--json", "ps"),
            ("--peer", "nobody", "status"),
            ("--token-file", str(home.folder / "missing"), "status"),
            ("--token-file", str(home.folder / "local" / "network.key"), "status"),
            ("join", "pair://" + token),
        )
    ]
    status, _, refused = home.request(
        json.loads((home.folder / "local" / "peer-1" / "run.json").read_text())["api"],
        "GET",
        f"/v1/status?token={token}",
        headers={"Authorization": f"Bearer {token}x"},
    )
    assert status == 401
    everything = {
        "outputs": b"\n".join(outputs) + refused,
        "logs": b"\n".join(path.read_bytes() for path in home.folder.glob("*/*/peer.log*")),
        "run files": b"\n".join(path.read_bytes() for path in home.folder.glob("*/*/run.json")),
        "documents": b"\n".join(path.read_bytes() for path in home.folder.glob("*/*/peer.json")),
        "processes": b"\n".join(_shown_by_processes()),
    }

    leaks = [where for where, content in everything.items() if scrubber.clean(content) != content]
    assert leaks == []


def _shown_by_processes() -> Iterator[bytes]:
    """Yield what the process table shows of each process: arguments to all users, the environment to its own."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            yield "\0".join(process.cmdline()).encode(errors="replace")
            if "pair" in process.name():
                yield json.dumps(process.environ()).encode()
