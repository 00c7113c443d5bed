"""Files are private from their first moment, whole after any crash, and fail with our own errors."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.files import (
    FILE_SIZE_MAX_BYTES,
    create_once,
    make_private_folder,
    os_errors,
    read_file,
    read_private,
    replace_file,
    set_aside,
)
from protocol.errors import ConfigError, DiskFull, StoreError


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Let every permission bit through that a program asks for."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("no_umask")
def test_secrets_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """Key files: 0600 in a 0700 folder from the call that creates them."""
    folder = tmp_path / "a" / "b"
    make_private_folder(folder)
    create_once(folder / "once", b"x")
    replace_file(folder / "replaced", b"x")

    assert [mode_of(path) for path in (tmp_path / "a", folder)] == [0o700, 0o700]
    assert [mode_of(folder / name) for name in ("once", "replaced")] == [0o600, 0o600]
    assert sorted(path.name for path in folder.iterdir()) == ["once", "replaced"]


def test_create_once_keeps_what_is_there(tmp_path: Path) -> None:
    """A key is never replaced."""
    assert create_once(tmp_path / "key", b"first")
    assert not create_once(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"


def test_replace_file_goes_on_after_a_writer_that_was_killed(tmp_path: Path) -> None:
    """The temporary file of a dead writer is in nobody's way."""
    (tmp_path / ".file.new").write_bytes(b"half")

    replace_file(tmp_path / "file", b"whole")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that others may have read is no key; the message says how to close it."""
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    path.chmod(mode)

    with pytest.raises(ConfigError) as caught:
        read_private(path)

    assert caught.value.next_step == f"chmod 600 {path}"
    assert read_file(path) == b"secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file that belongs to root")
def test_secret_of_root_may_be_handed_to_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines mount secrets so for a container's user; no other owner's file is taken, nor one that all may read."""
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    monkeypatch.setattr("os.geteuid", lambda: 10_001)
    path.chmod(0o440)
    assert read_private(path) == b"secret"

    for mode in (0o444, 0o460):
        path.chmod(mode)
        with pytest.raises(ConfigError):
            read_private(path)
    path.chmod(0o440)
    os.chown(path, 10_002, 0)
    with pytest.raises(ConfigError):
        read_private(path)


def test_missing_file_is_not_an_error(tmp_path: Path) -> None:
    """What is expected is a return value."""
    assert read_private(tmp_path / "none") is None
    assert read_file(tmp_path / "none") is None


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A named pipe in the place of a key would hang a plain open."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir()

    for name in ("pipe", "folder"):
        with pytest.raises(StoreError):
            read_private(tmp_path / name)


def test_oversized_file_is_refused(tmp_path: Path) -> None:
    """Nothing on disk makes a peer read without bound."""
    with (tmp_path / "big").open("wb") as file:
        file.truncate(FILE_SIZE_MAX_BYTES + 1)

    with pytest.raises(StoreError, match="over"):
        read_file(tmp_path / "big")


def test_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    """The message names the folder that cannot be made, and what to do."""
    (tmp_path / "file").write_bytes(b"")

    for attempt in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(StoreError) as caught:
            make_private_folder(attempt)
        assert str(attempt) in caught.value.cause
        assert "PAIR_HOME" in caught.value.next_step


def test_full_disk_is_told_from_other_failures() -> None:
    """The kernel's own device for a full disk."""
    with pytest.raises(DiskFull) as caught, os_errors("write"), Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    assert caught.value.next_step


def test_damaged_files_are_set_aside_one_beside_the_other(tmp_path: Path) -> None:
    """Nothing damaged is overwritten by the next damaged one; companions move along."""
    kept = []
    for number in range(3):
        (tmp_path / "store").write_bytes(b"%d" % number)
        (tmp_path / "store-wal").write_bytes(b"wal %d" % number)
        kept.append(set_aside(tmp_path / "store", companions=("-wal", "-shm")))

    assert [path.read_bytes() for path in kept] == [b"0", b"1", b"2"]
    assert [path.with_name(path.name + "-wal").read_bytes() for path in kept] == [b"wal 0", b"wal 1", b"wal 2"]
    assert not (tmp_path / "store").exists()
