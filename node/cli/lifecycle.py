"""``ps down kill pause resume restart stop``: processes of local peers, whether or not they answer."""

import time

import click

from bootstrap.home import NetworkFolder
from bootstrap.locks import FolderInUse, FolderLock
from node.cli.completion import complete_peers, complete_targets
from node.cli.ending import END_TIMEOUT_S, end_peers, kill_peer, pause_peer, resume_peer
from node.cli.failures import failed, not_found, refused, wrong_use
from node.cli.launching import PlannedPeer, launch, settings_of
from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import counted, print_json, print_line, print_note, print_table
from node.cli.peers import (
    ALIVE,
    LocalPeer,
    existing_network,
    local_peer,
    local_peers,
    network_of,
    networks_here,
    require_here,
    require_local,
)
from node.cli.readiness import wait_ready
from node.cli.targets import resolve_target
from node.cli.waiting import waiting

_LOCK_PAUSE_S = 0.02


@click.command(cls=PairCommand)
@pass_options
def ps(options: Options, /) -> None:
    """List the peers of this machine, running or not; of all networks, unless --network names one."""
    networks = networks_here() if options.network is None else [existing_network(options.network)]
    peers = [peer for network in networks for peer in local_peers(network)]
    if options.as_json:
        print_json([peer.document() for peer in peers])
        return
    if not peers:
        print_note("no peers live here; pair up 5 starts some")
        return
    print_table(
        ["network", "name", "state", "pid", "address", "api", "id"],
        [
            [peer.network, peer.name, peer.state, peer.pid, peer.address, peer.api, peer.id and peer.id[:12]]
            for peer in peers
        ],
    )


@click.command(cls=PairCommand)
@click.option("--purge", is_flag=True, help="Delete the network from this machine too: keys, tokens and all data.")
@pass_options
def down(options: Options, /, purge: bool) -> None:
    """Stop all local peers of a network, in good order; the data is kept unless --purge is given."""
    network = network_of(options.network)
    if not network.exists() and not network.peers():
        if options.network is not None:
            raise not_found(f"there is no network {network.name!r} here", next_step="pair ps lists the peers")
        _print_down(options, [], "nothing runs here: there is no network on this machine")
        return
    with _lock(network, options), waiting("stopping the peers"):
        if purge:
            for peer in local_peers(network):
                require_here(peer)
        peers = [peer for peer in local_peers(network) if peer.pid is not None]
        killed = end_peers(peers, timeout_s=_end_timeout_s(options))
        rows = local_peers(network)
        if purge:
            network.purge()
    what = f"{counted(len(peers), 'peer')} of {network.name!r} stopped"
    if not peers:
        what = f"no peer of {network.name!r} was running"
    late = f" ({', '.join(killed)} had to be killed)" if killed else ""
    _print_down(options, rows, f"{what}{late}; {'all data is deleted' if purge else 'the data is kept'}")


@click.command(cls=PairCommand)
@click.argument("name", metavar="NAME|leader|random", shell_complete=complete_targets)
@pass_options
def kill(options: Options, /, name: str) -> None:
    """End a peer at once (SIGKILL), as a crash would."""
    peer = resolve_target(options, name, ALIVE)
    if peer.pid is None:
        raise refused(f"{peer.name} is {peer.state} already", next_step=f"start it again: pair restart {peer.name}")
    kill_peer(peer)
    _print_peer(options, peer, peer.pid, "killed")


@click.command(cls=PairCommand)
@click.argument("name", metavar="NAME|leader|random", shell_complete=complete_targets)
@pass_options
def pause(options: Options, /, name: str) -> None:
    """Freeze a peer (SIGSTOP): it keeps its memory and its connections, and says nothing."""
    peer = resolve_target(options, name, ("running",))
    pause_peer(peer)
    _print_peer(options, peer, peer.pid, "paused")


@click.command(cls=PairCommand)
@click.argument("name", metavar="NAME|leader|random", shell_complete=complete_targets)
@pass_options
def resume(options: Options, /, name: str) -> None:
    """Let a frozen peer go on (SIGCONT)."""
    peer = resolve_target(options, name, ("paused",))
    resume_peer(peer)
    _print_peer(options, peer, peer.pid, "resumed")


@click.command(cls=PairCommand)
@click.argument("name", metavar="NAME|leader|random", shell_complete=complete_targets)
@pass_options
def restart(options: Options, /, name: str) -> None:
    """Stop a peer and start it again, or start one that was killed; return when it is ready."""
    ends = time.monotonic() + options.deadline_s
    peer = resolve_target(options, name, (*ALIVE, "crashed", "stopped"))
    network = network_of(options.network)
    settings = settings_of(peer)
    if settings is None:
        raise failed(
            f"it is not known how {peer.name} was started", next_step=f"pair start --name {peer.name} starts it"
        )
    with waiting(f"starting {peer.name}"):
        with _lock(network, options) as lock:
            end_peers([peer], timeout_s=_end_timeout_s(options))
            launch(
                network,
                [PlannedPeer(peer.folder, settings)],
                others=[other for other in local_peers(network) if other.name != peer.name],
                locks=[lock],
                timeout_s=max(1.0, ends - time.monotonic()),
            )
        fresh = local_peer(network, peer.folder)
        wait_ready(fresh, timeout_s=max(1.0, ends - time.monotonic()))
    _print_peer(options, fresh, fresh.pid, "runs again")


@click.command(cls=PairCommand)
@click.argument("name", required=False, shell_complete=complete_peers)
@pass_options
def stop(options: Options, /, name: str | None) -> None:
    """Stop one peer in good order; without NAME the only one that runs here."""
    network = existing_network(options.network)
    peer = require_here(require_local(network, name)) if name is not None else _only_running(network)
    pid = peer.pid
    if pid is None:
        _print_peer(options, peer, None, f"is {peer.state} already")
        return
    with waiting(f"stopping {peer.name}"):
        killed = end_peers([peer], timeout_s=_end_timeout_s(options))
    _print_peer(options, peer, pid, "did not stop in time and was killed" if killed else "stopped")


def _only_running(network: NetworkFolder) -> LocalPeer:
    running = [peer for peer in local_peers(network) if peer.pid is not None]
    if not running:
        raise not_found(f"no peer of {network.name!r} runs here", next_step="pair ps lists the peers")
    if len(running) > 1:
        names = [peer.name for peer in running]
        raise wrong_use(
            f"several peers run here: {', '.join(names)}",
            next_step="name one, or stop all with pair down",
            facts={"candidates": names},
        )
    return running[0]


def _lock(network: NetworkFolder, options: Options) -> FolderLock:
    """Take the right to start and end peers, and wait for another command that has it, up to the time-out.

    Raises:
        FolderInUse: It still had it then.
    """
    ends = time.monotonic() + options.deadline_s
    while True:
        try:
            return network.lock()
        except FolderInUse:
            if time.monotonic() >= ends:
                raise
        time.sleep(_LOCK_PAUSE_S)


def _end_timeout_s(options: Options) -> float:
    return END_TIMEOUT_S if options.timeout_s is None else options.timeout_s


def _print_peer(options: Options, peer: LocalPeer, pid: int | None, what: str) -> None:
    if options.as_json:
        print_json({"name": peer.name, "id": peer.id, "pid": pid})
    else:
        print_line(f"{peer.name} {what}" + (f" (process {pid})" if pid is not None else ""))


def _print_down(options: Options, rows: list[LocalPeer], what: str) -> None:
    if options.as_json:
        print_json([peer.document() for peer in rows])
    else:
        print_line(what)
