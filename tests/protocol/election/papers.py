"""Signed papers and machines in a known state, for tests of single steps. Peers are numbers, as in ``town``."""

from collections.abc import Iterable, Iterator

from protocol.effects import MachineEffect, Promise, Report, Tell
from protocol.election import Election
from protocol.election.council import council_of
from protocol.election.promises import NO_BALLOT
from protocol.ids import PeerId
from protocol.messages import (
    Announce,
    Heartbeat,
    HeartbeatAck,
    Message,
    PreVoteReply,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
)
from protocol.statements import Ballot, Certificate, Release, Vote, council_hash, majority_of, signed
from tests.protocol.election.town import electorate, id_of, ids, machine, number_of, people
from tests.protocol.samples import NETWORK_ID

FIVE = range(5)


def ballot(term: int, candidate: int) -> Ballot:
    """Return a candidate's ballot."""
    return Ballot(term, id_of(candidate))


def vote(voter: int, on: Ballot, council: Iterable[int]) -> Vote:
    """Return a signed vote."""
    who = people()[voter]
    paper = Vote(author_key=who.public_key, ballot=on, council_hash=council_hash(ids(council)), voter_boot=1)
    return signed(paper, who, NETWORK_ID)


def certificate(
    leader: int, *, term: int = 1, council: Iterable[int] = FIVE, signers: Iterable[int] | None = None
) -> Certificate:
    """Return a certificate; by default the lowest majority of the council signed it."""
    members = sorted(council)
    chosen = sorted(members[: majority_of(len(members))] if signers is None else signers)
    on = ballot(term, leader)
    return Certificate(ballot=on, council=ids(members), votes=tuple(vote(voter, on, members) for voter in chosen))


def release(leader: int, successor: int, *, term: int = 1) -> Release:
    """Return a leader's signed release."""
    who = people()[leader]
    paper = Release(author_key=who.public_key, ballot=ballot(term, leader), successor=id_of(successor))
    return signed(paper, who, NETWORK_ID)


def newcomer(
    number: int, *, sees: Iterable[int] = FIVE, now: float = 0.0, promise: Promise | None = None, may_vote: bool = True
) -> Election:
    """Return a machine that sees its peers, stands at its turn, and follows nobody."""
    subject = machine(number, now=now, promise=promise, may_vote=may_vote)
    subject.electorate_changed(electorate(sees), now)
    return subject


def follower(
    number: int, *, of: int, term: int = 1, sees: Iterable[int] = FIVE, signers: Iterable[int] | None = None
) -> Election:
    """Return a machine that follows ``of`` since the time 0."""
    view = sorted(sees)
    subject = machine(number)
    subject.electorate_changed(electorate(view, ready=False), 0.0)
    council = [number_of(PeerId(member)) for member in council_of(ids(view))]
    paper = certificate(of, term=term, council=council, signers=signers)
    subject.handle(Announce(certificate=paper, followers=len(view)), id_of(of), 0.0)
    subject.electorate_changed(electorate(view), 0.0)
    assert subject.leader == id_of(of)
    return subject


def leader(*, sees: Iterable[int] = FIVE) -> Election:
    """Return the machine of peer 0, elected in term 1 at the time 0 by the lowest majority of its council."""
    view = sorted(sees)
    council = [number_of(PeerId(member)) for member in council_of(ids(view))]
    on = ballot(1, 0)
    subject = newcomer(0, sees=view)
    for voter in council[1:]:
        subject.handle(PreVoteReply(ballot=on, granted=True, highest=NO_BALLOT), id_of(voter), 0.0)
    for voter in council[1:]:
        subject.handle(VoteReply(ballot=on, highest=on, vote=vote(voter, on, council)), id_of(voter), 0.0)
    assert subject.role == "leader"
    return subject


def pre_vote_request(
    candidate: int, *, term: int = 2, council: Iterable[int] = FIVE, is_merge: bool = False
) -> PreVoteRequest:
    """Return a question for an opinion."""
    return PreVoteRequest(ballot=ballot(term, candidate), council=ids(council), is_merge=is_merge)


def vote_request(
    candidate: int,
    *,
    term: int = 2,
    council: Iterable[int] = FIVE,
    is_merge: bool = False,
    release: Release | None = None,
) -> VoteRequest:
    """Return a request for a vote."""
    return VoteRequest(ballot=ballot(term, candidate), council=ids(council), is_merge=is_merge, release=release)


def acknowledge(subject: Election, *, by: Iterable[int], sequence: int, now: float) -> None:
    """Let council members accept a heartbeat round of peer 0 in term 1."""
    for voter in by:
        ack = HeartbeatAck(ballot=ballot(1, 0), sequence=sequence, highest=ballot(1, 0))
        subject.handle(ack, id_of(voter), now)


def lead_on(subject: Election, *, until: float, by: Iterable[int]) -> Iterator[tuple[float, MachineEffect]]:
    """Let time pass for the leader ``leader``; yield all that it does, while ``by`` accept its heartbeats."""
    voters = tuple(by)
    while subject.next_deadline() <= until:
        now = subject.next_deadline()
        for effect in subject.wake(now, 0.0):
            yield now, effect
            if isinstance(effect, Tell) and isinstance(effect.message, Heartbeat):
                acknowledge(subject, by=voters, sequence=effect.message.sequence, now=now)


def told(effects: list[MachineEffect]) -> list[tuple[int, Message]]:
    """Return what is sent to whom."""
    return [(number_of(effect.peer_id), effect.message) for effect in effects if isinstance(effect, Tell)]


def names(effects: list[MachineEffect]) -> list[str]:
    """Return the kinds of effects in order; what is told or reported by the name of its content."""
    found = []
    for effect in effects:
        inner = effect.message if isinstance(effect, Tell) else effect.event if isinstance(effect, Report) else effect
        found.append(type(inner).__name__)
    return found
