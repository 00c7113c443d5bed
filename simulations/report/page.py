"""The report of a run: one page in one file, which loads nothing and runs no script."""

from collections.abc import Iterator
from importlib import resources
from typing import Final

from simulations.report import svg
from simulations.report.figures import figure_name, figure_text
from simulations.report.frame import NARROW, WIDE
from simulations.report.panels import Panel, panels_of
from simulations.report.run import Run

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def report_page(run: Run) -> str:
    """Return the whole page as HTML."""
    name = f"{run.verdict.scenario}, seed {run.verdict.seed}: {run.verdict.verdict}"
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<link rel="icon" href="data:,">',
            f"<title>{svg.words(name)}</title>",
            f"<style>\n{style('plot.css')}{style('page.css')}</style>",
            "</head>",
            "<body>",
            "<main>",
            *_head(run),
            *_figures(run),
            *_checks(run),
            *(line for panel in panels_of(run) for line in _panel(panel)),
            *_foot(run),
            "</main>",
            "</body>",
            "</html>",
            "",
        )
    )


def style(name: str) -> str:
    """Return one of the style sheets beside this module."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _head(run: Run) -> Iterator[str]:
    verdict, scenario = run.verdict, run.scenario
    kind = "pass" if verdict.verdict == "PASS" else "fail"
    yield f'<h1>{svg.words(verdict.scenario)} <span class="verdict {kind}">{verdict.verdict}</span></h1>'
    if scenario.summary:
        yield f'<p class="lead">{svg.words(scenario.summary)}</p>'
    yield '<ul class="facts">'
    facts = [
        ("peers", str(verdict.nodes)),
        ("k", str(scenario.k)),
        ("seed", str(verdict.seed)),
        ("profile", scenario.profile),
        ("played live" if run.record.is_live else "simulated", f"{run.end_s:.0f} s"),
        ("faults", str(len(run.record.applied))),
    ]
    for name, value in facts:
        yield f'<li class="fact">{name} <b>{svg.words(value)}</b></li>'
    yield "</ul>"
    if run.record.cut_short:
        why = svg.words(run.record.cut_short)
        yield f"<p><b>Cut short</b> after {run.end_s:.0f} s ({why}): this was seen until then.</p>"
    yield '<h2 id="replay">Run it again</h2>'
    yield f"<pre>{svg.words(verdict.replay)}</pre>"


def _figures(run: Run) -> Iterator[str]:
    yield '<h2 id="figures">Figures</h2>'
    yield '<dl class="tiles">'
    for key, value in run.verdict.figures.items():
        name = figure_name(key, is_live=run.record.is_live)
        yield f"<div><dt>{svg.words(name)}</dt><dd>{svg.words(figure_text(key, value))}</dd></div>"
    yield "</dl>"


def _checks(run: Run) -> Iterator[str]:
    checks = run.verdict.checks
    held = sum(check.ok for check in checks)
    yield f'<h2 id="checks">Checks: {held} of {len(checks)} hold</h2>'
    yield '<ul class="checks">'
    for check in sorted(checks, key=lambda check: check.ok):
        sign, word, kind = ("✓", "holds", "holds") if check.ok else ("✗", "violated", "broken")
        yield (
            f'<li class="{kind}"><span class="sign" role="img" aria-label="{word}">{sign}</span>'
            f'<b>{svg.words(check.name)}</b><span class="detail">{svg.words(check.detail)}</span></li>'
        )
    yield "</ul>"
    if run.verdict.not_judged:
        yield f"<p>Not judged: {svg.words(', '.join(run.verdict.not_judged))}.</p>"


def _panel(panel: Panel) -> Iterator[str]:
    yield f'<h2 id="{panel.key}">{svg.words(panel.title)}</h2>'
    yield "<figure>"
    yield f"<figcaption>{svg.words(panel.caption)}</figcaption>"
    yield panel.draw(WIDE)
    yield panel.draw(NARROW)
    yield f"<details><summary>As a table ({len(panel.rows)} rows)</summary>"
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{svg.words(panel.title)} as a table"><table>'
    yield "<thead><tr>" + "".join(f'<th scope="col">{svg.words(name)}</th>' for name in panel.columns) + "</tr></thead>"
    yield "<tbody>"
    for row in panel.rows:
        yield "<tr>" + "".join(f"<td>{svg.words(cell)}</td>" for cell in row) + "</tr>"
    yield "</tbody></table></div></details>"
    yield "</figure>"


def _foot(run: Run) -> Iterator[str]:
    trace = run.verdict.trace_sha256
    again = (
        "Played on real processes: no two runs are quite alike."
        if trace is None
        else f"Trace {svg.words(trace)}: the same command gives the same trace."
    )
    yield f"<footer>Shaded: faults at work; dotted: something was killed, stopped or started. {again}</footer>"
