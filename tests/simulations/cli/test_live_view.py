"""The lanes on a terminal, drawn onto paper."""

import io

import pytest
from rich.console import Console

from simulations.cli.live_view import Lanes, LiveView
from tests.simulations.small_runs import finished_run, moment


def test_lanes_fill_from_the_left() -> None:
    """A column for each share of the time; what lies ahead is blank."""
    lanes = Lanes(20, length_s=20.0)
    for second in range(1, 11):
        lanes.add(moment(second, leaders={"peer-1": 3}))

    leader, up = (str(line) for line in lanes.lines(moment(10, leaders={"peer-1": 3}), 3)[:2])

    assert leader == "leader    " + "█" * 10 + " " * 9 + " peer-1 (3)"
    assert up.startswith("up        " + "█" * 10 + " " * 9)


def test_no_gap_is_left_between_moments() -> None:
    """Where a column is less than a second wide, it shows what the one before does."""
    lanes = Lanes(20, length_s=10.0)
    for second in range(1, 6):
        lanes.add(moment(second, leaders={"peer-1": 3}))

    leader = str(lanes.lines(moment(5, leaders={"peer-1": 3}), 3)[0])

    assert leader == "leader   " + "  " + "█" * 9 + " " * 9 + " peer-1 (3)"


def test_a_run_that_lasts_longer_is_squeezed() -> None:
    """No column is drawn beyond the last."""
    lanes = Lanes(10, length_s=5.0)
    for second in range(1, 100):
        lanes.add(moment(second, leaders={}))

    line = str(lanes.lines(moment(99, leaders={}), 3)[0])

    assert len(line) == len("leader   ") + 10 + len(" none")


def test_two_leaders_look_different_from_one() -> None:
    """And none from both."""
    lanes = Lanes(3, length_s=3.0)
    for second, leaders in enumerate(({"a": 1}, {"a": 1, "b": 2}, {})):
        lanes.add(moment(second, leaders=leaders))

    assert str(lanes.lines(moment(3, leaders={}), 3)[0]).startswith("leader   █▒·")


def test_what_happened_is_told_below() -> None:
    """Changes of leaders, and each fault once."""
    lanes = Lanes(20, length_s=20.0)
    run = finished_run()
    for one in run.record.moments:
        lanes.add(one)

    lines = [str(line) for line in lanes.lines(run.record.moments[-1], 3)[6:]]

    assert lines == [
        "    1 s  leader: peer-1 (followed by 3)",
        "    3 s  fault: partition 1 | 2,3",
        "    9 s  leader: peer-2 (followed by 2)",
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_view_fits_its_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is longer than the terminal is wide, and with NO_COLOR none has a colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    paper = io.StringIO()
    run = finished_run()
    console = Console(file=paper, width=width, height=40, highlight=False)

    with LiveView(run.scenario, seed=7, console=console) as view:
        for one in run.record.moments:
            view.moment(one)

    lines = paper.getvalue().splitlines()
    assert any("seed 7" in line for line in lines)
    assert max(map(len, lines)) <= width
    assert "\x1b[3" not in paper.getvalue()
