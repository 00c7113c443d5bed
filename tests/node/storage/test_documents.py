"""``peer.json``: whole after any crash, told when damaged, and readable by a person."""

import hashlib
import json
import random
from pathlib import Path

import pytest
from tinydb import TinyDB

from node.storage import documents
from node.storage.documents import AtomicStorage, PeerDocuments
from protocol.errors import DiskFull, StoreError
from protocol.identity import Identity
from protocol.ids import NetworkId
from protocol.limits import MEMBERS_MAX
from protocol.statements import Address, Descriptor, signed
from tests.protocol import samples

NETWORK = NetworkId(bytes(32))


def descriptor(number: int) -> Descriptor:
    identity = Identity(hashlib.sha256(b"%d" % number).digest())
    unsigned = Descriptor(
        author_key=identity.public_key,
        name=f"peer-{number}",
        address=Address("127.0.0.1", 7400 + number),
        api=Address("::1", 8400 + number),
        boot=2**63 + number,
        incarnation=number,
        version="0.1.0",
    )
    return signed(unsigned, identity, NETWORK)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "peer.json"


def test_fresh_documents_are_empty_and_write_nothing(path: Path) -> None:
    """Missing is not damaged."""
    fresh = PeerDocuments(path)
    assert (fresh.boot, fresh.remembered(), fresh.kept_as) == (None, (), None)
    assert not path.exists()


def test_documents_outlive_their_object(path: Path) -> None:
    """Boots of 64 bits and whole descriptors, signature included; the newest replaces the one before."""
    peers = [descriptor(number) for number in range(20)]
    first = PeerDocuments(path)
    first.begin_boot(5)
    first.begin_boot(2**64 - 1)
    first.remember(peers[:3])
    first.remember(peers[2:])

    again = PeerDocuments(path)

    assert again.boot == first.boot == 2**64 - 1
    assert again.remembered() == first.remembered() == tuple(peers[2:])
    assert path.stat().st_mode & 0o777 == 0o600
    again.remember([])
    assert (PeerDocuments(path).remembered(), PeerDocuments(path).boot) == ((), 2**64 - 1)


def test_person_can_read_who_is_remembered(path: Path) -> None:
    """Names and addresses are in the file as text."""
    PeerDocuments(path).remember([descriptor(1)])

    (kept,) = json.loads(path.read_text())["tables"]["remembered_peers"].values()

    assert (kept["name"], kept["address"], kept["api"]) == ("peer-1", "127.0.0.1:7401", "[::1]:8401")
    assert kept["id"] == descriptor(1).peer_id.hex()


def test_number_of_remembered_peers_is_bounded(path: Path) -> None:
    """The file stays small whatever the network does."""
    PeerDocuments(path).remember([descriptor(1)] * (MEMBERS_MAX + 5))
    assert len(PeerDocuments(path).remembered()) == MEMBERS_MAX
    assert path.stat().st_size < 2**22


def test_remembering_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TinyDB writes at each step; a crash between two of them would forget everybody."""
    written: list[bytes] = []
    monkeypatch.setattr(documents, "replace_file", lambda path, content: written.append(content))
    kept = PeerDocuments(path)

    kept.remember([descriptor(1), descriptor(2)])
    kept.remember([descriptor(1), descriptor(2)])
    kept.begin_boot(7)

    assert [b"boot" in content for content in written] == [False, True]


def test_failed_write_keeps_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file and in memory; once the disk has space, the same works."""
    kept = PeerDocuments(path)
    kept.begin_boot(1)
    before = path.read_bytes()

    def refuse(path: Path, content: bytes) -> None:
        raise DiskFull("cannot write: the disk is full", next_step="free some space")

    with monkeypatch.context() as patched:
        patched.setattr(documents, "replace_file", refuse)
        with pytest.raises(DiskFull):
            kept.begin_boot(2)
        with pytest.raises(DiskFull):
            kept.remember([descriptor(1)])
    assert (kept.boot, kept.remembered()) == (1, ())
    assert path.read_bytes() == before

    kept.begin_boot(2)
    assert PeerDocuments(path).boot == 2


