"""Where a peer stands in an election: its keys, its promises, and its view of the others.

All parts of the election of one peer share one ``Station``; it decides nothing.
"""

import bisect
import random
from dataclasses import dataclass
from typing import Final, TypeAlias

from protocol.config import ProtocolConfig
from protocol.effects import Electorate, MachineEffect, Persist, Promise
from protocol.election.promises import Promises
from protocol.election.rules import Rules
from protocol.identity import Identity, Verifier
from protocol.ids import NetworkId, PeerId
from protocol.statements import Ballot, Certificate, Release, Vote, signed

Provable: TypeAlias = Vote | Release | Certificate


@dataclass(frozen=True, slots=True)
class ViewChange:
    """What a new electorate changed."""

    living_before: tuple[PeerId, ...]
    living: tuple[PeerId, ...]
    is_new_council: bool

    @property
    def newcomers(self) -> tuple[PeerId, ...]:
        """Members that were not living before, ascending."""
        before = set(self.living_before)
        return tuple([member for member in self.living if member not in before])


class Station:
    """Keys, configuration, promises and view.

    Invariants:
        1. ``council`` is what the rules of the mode make of the living.
        2. The local peer is living.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        network_id: NetworkId,
        boot: int,
        config: ProtocolConfig,
        verifier: Verifier,
        random: random.Random,
        promise: Promise | None,
        may_vote: bool,
        rules: Rules,
    ) -> None:
        self.me: Final = identity.peer_id
        self.config: Final = config
        self.random: Final = random
        self.promises: Final = Promises(promise, may_vote=may_vote, relearns=rules.relearns)
        self.rules: Final = rules
        self._identity = identity
        self._network_id = network_id
        self._boot = boot
        self._verifier = verifier
        self.electorate = Electorate(living=(self.me,), suspects=(), ready=False)
        self.council: tuple[PeerId, ...] = rules.council_of(self.electorate.living)

    @property
    def in_council(self) -> bool:
        """Whether this peer votes."""
        return self.me in self.council

    @property
    def is_silenced(self) -> bool:
        """Whether this voter lost its promise, and only the admin can let it vote again."""
        return not self.promises.may_vote and not self.rules.relearns

    @property
    def may_stand(self) -> bool:
        """Whether this peer stands when nobody leads."""
        return self.in_council and not self.is_silenced

    @property
    def other_councillors(self) -> tuple[PeerId, ...]:
        """The council without this peer, ascending."""
        return tuple(member for member in self.council if member != self.me)

    def see(self, electorate: Electorate) -> ViewChange:
        """Replace the view of the others."""
        before, council_before = self.electorate.living, self.council
        self.electorate = electorate
        self.council = self.rules.council_of(electorate.living)
        return ViewChange(before, electorate.living, is_new_council=self.council != council_before)

    def is_living(self, peer_id: PeerId) -> bool:
        """Return whether a peer is alive or suspect, as far as this one knows."""
        living = self.electorate.living
        position = bisect.bisect_left(living, peer_id)
        return position < len(living) and living[position] == peer_id

    def stagger_s(self) -> float:
        """Return how long this council member leaves the first move to those before it, in seconds."""
        rank = self.council.index(self.me) if self.in_council else len(self.council)
        return rank * self.config.candidate_stagger_s

    def patience_s(self) -> float:
        """Return how long the leader may be silent before this peer stands, in seconds; random."""
        return self.config.election_timeout_s * (1 + self.random.random())

    def may_vote(self, ballot: Ballot, council_hash: bytes, *, release: Release | None, now: float) -> bool:
        """Return whether this peer may sign ``ballot`` in that council, now."""
        if self.promises.is_on_trust(now) or not self.promises.allows_vote(ballot, council_hash):
            return False
        return self.may_grant(ballot, release=release, now=now)

    def may_grant(self, ballot: Ballot, *, release: Release | None = None, now: float) -> bool:
        """Return whether this voter's voice, a vote or an ack, is free for the candidate of ``ballot``."""
        return not self.is_silenced and self.rules.may_grant(ballot, release=release, now=now)

    def promise_vote(self, ballot: Ballot, council_hash: bytes, *, now: float) -> list[MachineEffect]:
        """Promise a vote, which may be signed after the returned effects."""
        self.rules.grant(ballot, now=now)
        return [Persist(self.promises.promise)] if self.promises.vote(ballot, council_hash) else []

    def sign_vote(self, ballot: Ballot, council_hash: bytes) -> Vote:
        """Return the signed vote; the promise must be made before."""
        assert ballot == self.promises.voted, "only what was promised is signed"
        vote = Vote(
            author_key=self._identity.public_key, ballot=ballot, council_hash=council_hash, voter_boot=self._boot
        )
        return signed(vote, self._identity, self._network_id)

    def sign_release(self, ballot: Ballot, successor: PeerId) -> Release:
        """Return the signed end of the own lead under ``ballot``."""
        release = Release(author_key=self._identity.public_key, ballot=ballot, successor=successor)
        return signed(release, self._identity, self._network_id)

    def is_authentic(self, provable: Provable) -> bool:
        """Return whether the signatures hold, for this network."""
        return provable.is_authentic(self._verifier, self._network_id)

    def check_invariants(self) -> None:
        """Assert what the class docstring promises."""
        assert self.council == self.rules.council_of(self.electorate.living)
        assert self.is_living(self.me)
