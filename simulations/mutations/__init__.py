"""Planted bugs, to see what the checkers are worth: ``python -m simulations.mutations`` prints who catches which."""

from collections.abc import Mapping
from typing import Final

from simulations.mutations import data, elections, members
from simulations.mutations.hunt import Catch, hunt, run
from simulations.mutations.mutation import Mutation, Plant, TargetMissing, planted

__all__ = ["MUTATIONS", "Catch", "Mutation", "Plant", "TargetMissing", "hunt", "planted", "run"]

MUTATIONS: Final[Mapping[str, Mutation]] = {
    mutation.name: mutation for mutation in (*elections.MUTATIONS, *members.MUTATIONS, *data.MUTATIONS)
}
