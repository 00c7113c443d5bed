"""Waiting until one local peer is ready: it met another, or knows that it is alone."""

import time
from typing import Final

from node.api_client import ApiClient, ApiError
from node.cli.failures import failed
from node.cli.peers import LocalPeer

_PAUSE_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.1


def wait_ready(peer: LocalPeer, *, timeout_s: float) -> None:
    """Return once the health of ``peer`` says ready.

    Raises:
        CommandFailed: It ended, or time is up.
    """
    ends = time.monotonic() + timeout_s
    pause_s = _PAUSE_S
    client = ApiClient(str(peer.api))
    try:
        while True:
            try:
                client.request("GET", "/v1/health", timeout_s=max(0.05, ends - time.monotonic()))
                return
            except ApiError as error:
                reason = str(error)
            if peer.run is None or peer.run.state == "crashed":
                raise failed(f"{peer.name} ended again", next_step=f"its log: {peer.folder.path / 'peer.log'}")
            if time.monotonic() >= ends:
                raise failed(
                    f"{peer.name} runs, but is not ready after {timeout_s:.1f} s: {reason}",
                    next_step=f"pair status --peer {peer.name} shows more",
                )
            time.sleep(pause_s)
            pause_s = min(_PAUSE_MAX_S, pause_s * 1.5)
    finally:
        client.close()
