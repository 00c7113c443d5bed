"""``simulate``: play a scenario on the code that ships, in virtual time, and judge what happened."""

from pathlib import Path
from typing import Any

import click

from node.cli.failures import wrong_use
from node.cli.options import Options, PairCommand, Seconds, pass_options
from simulations.cli.numbers import Seed, Seeds, drawn_seed
from simulations.scenario import NODES_MAX


def complete_scenarios(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the scenarios whose names begin so."""
    from simulations.catalogue import SCENARIOS

    return [name for name in SCENARIOS if name.startswith(incomplete)]


@click.command(cls=PairCommand, short_help="Play a scenario in virtual time, and judge what happened.")
@click.argument("scenario", required=False, metavar="SCENARIO|FILE", shell_complete=complete_scenarios)
@click.option("--list", "is_list", is_flag=True, help="List the scenarios, or explain SCENARIO.")
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), metavar="N", help="Peers (15, live 7).")
@click.option("--seed", type=Seed(), metavar="S", help="What everything is drawn from (random; the verdict names it).")
@click.option("--seeds", type=Seeds(), metavar="A..B", help="Play each of these seeds, on all cores.")
@click.option("--duration", "duration_s", type=Seconds(), metavar="S", help="Seconds that it lasts (60, live 20).")
@click.option("--k", type=click.IntRange(1, 32), metavar="K", help="Holders of each record (3 or 8, by the seed).")
@click.option("--profile", type=click.Choice(["local", "lan", "wan"]), help="Timing of the peers.")
@click.option("--engine", metavar="tcp://HOST:PORT", help="Send the seeds to a Dask cluster (extra: sweep).")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE.html", help="Write a page about the run.")
@click.option("--plots", type=click.Path(path_type=Path), metavar="FOLDER", help="Write its pictures as SVG files.")
@click.option("--live", is_flag=True, help="Play it on real processes, in real time.")
@click.option("--shrink/--no-shrink", "shrinks", default=True, help="Look for the smallest schedule that still fails.")
@pass_options
def simulate(options: Options, /, scenario: str | None, is_list: bool, live: bool, **given: Any) -> None:
    """Play a scenario: whole peers in virtual time, faults, a workload, and checks of what must hold.

    SCENARIO is one of --list; FILE is a scenario of your own, in TOML, or a Python file with a function
    scenario(draw). The same command with the same seed always gives the same trace. Exit code 1: a check does not hold.
    --live plays it on real processes instead, which are ended in any case.
    """
    if is_list:
        _list(scenario, as_json=options.as_json)
        return
    if scenario is None:
        raise wrong_use("which scenario?", next_step="pair simulate --list explains them all")
    _play(options, scenario, live=live, **given)


def _list(scenario: str | None, *, as_json: bool) -> None:
    from simulations.cli.listing import tell_catalogue, tell_scenario

    if scenario is None:
        tell_catalogue(as_json=as_json)
    else:
        tell_scenario(scenario, as_json=as_json)


def _play(
    options: Options,
    source: str,
    *,
    live: bool,
    seed: int | None,
    seeds: range | None,
    engine: str | None,
    report: Path | None,
    plots: Path | None,
    shrinks: bool,
    **changes: Any,
) -> None:
    from simulations.cli.plan import SIMULATED, Changes, planned

    if seeds is not None and (seed is not None or report is not None or plots is not None):
        raise wrong_use("--seeds goes with none of --seed, --report, --plots", next_step="play one --seed for a report")
    if engine is not None and seeds is None:
        raise wrong_use("--engine needs --seeds A..B", next_step="one seed is played here, without an engine")
    if live and seeds is not None:
        raise wrong_use("--live plays one run, and --seeds many", next_step="leave one of them out")
    size = SIMULATED
    if live:
        from simulations.cli.live import LIVE as size
    plan = planned(source, Changes(**changes), size)
    if seeds is not None:
        from simulations.cli.many import run_many

        run_many(plan, seeds, engine=engine, as_json=options.as_json, shrinks=shrinks)
        return
    from simulations.cli.single import Wishes, run_one
    from simulations.report.files import check_plots, check_report

    if report is not None:
        check_report(report)
    if plots is not None:
        check_plots(plots)
    seed = drawn_seed() if seed is None else seed
    if live:
        from simulations.cli.live import check_possible

        check_possible(plan.scenario(seed))
    run_one(plan, seed, Wishes(options.as_json, report, plots, shrinks=shrinks and not live, live=live))
