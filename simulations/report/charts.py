"""Charts over time: lines, and bars that stand on each other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from simulations.report import svg
from simulations.report.frame import (
    AXIS_HEIGHT,
    Course,
    Layout,
    ground,
    legend,
    picture,
    time_axis,
    value_axis,
)
from simulations.report.scales import Linear, Logarithmic, Scale, round_up, short


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values over time."""

    name: str
    colour: str
    """Class in ``report.css``."""

    points: tuple[tuple[float, float | None], ...]
    """Second → value; None where there is none, which leaves a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What a chart shows, before it has a size."""

    key: str
    title: str
    description: str
    series: tuple[Series, ...]
    named: Callable[[float], str] = short
    """How the axis of values names one."""

    is_stepped: bool = False
    """A value holds until the next one, instead of moving towards it."""

    is_logarithmic: bool = False
    is_stacked: bool = False
    """Bars on each other, each a second wide, instead of lines."""


def chart_picture(chart: Chart, course: Course, layout: Layout) -> str:
    """Draw a chart."""
    names, top = legend([(f"fill {series.colour}", series.name) for series in chart.series], layout)
    bottom = top + layout.height
    scale = _scale(chart, top=top, bottom=bottom)
    time = course.time(layout)
    drawn: list[str] = []
    if chart.is_stacked:
        drawn = list(_bars(chart.series, time, scale))
    else:
        drawn = [_line(series, time, scale, is_stepped=chart.is_stepped) for series in chart.series]
    content = [
        *names,
        *value_axis(scale, layout, named=chart.named),
        *ground(course, layout, top=top, bottom=bottom),
        *drawn,
        *time_axis(course, layout, y=bottom),
    ]
    return picture(
        content,
        key=chart.key,
        layout=layout,
        height=bottom + AXIS_HEIGHT,
        title=chart.title,
        description=chart.description,
    )


def _scale(chart: Chart, *, top: float, bottom: float) -> Scale:
    columns = [[value for _, value in series.points if value is not None] for series in chart.series]
    values = [value for column in columns for value in column]
    if chart.is_logarithmic:
        positive = [value for value in values if value > 0] or [1.0]
        low = min(_power_below(min(positive)), _power_below(max(positive)))
        return Logarithmic(low, _power_below(max(positive)) * 10, bottom, top)
    if chart.is_stacked:
        values = [sum(second) for second in zip(*columns, strict=True)]
    return Linear(0.0, round_up(max(values, default=1.0)), bottom, top)


def _power_below(value: float) -> float:
    power = 1.0
    while power > value:
        power /= 10
    while power * 10 <= value:
        power *= 10
    return power


def _line(series: Series, time: Linear, scale: Scale, *, is_stepped: bool) -> str:
    path = ""
    is_open = False
    last_y = 0.0
    for at_s, value in series.points:
        if value is None:
            is_open = False
            continue
        x, y = time(at_s), scale(value)
        if is_open and is_stepped and y != last_y:
            path += f"L{svg.number(x)} {svg.number(last_y)}"
        path += f"{'L' if is_open else 'M'}{svg.number(x)} {svg.number(y)}"
        is_open, last_y = True, y
    return svg.element("path", class_=f"line {series.colour}", d=path or "M0 0", fill="none")


def _bars(stack: Sequence[Series], time: Linear, scale: Scale) -> Iterator[str]:
    """Yield a bar for each second and series, none for nothing."""
    heights: dict[float, float] = {}
    width = max(0.6, time(1.0) - time(0.0) - (0.8 if time(1.0) - time(0.0) > 4 else 0.0))
    for series in stack:
        for at_s, value in series.points:
            if not value:
                continue
            below = heights.get(at_s, 0.0)
            heights[at_s] = below + value
            y = scale(below + value)
            yield svg.titled(
                "rect", f"{series.name}: {value:g} at {at_s:g} s", class_=f"fill {series.colour}",
                x=time(at_s), y=y, width=width, height=scale(below) - y,
            )  # fmt: skip
