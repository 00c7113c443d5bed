"""Planted bugs, to see what the checkers are worth: ``python -m simulations.mutations`` prints who catches which."""

from simulations.mutations.catalogue import MUTATIONS
from simulations.mutations.hunt import Catch, hunt, run
from simulations.mutations.mutation import Mutation, Plant, TargetMissing, planted

__all__ = ["MUTATIONS", "Catch", "Mutation", "Plant", "TargetMissing", "hunt", "planted", "run"]
