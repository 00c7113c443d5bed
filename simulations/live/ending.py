"""The end of a live network: each process by its pid, then the folder."""

import shutil
import signal
from pathlib import Path
from typing import Final

from bootstrap.home import list_networks
from bootstrap.peer_folder import Run
from bootstrap.processes import process_state, send_signal, wait_until

_END_TIMEOUT_S: Final = 10.0


def end_network(folder: Path) -> list[int]:
    """Kill every peer that runs from ``folder``, delete it, and return the pids of those that did not end.

    Nothing of it is needed any more, so nobody says goodbye. Idempotent.
    """
    runs = [run for network in list_networks(folder) for peer in network.peers() if (run := peer.run()) is not None]
    for run in runs:
        send_signal(run.pid, run.process_start, signal.SIGKILL)
    wait_until([lambda run=run: _is_gone(run) for run in runs], timeout_s=_END_TIMEOUT_S)  # type: ignore[misc]
    shutil.rmtree(folder, ignore_errors=True)
    return [run.pid for run in runs if not _is_gone(run)]


def _is_gone(run: Run) -> bool:
    return process_state(run.pid, run.process_start) == "gone"
