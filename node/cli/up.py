"""``up``: start what is missing of a network of N peers on this machine, and show it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from bootstrap.fork_server import Outcome
from bootstrap.home import NetworkFolder
from bootstrap.ports import PORT_MAX, ports_locked
from bootstrap.voters import found_voters
from node.cli import launching
from node.cli.asking import Circle
from node.cli.ending import end_peers, resume_peer
from node.cli.failures import wrong_use
from node.cli.interrupts import Interrupts
from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import counted, print_json, print_note
from node.cli.peers import LocalPeer, local_peer, local_peers, network_of
from node.cli.settling import settle, settled_statuses
from node.cli.start_options import Wishes, start_options, wishes_in
from node.cli.up_plan import UpPlan, plan_up
from node.cli.waiting import StatusLine
from node.errors import EXIT_DONE

PEERS_MAX: Final = 1000
"""Peers of one ``up``; their ports fit below those that systems hand out."""

_TIMEOUT_S: Final = 60.0

_BLOCKS_TRIED_MAX: Final = 3
"""A program that takes a port between the look and the start is bad luck; one that does so each time is not."""

_INTERRUPTED: Final = 130


@click.command(cls=PairCommand)
@click.argument("count", metavar="N", type=click.IntRange(1, PEERS_MAX))
@click.option("--detach", is_flag=True, help="Return once the network is whole, and let it run.")
@click.option("--base-port", type=click.IntRange(0, PORT_MAX), metavar="P", help="peer-i uses P + i (7400).")
@click.option("--api-base-port", type=click.IntRange(0, PORT_MAX), metavar="P", help="Its API uses P + i (8400).")
@start_options
@pass_options
def up(
    options: Options, /, count: int, detach: bool, base_port: int | None, api_base_port: int | None, **given: Any
) -> int:
    """Start what does not run of peer-1 to peer-N, with the ids, ports and data that they had.

    Shows them until Ctrl-C, which stops the peers that this command started; with --detach it returns once every
    peer knows all others and all follow one leader.
    """
    wishes = wishes_in(given)
    network = network_of(options.network)
    wishes.check_network(network)
    if wishes.voters is not None and wishes.voters > count:
        raise wrong_use(
            f"--voters {wishes.voters} needs as many peers, and {count} are to run",
            next_step=f"say pair up {wishes.voters} --voters {wishes.voters}, or fewer voters",
        )
    ends = time.monotonic() + (_TIMEOUT_S if options.timeout_s is None else options.timeout_s)
    line = StatusLine()
    with Interrupts() as interrupts:
        try:
            started = _start(network, count, base_port, api_base_port, wishes, ends=ends, line=line)
            names = [f"peer-{number}" for number in range(1, count + 1)]

            def look() -> Sequence[LocalPeer]:
                return [local_peer(network, network.peer(name)) for name in names]

            with Circle(_urls(look()), token=network.tokens().read) as circle:
                settle(circle, look, timeout_s=max(1.0, ends - time.monotonic()), interrupts=interrupts, line=line)
                statuses = settled_statuses(
                    circle, look, timeout_s=max(1.0, ends - time.monotonic()), interrupts=interrupts
                )
                line.clear()
                if interrupts.happened:
                    _stop(network, started)
                    return _INTERRUPTED
                if detach:
                    _print(options, look(), statuses)
                else:
                    _follow(options, circle, look, network, interrupts)
                    _stop(network, started)
                return EXIT_DONE
        finally:
            line.clear()


def _start(
    network: NetworkFolder,
    count: int,
    base_port: int | None,
    api_base_port: int | None,
    wishes: Wishes,
    *,
    ends: float,
    line: StatusLine,
) -> list[str]:
    """Start what is missing; return the names of the peers that this command started."""
    with network.lock() as lock, ports_locked(timeout_s=launching.PORTS_TIMEOUT_S) as ports_lock:
        for tries_left in reversed(range(_BLOCKS_TRIED_MAX)):
            plan = plan_up(network, count, base_port=base_port, api_base_port=api_base_port, wishes=wishes)
            _found(network, wishes)
            line.show(f"starting {counted(len(plan.starting), 'peer')}" if plan.starting else "looking at the peers")
            failures = launching.try_launch(
                network,
                plan.starting,
                others=local_peers(network),
                locks=[lock, *ports_lock],
                timeout_s=max(1.0, ends - time.monotonic()),
                on_outcome=_counting(line, len(plan.starting)),
            )
            if not failures:
                break
            names = [outcome.name for outcome in failures]
            if not (tries_left and plan.may_move and plan.has_lost_ports(names)):
                raise launching.not_started(failures, asked=len(plan.starting))
            _withdraw(network, plan)
    for peer in plan.paused:
        resume_peer(peer)
        print_note(f"{peer.name} was paused and goes on")
    return [peer.folder.name for peer in plan.starting]


def _withdraw(network: NetworkFolder, plan: UpPlan) -> None:
    """End what was started of ``plan``: all move, since peer-i has the i-th port of a block.

    A block that was asked for cannot be exchanged: the next plan says so.
    """
    names = [peer.folder.name for peer in plan.starting]
    end_peers([peer for peer in local_peers(network) if peer.name in names and peer.pid is not None])


def _found(network: NetworkFolder, wishes: Wishes) -> None:
    """Found the network, and its voters, where that has not been done."""
    if not network.exists():  # else the helper loads it: this command needs nothing heavy
        network.found(network.name, open=wishes.open, mode=wishes.mode)
    if wishes.voters is not None:
        voters = [f"peer-{number}" for number in range(1, wishes.voters + 1)]
        found_voters(network, voters, profile=wishes.founding_profile)


def _counting(line: StatusLine, total: int) -> Callable[[Outcome], None]:
    seen = 0

    def count(outcome: Outcome) -> None:
        nonlocal seen
        seen += outcome.is_started
        line.show(f"{seen} of {counted(total, 'peer')} started")

    return count


def _urls(peers: Sequence[LocalPeer]) -> dict[str, str]:
    return {peer.name: peer.api for peer in peers if peer.api is not None}


def _print(options: Options, peers: Sequence[LocalPeer], statuses: Mapping[str, Any]) -> None:
    from node.cli.live_table import print_settled

    if options.as_json:
        print_json([peer.document() for peer in peers])
    else:
        print_settled(peers, statuses)


def _follow(
    options: Options,
    circle: Circle,
    look: Callable[[], Sequence[LocalPeer]],
    network: NetworkFolder,
    interrupts: Interrupts,
) -> None:
    from node.cli.live_table import follow

    if options.as_json:
        print_json([peer.document() for peer in look()])
    follow(circle, look, network=network, interrupts=interrupts, is_silent=options.as_json)


def _stop(network: NetworkFolder, started: Sequence[str]) -> None:
    """Stop what this command started, and say so; peers that ran before go on."""
    rows = local_peers(network)
    mine = [peer for peer in rows if peer.name in started and peer.pid is not None]
    others = [peer for peer in rows if peer.name not in started and peer.pid is not None]
    if mine:
        print_note(f"stopping {counted(len(mine), 'peer')} …")
        killed = end_peers(mine)
        late = f" ({', '.join(killed)} had to be killed)" if killed else ""
        print_note(f"stopped{late}; their data is kept: pair up goes on with it")
    if others:
        print_note(f"{counted(len(others), 'peer')} that ran before: not stopped; pair down stops all")
