"""What a run came to beside its checkers: how it stands each second, whether all became well, what was promised."""

from collections.abc import Sequence

from simulations.checkers import Checker
from simulations.looking import is_united, leaders_of, living_tables, missing_copies, terms_of
from simulations.outside import NetworkSeen, PeerSeen
from simulations.record import Moment, RunRecord
from simulations.verdict import Check

MOMENT_S = 1.0
QUIET_S = 2.0
"""All must have been well for so long before the final reads (DESIGN section 7)."""


def is_well(network: NetworkSeen[PeerSeen], record: RunRecord) -> bool:
    """Return whether all peers run, agree, and hold every copy that they should."""
    return is_united(network) and missing_copies(network, k=record.scenario.k) == 0


def moment_of(network: NetworkSeen[PeerSeen], record: RunRecord, *, at_s: float, datagrams: int) -> Moment:
    """Return how everything stands.

    Args:
        datagrams: Those of the last second.
    """
    history = record.history
    names = {peer.peer_id: peer.name for peer in network.peers}
    tables: dict[int, int] = {}
    for table, count in living_tables(network).items():
        tables[len(table)] = tables.get(len(table), 0) + count
    is_healed = record.healed_s is not None
    since_s = min([at_s - MOMENT_S, *(moment.at_s for moment in record.moments[-1:])])
    return Moment(
        at_s=at_s,
        up=sum(peer.is_up for peer in network.peers),
        alive_tables=tables,
        leaders={names.get(peer_id, peer_id.hex()[:8]): n for peer_id, n in leaders_of(network).items()},
        terms=terms_of(network),
        ok=history.count("ok"),
        failed=history.count("failed"),
        unknown=history.count("unknown"),
        faults_now=tuple(
            applied.text
            for applied in record.applied
            if applied.began_s > since_s or (applied.ended_s > at_s and not is_healed)
        ),
        datagrams=datagrams,
    )


def end_reached(record: RunRecord, *, at_s: float, seconds: str) -> Check:
    """Judge whether the run was played to its end; ``seconds`` says of which kind they are."""
    return Check(
        name="the run came to its end",
        ok=not record.cut_short,
        detail=f"after {at_s:.1f} s: {record.cut_short}" if record.cut_short else f"{at_s:.1f} {seconds}",
    )


def recovery(network: NetworkSeen[PeerSeen], record: RunRecord) -> Check:
    """Judge what came after healing: one leader, equal tables, every copy where it belongs."""
    if record.settled_s is not None and record.healed_s is not None:
        found = f"{record.settled_s - record.healed_s:.2f} s after the last fault"
    else:
        found = (
            f"{len(network.running())} of {len(network.peers)} peers run, {len(leaders_of(network))} leaders, "
            f"{len(living_tables(network))} different tables, "
            f"{missing_copies(network, k=record.scenario.k)} copies missing"
        )
    return Check(name="all is well again", ok=record.settled_s is not None, detail=found)


def promised(record: RunRecord, *, elections: int) -> Check:
    """Judge what the scenario itself promises."""
    expect, history = record.scenario.expect, record.history
    asked = len(history.operations)
    share = history.count("ok") / asked if asked else 1.0
    most = expect.elections_max
    return Check(
        name="as the scenario expects",
        ok=share >= expect.ok_share and (most is None or elections <= most),
        detail=f"{share:.1%} of {asked} operations ended well, of at least {expect.ok_share:.0%}; "
        f"{elections} elections" + (f" of at most {most}" if most is not None else ""),
    )


def judged(checkers: Sequence[Checker], record: RunRecord) -> tuple[list[Check], tuple[str, ...]]:
    """Let the checkers conclude; return what they found, and the names of those that cannot judge such a run.

    One that was cut short says nothing of what only its end shows.
    """
    unseen = [checker for checker in checkers if record.cut_short and checker.is_of_the_end]
    found = [checker.finished() for checker in checkers if checker not in unseen]
    return found, tuple(checker.name for checker in unseen)


def common_figures(record: RunRecord, *, elections: int) -> dict[str, float]:
    """Return the figures that every run has."""
    history = record.history
    return {
        "operations_ok": float(history.count("ok")),
        "operations_failed": float(history.count("failed")),
        "operations_unknown": float(history.count("unknown")),
        "elections": float(elections),
        "faults": float(len(record.applied)),
    }


def recovery_figure(record: RunRecord) -> dict[str, float]:
    """Return how long it took until all was well again, when it became so."""
    if record.healed_s is None or record.settled_s is None:
        return {}
    return {"recovery_s": round(record.settled_s - record.healed_s, 3)}
