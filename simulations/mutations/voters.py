"""Planted bugs of the *quorum* mode: how long a voice belongs to whom it was given.

A voter has two reasons to keep its voice from a second candidate: its promise, and that it clings to a leader that it
hears. Leases rest on the promise alone, so it is tested alone: a bug of the promise is planted where no voter clings.
"""

from collections.abc import Callable
from typing import Any, Final

from protocol.election.candidacy import Candidacy
from protocol.statements import Ballot, Release
from simulations.mutations.mutation import Mutation, Plant
from simulations.mutations.scenes import restarted_voters, voters

_NOBODY_CLINGS: Final = Plant("protocol.election.voting:Voter._clings_to_leader", lambda _: lambda *_: False)


def _free_after_start(original: Callable[..., float]) -> Callable[..., float]:
    def free_at(self: Any, candidate: bytes) -> float:
        return original(self, candidate) if self._granted is not None else float("-inf")

    return free_at


def _not_prolonged(original: Callable[..., None]) -> Callable[..., None]:
    def grant(self: Any, ballot: Ballot, *, now: float) -> None:
        before, since = self._granted, self._granted_at
        original(self, ballot, now=now)
        if before is not None and before.candidate == ballot.candidate:
            self._granted_at = since

    return grant


def _any_release(_: Any) -> Callable[..., bool]:
    def is_released(self: Any, release: Release, *, successor: bytes) -> bool:
        return (
            self._granted is not None
            and release.ballot.candidate == self._granted.candidate
            and release.successor == successor
            and release.is_authentic(self._verifier, self._network_id)
        )

    return is_released


def _shown_again(original: Callable[..., Any]) -> Callable[..., Any]:
    """Show the last release that this candidate ever got: honest ones show a release once."""
    shown: dict[Candidacy, Release] = {}

    def stand(self: Candidacy, now: float, *, is_merge: bool = False, release: Release | None = None) -> Any:
        if release is not None:
            shown[self] = release
        return original(self, now, is_merge=is_merge, release=shown.get(self))

    return stand


MUTATIONS: Final = (
    Mutation(
        name="no wait after a start",
        summary="a voter that has just started gives its voice at once",
        plants=(Plant("protocol.election.quorum:QuorumRules.free_at", _free_after_start),),
        scenario=restarted_voters,
    ),
    Mutation(
        name="acks that do not prolong",
        summary="a voter's promise ends so long after its vote, whatever it acknowledged since",
        plants=(Plant("protocol.election.quorum:QuorumRules.grant", _not_prolonged), _NOBODY_CLINGS),
        scenario=voters,
    ),
    Mutation(
        name="drifting clocks forgotten",
        summary="a promise is as long as a lease, as if all clocks ran alike",
        plants=(Plant("protocol.election.quorum:promise_s", lambda _: lambda lease_s: lease_s), _NOBODY_CLINGS),
        scenario=voters,
    ),
    Mutation(
        name="release of an older ballot counts",
        summary="a leader that gave its lead away and was elected again can be robbed of it with the old release",
        plants=(
            Plant("protocol.election.quorum:QuorumRules._is_released", _any_release),
            Plant("protocol.election.candidacy:Candidacy.stand", _shown_again),
            _NOBODY_CLINGS,
        ),
        scenario=voters,
    ),
)
