"""Signals to local peers: to their processes, by pid and start, whether or not anybody answers."""

import signal
from collections.abc import Callable, Sequence
from typing import Final

from bootstrap.processes import process_state, send_signal, wait_until
from node.cli.failures import failed, refused
from node.cli.peers import LocalPeer

END_TIMEOUT_S: Final = 8.0
"""A peer ends within 5 s by itself; one that takes longer is killed."""

KILL_TIMEOUT_S: Final = 5.0


def end_peers(peers: Sequence[LocalPeer], *, timeout_s: float = END_TIMEOUT_S) -> list[str]:
    """Stop all of them at once, in good order, and wait; return the names of those that had to be killed.

    Raises:
        CommandFailed: One did not even end when it was killed.
    """
    for peer in peers:
        signal_peer(peer, signal.SIGTERM)
        signal_peer(peer, signal.SIGCONT)  # a paused process hears nothing else
    wait_until([_is_gone(peer) for peer in peers], timeout_s=timeout_s)
    late = [peer for peer in peers if not _is_gone(peer)()]
    for peer in late:
        kill_peer(peer)
    return [peer.name for peer in late]


def kill_peer(peer: LocalPeer) -> None:
    """End the peer's process at once and wait until it is gone.

    Raises:
        CommandFailed: It is still there.
    """
    signal_peer(peer, signal.SIGKILL)
    if not wait_until([_is_gone(peer)], timeout_s=KILL_TIMEOUT_S):
        raise failed(
            f"{peer.name} (process {peer.pid}) does not end, not even when killed",
            next_step="it hangs in the system, perhaps at a disk: look at it with ps, and try again",
        )


def pause_peer(peer: LocalPeer) -> None:
    """Freeze the peer's process and wait until it stands still.

    Raises:
        CommandFailed: It does not run, or goes on.
    """
    _require_process(peer)
    signal_peer(peer, signal.SIGSTOP)
    if not wait_until([_is_in(peer, "paused")], timeout_s=KILL_TIMEOUT_S):
        raise failed(f"{peer.name} did not pause", next_step="pair ps shows its state")


def resume_peer(peer: LocalPeer) -> None:
    """Let the peer's process go on.

    Raises:
        CommandFailed: It has no process, or stands still.
    """
    _require_process(peer)
    signal_peer(peer, signal.SIGCONT)
    if not wait_until([_is_in(peer, "running")], timeout_s=KILL_TIMEOUT_S):
        raise failed(f"{peer.name} did not go on", next_step="pair ps shows its state")


def signal_peer(peer: LocalPeer, number: signal.Signals) -> bool:
    """Send a signal to the process of the peer's present run; return False when there is none any more."""
    return peer.run is not None and send_signal(peer.run.pid, peer.run.process_start, number)


def _require_process(peer: LocalPeer) -> None:
    if peer.pid is None:
        raise refused(f"{peer.name} is {peer.state}", next_step=f"start it again: pair restart {peer.name}")


def _is_gone(peer: LocalPeer) -> Callable[[], bool]:
    return _is_in(peer, "gone")


def _is_in(peer: LocalPeer, state: str) -> Callable[[], bool]:
    run = peer.run
    return lambda: run is None or process_state(run.pid, run.process_start) == state
