"""``peer.json``: the documents of a peer, in TinyDB, in a file that a person may open.

TinyDB's own file storage overwrites its file in place, so a crash leaves half of it. This one writes a new file,
syncs it and renames it; a checksum inside tells a damaged file from a whole one, and a damaged one is kept
(``peer.json.damaged-<time>``). There is one writer: the caller holds the lock of the folder and calls from one
thread at a time.
"""

import base64
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from tinydb import TinyDB
from tinydb.storages import Storage

from bootstrap.files import read_file, replace_file, set_aside
from protocol import limits
from protocol.errors import StoreError
from protocol.statements import Ban, Descriptor, VoterList

FORMAT_VERSION: Final = 1

_log = logging.getLogger("pair.storage")

Tables = dict[str, dict[str, Any]]
"""What TinyDB keeps: mapping from table to mapping from document number to document."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the file, as JSON."""

    format: int
    sha256: str
    """64 hexadecimal digits over ``tables`` as compact JSON."""

    tables: Tables


class AtomicStorage(Storage):
    """Keeps the tables of a TinyDB in one file; after a crash the old or the new ones are there, whole.

    Invariants:
        1. ``read`` returns what the file holds, or, inside ``united``, what it will hold at the end of the block.
    """

    def __init__(self, path: Path) -> None:
        """Read the file at ``path``; a damaged one is set aside, and the storage then starts empty.

        Raises:
            StoreError: It cannot be read, or a newer version of this program wrote it.
        """
        self._path = path
        self.kept_as: Path | None = None
        """Where a damaged file lies now."""

        self._tables: bytes | None = None
        self._is_united = False
        content = read_file(path)
        if content is not None:
            self._tables = _tables_in(content, path)
            if self._tables is None:
                self.kept_as = set_aside(path)

    def read(self) -> Tables | None:
        """Return the tables; the caller may change what it receives."""
        return None if self._tables is None else msgspec.json.decode(self._tables, type=Tables)

    def write(self, data: Tables) -> None:
        """Replace the tables, durably unless inside ``united``.

        Raises:
            StoreError: They cannot be written; the former ones are still there.
        """
        tables = _compact(data)
        if not self._is_united and tables != self._tables:
            self._save(tables)
        self._tables = tables

    @contextmanager
    def united(self) -> Iterator[None]:
        """Unite the writes of the block into one: all of them reach the disk, or none does.

        Raises:
            StoreError: They cannot be written; the former tables are still there.
        """
        before = self._tables
        self._is_united = True
        try:
            yield
            if self._tables is not None and self._tables != before:
                self._save(self._tables)
        except BaseException:
            self._tables = before
            raise
        finally:
            self._is_united = False

    def _save(self, tables: bytes) -> None:
        file = _File(
            format=FORMAT_VERSION,
            sha256=hashlib.sha256(tables).hexdigest(),
            tables=msgspec.json.decode(tables, type=Tables),
        )
        replace_file(self._path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")


class PeerDocuments:
    """What a peer knows of itself and of others, from one run to the next."""

    def __init__(self, path: Path) -> None:
        """Open the documents at ``path``; they are created by the first write.

        Raises:
            StoreError: As ``AtomicStorage``.
        """
        self._storage = AtomicStorage(path)
        self._documents = TinyDB(storage=lambda: self._storage)
        self._own = self._documents.table("peer")
        self._remembered = self._documents.table("remembered_peers")
        self._voters = self._documents.table("voters")
        self._bans = self._documents.table("bans")

    @property
    def kept_as(self) -> Path | None:
        """Where a damaged file lies now, whose content is lost to this peer."""
        return self._storage.kept_as

    @property
    def boot(self) -> int | None:
        """The last boot that was begun here; None before the first."""
        own = self._own.get(doc_id=1)
        return own["boot"] if own is not None else None

    def begin_boot(self, boot: int) -> None:
        """Keep ``boot``, so that the next one will be higher.

        Raises:
            StoreError: It is not known to be on disk: do not send under it.
        """
        with self._storage.united():
            self._own.truncate()
            self._own.insert({"boot": boot})

    def voters(self) -> VoterList | None:
        """Return the list of voters that was kept; its signature is not yet checked."""
        kept = self._voters.get(doc_id=1)
        if kept is None:
            return None
        try:
            return msgspec.msgpack.decode(base64.b64decode(kept["statement"]), type=VoterList)
        except (msgspec.MsgspecError, ValueError) as error:
            _log.warning("the list of voters is not readable: %s", error)
            return None

    def keep_voters(self, voters: VoterList) -> None:
        """Keep ``voters`` instead of the list kept before.

        Raises:
            StoreError: It is not known to be on disk: do not vote by it.
        """
        with self._storage.united():
            self._voters.truncate()
            self._voters.insert(
                {
                    "version": voters.version,
                    "voters": [voter.hex() for voter in voters.voters],
                    "statement": base64.b64encode(msgspec.msgpack.encode(voters)).decode(),
                }
            )

    def bans(self) -> tuple[Ban, ...]:
        """Return the bans that were kept; their signatures are not yet checked."""
        found = (_ban_in(document["statement"]) for document in self._bans)
        return tuple(ban for ban in found if ban is not None)

    def keep_bans(self, bans: Sequence[Ban]) -> None:
        """Keep ``bans`` instead of those kept before; at most ``limits.BANS_MAX`` of them.

        Raises:
            StoreError: They are not known to be on disk.
        """
        with self._storage.united():
            self._bans.truncate()
            self._bans.insert_multiple(
                {
                    "banned": ban.banned.hex(),
                    "is_lifted": ban.is_lifted,
                    "statement": base64.b64encode(msgspec.msgpack.encode(ban)).decode(),
                }
                for ban in bans[: limits.BANS_MAX]
            )

    def remembered(self) -> tuple[Descriptor, ...]:
        """Return the peers of earlier runs; their signatures are not yet checked."""
        found = (_descriptor_in(document["descriptor"]) for document in self._remembered)
        return tuple(descriptor for descriptor in found if descriptor is not None)

    def remember(self, peers: Sequence[Descriptor]) -> None:
        """Keep ``peers`` instead of those kept before; at most ``limits.MEMBERS_MAX`` of them.

        Raises:
            StoreError: They cannot be written; the former ones are still there.
        """
        with self._storage.united():
            self._remembered.truncate()
            self._remembered.insert_multiple([_document_of(peer) for peer in peers[: limits.MEMBERS_MAX]])


def _document_of(descriptor: Descriptor) -> dict[str, str]:
    """Return a document: what a person wants to know, and the signed bytes."""
    return {
        "id": descriptor.peer_id.hex(),
        "name": descriptor.name,
        "address": str(descriptor.address),
        "api": str(descriptor.api),
        "descriptor": base64.b64encode(msgspec.msgpack.encode(descriptor)).decode(),
    }


def _descriptor_in(text: str) -> Descriptor | None:
    try:
        return msgspec.msgpack.decode(base64.b64decode(text), type=Descriptor)
    except (msgspec.MsgspecError, ValueError) as error:
        _log.warning("a remembered peer is not readable: %s", error)
        return None


def _ban_in(text: str) -> Ban | None:
    try:
        return msgspec.msgpack.decode(base64.b64decode(text), type=Ban)
    except (msgspec.MsgspecError, ValueError) as error:
        _log.warning("a ban is not readable: %s", error)
        return None


def _tables_in(content: bytes, path: Path) -> bytes | None:
    """Return the tables of a whole file, as compact JSON; None when it is damaged.

    Raises:
        StoreError: A newer version of this program wrote it.
    """
    try:
        file = msgspec.json.decode(content, type=_File)
    except (msgspec.MsgspecError, ValueError):
        return None
    tables = _compact(file.tables)
    if hashlib.sha256(tables).hexdigest() != file.sha256:
        return None
    if file.format > FORMAT_VERSION:
        raise StoreError(
            f"{path} was written by a newer version of this program",
            next_step="install that version again, or move the file away",
        )
    return tables


def _compact(tables: Tables) -> bytes:
    """Return the bytes under the checksum; tables and documents keep their order through the file and back."""
    return msgspec.json.encode(tables)
