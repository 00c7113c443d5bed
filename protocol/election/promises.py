"""What a voter must never forget, and what follows from it.

The rule that everything else rests on (Raft 2014, section 5.2): no peer ever signs two candidates, or two councils
for one candidate, in one term, across boots. A ballot that was accepted with its certificate, and a term that was
voted in, also fence: acts of earlier leaders are refused.
"""

import math
from typing import Final

from protocol.effects import Promise
from protocol.ids import PEER_ID_SIZE_BYTES, PeerId
from protocol.limits import TERM_JUMP_MAX
from protocol.statements import Ballot

NOBODY: Final = bytes(PEER_ID_SIZE_BYTES)
NO_BALLOT: Final = Ballot(0, NOBODY)
NO_COUNCIL_HASH: Final = bytes(16)

HEARSAY_RISE_MAX: Final = 1024
"""Largest rise of the own next term on an unsigned word of another member.

Candidates learn from refusals that a voter is further; honest voters are a few terms apart. The bound keeps a lying
member from driving one candidate beyond the jump that the others accept.
"""


TRUST_S: Final = 600.0
"""How long a peer that knew no term follows a far one on trust: it signs nothing, and keeps nothing on disk.

Whoever comes into an old network has nothing to compare its term with. If the only peers it met lied, it has to be
able to follow the others once it meets them.
"""


class Promises:
    """The promise on disk, and the terms heard of since.

    Invariants:
        1. ``voted`` never falls, and ``highest`` only when what was accepted on trust is forgotten.
        2. ``council_hash`` belongs to ``voted``.
    """

    def __init__(self, promise: Promise | None, *, may_vote: bool, relearns: bool = True) -> None:
        """Continue from ``promise``; None means that this peer never signed anything.

        Args:
            may_vote: False when a promise was made and is lost.
            relearns: Whether a lost promise is made good by learning the term from others (``Rules.relearns``).
        """
        self.voted = promise.voted if promise else NO_BALLOT
        self.council_hash = promise.council_hash if promise else NO_COUNCIL_HASH
        self.highest = promise.highest if promise else NO_BALLOT
        self.lost_in = promise.lost_in if promise else 0
        self.may_vote = may_vote and not self.lost_in
        self._relearns = relearns
        self._hearsay_term = 0
        self._trusts_until = -math.inf
        self._told_by: dict[PeerId, None] = {}

    @property
    def promise(self) -> Promise:
        """What belongs on disk."""
        return Promise(
            voted=self.voted, council_hash=self.council_hash, highest=self.highest, lost_in=self.lost_in
        )

    @property
    def top(self) -> Ballot:
        """The highest ballot that this peer signed or accepted."""
        return max(self.voted, self.highest)

    @property
    def known_term(self) -> int:
        """The highest term signed, accepted or heard of; the next campaign runs above it."""
        return max(self.top.term, self._hearsay_term)

    @property
    def floor(self) -> Ballot:
        """The lowest ballot whose acts this peer accepts from anybody."""
        return max(self.highest, Ballot(self.voted.term, NOBODY))

    def is_jump(self, ballot: Ballot) -> bool:
        """Return whether the term rises more than an honest network can make it rise."""
        return ballot.term > self.top.term + TERM_JUMP_MAX

    def is_out_of_reach(self, ballot: Ballot) -> bool:
        """Return whether others could not follow this peer to ``ballot`` in one campaign (``HEARSAY_RISE_MAX``)."""
        return ballot.term > self.top.term + HEARSAY_RISE_MAX

    def is_jump_of_proof(self, ballot: Ballot) -> bool:
        """The same for a certificate: a peer that never signed nor accepted anything has no term to compare with."""
        return self.top != NO_BALLOT and self.is_jump(ballot)

    def refuses_act(self, ballot: Ballot) -> bool:
        """Return whether an act with ``ballot`` comes from a leader that this peer has moved on from.

        A vote fences all earlier leaders but the candidate itself: a leader that renews its certificate goes on
        under the old one until it has the new one.
        """
        if ballot < self.highest:
            return True
        return ballot.term < self.voted.term and ballot.candidate != self.voted.candidate

    def allows_vote(self, ballot: Ballot, council_hash: bytes) -> bool:
        """Return whether this peer may sign ``ballot`` in that council, for the first time or again.

        Not while it is on trust (``is_on_trust``), whatever this says.
        """
        if ballot == self.voted and ballot.term:
            return self.may_vote and council_hash == self.council_hash
        return self.may_vote and ballot.term > self.voted.term and ballot.term > self.highest.term

    def vote(self, ballot: Ballot, council_hash: bytes) -> bool:
        """Promise a vote; return whether the promise is new and must reach the disk before the vote leaves."""
        assert self.allows_vote(ballot, council_hash), "a voter signs one candidate and one council per term"
        is_new = ballot != self.voted
        self.voted, self.council_hash = ballot, council_hash
        return is_new

    def is_on_trust(self, now: float) -> bool:
        """Return whether the highest ballot was accepted with nothing to compare it with, a short time ago."""
        return now < self._trusts_until

    def forget_trust(self, now: float) -> None:
        """Drop the fence that was accepted on trust, as if it had never been shown."""
        if self.is_on_trust(now):
            self.highest, self._trusts_until, self._hearsay_term = NO_BALLOT, -math.inf, 0

    def accept(self, ballot: Ballot, *, now: float) -> bool:
        """Move the fence up to an accepted certificate; return whether the disk must learn it.

        A vote in the same term already fences after a restart, so those who voted need not write again.
        """
        if self.is_jump(ballot):
            self._trusts_until = now + TRUST_S
        self.highest = max(self.highest, ballot)
        if self.is_on_trust(now):
            return False
        if not self.may_vote and self._relearns:
            self._end_silence(ballot.term)
            return True
        return ballot.term > self.voted.term

    def hear(self, ballot: Ballot) -> None:
        """Note a ballot that another member says exists; no signature proves it."""
        self._hearsay_term = max(self._hearsay_term, min(ballot.term, self.top.term + HEARSAY_RISE_MAX))

    def spend(self, term: int) -> None:
        """Note that the own campaign used ``term``, also when this peer has no vote in it."""
        self._hearsay_term = max(self._hearsay_term, term)

    def learn_from(self, peer_id: PeerId, ballot: Ballot, *, others: tuple[PeerId, ...], needed: int) -> bool:
        """Let a peer that lost its promise vote again once enough of the council told it their terms.

        Its old votes can matter only for candidates that the others know of as well.

        Args:
            peer_id: Who told ``ballot``, the highest that it stored.
            others: The council without this peer; empty when it is alone, and then it may vote at once.
            needed: How many of them must have told.

        Returns:
            Whether the silence ended now; the promise must then reach the disk.
        """
        if self.may_vote or not self._relearns:
            return False
        self.hear(ballot)
        if peer_id in others:
            self._told_by[peer_id] = None
        if sum(other in self._told_by for other in others) < needed:
            return False
        self._end_silence(self.known_term)
        return True

    def lose(self, boot: int) -> None:
        """Note that ``boot`` found the promise lost, so that the admin can name the loss."""
        self.may_vote, self.lost_in = False, boot

    def readmit(self, above_term: int) -> None:
        """Vote again by the word of the admin, above ``above_term`` and all terms known here."""
        self.lost_in = 0
        self._end_silence(max(above_term, self.known_term))

    def _end_silence(self, term: int) -> None:
        """Vote again, but in no term that an earlier boot may have voted in."""
        self.may_vote = True
        self.voted, self.council_hash = max(self.voted, Ballot(term, NOBODY)), NO_COUNCIL_HASH
        self._told_by.clear()
