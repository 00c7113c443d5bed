"""Certificates: what makes a leader, checked without a line of the code that peers check them with."""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocol.effects import LeaderChanged
from protocol.ids import NetworkId, PeerId
from protocol.statements import Ballot, Certificate
from simulations.checkers.checker import Context, Watch
from simulations.checkers.names import name_of, peers_by_id
from simulations.witness import Observation, Reported


class CertificatesProve(Watch):
    """Whoever is followed was voted for by a majority of the council that the certificate names, alone in its term."""

    name = "certificates prove a majority"
    hears = (LeaderChanged,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._network_id = context.cluster.identity.network_id
        self._peers = peers_by_id(context.cluster)
        self._elected: dict[tuple[int, tuple[bytes, ...]], bytes] = {}
        self._proved: dict[Certificate, None] = {}

    def observed(self, observation: Observation) -> None:
        """Check the certificate of each leader that anybody begins to follow."""
        if not isinstance(observation, Reported) or not isinstance(observation.event, LeaderChanged):
            return
        certificate = observation.event.certificate
        if certificate is None or certificate in self._proved:
            return
        self._proved[certificate] = None
        self.count()
        flaw = flaw_of(certificate, self._network_id) or self._second_of_term(certificate)
        if flaw:
            follower, leader = (name_of(who, self._peers) for who in (observation.peer_id, certificate.ballot.peer_id))
            self.violated(f"{follower} follows {leader} in term {certificate.ballot.term}: {flaw}")

    def counts(self) -> str:
        """Return what is counted."""
        return "certificates that somebody followed"

    def _second_of_term(self, certificate: Certificate) -> str:
        ballot = certificate.ballot
        if any(member in self.context.cluster.guests for member in certificate.council):
            return ""  # a liar may vote twice, and be the only one whom two majorities share
        first = self._elected.setdefault((ballot.term, certificate.council), ballot.candidate)
        if first == ballot.candidate:
            return ""
        return f"the same council elected {name_of(first, self._peers)} in that term"


class CertificatesHoldHere(Watch):
    """Whoever is followed was voted for by a majority of the council as the follower itself sees it."""

    name = "certificates hold where they are followed"
    hears = (LeaderChanged,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._peers = peers_by_id(context.cluster)

    def observed(self, observation: Observation) -> None:
        """Compare the signers with the follower's council; a leader's own certificate is renewed when it must be."""
        if not isinstance(observation, Reported) or not isinstance(observation.event, LeaderChanged):
            return
        certificate, peer = observation.event.certificate, self._peers.get(observation.peer_id)
        if certificate is None or peer is None or peer.peer is None:
            return
        if certificate.ballot.peer_id == observation.peer_id:
            return
        self.count()
        council = peer.peer.core.election.council
        known = sum(hashlib.sha256(vote.author_key).digest() in council for vote in certificate.votes)
        if 2 * known <= len(council):
            leader = name_of(certificate.ballot.candidate, self._peers)
            self.violated(f"{peer.name} follows {leader}, for whom {known} of its council of {len(council)} voted")

    def counts(self) -> str:
        """Return what is counted."""
        return "certificates compared with the follower's council"


class NoStepBack(Watch):
    """No peer accepts a leader below the highest ballot that it stored, across boots.

    A vote fences all earlier leaders but the candidate itself, which leads on until its new certificate is there.
    """

    name = "no peer follows an earlier leader again"
    hears = (LeaderChanged,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._peers = peers_by_id(context.cluster)
        self._highest: dict[tuple[PeerId, int], Ballot] = {}

    def observed(self, observation: Observation) -> None:
        """Compare a new leader's ballot with what the follower accepted in this boot, and with its disk."""
        if not isinstance(observation, Reported) or not isinstance(observation.event, LeaderChanged):
            return
        certificate, peer = observation.event.certificate, self._peers.get(observation.peer_id)
        if certificate is None or peer is None:
            return
        self.count()
        ballot, boot = certificate.ballot, (observation.peer_id, peer.disk.last_boot or 0)
        promise = peer.disk.promise
        stored = promise.highest if promise is not None else ballot
        fence = max(stored, self._highest.get(boot, ballot))
        if promise is not None and promise.voted.candidate != ballot.candidate:
            fence = max(fence, Ballot(promise.voted.term, b""))
        if ballot < fence:
            leader = name_of(ballot.candidate, self._peers)
            self.violated(f"{peer.name} follows {leader} in term {ballot.term} after term {fence.term}")
        self._highest[boot] = max(ballot, self._highest.get(boot, ballot))

    def counts(self) -> str:
        """Return what is counted."""
        return "changes of a followed leader"


def flaw_of(certificate: Certificate, network_id: NetworkId) -> str:
    """Return why a certificate proves nothing, or an empty text."""
    council, signers = certificate.council, [hashlib.sha256(vote.author_key).digest() for vote in certificate.votes]
    if sorted(dict.fromkeys(council)) != list(council):
        return "its council is not in order"
    if len(dict.fromkeys(signers)) != len(signers):
        return "somebody voted twice"
    strangers = [signer for signer in signers if signer not in council]
    if strangers:
        return f"{strangers[0].hex()[:8]} voted without a seat in the council"
    if 2 * len(signers) <= len(council):
        return f"{len(signers)} votes are no majority of {len(council)}"
    named = hashlib.sha256(b"".join(council)).digest()[:16]
    for vote in certificate.votes:
        if vote.ballot != certificate.ballot or vote.council_hash != named:
            return "a vote is for another ballot or council"
        try:
            Ed25519PublicKey.from_public_bytes(vote.author_key).verify(vote.signature, vote.signed_bytes(network_id))
        except (InvalidSignature, ValueError):
            return f"the signature of {hashlib.sha256(vote.author_key).hexdigest()[:8]} is forged"
    return ""
