"""Looks for a planted bug: run after run, until a check fails."""

from collections.abc import Iterable
from dataclasses import dataclass

from simulations.mutations.catalogue import MUTATIONS
from simulations.mutations.mutation import planted
from simulations.simulation import Simulation
from simulations.verdict import Check, Verdict


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

    alarms: tuple[int, ...] = ()
    """Seeds that prove nothing: a check failed there without the bug as well."""


def hunt(name: str, seeds: Iterable[int]) -> Catch:
    """Plant the bug called ``name`` and run seeds until a check fails that holds without the bug."""
    tried, alarms = 0, list[int]()
    for seed in seeds:
        tried += 1
        failed = _broken(run(name, seed))
        if failed and _broken(run_clean(name, seed)):
            alarms.append(seed)
        elif failed:
            return Catch(
                mutation=name,
                seeds=tried,
                seed=seed,
                checks=tuple(check.name for check in failed),
                detail=failed[0].detail,
                alarms=tuple(alarms),
            )
    return Catch(mutation=name, seeds=tried, seed=None, alarms=tuple(alarms))


def run(name: str, seed: int) -> Verdict:
    """Run one seed of a mutation's scenario with the bug in place."""
    with planted(MUTATIONS[name]):
        return run_clean(name, seed)


def run_clean(name: str, seed: int) -> Verdict:
    """Run one seed of a mutation's scenario as the code is."""
    return Simulation(MUTATIONS[name].scenario(seed), seed=seed).run()


def _broken(verdict: Verdict) -> list[Check]:
    return [check for check in verdict.checks if not check.ok]
