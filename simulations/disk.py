"""Disks of simulated hosts: they outlive processes, take time to sync, and fail on demand.

What is on the platter survives a power cut; what a write has not finished is lost whole, or, now and then, is there
although nobody was told: both happen on real disks. Torn files are tested on real files.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from node.adapters import VoteKeeper
from node.config import PeerConfig
from node.peer_disk import next_boot
from node.ports import StoredRecord
from protocol.effects import Promise
from protocol.errors import ConfigError, DiskFull
from protocol.identity import Identity
from protocol.invite_book import IssuedInvite
from protocol.records import Record
from protocol.statements import Ban, Descriptor, VoterList
from simulations.memory_records import MemoryRecordStore

TOKENS: Final[Mapping[str, str]] = {"read": "pairt_read", "member": "pairt_member", "admin": "pairt_admin"}

_SYNC_S: Final = 0.0005
_LATE_WRITE_CHANCE: Final = 0.5
"""How often a write that was cut off is on the platter all the same."""


class HostDisk:
    """What one host has on its platter."""

    def __init__(self, identity: Identity, *, seed: int) -> None:
        """Begin with a fresh disk that holds a peer's key."""
        self.identity: Final = identity
        self.records = MemoryRecordStore()
        self.promise: Promise | None = None
        self.last_boot: int | None = None
        self.remembered: tuple[Descriptor, ...] = ()
        self.bans: tuple[Ban, ...] = ()
        self.voters: VoterList | None = None
        """The list of voters among the peer's documents; in the network's folder it is from the beginning."""

        self.lost_promise = False
        """Whether the vote file is gone though the peer voted; until a promise is saved again, as with a real file."""

        self.losses = 0
        """How often everything on it was lost."""

        self.sync_s = _SYNC_S
        """How long a sync takes, at least; up to three times as long."""

        self.is_full = False
        self._random = random.Random(seed)

    def destroy(self) -> None:
        """Lose everything but the peer's key, as a disk that died and was replaced."""
        self.records = MemoryRecordStore()
        self.losses += 1
        self.lost_promise = self.lost_promise or self.promise is not None
        self.promise = None
        self.remembered = ()
        self.bans = ()

    def check_space(self) -> None:
        """Raise if nothing more fits.

        Raises:
            DiskFull: The disk is full.
        """
        if self.is_full:
            raise DiskFull("no space left on the simulated disk", next_step="let the fault end")

    def sync_duration_s(self) -> float:
        """Return how long the next sync takes."""
        return self.sync_s * (1 + 2 * self._random.random())

    def keeps_cut_off_write(self) -> bool:
        """Return whether a write that was cut off is on the platter all the same."""
        return self._random.random() < _LATE_WRITE_CHANCE


class VirtualRecords:
    """Implements ``node.ports.RecordStore``: commits take time, everything else answers from the platter."""

    def __init__(self, disk: HostDisk) -> None:
        self._disk = disk
        self._store = disk.records
        self.unfinished: list[Sequence[StoredRecord]] = []
        """Commits that wait for their sync."""
        self.read = self._store.read
        self.digests = self._store.digests
        self.scan = self._store.scan
        self.changed_since = self._store.changed_since
        self.expired = self._store.expired
        self.usage = self._store.usage
        self.count = self._store.count

    @property
    def collected_before(self) -> int:
        """Stamp of the newest tombstone known to be collected."""
        return self._store.collected_before

    async def commit(self, records: Sequence[StoredRecord]) -> Sequence[Record]:
        """Store what wins; deletes fit always, as on a disk that is only nearly full."""
        if not all(stored.record.is_tombstone for stored in records):
            self._disk.check_space()
        self.unfinished.append(records)
        await asyncio.sleep(self._disk.sync_duration_s())
        self.unfinished.remove(records)
        return await self._store.commit(records)

    async def remove(self, versions: Sequence[StoredRecord]) -> None:
        """Forget exactly these versions."""
        await asyncio.sleep(self._disk.sync_duration_s())
        await self._store.remove(versions)

    async def set_aside(self, versions: Sequence[StoredRecord]) -> None:
        """Move exactly these versions out of sight."""
        await asyncio.sleep(self._disk.sync_duration_s())
        await self._store.set_aside(versions)

    async def raise_collected_before(self, stamp: int) -> None:
        """Keep a higher stamp."""
        self._disk.check_space()
        await asyncio.sleep(self._disk.sync_duration_s())
        await self._store.raise_collected_before(stamp)

    async def close(self) -> None:
        """Nothing is left to finish: callers wait for their commits."""


class _Votes(VoteKeeper):
    def __init__(self, disk: HostDisk) -> None:
        self._disk = disk

    def save(self, promise: Promise) -> None:
        # A vote file is made at the first start and never grows: it needs no space.
        self._disk.promise = promise
        self._disk.lost_promise = False


class OpenDisk:
    """One run's view of a host's disk. Implements ``node.adapters.Disk``."""

    def __init__(self, platter: HostDisk, *, identity: Identity, wall_s: int, noise: bytes) -> None:
        """Open the disk for one run.

        Args:
            identity: The peer's key pair; given apart, so that a checker can listen to what it signs.
        """
        self.platter: Final = platter
        self.identity: Final = identity
        self.boot: Final = next_boot(platter.last_boot, wall_s=wall_s, noise=noise)
        platter.last_boot = self.boot
        self.promise = platter.promise
        self.may_vote = not platter.lost_promise
        self.votes: Final = _Votes(platter)
        self.voters = () if platter.voters is None else (platter.voters,)
        self.remembered = platter.remembered
        self.bans = platter.bans
        self.invites: Sequence[IssuedInvite] = ()
        self.tokens = TOKENS
        self.records: Final = VirtualRecords(platter)

    def keep_voters(self, voters: VoterList) -> None:
        """Keep the list of voters."""
        self.platter.voters = voters

    def keep_bans(self, bans: Sequence[Ban]) -> None:
        """Keep the bans."""
        self.platter.bans = tuple(bans)

    def admin(self) -> Identity:
        """Refuse: no simulated machine has the admin's key.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("the admin's key is not here", next_step="let the scenario sign what it needs")

    def keep_invites(self, invites: Sequence[IssuedInvite]) -> None:
        """Nobody is invited into a simulated network: what is kept is not read again."""

    def apis_here(self) -> Sequence[str]:
        """Return none: simulated peers have no API on any machine."""
        return ()

    def remember(self, living: Sequence[Descriptor]) -> None:
        """Keep the members for the next start."""
        self.platter.remembered = tuple(living)

    def begin_run(self, *, address: str, api: str) -> None:
        """Nobody looks for files of a simulated peer."""

    def lose_power(self) -> None:
        """The process is gone: what it had not synced is lost, or was already on its way to the platter."""
        for records in self.records.unfinished:
            if self.platter.keeps_cut_off_write():
                for stored in records:
                    self.platter.records.store(stored)
        self.records.unfinished.clear()


@asynccontextmanager
async def opened(disk: OpenDisk, config: PeerConfig) -> AsyncIterator[OpenDisk]:
    """Give the disk to a peer for one run."""
    yield disk
