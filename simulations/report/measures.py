"""The charts of a run: members, availability, latency, messages."""

import math
from collections.abc import Sequence
from typing import Final

from simulations.history import Operation
from simulations.record import Moment
from simulations.report.charts import Chart, Series
from simulations.report.run import Run

PERCENTILES: Final = ((50, "good"), (90, "unknown"), (99, "failed"))


def members_of(run: Run) -> Chart:
    """Return how many peers run, and how many their tables hold alive."""
    moments = run.record.moments
    return Chart(
        key="members",
        title="Members",
        description=_span(moments, "peers up", [moment.up for moment in moments]),
        is_stepped=True,
        series=(
            _series("most alive in a table", "c", moments, [_most(moment) for moment in moments]),
            _series("fewest alive in a table", "d", moments, [_fewest(moment) for moment in moments]),
            _series("processes up", "a", moments, [float(moment.up) for moment in moments]),
        ),
    )


def availability_of(run: Run) -> Chart:
    """Return what operations came to, in the second in which they ended."""
    ended = [operation for operation in run.record.history.operations if operation.ended_s is not None]
    totals = ", ".join(
        f"{sum(operation.outcome == outcome for operation in ended)} {outcome}"
        for outcome in ("ok", "failed", "unknown")
    )
    series = []
    for outcome in ("ok", "failed", "unknown"):
        counts = [0] * _seconds(run)
        for operation in ended:
            if operation.outcome == outcome:
                counts[_second(operation, len(counts))] += 1
        points = tuple((float(second), float(count)) for second, count in enumerate(counts))
        series.append(Series(name=outcome, colour=outcome, points=points))
    return Chart(
        key="availability", title="Operations per second", description=totals, is_stacked=True, series=tuple(series)
    )


def latency_of(run: Run) -> Chart:
    """Return how long operations took that ended well, in virtual milliseconds."""
    durations_ms: list[list[float]] = [[] for _ in range(_seconds(run))]
    for operation in run.record.history.operations:
        if operation.outcome == "ok" and operation.ended_s is not None:
            duration_ms = (operation.ended_s - operation.began_s) * 1000
            durations_ms[_second(operation, len(durations_ms))].append(duration_ms)
    everything = [duration for second in durations_ms for duration in second]
    told = [f"p{percent} {percentile(everything, percent):.3g} ms" for percent, _ in PERCENTILES if everything]
    return Chart(
        key="latency",
        title="Latency of operations that ended well",
        description=f"over the whole run: {', '.join(told)}" if everything else "no operation ended well",
        named=milliseconds,
        is_logarithmic=True,
        series=tuple(
            Series(
                name=f"p{percent}",
                colour=colour,
                points=tuple(
                    (second + 0.5, percentile(values, percent) if values else None)
                    for second, values in enumerate(durations_ms)
                ),
            )
            for percent, colour in PERCENTILES
        ),
    )


def messages_of(run: Run) -> Chart:
    """Return how many datagrams all peers together sent in each second."""
    moments = run.record.moments
    counts = [float(moment.datagrams) for moment in moments]
    return Chart(
        key="messages",
        title="Datagrams per second",
        description=_span(moments, "datagrams in a second", [moment.datagrams for moment in moments]),
        series=(_series("datagrams sent by all peers", "e", moments, counts),),
    )


def milliseconds(value: float) -> str:
    """Return a duration as an axis names it: ``10 ms``, ``2 s``."""
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` of all do not exceed (nearest rank)."""
    ascending = sorted(values)
    return ascending[max(1, math.ceil(percent / 100 * len(ascending))) - 1]


def _seconds(run: Run) -> int:
    return max(1, math.ceil(run.end_s))


def _second(operation: Operation, count: int) -> int:
    assert operation.ended_s is not None, "it ended"
    return min(int(operation.ended_s), count - 1)


def _series(name: str, colour: str, moments: Sequence[Moment], values: Sequence[float | None]) -> Series:
    points = tuple((moment.at_s, value) for moment, value in zip(moments, values, strict=True))
    return Series(name=name, colour=colour, points=points)


def _most(moment: Moment) -> float | None:
    return float(max(moment.alive_tables)) if moment.alive_tables else None


def _fewest(moment: Moment) -> float | None:
    return float(min(moment.alive_tables)) if moment.alive_tables else None


def _span(moments: Sequence[Moment], what: str, values: Sequence[int]) -> str:
    return f"{min(values)} to {max(values)} {what}" if moments else f"no {what} seen"
