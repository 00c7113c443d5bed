"""The pictures of a run in the order in which a page shows them, each with its words and its table."""

from collections.abc import Callable
from dataclasses import dataclass

from simulations.report.charts import Chart, chart_picture
from simulations.report.frame import Layout
from simulations.report.happenings import schedule_rows, timeline_of
from simulations.report.lanes import timeline_picture
from simulations.report.measures import availability_of, latency_of, members_of, messages_of
from simulations.report.run import Run


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture."""

    key: str
    """Short and unique: an anchor in the page, a file name among the plots."""

    title: str
    caption: str
    draw: Callable[[Layout], str]
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    """The same as text, for who cannot see the picture or wants the numbers."""


def panels_of(run: Run) -> list[Panel]:
    """Return all pictures of a run."""
    timeline, course = timeline_of(run), run.course
    first = Panel(
        timeline.key,
        timeline.title,
        "Who had followers when, the highest term, what was done to the network. A diamond is one moment, a bar lasts.",
        lambda layout: timeline_picture(timeline, course, layout),
        ("second", "kind", "what"),
        schedule_rows(run),
    )
    clock = "In real time" if run.record.is_live else "In virtual time"
    captions = (
        (members_of(run), "All is well where the three lines are one: every table holds every peer that runs."),
        (availability_of(run), "By the second in which they ended. Unknown: timed out, it may take effect later."),
        (latency_of(run), f"{clock}, on a logarithmic scale, of the operations that ended in each second."),
        (messages_of(run), "Control traffic and small values; what goes over TCP is not counted here."),
    )
    return [first, *(_panel(chart, caption, run) for chart, caption in captions)]


def _panel(chart: Chart, caption: str, run: Run) -> Panel:
    course = run.course
    return Panel(
        chart.key,
        chart.title,
        f"{caption} {chart.description[:1].upper()}{chart.description[1:]}.",
        lambda layout: chart_picture(chart, course, layout),
        ("second", *(series.name for series in chart.series)),
        [
            (f"{chart.series[0].points[index][0]:g}", *(_cell(series.points[index][1]) for series in chart.series))
            for index in range(len(chart.series[0].points))
        ],
    )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if value % 1 else f"{value:.0f}"
