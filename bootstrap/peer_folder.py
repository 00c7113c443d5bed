"""The folder of one peer: its key, its lock, and what is known of its present or last run.

Light to import: ``pair ps`` reads a folder of each peer and nothing else.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from bootstrap.files import make_private_folder, os_errors, read_file, replace_file
from bootstrap.keys import create_key, key_id, load_key
from bootstrap.locks import FolderInUse, FolderLock, is_locked
from bootstrap.processes import pid_namespace, process_start, process_state
from protocol.errors import StoreError

if TYPE_CHECKING:
    from protocol.identity import Identity

RunState: TypeAlias = Literal["running", "paused", "stopped", "crashed"]

_LOCK_TRIES: Final = 5
_LOCK_PAUSE_S: Final = 0.002
"""Whoever looks whether the lock is held has a share of it for some microseconds."""

_GROWN: Final = ("vote", "peer.json", "records.sqlite")
"""Files that only a peer with a key writes: beside them a missing key is a lost one."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``run.json``: one run of the peer, present or last."""

    pid: int
    process_start: str
    """See ``bootstrap.processes``: tells the process from a later one with the same pid."""

    name: str
    id: str
    """64 hexadecimal digits."""

    network: str
    address: str
    """``HOST:PORT`` of the peer port."""

    api: str
    """``http://HOST:PORT``."""

    boot: int = 0
    """The run's boot number; lets the next one rise even when ``peer.json`` is lost."""

    ended: bool = False
    """Whether the run came to an orderly end."""

    pid_namespace: str = ""
    """What the pid counts in; see ``bootstrap.processes``."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether its process is of another container, so that it cannot be seen from here."""
        return self.pid_namespace not in ("", pid_namespace())

    @property
    def state(self) -> RunState:
        """What the peer does at this moment; a run elsewhere counts as ended: only its folder's lock tells."""
        if self.ended:
            return "stopped"
        if self.is_elsewhere:
            return "crashed"
        state = process_state(self.pid, self.process_start)
        return "crashed" if state == "gone" else state


class PeerFolder:
    """One peer's folder; creating the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.key_path: Final = path / "node.key"
        self._run_path: Final = path / "run.json"
        self._lock_path: Final = path / "lock"

    @property
    def name(self) -> str:
        """Name of the folder, and of the peer."""
        return self.path.name

    def exists(self) -> bool:
        """Return whether a peer lives here: it has a key, or once had one, which must not make it invisible."""
        try:
            return self.key_path.exists() or self._has_grown()
        except OSError:
            return False

    def create(self) -> "Identity":
        """Create the folder and the peer's key, or load the key that is there.

        Raises:
            ConfigError: The key is readable by others, or belongs to another user.
            StoreError: The folder cannot be written; the key is damaged, or missing beside the data of a peer.
        """
        make_private_folder(self.path)
        if not self.key_path.exists() and self._has_grown():
            raise StoreError(
                f"{self.key_path} is missing, though a peer lived here",
                next_step="restore it from a copy, or delete the folder to begin with a new peer",
            )
        return create_key(self.key_path)

    def identity(self) -> "Identity":
        """Return the peer's key pair.

        Raises:
            ConfigError: The key is readable by others, or belongs to another user.
            StoreError: The key is missing or damaged.
        """
        return load_key(self.key_path)

    def peer_id(self) -> str:
        """Return the peer's id, 64 hexadecimal digits, without the cost of loading its key pair.

        Raises:
            ConfigError, StoreError: As ``identity``.
        """
        return key_id(self.key_path)

    def lock(self) -> FolderLock:
        """Take the folder for this process; held until released or until the process ends.

        Raises:
            FolderInUse: Another process has it.
            StoreError: The lock cannot be created.
        """
        make_private_folder(self.path)
        for tries_left in reversed(range(_LOCK_TRIES)):
            try:
                return FolderLock(
                    self._lock_path,
                    purpose=f"{self.name!r} already runs from this folder",
                    next_step=f"stop it first ('pair stop {self.name}'), or choose another name",
                )
            except FolderInUse:
                if not tries_left:
                    raise
            time.sleep(_LOCK_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def claim(self) -> FolderLock:
        """Take the right to be this peer, before it runs: of several that look for a free one, one gets it.

        Raises:
            FolderInUse: Another process has it, or runs as the peer without having asked for it.
            StoreError: The lock cannot be created.
        """
        make_private_folder(self.path)
        claim = FolderLock(self.path / "claim.lock", purpose=f"{self.name!r} is taken", next_step="choose another name")
        try:
            self.lock().release()
        except BaseException:
            claim.release()
            raise
        return claim

    def last_ran(self) -> float:
        """Return when the last run began or ended, in Unix seconds; 0 when there was none.

        Raises:
            StoreError: The operating system does not let us look.
        """
        with os_errors(f"read {self._run_path}"):
            try:
                return self._run_path.stat().st_mtime
            except FileNotFoundError:
                return 0.0

    def begin_run(self, *, id: str, network: str, address: str, api: str, boot: int = 0) -> Run:
        """Record that this process is the peer from now on; the caller holds the lock.

        Raises:
            StoreError: It cannot be written.
        """
        pid = os.getpid()
        run = Run(
            pid=pid,
            process_start=process_start(pid) or "",
            name=self.name,
            id=id,
            network=network,
            address=address,
            api=api,
            boot=boot,
            pid_namespace=pid_namespace(),
        )
        replace_file(self._run_path, msgspec.json.encode(run) + b"\n")
        return run

    def end_run(self) -> None:
        """Record the orderly end of the present run; the caller still holds the lock. Idempotent.

        Raises:
            StoreError: It cannot be written.
        """
        run = self.run()
        if run is not None and not run.ended:
            replace_file(self._run_path, msgspec.json.encode(msgspec.structs.replace(run, ended=True)) + b"\n")

    def run(self) -> Run | None:
        """Return the present or last run; None when there was none, or its record is not readable.

        Raises:
            StoreError: The operating system does not let us read it.
        """
        content = read_file(self._run_path)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=Run)
        except (msgspec.MsgspecError, ValueError):
            return None  # it only describes a process: the next start writes it anew

    def state(self) -> RunState:
        """Return what the peer does at this moment.

        Raises:
            StoreError: As ``run``.
        """
        return self.state_of(self.run())

    def state_of(self, run: Run | None) -> RunState:
        """Return what the peer does, given its present or last run.

        Raises:
            StoreError: The operating system does not let us look.
        """
        if run is None:
            return "stopped"
        # A process that cannot be seen from here still holds the lock of the folder.
        if run.is_elsewhere and not run.ended and is_locked(self._lock_path):
            return "running"
        return run.state

    def _has_grown(self) -> bool:
        return any((self.path / name).exists() for name in _GROWN)
