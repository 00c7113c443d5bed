"""The real peers of a live run: their processes, signals to them, and what they said at the last look."""

import signal
from typing import Final

from bootstrap.peer_folder import PeerFolder, Run, RunState
from bootstrap.processes import process_state, send_signal, wait_until
from protocol.ids import PeerId
from simulations.live.disks import DiskRecords
from simulations.live.seen import Seen, Table
from simulations.outside import View, view_of

_LOG_TAIL_BYTES: Final = 4096
_KILL_TIMEOUT_S: Final = 2.0


class LivePeer:
    """One peer: a folder, and a process if one runs."""

    losses: Final = 0
    """No disk is lost in a live run."""

    def __init__(self, folder: PeerFolder) -> None:
        """Look at the folder of a peer that has its key."""
        self.folder: Final = folder
        self.name: Final = folder.name
        self.peer_id: Final = PeerId(bytes.fromhex(folder.peer_id()))
        self.records: Final = DiskRecords(folder.path / "records.sqlite")
        self.seen: Seen | None = None
        """What it said at the last look; None when it said nothing."""

        self.is_starting = False
        self.asked_to_end = False
        self.is_frozen = False
        self._run: Run | None = None
        self._state: RunState = "stopped"

    @property
    def api(self) -> str:
        """Where the API of the present or last run is."""
        assert self._run is not None, f"{self.name} has run"
        return self._run.api

    @property
    def is_up(self) -> bool:
        """Whether a process exists, paused or not."""
        return self._state in ("running", "paused")

    @property
    def is_answering(self) -> bool:
        """Whether it serves, and nobody froze it."""
        return self.is_up and not self.is_frozen and not self.is_starting

    @property
    def boot(self) -> int:
        """Number of the present or last run."""
        return self._run.boot if self._run is not None else 0

    @property
    def election(self) -> Seen:
        """Its part in the election, as it said."""
        assert self.seen is not None, f"{self.name} answered"
        return self.seen

    @property
    def table(self) -> Table:
        """Its member table, as it said."""
        assert self.seen is not None, f"{self.name} answered"
        return self.seen.table

    @property
    def view(self) -> View:
        """How its table describes the living."""
        return view_of(self.table)

    def look_at_process(self) -> None:
        """See whether the process is there."""
        self._run = self.folder.run()
        self._state = self._run.state if self._run is not None else "stopped"
        if not self.is_up:
            self.seen, self.is_frozen = None, False

    def begins(self) -> None:
        """Note that it is being started."""
        self.is_starting, self.asked_to_end = True, False

    def kill(self) -> None:
        """End the process at once; return when it is gone, which takes the system a moment."""
        self._end(signal.SIGKILL)
        wait_until([lambda: not self._is_there()], timeout_s=_KILL_TIMEOUT_S)
        self.look_at_process()

    def ask_to_stop(self) -> None:
        """Ask the process to end in good order."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let the process stand still."""
        self.is_frozen = self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process go on."""
        self._signal(signal.SIGCONT)
        self.is_frozen = False

    def last_words(self) -> str:
        """Return the last line of its log."""
        path = self.folder.path / "peer.log"
        try:
            with path.open("rb") as log:
                log.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def has_logged(self, words: str) -> bool:
        """Return whether its log holds these words."""
        path = self.folder.path / "peer.log"
        return path.exists() and words in path.read_text(errors="replace")

    def _end(self, number: signal.Signals) -> None:
        self.asked_to_end = True
        self._signal(number)

    def _is_there(self) -> bool:
        return self._run is not None and process_state(self._run.pid, self._run.process_start) != "gone"

    def _signal(self, number: signal.Signals) -> bool:
        return self._run is not None and send_signal(self._run.pid, self._run.process_start, number)
