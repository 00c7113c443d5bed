"""``start``: run one peer, here or detached; found or join the network that it belongs to."""

import ipaddress
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bootstrap.home import NetworkFolder, load_key_file, pair_home
from bootstrap.locks import FolderLock
from bootstrap.peer_folder import PeerFolder
from bootstrap.ports import API_BASE, PEER_BASE, assign_port, is_free, ports_locked
from bootstrap.settings import StartSettings, load_settings, save_settings
from bootstrap.voters import found_voters, read_voters
from node.cli import launching
from node.cli.default_name import claim_peer, default_peer
from node.cli.failures import refused, wrong_use
from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import print_json, print_line, print_note
from node.cli.peers import ALIVE, LocalPeer, local_peer, local_peers, network_of
from node.cli.readiness import wait_ready
from node.cli.start_options import Wishes, peer_options, start_options, wishes_in
from node.cli.waiting import waiting

_TIMEOUT_S: Final = 30.0


@click.command(cls=PairCommand)
@click.option("--claim", is_flag=True, help="Be the peer-1, peer-2, … of this folder that nobody else is.")
@click.option(
    "--key-file",
    type=click.Path(),
    metavar="F",
    envvar="PAIR_KEY_FILE",
    help="The network.key of a member: join its network ($PAIR_KEY_FILE).",
)
@click.option(
    "--tokens-file",
    type=click.Path(),
    metavar="F",
    envvar="PAIR_TOKENS_FILE",
    help="A tokens.json whose tokens the API shall accept ($PAIR_TOKENS_FILE).",
)
@peer_options
@start_options
@pass_options
def start(
    options: Options,
    /,
    name: str | None,
    claim: bool,
    key_file: str | None,
    tokens_file: str | None,
    detach: bool,
    **given: Any,
) -> None:
    """Start one peer and run it until Ctrl-C; with --detach return once it is ready.

    It joins through --seed, peers that it remembers and zeroconf. Without a network key it founds a network.
    """
    if claim and (name is not None or detach):
        raise wrong_use("--claim goes with neither --name nor --detach", next_step="leave one of them out")
    wishes = wishes_in(given)
    network = _network(options, key_file)
    _check_founding(network, given, wishes)
    if tokens_file is not None:
        network.adopt_tokens(Path(tokens_file))
    _join_or_found(network, key_file, wishes)
    folder = claim_peer(network) if claim else default_peer(network) if name is None else network.peer(name)
    if wishes.voters is not None:
        found_voters(network, [folder.name], profile=wishes.founding_profile)
    begin_peer(options, network, folder, wishes, given, detach=detach)


def begin_peer(
    options: Options, network: NetworkFolder, folder: PeerFolder, wishes: Wishes, given: dict[str, Any], *, detach: bool
) -> None:
    """Run a peer of a network that this machine is a member of; ``given`` are its ``peer_options``.

    Raises:
        CommandFailed: It runs already, cannot be started, or is not ready in time.
        ConfigError, StoreError: A setting cannot work, or a file cannot be read or written.
    """
    if (run := folder.run()) is not None and run.state in ALIVE:
        raise refused(f"{folder.name} runs already (process {run.pid})", next_step=f"pair stop {folder.name} stops it")
    with ExitStack() as choosing:
        ports_lock = choosing.enter_context(ports_locked(timeout_s=launching.PORTS_TIMEOUT_S))
        settings = wishes.over(_settings(network, folder, given))
        check_reach(settings.bind, settings.api_bind, is_open=network.is_open(), wishes=wishes)
        if not detach:
            _run_here(options, network, folder, settings, on_bound=choosing.close)
            return
        ends = time.monotonic() + (_TIMEOUT_S if options.timeout_s is None else options.timeout_s)
        _start_detached(network, folder, settings, ports_lock, ends=ends)
    peer = local_peer(network, folder)
    with waiting(f"waiting for {folder.name}"):
        wait_ready(peer, timeout_s=max(1.0, ends - time.monotonic()))
    _print_started(options, peer)


def _network(options: Options, key_file: str | None) -> NetworkFolder:
    if key_file is None:
        return network_of(options.network)
    name = load_key_file(Path(key_file)).name
    if options.network not in (None, name):
        raise wrong_use(f"{key_file} is the key of the network {name!r}", next_step="leave --network out")
    return NetworkFolder(pair_home() / name)


