"""All that a peer keeps on disk: one process, a higher boot each time, and every damage told with what to do."""

import asyncio
import hashlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bootstrap.home import NetworkFolder
from bootstrap.locks import FolderInUse
from bootstrap.peer_folder import PeerFolder
from node.config import PeerConfig
from node.peer_disk import BOOT_RANDOM_BITS, BOOT_TIME_MAX, PeerDisk, next_boot
from node.storage.vote import SLOT_SIZE_BYTES
from protocol.effects import Promise
from protocol.errors import ConfigError, StoreError
from protocol.identity import Identity
from protocol.statements import Address, Ballot, Descriptor
from tests.node.storage.samples import place_of, stored
from tests.node.storage.small_disk import REPOSITORY, on_small_disk

PROMISE = Promise(voted=Ballot(7, bytes(32)), council_hash=bytes(16), highest=Ballot(6, bytes(32)))

HOLDER = """
import asyncio, sys
from pathlib import Path
from bootstrap.home import NetworkFolder
from node.config import PeerConfig
from node.peer_disk import PeerDisk

async def main():
    folder = NetworkFolder(Path(sys.argv[1]))
    async with PeerDisk.opened(PeerConfig(network=folder.load(), network_folder=folder.path, name="peer-1")) as disk:
        disk.begin_run(address="127.0.0.1:7401", api="http://127.0.0.1:8401")
        print("ready", flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""

FULL_DISK = """
import asyncio, sys
from pathlib import Path
from bootstrap.home import NetworkFolder
from node.config import PeerConfig
from node.peer_disk import PeerDisk
from protocol.errors import DiskFull

async def main(folder):
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    network = NetworkFolder(folder / "local")
    try:
        network.found("local")
    except DiskFull as error:
        print("founding:", error, "|", error.next_step)
    size = ballast.stat().st_size
    # A little more space each time: the start fails at another file, and in the end it works.
    starts = 0
    while True:
        size -= 4096
        with ballast.open("r+b") as file:
            file.truncate(size)
        try:
            config = PeerConfig(network=network.found("local"), network_folder=network.path, name="peer-1")
            async with PeerDisk.opened(config) as disk:
                print("alarms:", list(disk.alarms), "may vote:", disk.may_vote)
                return
        except DiskFull as error:
            assert error.next_step
            starts += 1
            print("start:", error)

asyncio.run(main(Path(sys.argv[1])))
"""

READ_ONLY_DISK = """
import asyncio, subprocess, sys
from pathlib import Path
from bootstrap.home import NetworkFolder
from node.config import PeerConfig
from node.peer_disk import PeerDisk
from protocol.errors import StoreError

async def main(folder):
    network = NetworkFolder(folder / "local")
    identity = network.found("local")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        async with PeerDisk.opened(PeerConfig(network=identity, network_folder=network.path, name="peer-1")):
            pass
    except StoreError as error:
        print(error, "|", error.next_step)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
def config(tmp_path: Path) -> PeerConfig:
    folder = NetworkFolder(tmp_path / "local")
    return PeerConfig(network=folder.found("local"), network_folder=folder.path, name="peer-1")


def descriptor_of(name: str, *, identity: Identity | None = None) -> Descriptor:
    identity = identity or Identity(hashlib.sha256(name.encode()).digest())
    return Descriptor(
        author_key=identity.public_key,
        name=name,
        address=Address("127.0.0.1", 7400),
        api=Address("127.0.0.1", 8400),
        boot=1,
        incarnation=0,
        version="0.1.0",
        signature=bytes(64),
    )


async def run_once(config: PeerConfig) -> int:
    """Run a peer that votes, stores a record and remembers another peer; return its boot."""
    async with PeerDisk.opened(config) as disk:
        disk.begin_run(address="127.0.0.1:7401", api="http://127.0.0.1:8401")
        disk.votes.save(PROMISE)
        await disk.records.commit([stored("key")])
        disk.remember([descriptor_of("other")])
        return disk.boot


