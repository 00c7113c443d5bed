"""Put and delete: a new version above all that are known, at a majority of its holders, or an error that says why.

An unconditional write that meets a newer version is stamped above it and tried again, so a superseded version is
never acknowledged. A conditional one reads from a majority first; it is best effort (DESIGN section 6).
"""

import asyncio
from typing import Final

from node.dht.keeping import Keeper
from node.dht.reading import Reader
from node.dht.shelf import Shelf
from node.dht.storing import Storing, Verdict
from node.dht.surroundings import Surroundings, may_write
from node.dht.tasks import OwnedTasks, take_turn
from node.errors import OperationError
from node.ports import StoredRecord
from node.shapes import Explain, WriteReceipt
from protocol import limits
from protocol.ids import Digest
from protocol.records import UNSIGNED_WRITER, Head, Record, next_stamp, stamp_is_credible
from protocol.statements import signed

WRITES_AT_ONCE: Final = 4
"""Writes at work; further ones wait their turn within their time. With k requests each, more of them only make the
holders of one machine slower than the exchange's patience, which then sends everything twice."""

TOMBSTONE_KEPT_MS: Final = 86_400_000
"""How long a tombstone is kept: as long as a dead member is remembered. A holder that was away longer asks first."""

_TASKS_MAX: Final = 16_384
"""Requests under way or repeated in the background: those of all writes at once, and those of slow holders."""

_RESTAMPS_MAX: Final = 24
_RESTAMP_PAUSE_S: Final = 0.002
_RESTAMP_PAUSE_MAX_S: Final = 0.25
"""Writers that meet at one key wait a random while, longer each time, or they would overtake each other for ever."""

_START_COUNTER_BITS: Final = 12
"""Random start of the counter in a stamp: two peers that write one key in one millisecond rarely draw the same."""

_ABSENT: Final = "none"