def _check_founding(network: NetworkFolder, given: dict[str, Any], wishes: Wishes) -> None:
    """Refuse what contradicts the network, or cannot be founded, before anything is written."""
    wishes.check_network(network)
    if wishes.voters not in (None, 1) and read_voters(network) is None:
        raise wrong_use(
            f"--voters {wishes.voters}: one peer cannot name others as voters that do not exist yet",
            next_step=f"found the network with pair up {wishes.voters} --voters {wishes.voters}",
        )
    is_open = network.is_open() if network.exists() else wishes.open
    check_reach(given["bind"], given["api_bind"], is_open=is_open, wishes=wishes)


def _join_or_found(network: NetworkFolder, key_file: str | None, wishes: Wishes) -> None:
    if key_file is not None:
        network.adopt(load_key_file(Path(key_file)))
    elif not network.exists():
        network.found(network.name, open=wishes.open, mode=wishes.mode)
        kind = "open network" if wishes.open else "network"
        print_note(f"no key was at hand: founded the {kind} {network.name!r}")
        if not wishes.open:
            print_note(f"  its key: {network.key_path}; with a copy others join it: pair start --key-file COPY")


def _settings(network: NetworkFolder, folder: PeerFolder, given: dict[str, Any]) -> StartSettings:
    """Return the settings: what is given, else what was, else the defaults and the first free ports."""
    before = load_settings(folder)
    chosen = {field: value for field, value in given.items() if value not in (None, ())}
    if before is not None:
        return msgspec.structs.replace(before, **chosen)
    others = [settings for peer in local_peers(network) if (settings := launching.settings_of(peer)) is not None]
    bind, api_bind = chosen.get("bind", "127.0.0.1"), chosen.get("api_bind", "127.0.0.1")
    if "port" not in chosen:
        chosen["port"] = assign_port(
            first=PEER_BASE,
            free=lambda port: is_free(bind, port, udp=True),
            own={other.port for other in others},
            option="--port",
        )
    if "api_port" not in chosen:
        chosen["api_port"] = assign_port(
            first=API_BASE,
            free=lambda port: is_free(api_bind, port, udp=False),
            own={other.api_port for other in others},
            option="--api-port",
        )
    return StartSettings(**chosen)


def check_reach(bind: str | None, api_bind: str | None, *, is_open: bool, wishes: Wishes) -> None:
    """Refuse addresses that are none, and those that would let strangers into an open network unasked.

    Raises:
        CommandFailed: One is (exit 2).
    """
    for option, address in (("--bind", bind), ("--api-bind", api_bind)):
        if address is None:
            continue
        try:
            is_loopback = ipaddress.ip_address(address).is_loopback
        except ValueError as error:
            raise wrong_use(f"{option} {address!r} is no IP address", next_step=f"give {option} 0.0.0.0") from error
        if is_open and not is_loopback and not wishes.i_know:
            raise wrong_use(
                f"{option} {address} would let anybody who reaches this machine read and write the open network",
                next_step="leave it on 127.0.0.1, or add --i-know if that is what you want",
            )


def _start_detached(
    network: NetworkFolder,
    folder: PeerFolder,
    settings: StartSettings,
    ports_lock: Sequence[FolderLock],
    *,
    ends: float,
) -> None:
    with waiting(f"starting {folder.name}"), network.lock() as lock:
        launching.launch(
            network,
            [launching.PlannedPeer(folder, settings)],
            others=[peer for peer in local_peers(network) if peer.name != folder.name],
            locks=[lock, *ports_lock],
            timeout_s=max(1.0, ends - time.monotonic()),
        )


def _run_here(
    options: Options,
    network: NetworkFolder,
    folder: PeerFolder,
    settings: StartSettings,
    *,
    on_bound: Callable[[], None],
) -> None:
    from node.local_peers import peer_config
    from node.main import run_peer

    # As process 1 of a container nothing would end it before its loop listens to signals.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    others = [peer.address for peer in local_peers(network) if peer.state in ALIVE and peer.address is not None]
    folder.create()
    save_settings(folder, settings)

    def started() -> None:
        on_bound()
        _print_started(options, local_peer(network, folder))

    run_peer(
        peer_config(network, network.load(), folder.name, settings),
        seeds=(*settings.seeds, *others[: launching.SEEDS_PER_PEER]),
        on_started=started,
    )
    print_note(f"{folder.name} stopped; its data is kept")


def _print_started(options: Options, peer: LocalPeer) -> None:
    if options.as_json:
        print_json(peer.document())
        return
    print_line(f"{peer.name} of the network {peer.network!r} runs at {peer.address}, its API at {peer.api}")
    print_note(f"  pair status --peer {peer.name} shows how it sees itself; pair stop {peer.name} stops it")
