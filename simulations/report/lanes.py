"""Lanes over time: who led when, which faults were at work when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from simulations.report import svg
from simulations.report.frame import AXIS_HEIGHT, CHARACTER_WIDTH, Course, Layout, ground, picture, time_axis
from simulations.report.scales import Linear

ROW_HEIGHT: Final = 20
LANE_GAP: Final = 10
NAME_HEIGHT: Final = 16
"""Where a picture is narrow, the name of a lane stands above it."""

ROWS_MAX: Final = 8
"""Of one lane; what overlaps even then is drawn over each other in the last one."""

_MARK: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Something that lasted, or that happened at one moment."""

    begin_s: float
    end_s: float | None = None
    """None: it happened at ``begin_s``."""

    label: str
    """Short: drawn where it has room."""

    title: str
    """The whole of it."""

    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Stretches of one kind, in the order of their beginnings."""

    name: str
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Lanes above each other, before they have a size."""

    key: str
    title: str
    description: str
    lanes: tuple[Lane, ...]


def timeline_picture(timeline: Timeline, course: Course, layout: Layout) -> str:
    """Draw all lanes."""
    time = course.time(layout)
    is_narrow = layout.left < 80
    y = 4.0
    drawn: list[str] = []
    for lane in timeline.lanes:
        if is_narrow:
            drawn.append(svg.text(lane.name, class_="name", x=layout.left, y=y + 11))
            y += NAME_HEIGHT
        else:
            drawn.append(
                svg.text(lane.name, class_="name", x=layout.left - 12, y=y + ROW_HEIGHT / 2 + 4, text_anchor="end")
            )
        rows = _rows(lane.stretches, time)
        for row in rows:
            drawn += _row(row, time, y=y, layout=layout)
            y += ROW_HEIGHT
        y += LANE_GAP
        drawn.append(
            svg.element("line", class_="grid", x1=layout.left, x2=time.end, y1=y - LANE_GAP / 2, y2=y - LANE_GAP / 2)
        )
    content = [
        *ground(course, layout, top=0, bottom=y),
        *drawn,
        *time_axis(course, layout, y=y),
    ]
    return picture(
        content,
        key=timeline.key,
        layout=layout,
        height=y + AXIS_HEIGHT,
        title=timeline.title,
        description=timeline.description,
    )


def _rows(stretches: Sequence[Stretch], time: Linear) -> list[list[Stretch]]:
    """Return the stretches in as few rows as they need beside each other."""
    rows: list[list[Stretch]] = [[]]
    for stretch in stretches:
        begin = _begin(stretch, time)
        free = next((row for row in rows if not row or _end(row[-1], time) <= begin + 0.01), None)
        if free is None:
            if len(rows) < ROWS_MAX:
                rows.append([])
            free = rows[-1]
        free.append(stretch)
    return rows


def _begin(stretch: Stretch, time: Linear) -> float:
    return time(stretch.begin_s) - (_MARK if stretch.end_s is None else 0)


def _end(stretch: Stretch, time: Linear) -> float:
    return time(stretch.begin_s) + _MARK if stretch.end_s is None else time(stretch.end_s)


def _row(row: Sequence[Stretch], time: Linear, *, y: float, layout: Layout) -> Iterator[str]:
    edge = float(layout.width)
    for index, stretch in enumerate(row):
        next_begin = _begin(row[index + 1], time) if index + 1 < len(row) else edge
        yield _shape(stretch, time, y=y)
        yield from _label(stretch, time, y=y, room_until=next_begin - 4)


def _shape(stretch: Stretch, time: Linear, *, y: float) -> str:
    if stretch.end_s is None:
        x, middle = time(stretch.begin_s), y + ROW_HEIGHT / 2
        points = [(x - _MARK, middle), (x, middle - _MARK), (x + _MARK, middle), (x, middle + _MARK)]
        corners = " ".join(f"{svg.number(left)},{svg.number(top)}" for left, top in points)
        return svg.titled("polygon", stretch.title, class_=f"fill {stretch.colour}", points=corners)
    begin, end = time(stretch.begin_s), time(stretch.end_s)
    return svg.titled(
        "rect", stretch.title, class_=f"fill {stretch.colour}", x=begin, y=y + 1.5, rx=3,
        width=max(2.0, end - begin - 1), height=ROW_HEIGHT - 3.0,
    )  # fmt: skip


def _label(stretch: Stretch, time: Linear, *, y: float, room_until: float) -> Iterator[str]:
    """Yield the label inside its bar, or behind it, or not at all."""
    width = len(stretch.label) * CHARACTER_WIDTH
    begin, end = _begin(stretch, time), _end(stretch, time)
    baseline = y + ROW_HEIGHT / 2 + 4
    if stretch.end_s is not None and width + 10 <= end - begin:
        yield svg.text(stretch.label, class_=f"inside {stretch.colour}", x=begin + 6, y=baseline)
    elif end + 4 + width <= room_until:
        yield svg.text(stretch.label, class_="beside", x=end + 4, y=baseline)
