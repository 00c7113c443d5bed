"""Planted bugs of elections and of what proves a leader."""

import math
from collections.abc import Callable
from typing import Any, Final

from protocol.messages import Announce
from protocol.statements import Ballot
from simulations.mutations.mutation import Mutation, Plant
from simulations.mutations.scenes import cuts, growth, lies, rivals, swizzle


def _vote_twice(_: Any) -> Callable[..., bool]:
    def allows_vote(self: Any, ballot: Ballot, council_hash: bytes) -> bool:
        return bool(self.may_vote and ballot.term >= self.voted.term and ballot.term > self.highest.term)

    return allows_vote


def _unsaved(original: Callable[..., bool]) -> Callable[..., bool]:
    def vote(self: Any, ballot: Ballot, council_hash: bytes) -> bool:
        original(self, ballot, council_hash)
        return False

    return vote


def _keep_own_lead(original: Callable[..., None]) -> Callable[..., None]:
    def become_follower(self: Any, now: float, announce: Announce | None = None, *, for_another: bool = False) -> None:
        if self.leadership is None:
            original(self, now, announce, for_another=for_another)

    return become_follower


def _minority(original: Callable[..., str]) -> Callable[..., str]:
    def tally(self: Any) -> str:
        if self.is_voting and len(self.votes) >= len(self.council) // 2 and self.votes:
            return "won"
        return original(self)

    return tally


MUTATIONS: Final = (
    Mutation(
        name="double vote",
        summary="a voter signs every candidate of a term",
        plants=(Plant("protocol.election.promises:Promises.allows_vote", _vote_twice),),
        scenario=rivals,
    ),
    Mutation(
        name="vote not persisted",
        summary="a vote leaves before it is on disk",
        plants=(Plant("protocol.election.promises:Promises.vote", _unsaved),),
        scenario=swizzle,
    ),
    Mutation(
        name="certificate not checked",
        summary="a certificate is believed unseen",
        plants=(Plant("protocol.statements:Certificate.is_authentic", lambda _: lambda *_: True),),
        scenario=lies,
    ),
    Mutation(
        name="council not compared",
        summary="a certificate is followed whose signers are no majority here",
        plants=(Plant("protocol.election.rules:holds_in", lambda _: lambda certificate, council: True),),
        scenario=lies,
    ),
    Mutation(
        name="majority off by one",
        summary="half of the council elects",
        plants=(Plant("protocol.election.candidacy:Campaign.tally", _minority),),
        scenario=swizzle,
    ),
    Mutation(
        name="fence ignored",
        summary="a certificate below the stored promise is followed",
        plants=(Plant("protocol.election.proofs:Proofs._is_below", lambda _: lambda self, certificate: False),),
        scenario=rivals,
    ),
    Mutation(
        name="stale lease",
        summary="a lease never ends",
        plants=(Plant("protocol.election.lease:Lease.until", lambda _: lambda self, council: math.inf),),
        scenario=cuts,
    ),
    Mutation(
        name="leader does not step down",
        summary="a leader leads on whatever it learns",
        plants=(Plant("protocol.election.roles:Roles.become_follower", _keep_own_lead),),
        scenario=cuts,
    ),
    Mutation(
        name="certificate never renewed",
        summary="no leader is elected again, however few of the council voted for it, and whatever side it meets",
        plants=(Plant("protocol.election.leading:Leadership.must_renew", lambda _: lambda self, now: False),),
        scenario=growth,
    ),
    Mutation(
        name="any term believed",
        summary="a term may rise as far as a member says",
        plants=(
            Plant("protocol.election.promises:Promises.is_jump", lambda _: lambda self, ballot: False),
            Plant("protocol.election.promises:HEARSAY_RISE_MAX", lambda _: 2**62),
        ),
        scenario=lies,
    ),
)
