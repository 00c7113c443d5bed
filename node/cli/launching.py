"""Starting peers of a network on this machine, and saying what went wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bootstrap.files import make_private_folder
from bootstrap.fork_server import Launch, Outcome, Run, start_peers
from bootstrap.home import NetworkFolder
from bootstrap.locks import FolderLock
from bootstrap.peer_folder import PeerFolder
from bootstrap.settings import StartSettings, load_settings, save_settings
from node.cli.failures import CommandFailed, failed, wrong_use
from node.cli.peers import ALIVE, LocalPeer

SEEDS_PER_PEER: Final = 5
"""Local peers that each is told of: some may be gone, and whoever answers introduces the others."""

PORTS_TIMEOUT_S: Final = 20.0
"""How long a start waits for another network's, so that neither takes a port that the other has found free."""


@dataclass(frozen=True, slots=True)
class PlannedPeer:
    """A peer that is to be started, and how."""

    folder: PeerFolder
    settings: StartSettings


def settings_of(peer: LocalPeer) -> StartSettings | None:
    """Return how ``peer`` was started last; None when nothing is known of it.

    Raises:
        StoreError: The record is damaged.
    """
    settings = load_settings(peer.folder)
    if settings is not None or peer.run is None:
        return settings
    host, _, port = peer.run.address.rpartition(":")
    api_host, _, api_port = peer.run.api.removeprefix("http://").rpartition(":")
    return StartSettings(bind=host, port=int(port), api_bind=api_host, api_port=int(api_port))


def launch(
    network: NetworkFolder,
    planned: Sequence[PlannedPeer],
    *,
    others: Sequence[LocalPeer],
    locks: Sequence[FolderLock],
    timeout_s: float,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> None:
    """Start peers, detached; return when each serves. See ``try_launch`` for the arguments.

    Raises:
        CommandFailed: At least one did not start; the others run.
        StoreError: Their folders cannot be written.
    """
    failures = try_launch(network, planned, others=others, locks=locks, timeout_s=timeout_s, on_outcome=on_outcome)
    if failures:
        raise not_started(failures, asked=len(planned))


def try_launch(
    network: NetworkFolder,
    planned: Sequence[PlannedPeer],
    *,
    others: Sequence[LocalPeer],
    locks: Sequence[FolderLock],
    timeout_s: float,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Start peers, detached; return what became of those that did not start, once each of the others serves.

    Args:
        others: The peers that live here already; some of those that run become seeds.
        locks: The right to start peers, and to choose ports; taken until each of them serves or has failed.

    Raises:
        StoreError: Their folders cannot be written.
    """
    for peer in planned:
        make_private_folder(peer.folder.path)
        save_settings(peer.folder, peer.settings)
    running = [peer.address for peer in others if peer.state in ALIVE and peer.address is not None]
    starting = {peer.folder.name: _contact(peer.settings) for peer in planned}
    contacts = [*running[:SEEDS_PER_PEER], *starting.values()][: SEEDS_PER_PEER + 1]
    seeds = {
        name: [*(contact for contact in contacts if contact != own)][:SEEDS_PER_PEER] for name, own in starting.items()
    }
    outcomes = start_peers(
        [Launch(peer.folder.name, peer.folder.path / "peer.log") for peer in planned],
        load=_loader(network, {peer.folder.name: peer.settings for peer in planned}, seeds),
        held=[lock.fileno() for lock in locks],
        timeout_s=timeout_s,
        on_outcome=on_outcome,
    )
    return [outcome for outcome in outcomes if not outcome.is_started]


def not_started(failures: Sequence[Outcome], *, asked: int) -> CommandFailed:
    """Return the failure for peers that did not start, out of ``asked``; at least one."""
    first = failures[0]
    name = "" if first.cause.startswith(first.name) else f"{first.name} did not start: "
    more = f" ({len(failures)} of {asked} peers did not start)" if asked > 1 else ""
    make = wrong_use if first.is_configuration else failed
    return make(f"{name}{first.cause}{more}", next_step=first.next_step)


def _contact(settings: StartSettings) -> str:
    """Return where peers of this machine reach one that starts with ``settings``."""
    host = "127.0.0.1" if settings.bind == "0.0.0.0" else settings.bind
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"


def _loader(
    network: NetworkFolder, settings: Mapping[str, StartSettings], seeds: Mapping[str, Sequence[str]]
) -> Callable[[], Run]:
    """Return what imports the program of a peer, in the helper: it is heavy, and the command needs none of it."""

    def load() -> Run:
        from node.local_peers import local_run

        return local_run(network, settings, seeds)

    return load
