"""A run as it goes on, on a terminal: lanes over virtual time, and the last things that happened."""

import itertools
import math
import os
import time
from collections import deque
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from node.cli.output import escape
from simulations.record import Moment
from simulations.scenario import Scenario

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_REFRESH_S: Final = 0.1
_NAME_WIDTH: Final = 9
_NOW_WIDTH: Final = 34
"""Right of the lanes: how it stands now."""

_COLUMNS_MIN: Final = 10
_HAPPENINGS: Final = 8
_LEADER_STYLES: Final = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green")

_steady_s: Final = time.monotonic
"""The real clock: while a run lasts, ``time.monotonic`` is the world's."""


class LiveView:
    """Shows each moment of a run; a context manager that owns the terminal meanwhile."""

    def __init__(self, scenario: Scenario, *, seed: int, console: Console | None = None) -> None:
        """Show nothing yet."""
        self._scenario = scenario
        self._seed = seed
        self._console = console or Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)
        self._lanes = Lanes(self._columns(), length_s=scenario.duration_s + 5.0)
        self._shown_s = 0.0
        self._latest: Moment | None = None

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._latest is not None:
            self._show(self._latest)
        self._live.stop()
        self._console.print()

    def moment(self, moment: Moment) -> None:
        """Take in a moment; the terminal follows some ten times a second."""
        self._lanes.add(moment)
        self._latest = moment
        now_s = _steady_s()
        if now_s - self._shown_s >= _REFRESH_S:
            self._shown_s = now_s
            self._show(moment)

    def _columns(self) -> int:
        return max(_COLUMNS_MIN, self._console.width - _NAME_WIDTH - _NOW_WIDTH - 1)

    def _show(self, moment: Moment) -> None:
        scenario = self._scenario
        head = Text(escape(scenario.name), style="bold")
        head.append(
            f"  {scenario.nodes} peers, k {scenario.k}, seed {self._seed}: "
            f"{moment.at_s:.0f} of {scenario.duration_s:.0f} s" + self._after(moment),
            style="not bold",
        )
        self._live.update(Group(head, *self._lanes.lines(moment, scenario.nodes)), refresh=True)

    def _after(self, moment: Moment) -> str:
        return ", healing" if moment.at_s > self._scenario.duration_s else ""


class Lanes:
    """What the columns of each lane show, and what happened last."""

    def __init__(self, columns: int, *, length_s: float) -> None:
        """Make room for a run of ``length_s``; one that lasts longer is squeezed."""
        self._columns = columns
        self._length_s = length_s
        self._moments: list[Moment] = []
        self._styles: dict[str, str] = {}
        self._happenings: deque[str] = deque(maxlen=_HAPPENINGS)

    def add(self, moment: Moment) -> None:
        """Take in the next moment."""
        before = self._moments[-1] if self._moments else None
        self._moments.append(moment)
        self._length_s = max(self._length_s, moment.at_s)
        for name in moment.leaders:
            self._styles.setdefault(name, _LEADER_STYLES[len(self._styles) % len(_LEADER_STYLES)])
        for what in _news(before, moment):
            self._happenings.append(f"{moment.at_s:5.0f} s  {what}")

    def lines(self, moment: Moment, nodes: int) -> list[Text]:
        """Return the lanes with how it stands now, and below them what happened last."""
        columns = self._by_column()
        rates = [_rate(pair) for pair in columns]
        busiest = max((rate for rate in rates if rate is not None), default=0.0)
        leaders = ", ".join(f"{name} ({count})" for name, count in list(moment.leaders.items())[:2]) or "none"
        more = f" +{len(moment.leaders) - 2}" if len(moment.leaders) > 2 else ""
        agreed = max(moment.alive_tables.values(), default=0)
        lines = [
            _lane("leader", [self._leader(pair) for pair in columns], leaders + more),
            _lane("up", [_bar(pair and pair[1].up, nodes, "green") for pair in columns], f"{moment.up} of {nodes} up"),
            _lane("tables", [_agreement(pair) for pair in columns], f"{agreed} agree on {_size(moment)} alive"),
            _lane("ok/s", [_bar(rate, busiest, "blue") for rate in rates], f"{moment.ok} operations ok"),
            _lane(
                "not ok",
                [_failure(pair) for pair in columns],
                f"{moment.failed} failed, {moment.unknown} unknown",
            ),
            _lane("faults", [_fault(pair) for pair in columns], f"term {moment.terms[-1] if moment.terms else '-'}"),
        ]
        happened = (Text(escape(line), style="dim", no_wrap=True, overflow="ellipsis") for line in self._happenings)
        return [*lines, *happened]

    def _by_column(self) -> list[tuple[Moment | None, Moment] | None]:
        """Return for each column the last moment in it and the one before the column; None before and after all.

        Where columns are narrower than moments are apart, one shows what the column before it does.
        """
        columns: list[tuple[Moment | None, Moment] | None] = [None] * self._columns
        before: Moment | None = None
        place = 0
        for next_place, group in itertools.groupby(self._moments, key=self._column):
            last = list(group)[-1]
            columns[place:next_place] = [columns[place]] * (next_place - place)
            columns[next_place] = (before, last)
            place, before = next_place, last
        return columns

    def _column(self, moment: Moment) -> int:
        return min(self._columns - 1, math.floor(moment.at_s / self._length_s * self._columns))

    def _leader(self, pair: tuple[Moment | None, Moment] | None) -> tuple[str, str]:
        if pair is None:
            return " ", ""
        leaders = pair[1].leaders
        if not leaders:
            return "·", "red"
        most = max(leaders, key=lambda name: leaders[name])
        return ("█" if len(leaders) == 1 else "▒"), self._styles[most]