def test_any_flipped_byte_is_harmless_or_told(tmp_path: Path) -> None:
    """Never another boot or another peer, never silently none, and never a traceback."""
    source = tmp_path / "source.json"
    peers = (descriptor(1), descriptor(2))
    PeerDocuments(source).begin_boot(99)
    PeerDocuments(source).remember(peers)
    whole = source.read_bytes()
    draw = random.Random(1)
    for position in range(0, len(whole), 3):
        path = tmp_path / f"{position}" / "peer.json"
        path.parent.mkdir()
        damaged = bytearray(whole)
        damaged[position] ^= draw.choice((0x01, 0x10, 0x20, 0x80))
        path.write_bytes(damaged)

        try:
            read = PeerDocuments(path)
        except StoreError as error:
            assert "newer version" in error.cause
            continue
        if read.kept_as is None:
            assert (read.boot, read.remembered()) == (99, peers)
        else:
            assert (read.boot, read.remembered()) == (None, ())
            assert read.kept_as.read_bytes() == damaged


def test_file_cut_anywhere_is_told(path: Path) -> None:
    """A torn file holds nothing that could be taken for the whole."""
    PeerDocuments(path).begin_boot(99)
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        read = PeerDocuments(path)
        assert read.kept_as is not None
        assert read.boot is None


def test_noise_is_told(path: Path) -> None:
    """Also JSON of another shape, and too deep to be read."""
    for content in (b"", b"null", b"{}", b"[]", b'{"format": 1}', b"\xff" * 50, b"[" * 100_000, bytes(5000)):
        path.write_bytes(content)
        assert PeerDocuments(path).kept_as is not None
        assert not path.exists()


def test_newer_format_is_refused_and_kept(path: Path) -> None:
    """An older program must not forget what a newer one wrote."""
    PeerDocuments(path).begin_boot(99)
    newer = path.read_bytes().replace(b'"format": 1', b'"format": 2')
    path.write_bytes(newer)

    with pytest.raises(StoreError, match="newer") as caught:
        PeerDocuments(path)

    assert caught.value.next_step
    assert path.read_bytes() == newer


def test_writer_that_was_killed_leaves_the_old_file(path: Path) -> None:
    """Its unfinished file is in nobody's way."""
    PeerDocuments(path).begin_boot(1)
    path.with_name(".peer.json.new").write_bytes(b'{"format": 1, "ta')

    again = PeerDocuments(path)
    assert again.boot == 1
    again.begin_boot(2)

    assert [file.name for file in path.parent.iterdir()] == ["peer.json"]


def test_remembered_peer_that_is_not_readable_is_passed_over(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One from another version of this program costs one hint, not the start."""
    kept = PeerDocuments(path)
    kept.remember([descriptor(1)])
    tables = AtomicStorage(path).read()
    assert tables is not None
    tables["remembered_peers"]["2"] = {"descriptor": "AAAA"}
    AtomicStorage(path).write(tables)

    assert PeerDocuments(path).remembered() == (descriptor(1),)
    assert "not readable" in caplog.text


def test_bans_are_kept_and_one_that_is_not_readable_is_passed_over(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The newest list replaces the one before; a person can read whom it is about."""
    words = (samples.ban(2), samples.ban(3, is_lifted=True))
    first = PeerDocuments(path)
    first.keep_bans(words[1:])
    first.keep_bans(words)
    assert PeerDocuments(path).bans() == words
    assert words[0].banned.hex() in path.read_text()

    database = TinyDB(storage=lambda: AtomicStorage(path))
    database.table("bans").update({"statement": "none"}, doc_ids=[1])

    assert PeerDocuments(path).bans() == words[1:]
    assert "not readable" in caplog.text


def test_storage_serves_any_tinydb(path: Path) -> None:
    """The room for own resources: tables of documents, whole after each step."""
    storage = AtomicStorage(path)
    shared = TinyDB(storage=lambda: storage).table("shared")
    number = shared.insert({"name": "é\u2028\x00", "size": 2**63})
    shared.insert({"name": "b"})
    shared.remove(doc_ids=[number])
    number = shared.insert({"name": "é\u2028\x00", "size": 2**63})

    again = AtomicStorage(path)
    assert TinyDB(storage=lambda: again).table("shared").get(doc_id=number) == {"name": "é\u2028\x00", "size": 2**63}