async def test_fresh_peer_starts_with_nothing_and_may_vote(config: PeerConfig) -> None:
    """No damage, nothing promised, nobody remembered."""
    async with PeerDisk.opened(config) as disk:
        assert (disk.alarms, disk.promise, disk.may_vote, disk.remembered) == ((), None, True, ())
        assert disk.records.count() == 0
        assert disk.boot >> BOOT_RANDOM_BITS <= time.time()
        tokens = NetworkFolder(config.network_folder).tokens()
        assert disk.tokens == {"read": tokens.read, "member": tokens.member, "admin": tokens.admin}
        assert {path.name for path in config.folder.iterdir()} >= {"node.key", "vote", "peer.json", "records.sqlite"}


async def test_everything_is_there_after_a_restart(config: PeerConfig) -> None:
    """Same id, same promise, same records, same acquaintances, and a higher boot."""
    boot = await run_once(config)

    async with PeerDisk.opened(config) as disk:
        assert disk.identity.peer_id == PeerFolder(config.folder).identity().peer_id
        assert (disk.promise, disk.may_vote, disk.alarms) == (PROMISE, True, ())
        assert disk.remembered == (descriptor_of("other"),)
        assert disk.records.read(place_of("key")) == stored("key").record
        assert disk.boot > boot


async def test_boot_is_on_disk_before_anything_is_sent(config: PeerConfig) -> None:
    """A peer that dies at once must not send two things under one boot."""
    async with PeerDisk.opened(config) as disk:
        content = json.loads((config.folder / "peer.json").read_text())
        assert content["tables"]["peer"]["1"]["boot"] == disk.boot


