"""Keys, values, names and options that nobody should give: an exit code and a cause, and nothing is changed."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.asking import ask, get, put
from tests.faults.words import told
from tests.running import PAIR, Home, running_home

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("odd")]

LONG: Final = "x" * 10_240
ESCAPES: Final = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202e\x7f"
SCRIPTS: Final = ("ключ", "鍵", "🔑🧑\u200d🚀", "مفتاح", "कुंजी", "ß\u0301", "\u202ebidi", "tab\tnew\nline", ESCAPES)

MESSAGE_MAX: Final = 2000
"""Characters of an error: what somebody typed must not fill a screen."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Two peers."""
    with running_home(tmp_path_factory.mktemp("odd")) as home:
        home.up(2)
        yield home


def test_any_text_is_a_key_and_comes_back_unchanged(home: Home) -> None:
    """Any character, no normalisation; what is listed for a person cannot move the cursor."""
    keys = [f"odd/text/{text}" for text in SCRIPTS]
    for key in keys:
        home.ok("put", key, key)

    for key in keys:
        assert home.ok("get", key, "--peer", "peer-2").stdout == key.encode()
    assert {row["key"] for row in home.json("keys", "odd/text/")} == set(keys)
    listed = home.ok("keys", "odd/text/").text.splitlines()
    assert len(listed) == len(keys) and all(line.isprintable() for line in listed), ascii(listed)


@pytest.mark.parametrize("value", [ESCAPES.encode(), b"", b"\x00" * 1000, bytes(range(256)), "鍵".encode() * 1000])
def test_any_bytes_are_a_value(home: Home, value: bytes) -> None:
    """Byte for byte, from standard input to a pipe."""
    home.ok("put", "odd/value", "-", stdin=value)

    assert home.ok("get", "odd/value", "--peer", "peer-2").stdout == value


LIMITS: Final[list[tuple[list[str], int, str]]] = [
    (["put", "", "x"], 2, "0 bytes"),
    (["put", LONG, "x"], 2, "10240 bytes"),
    (["put", "鍵" * 171, "x"], 2, "513 bytes"),
    (["get", LONG], 2, "10240 bytes"),
    (["delete", LONG], 2, "10240 bytes"),
    (["keys", LONG], 2, "10240 bytes"),
    (["watch", LONG], 2, "10240 bytes"),
    (["put", "odd/large", "@/dev/zero"], 5, "larger than 1048576"),
    (["put", "odd/folder", "@/"], 2, "cannot read"),
    (["get", "odd/kept", "-o", "/no/such/folder/file"], 1, "/no/such/folder/file"),
    (["get", "odd/kept", "-o", "/"], 1, "/"),
    (["put", "odd/kept", "x", "--if-version", LONG], 2, "is no version"),
    (["put", "odd/kept", "x", "--if-version", "0-0"], 5, ""),
    (["put", "odd/kept", "x", "--if-version", "1\r\nPair-TTL: 1"], 2, ""),
    (["put", "odd/kept", "x", "--if-version", "ключ"], 2, ""),
    (["put", "odd/kept", "x", "--if-version", ""], 2, ""),
    (["put", "odd/kept", "x", "--ttl", "1e400"], 2, ""),
    (["--peer", LONG, "status"], 3, "there is no peer"),
    (["--peer", ESCAPES, "status"], 3, "there is no peer"),
    (["--peer", "ключ", "status"], 3, "there is no peer"),
    (["--peer", "http://127.0.0.1:99999", "status"], 2, ""),
    (["--peer", "http://[::1", "status"], 2, ""),
    (["--peer", "http://127.0.0.1:1/path", "status"], 2, ""),
    (["--peer", "http://" + LONG, "status"], 4, ""),
    (["--peer", "http://鍵:1", "status"], 4, ""),
    (["--network", LONG, "status"], 2, "cannot name a network"),
    (["--network", ESCAPES, "up", "1", "--detach"], 2, "cannot name a network"),
    (["--network", "../../etc", "up", "1", "--detach"], 2, "cannot name a network"),
    (["--network", "ключ", "start", "--detach"], 2, "cannot name a network"),
    (["start", "--detach", "--name", LONG], 2, "cannot name a peer"),
    (["start", "--detach", "--name", ESCAPES], 2, "cannot name a peer"),
    (["start", "--detach", "--name", "../peer-1"], 2, "cannot name a peer"),
    (["start", "--detach", "--name", "odd-seed", "--seed", ESCAPES], 2, "seed"),
    (["start", "--detach", "--name", "odd-seed", "--seed", LONG + ":1"], 2, "seed"),
    (["start", "--detach", "--name", "odd-bind", "--bind", ESCAPES], 2, "--bind"),
    (["kill", ESCAPES], 3, "no peer"),
    (["kill", LONG], 3, "no peer"),
    (["stop", "ключ"], 3, "no peer"),
    (["elect", "--to", LONG], 3, ""),
    (["elect", "--to", ESCAPES], 3, ""),
    (["--token-file", "/dev/zero", "status"], 1, "/dev/zero"),
    (["--token-file", "/no/such/file", "status"], 2, "no token file"),
]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "cause"), LIMITS, ids=[ascii(" ".join(row[0]))[:50] for row in LIMITS]
)
def test_odd_input_is_refused_in_words(home: Home, arguments: list[str], exit_code: int, cause: str) -> None:
    """An exit code, a cause and a next step; printable, short, and nothing was changed."""
    put(home, "peer-1", "odd/kept", b"kept")

    done = home.run(*arguments)

    assert (done.code, done.stdout) == (exit_code, b""), done.stderr
    said, following, end = done.stderr.split("\n")
    assert cause in said and said.startswith("pair: ") and said.isprintable(), ascii(said)
    assert following.startswith("  next: ") and following.isprintable() and not end, ascii(following)
    assert "defect" not in said and len(done.stderr) < MESSAGE_MAX, len(done.stderr)
    assert get(home, "peer-2", "odd/kept") == b"kept"


