"""``pair doctor`` on one machine: what is broken here is named with its cause and the fix; archives hold no secrets.

The ways between machines are broken in ``tests.hosts.test_doctor``.
"""

import base64
import json
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bootstrap.home import NetworkFolder
from bootstrap.reader import ReaderFile, save_reader
from node.cli.scrubbing import REMOVED, Scrubber
from tests.faults.small_disk import home_with_small_disk
from tests.running import PAIR, Home

VALUE: Final = "a-value-that-is-nobodys-business"
MEBIBYTE: Final = 2**20


def findings(home: Home, *options: str) -> dict[str, dict[str, Any]]:
    """Return what the doctor finds, by check."""
    return {row["name"]: row for row in json.loads(home.run("--json", "doctor", *options).stdout)}


@pytest.mark.processes
def test_a_taken_port_is_named(home: Home) -> None:
    """A stopped peer will not start while another program has its port."""
    [peer] = home.up(1)
    home.ok("down")
    host, _, port = peer["address"].rpartition(":")

    with socket.create_server((host, int(port))):
        found = findings(home)["local: peer-1"]

    assert found["state"] == "warning" and f"port {port} is taken" in found["detail"] and "--port" in found["next_step"]


@pytest.mark.processes
def test_too_few_open_files_are_named(home: Home) -> None:
    """The limit is that of the peer's process, not that of the shell in which somebody looks."""
    command = f'ulimit -n 256 && exec "{PAIR}" start --detach --no-zeroconf --name few'
    subprocess.run(["sh", "-c", command], env=home.environment, check=True, capture_output=True, timeout=60)

    found = findings(home)["local: few open files"]

    assert found["state"] == "warning" and "only 256 are allowed" in found["detail"]
    assert "ulimit -n" in found["next_step"]


@pytest.mark.processes
def test_a_disk_that_is_nearly_full_is_named(tmp_path: Path) -> None:
    """A peer stops storing before its disk is full; its disk need not be that of the home folder."""
    with home_with_small_disk(tmp_path / "home", "peer-1", size_bytes=64 * MEBIBYTE) as (home, disk):
        home.ok("start", "--detach", "--no-zeroconf", "--name", "peer-1")
        assert findings(home)["disk"]["state"] != "broken"
        disk.fill()

        found = findings(home)["disk"]

        assert found["state"] == "broken" and "peer-1" in found["detail"] and "free some space" in found["next_step"]
        disk.free()


def test_files_that_were_set_aside_are_listed(home: Home) -> None:
    """Damaged ones with what became of them, suspect ones with what will."""
    network = NetworkFolder(home.folder / "local")
    network.found("local")
    network.peer("peer-1").create()
    folder = network.path / "peer-1"
    for name in ("records.sqlite", "records.sqlite.suspect", "vote.damaged-1700000000"):
        (folder / name).touch()

    rows = [row for row in json.loads(home.run("--json", "doctor").stdout) if row["name"] == "local: damage"]

    assert [row["state"] for row in rows] == ["warning", "warning"]
    assert "vote.damaged-1700000000" in rows[0]["detail"]
    assert "records.sqlite" in rows[1]["detail"] and rows[1]["next_step"].endswith("pair restart peer-1")


def test_a_reader_hears_whether_anybody_answers(home: Home) -> None:
    """It has no key and no peer; what it has are addresses."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        api = f"http://127.0.0.1:{closed.getsockname()[1]}"
    reader = ReaderFile(name="far", id="0" * 64, token="pair_r_secret-of-a-reader", apis=(api,))
    save_reader(NetworkFolder(home.folder / "far"), reader)

    found = findings(home)["far: reading"]

    assert found["state"] == "warning" and api in found["detail"] and "--role reader" in found["next_step"]


@pytest.mark.processes
def test_a_bundle_tells_much_and_no_secret(home: Home, tmp_path: Path) -> None:
    """Canaries: every key, token and value of this home, in each form, is looked for in every file of the archive."""
    home.up(2)
    home.ok("put", "canary", VALUE)
    secrets = secrets_of(home)
    log = home.folder / "local" / "peer-1" / "peer.log"
    log.write_text(log.read_text() + "".join(f"oh dear {form!r}\n" for form in texts_of(secrets)))
    archive = tmp_path / "help.tar.gz"

    found = findings(home, "--bundle", str(archive))

    assert found["bundle"]["state"] == "ok" and archive.stat().st_mode & 0o777 == 0o600
    content = read_all(archive)
    names = {name.removeprefix("pair-doctor/") for name in content}
    wanted = {"start.json", "run.json", "peer.log", "status.json", "members.json", "leader.json", "metrics.txt"}
    assert {"doctor.json", "machine.json", "local/files.txt"} | {f"local/peer-2/{name}" for name in wanted} <= names
    assert b"-rw-------" in content["pair-doctor/local/files.txt"]
    everything = b"\n".join(content.values())
    assert len(secrets) >= 7
    for secret in [*secrets, VALUE.encode()]:
        for form in forms_of(secret):
            assert form not in everything, form
    assert REMOVED in content["pair-doctor/local/peer-1/peer.log"]


@pytest.mark.processes
def test_a_bundle_replaces_no_file(home: Home, tmp_path: Path) -> None:
    """What is there stays, and the error says so."""
    archive = tmp_path / "mine"
    archive.write_text("precious")

    done = home.run("doctor", "--bundle", str(archive))

    assert done.code == 1 and str(archive) in done.stderr and archive.read_text() == "precious"


def test_the_scrubber_leaves_ids_alone(tmp_path: Path) -> None:
    """Ids and names are what an archive is about."""
    network = NetworkFolder(tmp_path / "local")
    network.found("local")
    network.tokens()
    identity = network.peer("peer-1").create()
    scrubber = Scrubber([network])

    told = f"peer {identity.peer_id.hex()} of {network.load().network_id.hex()} in local"

    assert scrubber.clean(told.encode()) == told.encode()
    assert scrubber.clean(b"token " + network.tokens().read.encode()) == b"token " + REMOVED


def secrets_of(home: Home) -> list[bytes]:
    """Return what nobody may see, as it is kept."""
    network = NetworkFolder(home.folder / "local")
    tokens = network.tokens()
    key_files = [*network.path.rglob("node.key"), network.path / "admin.key"]
    keys = [json.loads(path.read_text())["seed"] for path in key_files]
    texts = [tokens.read, tokens.member, tokens.admin]
    return [network.load().key, *map(base64.b64decode, keys), *(text.encode() for text in texts)]


def forms_of(secret: bytes) -> Iterator[bytes]:
    """Yield the forms in which a secret could be written."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield base64.b64encode(secret).rstrip(b"=")
    yield base64.urlsafe_b64encode(secret).rstrip(b"=")


def texts_of(secrets: list[bytes]) -> list[str]:
    """Return the forms that fit a log."""
    return [form.decode() for secret in secrets for form in forms_of(secret) if form.isascii() and form.isalnum()]


def read_all(archive: Path) -> dict[str, bytes]:
    """Return the content of each file of an archive."""
    with tarfile.open(archive) as opened:
        files = {entry.name: opened.extractfile(entry) for entry in opened}
        return {name: file.read() for name, file in files.items() if file is not None}
