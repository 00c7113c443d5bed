"""A planted bug: functions of the peer are replaced at run time, for as long as a block runs. No source changes."""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from simulations.scenario import Scenario

Maker: TypeAlias = Callable[[Any], Any]
"""Takes what is there and returns what shall be there instead."""


@dataclass(frozen=True, slots=True)
class Plant:
    """One replacement."""

    target: str
    """``module:name`` or ``module:Class.name``."""

    make: Maker


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A bug, and where it is looked for."""

    name: str
    summary: str
    plants: tuple[Plant, ...]
    scenario: Callable[[int], Scenario]
    """Returns the scenario of a seed in which the bug should show."""


class TargetMissing(Exception):
    """A mutation names what is not there any more: the code has moved on, and the mutation has to follow."""


_NOT_THERE: Final = object()


@contextlib.contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """Plant a bug while the block runs.

    Raises:
        TargetMissing: A target does not exist.
    """
    with contextlib.ExitStack() as undo:
        for plant in mutation.plants:
            owner, name = _owner_of(plant.target)
            original = vars(owner).get(name, _NOT_THERE)
            if original is _NOT_THERE:
                raise TargetMissing(f"{mutation.name}: there is no {plant.target}")
            setattr(owner, name, plant.make(original))
            undo.callback(setattr, owner, name, original)
        yield


def _owner_of(target: str) -> tuple[Any, str]:
    """Return the module or class that has the target, and the target's name in it."""
    module_name, _, path = target.partition(":")
    *classes, name = path.split(".")
    try:
        owner: Any = importlib.import_module(module_name)
        for each in classes:
            owner = vars(owner)[each]
    except (ImportError, KeyError) as error:
        raise TargetMissing(f"there is no {target}") from error
    return owner, name
