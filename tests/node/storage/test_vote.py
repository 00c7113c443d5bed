"""The vote file: no promise that was kept is forgotten, and none is invented."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.storage.vote import SLOT_SIZE_BYTES, VoteDamaged, VoteFile, VoteFound, VoteMissing, VoteState
from protocol.effects import Promise
from protocol.errors import DiskFull, StoreError
from protocol.statements import Ballot

FILE_SIZE_BYTES = 2 * SLOT_SIZE_BYTES

POSITIONS = (*range(300), *range(300, SLOT_SIZE_BYTES - 40, 37), *range(SLOT_SIZE_BYTES - 40, SLOT_SIZE_BYTES))
"""Every byte of a slot that says something, and some of the zeros between the promise and its checksum."""


def promise(term: int) -> Promise:
    candidate = hashlib.sha256(term.to_bytes(8, "big")).digest()
    highest = Ballot(max(term - 1, 0), candidate)
    return Promise(voted=Ballot(term, candidate), council_hash=candidate[:16], highest=highest)


def saved(path: Path, *terms: int) -> bytes:
    """Save promises of these terms into a new file and return its content."""
    path.unlink(missing_ok=True)
    for kept in path.parent.glob(f"{path.name}.damaged-*"):
        kept.unlink()
    file = VoteFile(path)
    assert file.load() == VoteMissing()
    for term in terms:
        file.save(promise(term))
    file.close()
    return path.read_bytes()


def loaded(path: Path, content: bytes | None = None) -> VoteState:
    if content is not None:
        path.write_bytes(content)
    return VoteFile(path).load()


def test_fresh_peer_has_promised_nothing(tmp_path: Path) -> None:
    """Missing is not damaged."""
    assert loaded(tmp_path / "vote") == VoteMissing()
    assert list(tmp_path.iterdir()) == []


def test_newest_promise_is_found_after_every_save(tmp_path: Path) -> None:
    """Through one object or a new one for each save: restarts change nothing."""
    path = tmp_path / "vote"
    for term in range(1, 12):
        file = VoteFile(path)
        file.load()
        file.save(promise(term))
        assert loaded(path) == VoteFound(promise(term), slot_damaged=False)
        file.save(promise(term + 100))
        file.close()
        assert loaded(path) == VoteFound(promise(term + 100), slot_damaged=False)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == FILE_SIZE_BYTES


@pytest.mark.parametrize("count", [2, 3])
def test_any_flipped_byte_of_the_last_slot_leaves_the_promise_before(tmp_path: Path, count: int) -> None:
    """A torn write spoils one slot only, and never passes for a promise."""
    path = tmp_path / "vote"
    content = saved(path, *range(1, count + 1))
    start = ((count - 1) % 2) * SLOT_SIZE_BYTES
    for position in (start + offset for offset in POSITIONS):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        assert loaded(path, bytes(damaged)) == VoteFound(promise(count - 1), slot_damaged=True)


def test_any_flipped_byte_of_the_older_slot_changes_nothing(tmp_path: Path) -> None:
    """The newest promise stands by itself."""
    path = tmp_path / "vote"
    content = saved(path, 1, 2)
    for position in POSITIONS:
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        assert loaded(path, bytes(damaged)) == VoteFound(promise(2), slot_damaged=True)


def test_file_cut_anywhere_gives_the_first_slot_or_is_damaged(tmp_path: Path) -> None:
    """A shorter file never raises and never gives a promise that was not made."""
    path = tmp_path / "vote"
    content = saved(path, 1, 2)
    for length in range(0, FILE_SIZE_BYTES, 61):
        state = loaded(path, content[:length])
        if length >= SLOT_SIZE_BYTES:
            assert state == VoteFound(promise(1), slot_damaged=True)
        else:
            assert isinstance(state, VoteDamaged)


@given(
    before=st.integers(1, 5),
    cut=st.integers(0, SLOT_SIZE_BYTES),
    shuffled=st.booleans(),
)
def test_write_cut_short_at_any_byte_keeps_the_promise_before(
    tmp_path_factory: pytest.TempPathFactory, before: int, cut: int, shuffled: bool
) -> None:
    """Whatever part of a slot reached the disk, in whichever order, the file gives the old or the new promise."""
    path = tmp_path_factory.mktemp("torn") / "vote"
    old = saved(path, *range(1, before + 1))
    new = saved(path, *range(1, before + 2))
    start = (before % 2) * SLOT_SIZE_BYTES
    torn = bytearray(old)
    part = slice(start + cut, start + SLOT_SIZE_BYTES) if shuffled else slice(start, start + cut)
    torn[part] = new[part]

    state = loaded(path, bytes(torn))

    assert isinstance(state, VoteFound)
    assert state.promise == (promise(before + 1) if bytes(torn) == new else promise(before))
    again = VoteFile(path)
    again.load()
    again.save(promise(50))
    again.close()
    assert loaded(path) == VoteFound(promise(50), slot_damaged=False) or before == 1
    assert loaded(path).promise == promise(50)  # type: ignore[union-attr]


@given(noise=st.binary(max_size=FILE_SIZE_BYTES + 10))
def test_noise_is_damaged(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    """No bytes at all raise anything or pass for a promise."""
    assert isinstance(loaded(tmp_path_factory.mktemp("noise") / "vote", noise), VoteDamaged)


def test_damaged_file_is_set_aside_until_a_promise_is_saved(tmp_path: Path) -> None:
    """A peer that lost its vote and crashes again must not come back as a fresh one."""
    path = tmp_path / "vote"
    content = bytes(len(saved(path, 1, 2)))

    state = loaded(path, content)

    assert isinstance(state, VoteDamaged)
    assert state.kept_as.read_bytes() == content
    assert loaded(path) == state
    file = VoteFile(path)
    assert file.load() == state
    file.save(promise(9))
    file.close()
    assert loaded(path) == VoteFound(promise(9), slot_damaged=False)
    assert state.kept_as.exists()


def test_slots_that_changed_places_are_damaged(tmp_path: Path) -> None:
    """Otherwise the next write would replace the newest promise."""
    content = saved(tmp_path / "vote", 1, 2)

    state = loaded(tmp_path / "vote", content[SLOT_SIZE_BYTES:] + content[:SLOT_SIZE_BYTES])

    assert isinstance(state, VoteDamaged)


def test_newer_format_is_refused_and_kept(tmp_path: Path) -> None:
    """An older program must not forget what a newer one promised."""
    path = tmp_path / "vote"
    content = bytearray(saved(path, 1))
    content[7] = 2
    body = bytes(content[: SLOT_SIZE_BYTES - 32])
    path.write_bytes(body + hashlib.sha256(body).digest() + bytes(SLOT_SIZE_BYTES))
    before = path.read_bytes()

    with pytest.raises(StoreError, match="newer"):
        loaded(path)
    assert path.read_bytes() == before


def test_failed_save_is_an_error_and_the_file_goes_on(tmp_path: Path) -> None:
    """The vote must not be sent; once the disk works again, saving does."""
    path = tmp_path / "vote"
    saved(path, 1, 2, 3)
    file = VoteFile(path)
    file.load()
    hidden = path.rename(tmp_path / "hidden")
    path.symlink_to("/dev/full")

    with pytest.raises(DiskFull):
        file.save(promise(4))
    file.close()
    path.unlink()
    hidden.rename(path)
    assert loaded(path) == VoteFound(promise(3), slot_damaged=False)

    file.save(promise(5))
    file.close()
    assert loaded(path) == VoteFound(promise(5), slot_damaged=False)


def test_folder_in_the_way_is_a_clear_error(tmp_path: Path) -> None:
    """No error of the operating system leaves this module."""
    (tmp_path / "vote").mkdir()
    with pytest.raises(StoreError):
        VoteFile(tmp_path / "vote").load()
    with pytest.raises(StoreError):
        VoteFile(tmp_path / "none" / "vote").save(promise(1))
