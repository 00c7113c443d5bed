"""What all pictures of one run share: their width, the axis of time, and the shade of what went wrong when."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from simulations.report import svg
from simulations.report.scales import Linear, Scale, short


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How wide a picture is; the page holds each twice and shows the one that fits."""

    name: str
    width: int
    left: int
    """Room for the names of lanes and values; equal in all pictures, so that times lie below each other."""

    right: int = 14
    height: int
    """Of the area of a chart, without legend and axis."""

    time_ticks: int


WIDE: Final = Layout(name="wide", width=960, left=104, height=150, time_ticks=12)
NARROW: Final = Layout(name="narrow", width=360, left=50, height=120, time_ticks=5)

AXIS_HEIGHT: Final = 30
LEGEND_HEIGHT: Final = 26
CHARACTER_WIDTH: Final = 6.6
"""Of the letters of labels (12 units high), on average: for deciding what has room."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which something was so."""

    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Course:
    """The time that a run took, and what happened to it: the ground of each picture."""

    end_s: float
    disturbed: tuple[Span, ...]
    """When faults were at work."""

    struck: tuple[float, ...]
    """Moments at which something was killed, stopped, started."""

    def time(self, layout: Layout) -> Linear:
        """Return the axis of time."""
        return Linear(0.0, max(self.end_s, 1.0), layout.left, layout.width - layout.right)


def picture(content: Sequence[str], *, key: str, layout: Layout, height: float, title: str, description: str) -> str:
    """Return one SVG image with a name and a description for who cannot see it."""
    name = f"{key}-{layout.name}"
    return svg.element(
        "svg",
        svg.element("title", svg.words(title), id=f"{name}-title"),
        svg.element("desc", svg.words(description), id=f"{name}-desc"),
        *content,
        class_=f"plot {layout.name}",
        viewBox=f"0 0 {layout.width} {svg.number(height)}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        xmlns="http://www.w3.org/2000/svg",
    )


def ground(course: Course, layout: Layout, *, top: float, bottom: float) -> list[str]:
    """Return the shades and strokes of the faults behind a picture."""
    time = course.time(layout)
    shades = [
        svg.element(
            "rect", class_="shade", x=time(span.begin_s), y=top, height=bottom - top,
            width=max(1.0, time(span.end_s) - time(span.begin_s)),
        )
        for span in course.disturbed
    ]  # fmt: skip
    strokes = [
        svg.element("line", class_="struck", x1=time(at_s), x2=time(at_s), y1=top, y2=bottom) for at_s in course.struck
    ]
    return shades + strokes


def time_axis(course: Course, layout: Layout, *, y: float) -> list[str]:
    """Return the line of time with its seconds."""
    time = course.time(layout)
    parts = [svg.element("line", class_="axis", x1=time.start, x2=time.end, y1=y, y2=y)]
    for tick in time.ticks(layout.time_ticks):
        parts.append(svg.element("line", class_="axis", x1=time(tick), x2=time(tick), y1=y, y2=y + 4))
        parts.append(svg.text(f"{short(tick)} s", class_="label", x=time(tick), y=y + 18, text_anchor="middle"))
    return parts


def value_axis(scale: Scale, layout: Layout, *, named: Callable[[float], str]) -> list[str]:
    """Return the grid of values, each line with its value."""
    parts = []
    for tick in scale.ticks(4):
        y = scale(tick)
        parts.append(svg.element("line", class_="grid", x1=layout.left, x2=layout.width - layout.right, y1=y, y2=y))
        parts.append(svg.text(named(tick), class_="label", x=layout.left - 8, y=y + 4, text_anchor="end"))
    return parts


def legend(entries: Sequence[tuple[str, str]], layout: Layout) -> tuple[list[str], float]:
    """Return the names of what is drawn, each beside its colour, and how high they are together.

    Args:
        entries: Class of the swatch and the name.
    """
    parts = []
    x, y = float(layout.left), 6.0
    for colour, name in entries:
        width = 16 + len(name) * CHARACTER_WIDTH
        if x > layout.left and x + width > layout.width:
            x, y = float(layout.left), y + LEGEND_HEIGHT - 8
        parts.append(svg.element("rect", class_=colour, x=x, y=y, width=11, height=11, rx=2))
        parts.append(svg.text(name, class_="legend", x=x + 16, y=y + 10))
        x += width + 16
    return parts, y - 6 + LEGEND_HEIGHT
