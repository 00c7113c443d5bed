"""The page and the plots: whole, safe, readable without the pictures, and loading nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from protocol.errors import ConfigError, StoreError
from simulations.record import RunRecord
from simulations.report.files import check_plots, check_report, write_plots, write_report
from simulations.report.frame import NARROW, WIDE
from simulations.report.page import report_page
from simulations.report.panels import panels_of
from simulations.report.run import Run
from tests.simulations.small_runs import SMALL, finished_run, verdict

VOID = ("meta", "link")


class Nesting(HTMLParser):
    """Knows whether every element is closed in order, and all that refers to something else."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.scripts += tag == "script"
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name in ("src", "href", "xlink:href"):
                self.references.append(str(value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Nesting:
    """Return what a browser would find."""
    nesting = Nesting()
    nesting.feed(page)
    nesting.close()
    return nesting


def test_the_page_is_whole_and_loads_nothing() -> None:
    """One file, no script, no address of anything else (issue: self-contained)."""
    page = report_page(finished_run())
    found = read(page)

    assert found.open == []
    assert found.scripts == 0
    assert found.references == ["data:,"]
    assert len(found.ids) == len(set(found.ids))
    assert "url(" not in page
    assert "@import" not in page


def test_foreign_text_stays_text() -> None:
    """Names and details come from files and from errors."""
    page = report_page(finished_run(name="<script>alert(1)</script>\x00"))

    assert read(page).scripts == 0
    assert "\x00" not in page
    assert "&lt;b&gt;key-3&lt;/b&gt; &amp; more" in page


def test_the_page_names_verdict_checks_figures_and_replay() -> None:
    """All that the terminal says."""
    page = report_page(Run(verdict(ok=False), finished_run().record))

    for words in ("FAIL", "no acknowledged write is lost", "12,345", "pair simulate small --seed 7", "ab" * 32):
        assert words in page


def test_each_picture_has_words_and_a_table() -> None:
    """For who cannot see it."""
    run = finished_run()
    page = report_page(run)

    assert page.count("<details>") == len(panels_of(run)) == 5
    for panel in panels_of(run):
        assert panel.rows
        assert all(len(row) == len(panel.columns) for row in panel.rows)
        for layout in (WIDE, NARROW):
            picture = ElementTree.fromstring(panel.draw(layout))
            title, description = picture[0], picture[1]
            assert picture.get("role") == "img"
            assert picture.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
            assert title.text
            assert description.text


def test_pictures_stay_inside_their_frame() -> None:
    """Nothing is drawn left or right of it."""
    for panel in panels_of(finished_run()):
        for layout in (WIDE, NARROW):
            for shape in ElementTree.fromstring(panel.draw(layout)).iter("{http://www.w3.org/2000/svg}rect"):
                assert float(shape.get("x", "0")) >= 0
                assert float(shape.get("x", "0")) + float(shape.get("width", "0")) <= layout.width + 1


def test_the_timeline_tells_who_led_and_what_was_done() -> None:
    """Its table is the story of the run."""
    rows = panels_of(finished_run())[0].rows

    assert rows == [
        ("1.0", "leader", "peer-1: followed by up to 3 peers, 1 to 9 s"),
        ("3.0", "fault", "partition 1 | 2,3: 3.0 to 7.0 s"),
        ("8.0", "fault", "kill peer-1: 8.0 s"),
        ("9.0", "leader", "peer-2: followed by up to 2 peers, 9 to 12 s"),
    ]


def test_operations_count_in_the_second_in_which_they_ended() -> None:
    """Ok, failed and unknown apart."""
    rows = {panel.key: panel for panel in panels_of(finished_run())}["availability"].rows

    assert rows[:5] == [("0", "1", "0", "0"), ("1", "0", "1", "0"), ("2", "0", "0", "1"), ("3", "1", "0", "0"),
                        ("4", "0", "0", "0")]  # fmt: skip


def test_a_run_that_saw_nothing_has_a_page_too() -> None:
    """Interrupted before the first second."""
    empty = RunRecord(scenario=SMALL, seed=1, cut_short="interrupted")

    page = report_page(Run(verdict(), empty))

    assert "Cut short" in page
    assert read(page).open == []


def test_plots_stand_alone(tmp_path: Path) -> None:
    """Each file is an image with its own style."""
    written = write_plots(finished_run(), tmp_path / "plots")

    assert [path.name for path in written] == [
        "timeline.svg", "members.svg", "availability.svg", "latency.svg", "messages.svg"
    ]  # fmt: skip
    for path in written:
        content = path.read_text()
        ElementTree.fromstring(content)
        assert "<style>" in content
        used = {name for names in re.findall(r'class="([^"]+)"', content) for name in names.split()}
        styled = set(re.findall(r"\.([a-z]+)", content[: content.index("</style>")]))
        assert used - styled <= {"plot", "wide", "legend"}


def test_a_report_replaces_the_last_one_whole(tmp_path: Path) -> None:
    """And leaves no other file."""
    path = tmp_path / "report.html"
    path.write_text("old")

    check_report(path)
    write_report(finished_run(), path)

    assert path.read_text().startswith("<!doctype html>")
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]


def test_places_that_cannot_be_written_are_seen_before_the_run(tmp_path: Path) -> None:
    """Looking leaves nothing behind."""
    (tmp_path / "file").write_text("")

    for path in (tmp_path, tmp_path / "none" / "report.html", tmp_path / "file" / "report.html"):
        with pytest.raises(ConfigError):
            check_report(path)
    with pytest.raises(ConfigError):
        check_plots(tmp_path / "file" / "plots")
    check_plots(tmp_path / "new" / "plots")
    check_report(tmp_path / "report.html")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fails_later_is_told(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(StoreError, match="cannot write the report"):
        write_report(finished_run(), tmp_path / "gone" / "report.html")
