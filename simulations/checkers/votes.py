"""Votes: what each peer signs, across all its boots (Raft 2014, section 5.2)."""

from typing import Final

import msgspec

from protocol.ids import PeerId
from protocol.statements import Ballot, Vote
from simulations.checkers.checker import Context, Watch
from simulations.checkers.names import name_of, peers_by_id
from simulations.witness import Observation, Signed

NETWORK_ID_SIZE_BYTES: Final = 32

_decoder: Final = msgspec.msgpack.Decoder(tuple[bytes, Ballot, bytes, int])


def vote_of(observation: Observation) -> tuple[Ballot, bytes] | None:
    """Return ballot and council of a vote that was just signed; None for everything else."""
    if not isinstance(observation, Signed) or not observation.message.startswith(Vote.domain):
        return None
    _, ballot, council, _ = _decoder.decode(observation.message[len(Vote.domain) + NETWORK_ID_SIZE_BYTES :])
    return ballot, council


class OneVotePerTerm(Watch):
    """No peer ever signs two candidates, or two councils for one candidate, in one term."""

    name = "one vote per term"
    hears = (Signed,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._signed: dict[tuple[PeerId, int], tuple[Ballot, bytes]] = {}
        self._peers = peers_by_id(context.cluster)

    def observed(self, observation: Observation) -> None:
        """Compare a vote with what its signer signed before."""
        vote = vote_of(observation)
        if vote is None:
            return
        self.count()
        voter, term = observation.peer_id, vote[0].term
        before = self._signed.setdefault((voter, term), vote)
        if before != vote:
            first, second = name_of(before[0].candidate, self._peers), name_of(vote[0].candidate, self._peers)
            self.violated(f"{name_of(voter, self._peers)} signed {second} in term {term} after {first}")

    def counts(self) -> str:
        """Return what is counted."""
        return "signatures under votes"


class LeadersVoteForNobodyElse(Watch):
    """Whoever votes for another leads no more: its own lead is below the fence that the vote raised."""

    name = "no leader votes for another"
    hears = (Signed,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._peers = peers_by_id(context.cluster)

    def observed(self, observation: Observation) -> None:
        """Look at the role of a voter in the moment of its signature."""
        vote, peer = vote_of(observation), self._peers.get(observation.peer_id)
        if vote is None or peer is None or peer.peer is None or vote[0].candidate == observation.peer_id:
            return
        self.count()
        if peer.peer.core.election.role == "leader":
            candidate = name_of(vote[0].candidate, self._peers)
            self.violated(f"{peer.name} votes for {candidate} in term {vote[0].term} and leads on")

    def counts(self) -> str:
        """Return what is counted."""
        return "votes for another"


class VotesReachTheDisk(Watch):
    """What a peer signed is on its disk before anybody can learn of it, and is never forgotten there."""

    name = "votes reach the disk"
    hears = (Signed,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._peers = peers_by_id(context.cluster)
        self._signed: dict[PeerId, Ballot] = {}
        self._accepted: dict[PeerId, Ballot] = {}
        self._losses: dict[PeerId, int] = {}

    def observed(self, observation: Observation) -> None:
        """Note the highest signed ballot of each peer."""
        vote = vote_of(observation)
        if vote is not None:
            self._forget_if_lost(observation.peer_id)
            before = self._signed.get(observation.peer_id, vote[0])
            self._signed[observation.peer_id] = max(before, vote[0])

    def scanned(self, at_s: float) -> None:
        """Compare every disk with what its peer signed: saving takes no time, so none may be behind."""
        for peer_id in list(self._signed):
            self.count()
            self._look(peer_id)

    def conclude(self) -> None:
        """Look once more."""
        self.scanned(self.context.now())

    def counts(self) -> str:
        """Return what is counted."""
        return "promises on disk compared with what was signed"

    def _look(self, peer_id: PeerId) -> None:
        self._forget_if_lost(peer_id)
        peer = self._peers.get(peer_id)
        signed, accepted = self._signed.get(peer_id), self._accepted.get(peer_id)
        if peer is None or signed is None:
            return
        promise = peer.disk.promise
        if promise is None or promise.voted < signed:
            kept = f"term {promise.voted.term}" if promise else "nothing"
            self.violated(f"{peer.name} signed term {signed.term} and its disk holds {kept}")
        elif accepted is not None and promise.highest < accepted:
            self.violated(f"the disk of {peer.name} fell back to term {promise.highest.term} from {accepted.term}")
        else:
            self._accepted[peer_id] = promise.highest

    def _forget_if_lost(self, peer_id: PeerId) -> None:
        """Ask no more for what was on a disk that was replaced since the last look."""
        peer = self._peers.get(peer_id)
        if peer is not None and self._losses.get(peer_id, 0) != peer.disk.losses:
            self._losses[peer_id] = peer.disk.losses
            self._signed.pop(peer_id, None)
            self._accepted.pop(peer_id, None)
