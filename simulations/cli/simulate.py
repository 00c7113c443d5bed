"""``simulate``: play a scenario on the code that ships, in virtual time, and judge what happened."""

from pathlib import Path
from typing import Any

import click

from node.cli.failures import failed, wrong_use
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
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), metavar="N", help="Peers (15, or as the file says).")
@click.option("--seed", type=Seed(), metavar="S", help="What everything is drawn from (random; the verdict names it).")
@click.option("--seeds", type=Seeds(), metavar="A..B", help="Play each of these seeds, on all cores.")
@click.option("--duration", "duration_s", type=Seconds(), metavar="S", help="Virtual seconds of workload and faults.")
@click.option("--k", type=click.IntRange(1, 32), metavar="K", help="Holders of each record (3 or 8, by the seed).")
@click.option("--profile", type=click.Choice(["local", "lan", "wan"]), help="Timing of the peers.")
@click.option("--engine", metavar="tcp://HOST:PORT", help="Send the seeds to a Dask cluster (extra: sweep).")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE.html", help="Write a page about the run.")
@click.option("--plots", type=click.Path(path_type=Path), metavar="FOLDER", help="Write its pictures as SVG files.")
@click.option("--live", is_flag=True, help="Play it on real processes instead.")
@click.option("--shrink/--no-shrink", "shrinks", default=True, help="Look for the smallest schedule that still fails.")
@pass_options
def simulate(options: Options, /, scenario: str | None, is_list: bool, live: bool, **given: Any) -> None:
    """Play a scenario: whole peers in virtual time, faults, a workload, and checks of what must hold.

    SCENARIO is one of --list; FILE is a scenario of your own, in TOML, or a Python file with a function
    scenario(draw). The same command with the same seed always gives the same trace. Exit code 1: a check does not hold.
    """
    if is_list:
        _list(scenario, as_json=options.as_json)
        return
    if scenario is None:
        raise wrong_use("which scenario?", next_step="pair simulate --list explains them all")
    if live:
        raise failed("--live is not part of this version", next_step="leave it out: the simulator plays it")
    _play(options, scenario, **given)


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
    seed: int | None,
    seeds: range | None,
    engine: str | None,
    report: Path | None,
    plots: Path | None,
    shrinks: bool,
    **changes: Any,
) -> None:
    from simulations.cli.plan import Changes, planned

    if seeds is not None and (seed is not None or report is not None or plots is not None):
        raise wrong_use("--seeds goes with none of --seed, --report, --plots", next_step="play one --seed for a report")
    if engine is not None and seeds is None:
        raise wrong_use("--engine needs --seeds A..B", next_step="one seed is played here, without an engine")
    plan = planned(source, Changes(**changes))
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
    wishes = Wishes(options.as_json, report, plots, shrinks)
    run_one(plan, drawn_seed() if seed is None else seed, wishes)
