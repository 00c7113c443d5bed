"""All planted bugs, by name."""

from collections.abc import Mapping
from typing import Final

from simulations.mutations import data, elections, members, voters
from simulations.mutations.mutation import Mutation

MUTATIONS: Final[Mapping[str, Mutation]] = {
    mutation.name: mutation
    for mutation in (*elections.MUTATIONS, *voters.MUTATIONS, *members.MUTATIONS, *data.MUTATIONS)
}