async def test_boot_rises_though_the_clock_falls(config: PeerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when ``peer.json`` is lost: the record of the last run knows it as well."""
    boots = []
    for wall_s in (5000, 10, 4000, 10):
        monkeypatch.setattr("node.peer_disk.wall_ms", lambda wall_s=wall_s: wall_s * 1000)
        boots.append(await run_once(config))
        (config.folder / "peer.json").unlink()
    assert boots == sorted(set(boots))
    assert [boot >> BOOT_RANDOM_BITS for boot in boots] == [5000, 5001, 5002, 5003]


def test_boot_is_the_later_of_the_clock_and_the_last_one() -> None:
    """40 bits of time and 24 random bits, in 64."""
    noise = b"\xff\xff\xff"
    assert next_boot(None, wall_s=1000, noise=noise) == (1000 << 24) + 0xFFFFFF
    assert next_boot((2000 << 24) + 0xFFFFFF, wall_s=1000, noise=bytes(3)) == 2001 << 24
    assert next_boot(2**64 - 1, wall_s=1000, noise=noise) <= BOOT_TIME_MAX << 24 | 0xFFFFFF


async def test_run_is_recorded_and_ends_in_order(config: PeerConfig) -> None:
    """``pair ps`` reads it."""
    folder = PeerFolder(config.folder)
    async with PeerDisk.opened(config) as disk:
        assert folder.state() == "stopped"
        disk.begin_run(address="127.0.0.1:7401", api="http://127.0.0.1:8401")
        run = folder.run()
        assert run is not None
        assert (run.id, run.network, run.boot) == (disk.identity.peer_id.hex(), "local", disk.boot)
        assert folder.state() == "running"
    assert folder.state() == "stopped"


async def test_start_that_failed_does_not_end_the_run_before(config: PeerConfig) -> None:
    """A crash stays a crash until the peer really runs again."""
    await run_once(config)
    run_file = config.folder / "run.json"
    content = run_file.read_bytes().replace(b'"ended":true', b'"ended":false')
    run_file.write_bytes(content.replace(b'"process_start":"', b'"process_start":"another '))
    assert PeerFolder(config.folder).state() == "crashed"

    async with PeerDisk.opened(config):
        pass

    assert PeerFolder(config.folder).state() == "crashed"


async def test_only_others_are_remembered_and_never_nobody(config: PeerConfig) -> None:
    """The last one to leave still knows whom to ask when it comes back."""
    async with PeerDisk.opened(config) as disk:
        own = descriptor_of("peer-1", identity=disk.identity)
        for number in range(50):
            disk.remember([own, descriptor_of(f"other-{number}")])
        disk.remember([own, descriptor_of("a"), descriptor_of("b")])
        disk.remember([own])

    async with PeerDisk.opened(config) as disk:
        assert disk.remembered == (descriptor_of("a"), descriptor_of("b"))


async def test_members_that_cannot_be_written_are_logged(
    config: PeerConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk costs the memory of others, not the peer."""

    def refuse(path: Path, content: bytes) -> None:
        raise StoreError("cannot write: the disk is full")

    async with PeerDisk.opened(config) as disk:
        with monkeypatch.context() as patched:
            patched.setattr("node.storage.documents.replace_file", refuse)
            disk.remember([descriptor_of("a")])
            await disk._finish_remembering()
    assert "remembered peers were not written" in caplog.text


@pytest.mark.processes
def test_second_process_is_refused_and_a_dead_one_is_not_in_the_way(config: PeerConfig) -> None:
    """``kill -9`` leaves no lock; the peer then starts with all it had."""

    async def look() -> tuple[tuple[str, ...], bool]:
        async with PeerDisk.opened(config) as disk:
            return tuple(disk.alarms), disk.may_vote

    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(config.network_folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
        before = {path.name: path.read_bytes() for path in config.folder.iterdir()}
        with pytest.raises(FolderInUse) as caught:
            asyncio.run(look())
        assert str(holder.pid) in caught.value.cause and caught.value.next_step
        assert {path.name: path.read_bytes() for path in config.folder.iterdir()} == before
    finally:
        holder.kill()
        holder.communicate(timeout=10)

    assert asyncio.run(look()) == ((), True)


def truncated(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(b"\x00\xff garbage" * 100)


@pytest.mark.parametrize("spoil", [truncated, noise, Path.unlink])
@pytest.mark.parametrize("name", ["peer.json", "records.sqlite", "vote"])
async def test_damaged_or_lost_file_is_told_and_the_peer_starts(
    config: PeerConfig, name: str, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Each is named once, kept where it was not deleted, and costs only what was in it."""
    boot = await run_once(config)
    spoil(config.folder / name)
    kept = (config.folder / name).read_bytes() if spoil is not Path.unlink else None

    with caplog.at_level(logging.WARNING):
        async with PeerDisk.opened(config) as disk:
            (alarm,) = disk.alarms
            assert name.removesuffix(".json") in alarm and alarm in caplog.text
            assert disk.boot > boot
            assert disk.may_vote == (name != "vote")
            assert (disk.promise is None) == (name == "vote")
            assert (disk.remembered == ()) == (name == "peer.json")
            assert (disk.records.count() == 0) == (name == "records.sqlite")
    damaged = list(config.folder.glob(f"{name}.damaged-*"))
    assert [path.read_bytes() for path in damaged] == ([] if kept is None else [kept])

    async with PeerDisk.opened(config) as disk:
        # A lost promise stays lost until a new one is made; the rest is whole again.
        assert bool(disk.alarms) == (name == "vote") != disk.may_vote


async def test_lost_vote_is_noticed_when_peer_json_is_damaged_as_well(config: PeerConfig) -> None:
    """A peer that lived here is never taken for a fresh one."""
    await run_once(config)
    truncated(config.folder / "peer.json")
    for name in ("vote", "run.json"):
        (config.folder / name).unlink()

    async with PeerDisk.opened(config) as disk:
        assert not disk.may_vote
        assert len(disk.alarms) == 2


async def test_vote_with_one_bad_slot_does_not_vote_at_once(config: PeerConfig) -> None:
    """The bad slot may have held a later promise; the whole one still counts."""
    await run_once(config)
    path = config.folder / "vote"
    content = bytearray(path.read_bytes())
    content[SLOT_SIZE_BYTES + 100] ^= 1
    path.write_bytes(content)

    async with PeerDisk.opened(config) as disk:
        assert not disk.may_vote
        assert disk.promise is not None and disk.promise != PROMISE
        assert "slot" in disk.alarms[0]


async def test_damaged_key_ends_the_start(config: PeerConfig) -> None:
    """Without it this peer would be somebody else."""
    await run_once(config)
    key = config.folder / "node.key"
    whole = key.read_bytes()
    for content in (b"", b"{}", whole[: len(whole) // 2], b"\xff" * 100):
        key.write_bytes(content)
        with pytest.raises(StoreError, match="damaged") as caught:
            async with PeerDisk.opened(config):
                pass
        assert caught.value.next_step
        assert key.read_bytes() == content
    key.unlink()
    with pytest.raises(StoreError, match="missing"):
        async with PeerDisk.opened(config):
            pass


@pytest.mark.parametrize("name", ["peer-1/node.key", "tokens.json"])
async def test_secret_that_others_can_read_ends_the_start(config: PeerConfig, name: str) -> None:
    """The message says how to close it."""
    await run_once(config)
    path = config.network_folder / name
    path.chmod(0o644)

    with pytest.raises(ConfigError) as caught:
        async with PeerDisk.opened(config):
            pass

    assert caught.value.next_step == f"chmod 600 {path}"


async def test_failed_start_gives_the_folder_back(config: PeerConfig) -> None:
    """What could not be opened this time can be opened the next."""
    await run_once(config)
    hidden = (config.folder / "records.sqlite").rename(config.network_folder / "hidden")
    (config.folder / "records.sqlite").mkdir()
    with pytest.raises(StoreError):
        async with PeerDisk.opened(config):
            pass
    assert "pair-disk" not in names_of_threads()
    (config.folder / "records.sqlite").rmdir()
    hidden.rename(config.folder / "records.sqlite")

    async with PeerDisk.opened(config) as disk:
        assert (disk.alarms, disk.records.count()) == ((), 1)


async def test_folder_that_is_a_file_is_a_clear_error(config: PeerConfig) -> None:
    """The message names it and says what to do."""
    config.folder.write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        async with PeerDisk.opened(config):
            pass
    assert str(config.folder) in caught.value.cause and caught.value.next_step


@pytest.mark.processes
def test_full_disk_at_the_start_is_told_and_the_next_start_works(tmp_path: Path) -> None:
    """Whichever file had no space: nothing that is left behind counts as damaged later."""
    lines = on_small_disk(FULL_DISK, tmp_path, size_bytes=400_000).splitlines()

    assert "the disk is full" in lines[0] and "free some space" in lines[0]
    assert sum(line.startswith("start:") and "the disk is full" in line for line in lines) >= 3
    assert lines[-1] == "alarms: [] may vote: True"


@pytest.mark.processes
def test_read_only_disk_is_told(tmp_path: Path) -> None:
    """A folder that is not writable, also for root."""
    answer = on_small_disk(READ_ONLY_DISK, tmp_path, size_bytes=400_000)
    assert "Read-only file system" in answer and "PAIR_HOME" in answer


async def test_disk_is_opened_and_closed_without_leaving_anything(config: PeerConfig) -> None:
    """No thread, no open file, no task."""
    async with PeerDisk.opened(config) as disk:
        await disk.records.commit([stored("another")])
        assert "pair-disk" in names_of_threads()
        assert open_files_in(config.folder)
    assert "pair-disk" not in names_of_threads()
    assert open_files_in(config.folder) == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


def names_of_threads() -> str:
    return " ".join(thread.name for thread in threading.enumerate())


def open_files_in(folder: Path) -> list[str]:
    return [file.path for file in psutil.Process().open_files() if Path(file.path).is_relative_to(folder)]
