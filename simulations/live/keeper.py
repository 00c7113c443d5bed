"""The process that starts the peers of a live run, and ends them when nobody needs them any more.

``python -m simulations.live.keeper FOLDER FOUNDING`` founds a network in ``FOLDER``, a ``PAIR_HOME`` of its own, and
starts the peers that each line of standard input names. It has no thread, so it may fork, and everything that a peer
imports is loaded once. When standard input ends, however the command ended, it kills each peer by its pid and deletes
the folder: nothing is left behind.
"""

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from bootstrap.files import make_private_folder
from bootstrap.fork_server import Launch, Outcome, Run, start_peers
from bootstrap.home import NetworkFolder
from bootstrap.locks import FolderLock
from bootstrap.ports import assign_ports, is_free, ports_locked
from bootstrap.settings import StartSettings
from bootstrap.voters import found_voters
from protocol.config import Profile
from protocol.errors import EnvironmentFault
from simulations.live.ending import end_network

NETWORK: Final = "live"
PORTS_TIMEOUT_S: Final = 20.0
"""How long the founding waits for another network that is looking for ports just now."""

START_TIMEOUT_S: Final = 30.0

_HOST: Final = "127.0.0.1"
_PEER_BASE: Final = 17_400
_API_BASE: Final = 18_400
"""Far from where ``pair up`` begins to look: a network that somebody starts beside a run gets its usual ports."""

_SEEDS: Final = 3
"""The first peers are everybody's seeds, as in the virtual world."""


class Founding(msgspec.Struct, frozen=True, kw_only=True):
    """What network is wanted."""

    nodes: int
    k: int
    profile: Profile
    voters: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A line of standard output: one for the founding, one for each order."""

    outcomes: tuple[Outcome, ...] = ()
    cause: str = ""
    """Why nothing was founded; empty when all is well."""

    next_step: str = ""


def main() -> None:
    """Found, start what is ordered, and end everything."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the command, which closes our input in good order
    folder = Path(sys.argv[1])
    try:
        with ExitStack() as ports_held:
            try:
                locks = ports_held.enter_context(ports_locked(timeout_s=PORTS_TIMEOUT_S))
                starter = _Starter(folder, msgspec.json.decode(sys.argv[2], type=Founding))
            except EnvironmentFault as fault:
                _tell(Answer(cause=fault.cause, next_step=fault.next_step))
                return
            _tell(Answer())
            names = _next_order()
            if names is not None:
                _tell(starter.start(names, locks))
        while (names := _next_order()) is not None:
            _tell(starter.start(names, ()))
    finally:
        end_network(folder)


def _next_order() -> tuple[str, ...] | None:
    line = sys.stdin.buffer.readline()
    return msgspec.json.decode(line, type=tuple[str, ...]) if line else None


def _tell(answer: Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


class _Starter:
    """Knows the network, and how each of its peers is started."""

    def __init__(self, folder: Path, founding: Founding) -> None:
        self._network = NetworkFolder(folder / NETWORK)
        self._network.found(NETWORK, mode="quorum" if founding.voters else "available")
        names = [f"peer-{number}" for number in range(1, founding.nodes + 1)]
        for name in names:
            self._network.peer(name).create()
        if founding.voters:
            found_voters(self._network, names[: founding.voters], profile=founding.profile)
        self._settings = dict(zip(names, _settings(founding), strict=True))
        self._seeds = [f"{_HOST}:{self._settings[name].port}" for name in names[:_SEEDS]]
        from node.local_peers import local_run  # heavy: only once it is known that there is something to run

        self._local_run = local_run

    def start(self, names: Sequence[str], locks: Sequence[FolderLock]) -> Answer:
        """Start peers and return what became of each."""
        for name in names:
            make_private_folder(self._network.peer(name).path)
        outcomes = start_peers(
            [Launch(name, self._network.peer(name).path / "peer.log") for name in names],
            load=self._loader(),
            held=[lock.fileno() for lock in locks],
            timeout_s=START_TIMEOUT_S,
        )
        return Answer(outcomes=tuple(outcomes))

    def _loader(self) -> Callable[[], Run]:
        seeds = {
            name: [seed for seed in self._seeds if seed != f"{_HOST}:{settings.port}"]
            for name, settings in self._settings.items()
        }
        return lambda: self._local_run(self._network, self._settings, seeds)


def _settings(founding: Founding) -> list[StartSettings]:
    """Return how each peer is started, at ports that are free.

    Raises:
        ConfigError: There are not as many.
    """
    ports = _free_ports(founding.nodes, first_base=_PEER_BASE, udp=True, taken=())
    api_ports = _free_ports(founding.nodes, first_base=_API_BASE, udp=False, taken=ports)
    return [
        StartSettings(
            port=port, api_port=api_port, profile=founding.profile, k=founding.k, zeroconf=False, faults=True
        )
        for port, api_port in zip(ports, api_ports, strict=True)
    ]


def _free_ports(count: int, *, first_base: int, udp: bool, taken: Sequence[int]) -> list[int]:
    found = assign_ports(
        count=count,
        base=None,
        first_base=first_base,
        kept={},
        running=(),
        free=lambda port: port not in taken and is_free(_HOST, port, udp=udp),
        avoid=(),
        option="--base-port",
    )
    return [found[number] for number in sorted(found)]


if __name__ == "__main__":
    main()