class Writer:
    """Owns the writes of this peer's users."""

    def __init__(self, surroundings: Surroundings, shelf: Shelf, keeper: Keeper, reader: Reader) -> None:
        self._around = surroundings
        self._shelf = shelf
        self._keeper = keeper
        self._reader = reader
        self._slots = asyncio.Semaphore(WRITES_AT_ONCE)
        self._tasks = OwnedTasks(limit=_TASKS_MAX)
        self._last_stamp = 0

    async def close(self) -> None:
        """End all requests. Idempotent."""
        await self._tasks.close()

    async def put(
        self, key: str, value: bytes, *, ttl_s: float | None, if_version: str | None, timeout_s: float
    ) -> WriteReceipt:
        """Write one version and return who has it; see ``node.service.PeerService``."""
        self._check(key, value)
        expires_ms = 0 if ttl_s is None else self._around.time.now_ms() + max(1, int(ttl_s * 1000))
        if expires_ms > 2**63 - 1:
            raise OperationError("bad-request", f"{ttl_s:g} s never end", next_step="leave the time to live out")
        draft = Record(
            author_key=self._around.identity.public_key, key=key, value=value, stamp=0, expires_ms=expires_ms
        )
        return await self._write(draft, self._around.place_of(key), if_version=if_version, timeout_s=timeout_s)

    async def put_unsigned(self, place: Digest, value: bytes, *, timeout_s: float) -> bool:
        """Write what a stock node stored in an open network; return whether it would have been acknowledged."""
        draft = Record(author_key=UNSIGNED_WRITER, key="", value=value, stamp=0)
        try:
            await self._write(draft, place, if_version=None, timeout_s=timeout_s)
        except OperationError:
            return False
        return True

    async def delete(self, key: str, *, if_version: str | None, timeout_s: float) -> WriteReceipt:
        """Write a tombstone; an absent key is no error."""
        self._check(key, b"")
        draft = Record(
            author_key=self._around.identity.public_key,
            key=key,
            is_tombstone=True,
            value=b"",
            stamp=0,
            expires_ms=self._around.time.now_ms() + TOMBSTONE_KEPT_MS,
        )
        return await self._write(draft, self._around.place_of(key), if_version=if_version, timeout_s=timeout_s)

    def _check(self, key: str, value: bytes) -> None:
        check_key(key)
        if len(value) > limits.VALUE_SIZE_MAX_BYTES:
            raise OperationError(
                "value-too-large",
                f"the value has {len(value)} bytes, over {limits.VALUE_SIZE_MAX_BYTES}",
                next_step="share it as a file",
            )
        if not may_write(key, self._around.local):
            raise OperationError(
                "key-owned", "a key @<peer id>/… belongs to the peer that it names", next_step="write through that peer"
            )

    async def _write(
        self, draft: Record, place: Digest, *, if_version: str | None, timeout_s: float
    ) -> WriteReceipt:
        deadline = asyncio.get_running_loop().time() + timeout_s
        await take_turn(self._slots, deadline)
        storings: list[Storing] = []
        try:
            return await self._write_at_once(draft, place, storings, if_version=if_version, deadline=deadline)
        finally:
            if storings:
                storings[-1].call_when_quiet(self._slots.release)
            else:
                self._slots.release()

    async def _write_at_once(
        self, draft: Record, place: Digest, storings: list[Storing], *, if_version: str | None, deadline: float
    ) -> WriteReceipt:
        """Write until a version is acknowledged; each try is added to ``storings``."""
        existed = False
        above = self._shelf.stamp_of(place) or 0
        if if_version is not None:
            current = await self._reader.newest(place, draft.key, deadline=deadline)
            existed = self._match(current, if_version)
            above = max(above, current.stamp if current is not None else 0)
        for tries in range(_RESTAMPS_MAX):
            record = self._stamped(draft, above)
            storing = Storing(
                self._around, self._keeper, self._tasks, StoredRecord(place, record), deadline=deadline
            )
            storings.append(storing)
            self._keep_own_copy(place, record, storing)
            verdict = await storing.run()
            existed = existed or storing.existed
            if verdict == "synced":
                return self._receipt(record, storing, existed=existed)
            if verdict != "stale":
                raise _failure(verdict, storing)
            newer = storing.newer
            assert newer is not None, "stale says what is newer"
            if if_version is not None:
                self._match(newer, if_version)
            above = newer.stamp
            pause_s = self._around.random.uniform(0, min(_RESTAMP_PAUSE_MAX_S, _RESTAMP_PAUSE_S * 2**tries))
            if asyncio.get_running_loop().time() + pause_s >= deadline:
                break
            await asyncio.sleep(pause_s)
        raise OperationError(
            "conflict", "each time another write was newer", next_step="find out who else writes this key"
        )

    def _match(self, current: Head | Record | None, if_version: str) -> bool:
        """Return whether a live value is there; raise ``version-mismatch`` unless it is what the writer expects."""
        is_live = current is not None and current.is_live(self._around.time.now_ms())
        version = current.version if current is not None and is_live else None
        if (version or _ABSENT) != if_version:
            raise OperationError(
                "version-mismatch",
                f"the stored version is {version}" if version else "there is no such key",
                next_step="read it again and decide anew",
                current_version=version,
            )
        return is_live

    def _stamped(self, draft: Record, above: int) -> Record:
        # Above our own last one too: of two writes in one millisecond the later wins. But not above one that was drawn
        # right after a start with a fast clock, before others told the time: all would refuse what follows on it.
        now_ms = self._around.time.now_ms()
        is_credible = stamp_is_credible(self._last_stamp, network_time_ms=now_ms, stored_stamp=0, is_replica=False)
        self._last_stamp = next_stamp(
            network_time_ms=now_ms,
            above=self._last_stamp if is_credible else 0,
            counter=self._around.random.getrandbits(_START_COUNTER_BITS),
        )
        record = Record(
            author_key=draft.author_key,
            key=draft.key,
            is_tombstone=draft.is_tombstone,
            value=draft.value,
            stamp=max(self._last_stamp, above + 1),
            expires_ms=draft.expires_ms,
        )
        if record.author_key == UNSIGNED_WRITER:
            return record
        return signed(record, self._around.identity, self._around.network.network_id)

    def _keep_own_copy(self, place: Digest, record: Record, storing: Storing) -> None:
        """Write to a copy that this peer has without being a holder: it must never read its own old value."""
        if self._shelf.stamp_of(place) is not None and self._around.local not in storing.wanted:
            self._tasks.start(self._take([StoredRecord(place, record)]))

    async def _take(self, records: list[StoredRecord]) -> None:
        await self._keeper.take(records, sender=self._around.local, is_replica=False)

    def _receipt(self, record: Record, storing: Storing, *, existed: bool) -> WriteReceipt:
        return WriteReceipt(
            key=record.key,
            version=record.version,
            holders=[peer_id.hex() for peer_id in storing.synced],
            wanted=max(len(storing.wanted), min(self._around.holders.k, self._around.members.expected_count())),
            existed=existed,
            explain=Explain(
                served_by=self._around.local.hex(),
                holders=[peer_id.hex() for peer_id in storing.wanted],
                asked=list(storing.explained.values()),
            ),
        )


def check_key(key: str) -> None:
    """Raise ``key-invalid`` unless a key has 1 to 512 bytes of UTF-8."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise OperationError("key-invalid", "the key is not UTF-8", next_step="leave lone surrogates out") from error
    if not 1 <= size <= limits.KEY_SIZE_MAX_BYTES:
        raise OperationError(
            "key-invalid", f"the key has {size} bytes", next_step=f"use 1 to {limits.KEY_SIZE_MAX_BYTES} bytes"
        )


def _failure(verdict: Verdict, storing: Storing) -> OperationError:
    """Return what to tell the user of a write that was not acknowledged."""
    synced, wanted = len(storing.synced), len(storing.wanted)
    reasons = list(storing.refused.values())
    if reasons and not synced:
        if all(reason == "disk-full" for reason in reasons):
            return OperationError("disk-full", "no holder has space left", next_step="free space, then write again")
        if all(reason == "quota-exceeded" for reason in reasons):
            return OperationError(
                "quota-exceeded",
                f"this peer wrote {limits.RECORDS_PER_OWNER_MAX} records or {limits.BYTES_PER_OWNER_MAX} bytes, or too "
                "many in a short time",
                next_step="delete some, wait a few seconds, or write through another peer",
            )
    refusals = f" ({', '.join(sorted(dict.fromkeys(reasons)))})" if reasons else ""
    if verdict == "late" and not synced and not reasons:
        return OperationError(
            "outcome-unknown", f"none of {wanted} holders answered in time", next_step="read it back, or write it again"
        )
    return OperationError(
        "not-enough-holders",
        f"{synced} of {wanted} holders confirmed{refusals}: the write may or may not survive",
        next_step="read it back, or write it again",
    )
