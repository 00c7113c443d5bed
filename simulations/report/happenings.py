"""The lanes of the timeline: phases, leaders, terms, and a lane for each kind of fault."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from simulations.faults import Start
from simulations.record import AppliedFault, Moment
from simulations.report.lanes import Lane, Stretch, Timeline
from simulations.report.run import Run

LEADER_COLOURS: Final = "abcdefg"


def timeline_of(run: Run) -> Timeline:
    """Return who led when, and what was done to the network when."""
    leaders = _leaders(run)
    kinds: dict[str, list[AppliedFault]] = {}
    for applied in run.record.applied:
        kinds.setdefault(kind_of(applied), []).append(applied)
    faults = [
        Lane(name=kind, stretches=tuple(_fault(applied, run) for applied in kinds[kind])) for kind in sorted(kinds)
    ]
    return Timeline(
        key="timeline",
        title="Leaders and faults",
        description=_told(leaders),
        lanes=(
            Lane(name="phase", stretches=tuple(_phases(run))),
            Lane(name="leader", stretches=tuple(leaders)),
            Lane(name="term", stretches=tuple(_terms(run))),
            *faults,
        ),
    )


def kind_of(applied: AppliedFault) -> str:
    """Return the name of a fault's kind, as scenario files have it."""
    return str(type(applied.fault).__struct_config__.tag)


def _phases(run: Run) -> Iterator[Stretch]:
    record = run.record
    settled_s = run.end_s if record.settled_s is None else record.settled_s
    phases = [
        ("workload and faults", 0.0, run.healed_s, "neutral"),
        ("settling", run.healed_s, settled_s, "unknown"),
        ("all well", settled_s, run.end_s, "good"),
    ]
    for name, begin_s, end_s, colour in phases:
        if end_s > begin_s:
            title = f"{name}: {begin_s:.1f} to {end_s:.1f} s"
            yield Stretch(begin_s=begin_s, end_s=end_s, label=name, title=title, colour=colour)


def _leaders(run: Run) -> list[Stretch]:
    """Return each time during which a peer had followers, as the full seconds saw it."""
    names = dict.fromkeys(name for moment in run.record.moments for name in moment.leaders)
    colours = dict(zip(names, itertools.cycle(LEADER_COLOURS), strict=False))
    stretches = []
    for name in names:
        for begin_s, end_s, moments in _stretches(run, lambda moment, name=name: name in moment.leaders):  # type: ignore[misc]
            followers = max(moment.leaders[name] for moment in moments)
            title = f"{name}: followed by up to {followers} peers, {begin_s:.0f} to {end_s:.0f} s"
            stretches.append(Stretch(begin_s=begin_s, end_s=end_s, label=name, title=title, colour=colours[name]))
    return sorted(stretches, key=lambda stretch: stretch.begin_s)


def _terms(run: Run) -> Iterator[Stretch]:
    terms = dict.fromkeys(moment.terms[-1] for moment in run.record.moments if moment.terms)
    for shade, term in zip(itertools.cycle(("neutral", "plain")), terms, strict=False):
        for begin_s, end_s, _ in _stretches(run, lambda moment, term=term: moment.terms[-1:] == (term,)):  # type: ignore[misc]
            title = f"highest term {term}: {begin_s:.0f} to {end_s:.0f} s"
            yield Stretch(begin_s=begin_s, end_s=end_s, label=str(term), title=title, colour=shade)


def _stretches(run: Run, holds: Callable[[Moment], bool]) -> Iterator[tuple[float, float, list[Moment]]]:
    """Yield begin, end and moments of each time during which ``holds``; what a second saw counts until the next."""
    moments = run.record.moments
    indexed: Iterable[tuple[int, Moment]] = enumerate(moments)
    for is_so, group in itertools.groupby(indexed, key=lambda pair: holds(pair[1])):
        if is_so:
            members = list(group)
            last = members[-1][0]
            end_s = moments[last + 1].at_s if last + 1 < len(moments) else run.end_s
            yield members[0][1].at_s, end_s, [moment for _, moment in members]


def _fault(applied: AppliedFault, run: Run) -> Stretch:
    is_lasting = applied.ended_s > applied.began_s
    label = applied.text.removeprefix(kind_of(applied)).strip()
    end_s = min(applied.ended_s, max(run.healed_s, applied.began_s))
    until = f" to {end_s:.1f}" if is_lasting else ""
    return Stretch(
        begin_s=applied.began_s,
        end_s=end_s if is_lasting else None,
        label=label,
        title=f"{applied.text}: {applied.began_s:.1f}{until} s",
        colour="good" if isinstance(applied.fault, Start) else "fault",
    )


def _told(leaders: list[Stretch]) -> str:
    """Return the story of the leaders in words."""
    return "; ".join(stretch.title for stretch in leaders) or "no peer led at any full second"


def schedule_rows(run: Run) -> list[tuple[str, ...]]:
    """Return one row for each leader and fault, in the order of time."""
    rows = [(stretch.begin_s, "leader", stretch.title) for stretch in _leaders(run)]
    rows += [(applied.began_s, "fault", _fault(applied, run).title) for applied in run.record.applied]
    return [(f"{at_s:.1f}", kind, what) for at_s, kind, what in sorted(rows, key=lambda row: row[0])]