def test_key_that_is_not_utf8_is_refused(home: Home) -> None:
    """Whatever bytes a shell hands over."""
    for words in (b"put \xff\xfe x", b"get \xff", b"keys \xff", b"--peer \xff status", b"kill \xff"):
        done = subprocess.run(
            [os.fsencode(PAIR), b"--json", *words.split()], env=home.environment, capture_output=True, timeout=60
        )
        assert done.returncode in (2, 3) and done.stdout == b""
        assert b"Traceback" not in done.stderr and b"defect" not in done.stderr
        assert json.loads(done.stderr.splitlines()[-1])["exit"] == done.returncode


def test_value_that_is_no_utf8_is_stored_as_it_is(home: Home) -> None:
    """An argument is bytes, too."""
    command = [os.fsencode(PAIR), b"put", b"odd/bytes", b"\xff\x00".rstrip(b"\x00")]
    subprocess.run(command, env=home.environment, check=True, capture_output=True, timeout=60)

    assert get(home, "peer-2", "odd/bytes") == b"\xff"


def test_one_byte_too_many_is_refused_before_anything_is_stored(home: Home, tmp_path: Path) -> None:
    """Value too large, from a file, from standard input, and over HTTP; the largest one goes in."""
    large = os.urandom(2**20)
    (tmp_path / "large").write_bytes(large + b"x")

    for source, stdin in ((f"@{tmp_path / 'large'}", None), ("-", large + b"x")):
        done = home.run("--json", "put", "odd/large", source, stdin=stdin)
        assert told(done, exit_code=5, cause="1048576")["type"] == "value-too-large"
    status, content = ask(home, "peer-1", "PUT", "/v1/kv?key=odd/large", large + b"x")
    assert (status, json.loads(content)["type"]) == (413, "value-too-large")
    assert get(home, "peer-2", "odd/large") is None

    home.ok("put", "odd/large", "-", stdin=large)
    assert get(home, "peer-2", "odd/large") == large
