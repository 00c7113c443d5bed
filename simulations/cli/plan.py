"""What is to be played: a scenario of the catalogue, a file, or a Python function, with what the options change.

Only the process of the command reads files: what runs a seed is handed the scenario as data.
"""

import difflib
import runpy
import shlex
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, cast

import msgspec

from node.cli.failures import CommandFailed, wrong_use
from protocol.config import Profile
from simulations.catalogue import DURATION_S, NODES, SCENARIOS, CatalogueEntry, Draw
from simulations.catalogue.entry import k_of
from simulations.scenario import Scenario
from simulations.scenario_file import load

FUNCTION: Final = "scenario"
"""Name of the function that a Python file holds, unless ``FILE.py:NAME`` says another."""

_NEAR: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the options ask for; None leaves it to the scenario."""

    nodes: int | None = None
    duration_s: float | None = None
    k: int | None = None
    profile: Profile | None = None

    def options(self) -> list[str]:
        """Return the options that say the same."""
        given = {
            "--nodes": self.nodes,
            "--duration": None if self.duration_s is None else f"{self.duration_s:g}",
            "--k": self.k,
            "--profile": self.profile,
        }
        return [word for name, value in given.items() if value is not None for word in (name, str(value))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a run is when nobody says so."""

    nodes: int
    duration_s: float
    options: tuple[str, ...] = ()
    """What the command must say for such a run."""


SIMULATED: Final = Size(nodes=NODES, duration_s=DURATION_S)


@dataclass(frozen=True, slots=True)
class Plan:
    """A scenario for each seed."""

    source: str
    """As it was given: a name or a file."""

    make: Callable[[int], Scenario]
    changes: Changes
    size: Size

    def scenario(self, seed: int) -> Scenario:
        """Return what is played with a seed.

        Raises:
            CommandFailed: The options do not go with the scenario, or a user's function failed.
        """
        return self.make(seed)

    def replay(self, seed: int) -> str:
        """Return the command that plays the same again."""
        words = ["pair", "simulate", self.source, *self.size.options, *self.changes.options(), "--seed", str(seed)]
        return shlex.join(words)


def planned(source: str, changes: Changes, size: Size = SIMULATED) -> Plan:
    """Return what ``source`` names; ``size`` counts where neither an option nor a file says another.

    Raises:
        CommandFailed: There is no such scenario or file.
        ConfigError: The file is wrong; says where.
    """
    path, colon, name = source.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_function(source, Path(path), name, changes, size)
    if source.endswith(".py"):
        return _from_function(source, Path(source), FUNCTION, changes, size)
    if source in SCENARIOS:
        return _from_catalogue(SCENARIOS[source], changes, size)
    if source.endswith(".toml") or "/" in source or Path(source).is_file():
        return _from_file(source, changes, size)
    raise unknown_scenario(source)


def unknown_scenario(name: str) -> CommandFailed:
    """Return the failure for a name that the catalogue does not hold."""
    near = difflib.get_close_matches(name, SCENARIOS, n=_NEAR, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return wrong_use(
        f"there is no scenario {name!r}",
        next_step=f"{hint}pair simulate --list explains them all; a file of your own ends in .toml",
        facts={"near": near},
    )


def _from_catalogue(entry: CatalogueEntry, changes: Changes, size: Size) -> Plan:
    told = _written_out(changes, size)
    return Plan(entry.name, lambda seed: _drawn(entry.name, entry.summary, entry.make, told, seed), told, size)


def _from_file(source: str, changes: Changes, size: Size) -> Plan:
    found = _changed(load(Path(source)), changes)
    return Plan(source, lambda seed: found, changes, size)


def _from_function(source: str, path: Path, name: str, changes: Changes, size: Size) -> Plan:
    make = _function(path, name)
    summary = " ".join((make.__doc__ or "").split("\n\n")[0].split())
    told = _written_out(changes, size)

    def scenario(seed: int) -> Scenario:
        try:
            found = _drawn(path.stem, summary, make, told, seed)
        except Exception as error:  # a user's own code: whatever it raises is told, with its line
            raise _broken_function(path, error) from error
        if not isinstance(found, Scenario):
            raise wrong_use(
                f"{path}: {name}() returned no Scenario but {type(found).__name__}",
                next_step="end it with: return draw.scenario(...)",
            )
        return found

    return Plan(source, scenario, told, size)


def _written_out(changes: Changes, size: Size) -> Changes:
    """Return the changes with size and length: the command goes on meaning the same when a default changes."""
    return replace(changes, nodes=changes.nodes or size.nodes, duration_s=changes.duration_s or size.duration_s)


def _drawn(name: str, summary: str, make: Callable[[Draw], Scenario], told: Changes, seed: int) -> Scenario:
    assert told.nodes is not None and told.duration_s is not None, "written out"
    k = told.k or k_of(seed, told.nodes)
    draw = Draw(name=name, summary=summary, nodes=told.nodes, seed=seed, duration_s=told.duration_s, k=k)
    found = make(draw)
    return found if told.profile is None else msgspec.structs.replace(found, profile=told.profile)


def _changed(scenario: Scenario, changes: Changes) -> Scenario:
    given = {name: value for name, value in asdict(changes).items() if value is not None}
    return msgspec.structs.replace(scenario, **given)


def _function(path: Path, name: str) -> Callable[[Draw], Scenario]:
    if not path.is_file():
        raise wrong_use(f"there is no file {path}", next_step="name a file that exists, or one of pair simulate --list")
    try:
        found = runpy.run_path(str(path)).get(name)
    except Exception as error:  # a user's own code: whatever it raises is told, with its line
        raise _broken_function(path, error) from error
    if not callable(found):
        raise wrong_use(
            f"{path} holds no function {name}",
            next_step=f"write: def {name}(draw): return draw.scenario(...); or name another: {path}:NAME",
        )
    return cast("Callable[[Draw], Scenario]", found)


def _broken_function(path: Path, error: Exception) -> CommandFailed:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.lineno is not None:
        lines = [error.lineno]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    return wrong_use(f"{where}: {type(error).__name__}: {error}", next_step="mend the file")
