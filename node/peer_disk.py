"""All that one peer keeps on disk, opened in order and closed in reverse (DESIGN section 10).

    lock ─→ node.key ─→ vote ─→ peer.json (boot) ─→ records.sqlite ─→ run.json while it runs

A second process is refused before it can touch anything. What is damaged is set aside and told (``alarms``); only
a damaged key ends the start, since without it this peer would be another.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec

from bootstrap.home import NetworkFolder
from bootstrap.invites import load_invites, save_invites
from bootstrap.peer_folder import PeerFolder
from bootstrap.voters import load_voters
from node.clock import wall_ms
from node.config import PeerConfig
from node.storage.documents import PeerDocuments
from node.storage.records import SqliteRecordStore
from node.storage.vote import VoteDamaged, VoteFile, VoteFound, VoteMissing
from protocol.effects import Promise
from protocol.election.promises import NO_BALLOT, NO_COUNCIL_HASH
from protocol.errors import StoreError
from protocol.identity import Identity
from protocol.invite_book import IssuedInvite
from protocol.statements import Ban, Descriptor, VoterList

BOOT_RANDOM_BITS: Final = 24
BOOT_TIME_MAX: Final = 2**40 - 1

_NOTHING_PROMISED: Final = Promise(voted=NO_BALLOT, council_hash=NO_COUNCIL_HASH, highest=NO_BALLOT)

_log = logging.getLogger("pair.disk")


class PeerDisk:
    """The files of one peer, which belong to this process while the object is open."""

    def __init__(self, config: PeerConfig, folder: PeerFolder, executor: ThreadPoolExecutor) -> None:
        """Open everything in the locked ``folder``. Use ``opened``.

        Raises:
            ConfigError, StoreError: As ``opened``.
        """
        self._config = config
        self._folder = folder
        self._executor = executor
        self._alarms: list[str] = []
        self.identity: Final = folder.create()
        self._documents = PeerDocuments(folder.path / "peer.json")
        last_boot = self._last_boot()
        ran_before = last_boot is not None or self._documents.kept_as is not None
        self.votes: Final = VoteFile(folder.path / "vote")
        self.promise: Promise | None = None
        self.may_vote = True
        self._load_vote(ran_before=ran_before)
        self.boot: Final = next_boot(last_boot, wall_s=wall_ms() // 1000, noise=os.urandom(BOOT_RANDOM_BITS // 8))
        self._documents.begin_boot(self.boot)
        self.remembered: Final = self._documents.remembered()
        self.voters: Final = self._kept_voters()
        self.bans: Final = self._documents.bans()
        self.invites: Final = self._kept_invites()
        self.tokens: Final[Mapping[str, str]] = msgspec.structs.asdict(NetworkFolder(config.network_folder).tokens())
        self.records: Final = self._open_records(ran_before=ran_before)
        self._to_remember: Sequence[Descriptor] = ()
        self._remembering: Future[None] | None = None
        self._has_begun = False

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: PeerConfig) -> AsyncIterator["PeerDisk"]:
        """Take the peer's folder for this process, open all in it, and close it in the end.

        Raises:
            ConfigError: Another process has the folder (``FolderInUse``), or a secret is not private.
            StoreError: The folder cannot be written, the key is damaged, or a newer version wrote a file.
        """
        folder = NetworkFolder(config.network_folder).peer(config.name)
        with folder.lock(), ThreadPoolExecutor(1, thread_name_prefix="pair-disk") as executor:
            disk = cls(config, folder, executor)
            async with AsyncExitStack() as parts:
                parts.callback(disk._end_run)
                parts.callback(disk.votes.close)
                parts.push_async_callback(disk._finish_remembering)
                parts.push_async_callback(disk.records.close)
                yield disk

    @property
    def alarms(self) -> Sequence[str]:
        """What was found damaged or missing at the start, for people."""
        return tuple(self._alarms)

    def begin_run(self, *, address: str, api: str) -> None:
        """Tell other programs that the peer runs, and where.

        Raises:
            StoreError: It cannot be written.
        """
        self._folder.begin_run(
            id=self.identity.peer_id.hex(),
            network=self._config.network.name,
            address=address,
            api=api,
            boot=self.boot,
        )
        self._has_begun = True

    def keep_voters(self, voters: VoterList) -> None:
        """Keep the list of voters durably; waits for one sync of the disk.

        Raises:
            StoreError: It is not known to be on disk.
        """
        # Documents have one thread; what it has at hand before is a batch of records at most.
        self._executor.submit(self._documents.keep_voters, voters).result()

    def keep_bans(self, bans: Sequence[Ban]) -> None:
        """Keep the bans durably; waits for one sync of the disk.

        Raises:
            StoreError: They are not known to be on disk.
        """
        self._executor.submit(self._documents.keep_bans, bans).result()

    def admin(self) -> Identity:
        """Return the admin's key pair, which only the founder's folder holds.

        Raises:
            ConfigError, StoreError: As ``NetworkFolder.admin``.
        """
        return NetworkFolder(self._config.network_folder).admin()

    def keep_invites(self, invites: Sequence[IssuedInvite]) -> None:
        """Keep the invites durably; waits for the disk, as seldom as somebody joins by one.

        Raises:
            StoreError: They are not known to be on disk.
        """
        save_invites(self._folder.path, invites)

    def apis_here(self) -> Sequence[str]:
        """Return the APIs of the peers of this folder that run, this one's first."""
        folders = NetworkFolder(self._config.network_folder).peers()
        runs = [(folder.name != self._folder.name, run) for folder in folders if (run := folder.run()) is not None]
        return [run.api for _, run in sorted(runs, key=lambda found: found[0]) if run.state in ("running", "paused")]

    def remember(self, living: Sequence[Descriptor]) -> None:
        """Keep the other members for the next start, soon; a failure to do so is logged.

        When none is left, those kept before stay: whom to ask after everybody went is worth more than nothing.
        """
        others = [descriptor for descriptor in living if descriptor.peer_id != self.identity.peer_id]
        if not others:
            return
        self._to_remember = others
        # At most one write at work and one behind it, which takes the newest members there are by then.
        if self._remembering is None or self._remembering.running() or self._remembering.done():
            self._remembering = self._executor.submit(self._write_remembered)

    def _last_boot(self) -> int | None:
        """Return the highest boot that this folder knows of, None before the first."""
        run, kept_as = self._folder.run(), self._documents.kept_as
        lost = "remembered peers are lost, so the network is found through seeds or on the local network"
        if kept_as is not None:
            self._alarm(f"peer.json was damaged and is kept as {kept_as}; {lost}")
        elif run is not None and self._documents.boot is None:
            self._alarm(f"peer.json is missing though this peer ran before; {lost}")
        known = [self._documents.boot, run.boot if run is not None else None]
        return max((boot for boot in known if boot is not None and 0 < boot < 2**64), default=None)

    def _load_vote(self, *, ran_before: bool) -> None:
        match self.votes.load():
            case VoteMissing() if not ran_before:
                # From now on a missing file is a lost one; and a vote needs no space on a disk that is full by then.
                self.votes.save(_NOTHING_PROMISED)
            case VoteMissing():
                self._lose_vote("the vote file is missing")
            case VoteDamaged(kept_as):
                self._lose_vote(f"the vote file was damaged and is kept as {kept_as}")
            case VoteFound(promise, slot_damaged):
                self.promise = promise
                if slot_damaged:
                    self._lose_vote("the vote file has one damaged slot, which may have held the last vote")

    def _lose_vote(self, cause: str) -> None:
        self.may_vote = False
        if self._config.network.mode == "quorum":
            then = f"it never votes again before the admin readmits it: pair doctor --readmit {self._config.name}"
        else:
            then = "this peer does not vote before it has learned the current term from others"
        self._alarm(f"{cause}; {then}")

    def _kept_voters(self) -> tuple[VoterList, ...]:
        """Return the list in the network's folder and the one among the documents, where they are there."""
        kept = (load_voters(NetworkFolder(self._config.network_folder)), self._documents.voters())
        return tuple(voters for voters in kept if voters is not None)

    def _kept_invites(self) -> tuple[IssuedInvite, ...]:
        invites, kept_as = load_invites(self._folder.path)
        if kept_as is not None:
            self._alarm(f"the file of invites was damaged and is kept as {kept_as}; those in it let nobody in any more")
        return invites

    def _open_records(self, *, ran_before: bool) -> SqliteRecordStore:
        path = self._folder.path / "records.sqlite"
        if ran_before and not path.exists():
            self._alarm("records.sqlite is missing though this peer ran before; other peers send its records again")
        records = SqliteRecordStore(path, executor=self._executor)
        if records.damage is not None:
            self._alarm(str(records.damage))
        return records

    def _alarm(self, text: str) -> None:
        _log.warning("%s", text)
        self._alarms.append(text)

    def _write_remembered(self) -> None:
        try:
            self._documents.remember(self._to_remember)
        except StoreError as error:
            # The next start will need a seed or zeroconf; nothing that was promised is lost.
            _log.warning("remembered peers were not written: %s", error)

    async def _finish_remembering(self) -> None:
        if self._remembering is not None:
            await asyncio.wrap_future(self._remembering)

    def _end_run(self) -> None:
        if not self._has_begun:
            return  # what the folder tells of the run before is still true
        try:
            self._folder.end_run()
        except StoreError as error:
            _log.warning("the orderly end was not recorded: %s", error)


def next_boot(last: int | None, *, wall_s: int, noise: bytes) -> int:
    """Return a boot above ``last``: 40 bits of seconds since 1970, or just more than before; 24 random bits."""
    time = wall_s if last is None else max(wall_s, (last >> BOOT_RANDOM_BITS) + 1)
    return min(time, BOOT_TIME_MAX) << BOOT_RANDOM_BITS | int.from_bytes(noise, "big")