def _news(before: Moment | None, moment: Moment) -> list[str]:
    known = before.faults_now if before is not None else ()
    news = [f"fault: {what}" for what in moment.faults_now if what not in known]
    if before is None or list(before.leaders) != list(moment.leaders):
        told = ", ".join(f"{name} (followed by {count})" for name, count in moment.leaders.items())
        news.append(f"leader: {told or 'none'}")
    return news


def _lane(name: str, cells: list[tuple[str, str]], now: str) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    line.append(f"{name:<{_NAME_WIDTH}}", style="bold")
    for (character, style), run in itertools.groupby(cells):
        line.append(character * len(list(run)), style=_style(style))
    line.append(f" {escape(now)}")
    return line


def _style(style: str) -> str:
    return "" if "NO_COLOR" in os.environ else style


def _bar(value: float | None, highest: float, style: str) -> tuple[str, str]:
    if value is None:
        return " ", ""
    if not highest or value <= 0:
        return _BLOCKS[1], "red"
    return _BLOCKS[max(1, min(8, round(8 * value / highest)))], style


def _rate(pair: tuple[Moment | None, Moment] | None) -> float | None:
    """Return the operations that ended well in each second of a column."""
    if pair is None:
        return None
    before, last = pair
    ok, since_s = (before.ok, before.at_s) if before is not None else (0, 0.0)
    return (last.ok - ok) / (last.at_s - since_s) if last.at_s > since_s else 0.0


def _agreement(pair: tuple[Moment | None, Moment] | None) -> tuple[str, str]:
    if pair is None:
        return " ", ""
    return ("█", "green") if len(pair[1].alive_tables) == 1 else ("▒", "yellow")


def _size(moment: Moment) -> int:
    tables = moment.alive_tables
    return max(tables, key=lambda size: tables[size]) if tables else 0


def _failure(pair: tuple[Moment | None, Moment] | None) -> tuple[str, str]:
    if pair is None:
        return " ", ""
    before, last = pair
    if last.failed > (before.failed if before is not None else 0):
        return "x", "red"
    return ("?", "yellow") if last.unknown > (before.unknown if before is not None else 0) else ("·", "dim")


def _fault(pair: tuple[Moment | None, Moment] | None) -> tuple[str, str]:
    if pair is None:
        return " ", ""
    return ("▀", "yellow") if pair[1].faults_now else ("·", "dim")
