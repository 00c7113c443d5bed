"""A failing seed's smallest schedule that still fails, saved as a scenario file beside the user."""

import itertools
import shlex
from pathlib import Path

from node.cli.output import print_note
from protocol.errors import EnvironmentFault, StoreError
from simulations.scenario import Scenario
from simulations.scenario_file import dumps
from simulations.verdict import Verdict

_NAMES_MAX = 1000


def broken_checks(verdict: Verdict) -> frozenset[str]:
    """Return the names of the checks that do not hold."""
    return frozenset(check.name for check in verdict.checks if not check.ok)


def save_shrunken(scenario: Scenario, seed: int, *, faults_before: int) -> None:
    """Save a scenario in the current folder under a name that is free, and say so on standard error."""
    try:
        path = _saved(dumps(scenario), stem=f"{scenario.name}-seed-{seed}")
    except EnvironmentFault as fault:
        print_note(f"seed {seed}: the smallest schedule that still fails could not be saved: {fault.cause}")
        return
    print_note(
        f"seed {seed}: {len(scenario.faults)} of {faults_before} faults are enough, saved as {path}; "
        f"again: {shlex.join(['pair', 'simulate', str(path), '--seed', str(seed)])}"
    )


def _saved(content: str, *, stem: str) -> Path:
    """Write a new file and return its path; what is there already belongs to somebody.

    Raises:
        StoreError: It cannot be written.
    """
    for number in itertools.chain([""], (f"-{number}" for number in range(2, _NAMES_MAX))):
        path = Path(f"{stem}{number}.toml")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(content)
        except FileExistsError:
            continue
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error}", next_step="try in another folder") from error
        return path
    raise StoreError(f"{stem}-2.toml and all after it exist", next_step="remove some")
