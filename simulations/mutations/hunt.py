"""Looks for a planted bug: run after run, until a check fails."""

from collections.abc import Iterable
from dataclasses import dataclass

from simulations.mutations.catalogue import MUTATIONS
from simulations.mutations.mutation import planted
from simulations.simulation import Simulation
from simulations.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """What a hunt came to."""

    mutation: str
    seeds: int
    """How many seeds were run, the last one included."""

    seed: int | None
    """The seed that caught the bug; None when none did."""

    checks: tuple[str, ...] = ()
    """The checks that failed there."""

    detail: str = ""
    """What the first of them said."""


def hunt(name: str, seeds: Iterable[int]) -> Catch:
    """Plant the bug called ``name`` and run seeds until a check fails."""
    tried = 0
    for seed in seeds:
        tried += 1
        verdict = run(name, seed)
        failed = [check for check in verdict.checks if not check.ok]
        if failed:
            return Catch(
                mutation=name,
                seeds=tried,
                seed=seed,
                checks=tuple(check.name for check in failed),
                detail=failed[0].detail,
            )
    return Catch(mutation=name, seeds=tried, seed=None)


def run(name: str, seed: int) -> Verdict:
    """Run one seed of a mutation's scenario with the bug in place."""
    mutation = MUTATIONS[name]
    with planted(mutation):
        return Simulation(mutation.scenario(seed), seed=seed).run()
