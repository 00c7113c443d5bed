"""Prints how many seeds each planted bug takes to be caught; the machine may have several cores, a bug has one."""

import concurrent.futures
import multiprocessing
import os

import click
from rich.console import Console
from rich.table import Table

from simulations.mutations import MUTATIONS, hunt


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seeds", type=click.IntRange(min=1), default=2000, show_default=True, help="Seeds to try for each bug.")
@click.option("--workers", type=click.IntRange(min=1), default=os.cpu_count() or 1, help="Processes; one per core.")
def main(names: tuple[str, ...], seeds: int, workers: int) -> None:
    """Look for the planted bugs NAMES, or for all."""
    unknown = [name for name in names if name not in MUTATIONS]
    if unknown:
        raise click.UsageError(f"there is no planted bug {unknown[0]!r}; there are: {', '.join(MUTATIONS)}")
    console = Console()
    table = Table("planted bug", "seeds", "seed", "caught by")
    context = multiprocessing.get_context("spawn")
    caught = 0
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        hunts = {pool.submit(hunt, name, range(1, seeds + 1)): name for name in names or MUTATIONS}
        for done in concurrent.futures.as_completed(hunts):
            catch = done.result()
            caught += catch.seed is not None
            seed = "never" if catch.seed is None else str(catch.seed)
            console.print(f"{catch.mutation}: {seed}, {', '.join(catch.checks)}", highlight=False)
            table.add_row(catch.mutation, str(catch.seeds), seed, ", ".join(catch.checks))
    console.print(table)
    console.print(f"{caught} of {len(hunts)} caught")


if __name__ == "__main__":
    main()
