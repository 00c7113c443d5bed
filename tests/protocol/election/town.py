"""A town of election machines on virtual time, wired directly: seeded loss and latency, cuts, pauses, crashes.

There is no membership here: tests say what each peer sees of the others. Peers are called by number; the number is
also the rank of the peer's id, so peer 0 is the first of every council that it is in.

While a town runs it checks what must hold always: no voter signs two candidates or two councils in one term, also
across boots; one (term, council) makes one certificate; in a town with fixed voters no two leases overlap in true
time; and the machines' own invariants.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from protocol.config import LOCAL, ProtocolConfig
from protocol.effects import (
    Alarm,
    Electorate,
    Event,
    KeepVoters,
    LeaderChanged,
    MachineEffect,
    Persist,
    Promise,
    Report,
    Tell,
)
from protocol.election import Election
from protocol.election.quorum import QuorumRules
from protocol.election.rules import AvailableRules, Rules
from protocol.identity import CachingVerifier, Identity, Verifier
from protocol.ids import PeerId
from protocol.messages import Announce, Message, VoteReply
from protocol.statements import Ballot, Vote, VoterList
from tests.protocol.samples import ADMIN, NETWORK_ID, identity

_VERIFIER = CachingVerifier(entries_max=100_000)
"""Verification is pure, so all peers of all towns may share what was verified."""


@cache
def people(count: int = 64) -> tuple[Identity, ...]:
    """Return key pairs, ascending by peer id."""
    return tuple(sorted((identity(number) for number in range(count)), key=lambda who: who.peer_id))


def id_of(number: int) -> PeerId:
    """Return the id of peer ``number``."""
    return people()[number].peer_id


def number_of(peer_id: PeerId) -> int:
    """Return the number of a peer."""
    return next(number for number, who in enumerate(people()) if who.peer_id == peer_id)


def ids(numbers: Iterable[int]) -> tuple[PeerId, ...]:
    """Return the ids of peers, ascending."""
    return tuple(id_of(number) for number in sorted(numbers))


def electorate(numbers: Iterable[int], *, ready: bool = True, suspects: Iterable[int] = ()) -> Electorate:
    """Return the view of one who sees these peers alive."""
    return Electorate(living=ids(numbers), suspects=ids(suspects), ready=ready)


def quorum_rules(
    *, voters: Sequence[VoterList], config: ProtocolConfig = LOCAL, verifier: Verifier = _VERIFIER, now: float = 0.0
) -> QuorumRules:
    """Return the rules of a peer that kept these lists of voters."""
    return QuorumRules(
        network_id=NETWORK_ID,
        admin_key=ADMIN.public_key,
        config=config,
        verifier=verifier,
        voters=voters,
        now=now,
    )


def machine(
    number: int,
    *,
    now: float = 0.0,
    boot: int = 1,
    promise: Promise | None = None,
    may_vote: bool = True,
    config: ProtocolConfig = LOCAL,
    seed: int = 0,
    verifier: Verifier = _VERIFIER,
    rules: Rules | None = None,
) -> Election:
    """Return the election machine of one peer, which sees nobody yet."""
    return Election(
        identity=people()[number],
        network_id=NETWORK_ID,
        boot=boot,
        config=config,
        verifier=verifier,
        random=random.Random(f"{seed}/{number}/{boot}"),
        promise=promise,
        may_vote=may_vote,
        rules=AvailableRules(config) if rules is None else rules,
        now=now,
    )


@dataclass(slots=True)
class Person:
    """One peer of a town."""

    election: Election
    boot: int = 1
    is_up: bool = True
    is_paused: bool = False
    promise: Promise | None = None
    voters: tuple[VoterList, ...] = ()
    sees: frozenset[int] = frozenset()
    promised: float = float("inf")
    inbox: list[tuple[int, Message]] = field(default_factory=list)
    reports: list[tuple[float, Event]] = field(default_factory=list)

    def alarms(self) -> list[str]:
        """Return the texts of the alarms that this peer raised."""
        return [event.text for _, event in self.reports if isinstance(event, Alarm)]


class Town:
    """Runs machines against each other."""

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        latency_s: float = 0.001,
        sync_s: float = 0.002,
        loss: float = 0.0,
        claims_every_s: float = 0.25,
        config: ProtocolConfig = LOCAL,
        rates: Sequence[float] = (),
        voters: Sequence[VoterList] = (),
        are_leases_exclusive: bool = True,
    ) -> None:
        """Make a town; nobody sees anybody yet.

        Args:
            rates: Seconds that each peer's clock shows in one true second; by default all show true time.
            voters: What each peer of a town in *quorum* mode knows of the voters; the last entry counts for the rest.
            are_leases_exclusive: Whether a town in *quorum* mode checks that no two leases overlap.
        """
        self.now = 0.0
        self.config = config
        self.loss = loss
        self.random = random.Random(f"town {seed}")
        self._rates = tuple(rates)
        self._quorum = bool(voters)
        self._are_leases_exclusive = bool(voters) and are_leases_exclusive
        self.people: dict[int, Person] = {}
        for number in range(count):
            known = tuple(voters[min(number, len(voters) - 1) :][:1])
            rules, now = self._rules(number, known), self.clock(number)
            subject = machine(number, now=now, config=config, seed=seed, rules=rules)
            self.people[number] = Person(subject, voters=known)
        self.messages: list[tuple[float, int, int, Message]] = []
        self.cut: Callable[[int, int], bool] = lambda _from, _to: False
        self._seed = seed
        self._latency_s = latency_s
        self._sync_s = sync_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = itertools.count()
        self._signed: dict[tuple[PeerId, int], tuple[Ballot, bytes]] = {}
        self._certified: dict[tuple[int, tuple[bytes, ...]], Ballot] = {}
        if claims_every_s:
            for number in self.people:
                self._gossip_claims(number, claims_every_s)

    # What a test does

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._events, (time, next(self._ticket), action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something after a delay."""
        self.at(self.now + delay_s, action)

    def see(self, number: int, others: Iterable[int], *, ready: bool = True) -> None:
        """Give one peer a view of who lives; itself is always in it."""
        person = self.people[number]
        person.sees = frozenset(others) | {number}
        if person.is_up and not person.is_paused:
            view = electorate(person.sees, ready=ready)
            self._do(number, lambda election: election.electorate_changed(view, self.clock(number)))

    def all_see_all(self) -> None:
        """Give every peer that is up the view of all that are up."""
        everybody = [number for number, person in self.people.items() if person.is_up]
        for number in everybody:
            self.see(number, everybody)

    def kill(self, number: int, *, verdict_s: float = 0.005) -> None:
        """End one peer; the others learn of it at slightly different moments."""
        self.people[number].is_up = False
        for other, person in self.people.items():
            if person.is_up and number in person.sees:
                self.after(self.random.uniform(verdict_s / 2, verdict_s), lambda other=other: self.lose(other, number))

    def lose(self, number: int, gone: int) -> None:
        """Take one peer out of another's view."""
        self.see(number, self.people[number].sees - {gone})

    def restart(self, number: int, others: Iterable[int], *, may_vote: bool = True) -> None:
        """Start a peer again, from its promise on disk."""
        person = self.people[number]
        person.boot += 1
        person.is_up, person.is_paused = True, False
        person.inbox.clear()
        person.promised = float("inf")
        person.election = machine(
            number,
            now=self.clock(number),
            boot=person.boot,
            promise=person.promise if may_vote else None,
            may_vote=may_vote,
            config=self.config,
            seed=self._seed,
            rules=self._rules(number, person.voters),
        )
        self.see(number, others)

    def pause(self, number: int) -> None:
        """Stop one peer (SIGSTOP): datagrams for it wait in its socket."""
        self.people[number].is_paused = True

    def resume(self, number: int) -> None:
        """Let it go on (SIGCONT): it wakes late, and then reads its socket."""
        person = self.people[number]
        person.is_paused = False
        if not person.is_up:
            return
        self._do(number, lambda _election: [])
        self.see(number, person.sees)
        inbox, person.inbox = person.inbox, []
        for sender, message in inbox:
            self._deliver(sender, number, message)

    def hand_over(self, number: int, successor: int | None) -> None:
        """Ask one peer to hand over."""
        chosen = None if successor is None else id_of(successor)
        self._do(number, lambda election: election.hand_over(chosen, self.clock(number)))

    def inject(self, sender: int, receiver: int, message: Message) -> None:
        """Let a peer receive a message that its sender's machine never wrote."""
        self._deliver(sender, receiver, message)

    def run(self, duration_s: float, *, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; return whether ``until`` came true (and stop there)."""
        if until is not None and until():
            return True
        end = self.now + duration_s
        while self._events and self._events[0][0] <= end:
            time, _, action = heapq.heappop(self._events)
            self.now = max(self.now, time)
            action()
            if until is not None and until():
                return True
        self.now = end
        return until is None

    # Clocks

    def clock(self, number: int) -> float:
        """Return the steady clock of one peer."""
        return self.now if not self._rates else 100.0 * number + self.now * self._rates[number]

    def _true_time(self, number: int, at: float) -> float:
        """Return when the clock of one peer surely shows ``at``."""
        return at if not self._rates else (at - 100.0 * number) / self._rates[number] + 1e-6

    # What a test asks

    def leaders(self) -> list[int]:
        """Return who believes to lead, paused peers left out."""
        return [number for number, person in self._active() if person.election.role == "leader"]

    def lease_holders(self) -> list[int]:
        """Return who holds a lease at this moment of true time, paused peers included."""
        return [
            number
            for number, person in self.people.items()
            if person.is_up and person.election.lease_until > self.clock(number)
        ]

    def followed(self) -> dict[int, int | None]:
        """Return whom each running peer follows."""
        return {
            number: None if person.election.leader is None else number_of(person.election.leader)
            for number, person in self._active()
        }

    def is_united(self) -> bool:
        """Return whether all running peers follow one of them, which leads."""
        followed = self.followed()
        leader = next(iter(followed.values()))
        return leader is not None and set(followed.values()) == {leader} and self.leaders() == [leader]

    def term(self) -> int:
        """Return the highest term of any running peer."""
        return max(person.election.term for _, person in self._active())

    def elected(self) -> int:
        """Return how many certificates were made."""
        return len(self._certified)

    def changes_seen_by(self, number: int) -> list[tuple[float, int | None]]:
        """Return when a peer followed whom."""
        return [
            (at, None if event.leader is None else number_of(event.leader))
            for at, event in self.people[number].reports
            if isinstance(event, LeaderChanged)
        ]

    def ballots_followed_by(self, number: int) -> list[Ballot]:
        """Return the ballots of all leaders that a peer followed."""
        events = [event for _, event in self.people[number].reports if isinstance(event, LeaderChanged)]
        return [event.certificate.ballot for event in events if event.certificate is not None]

    # How it runs

    def _active(self) -> Iterable[tuple[int, Person]]:
        return ((number, person) for number, person in self.people.items() if person.is_up and not person.is_paused)

    def _do(self, number: int, action: Callable[[Election], list[MachineEffect]]) -> None:
        """Give a machine one input, as the core does: what is overdue comes first."""
        person = self.people[number]
        now = self.clock(number)
        if now >= person.promised:
            late_by = now - person.promised
            person.promised = float("inf")
            self._carry_out(number, person.election.wake(now, late_by))
        self._carry_out(number, action(person.election))
        person.election.check_invariants()
        if self._are_leases_exclusive:
            self._check_leases()
        person.promised = person.election.next_deadline()
        if person.promised < float("inf"):
            boot = person.boot
            self.at(max(self._true_time(number, person.promised), self.now), lambda: self._wake(number, boot))

    def _wake(self, number: int, boot: int) -> None:
        person = self.people[number]
        if person.is_up and not person.is_paused and person.boot == boot and self.clock(number) >= person.promised:
            self._do(number, lambda _election: [])

    def _carry_out(self, number: int, effects: list[MachineEffect]) -> None:
        person = self.people[number]
        leaves_at = self.now
        for effect in effects:
            match effect:
                case Persist(promise):
                    person.promise = promise
                    leaves_at += self._sync_s
                case KeepVoters(voters):
                    person.voters = (voters,)
                case Report(event):
                    person.reports.append((self.now, event))
                case Tell(peer_id, message):
                    self._check(message)
                    self._send(number, number_of(peer_id), message, leaves_at)

    def _send(self, sender: int, receiver: int, message: Message, leaves_at: float) -> None:
        self.messages.append((self.now, sender, receiver, message))
        if receiver in self.people and not self.cut(sender, receiver) and self.random.random() >= self.loss:
            arrives_at = leaves_at + self._latency_s * self.random.uniform(0.5, 1.5)
            boot = self.people[receiver].boot
            self.at(arrives_at, lambda: self._arrive(sender, receiver, boot, message))

    def _arrive(self, sender: int, receiver: int, boot: int, message: Message) -> None:
        person = self.people[receiver]
        if not person.is_up or person.boot != boot or self.cut(sender, receiver):
            return
        if person.is_paused:
            person.inbox.append((sender, message))
        else:
            self._deliver(sender, receiver, message)

    def _deliver(self, sender: int, receiver: int, message: Message) -> None:
        self._do(receiver, lambda election: election.handle(message, id_of(sender), self.clock(receiver)))

    def _gossip_claims(self, number: int, every_s: float) -> None:
        """Let each peer ping a random one now and then, with claims in both directions (as the membership does)."""
        person = self.people[number]
        others = [other for other in sorted(person.sees) if other != number]
        if person.is_up and not person.is_paused and others:
            other = self.random.choice(others)
            self._claim(number, other)
            self.after(2 * self._latency_s, lambda: self._claim(other, number))
        self.after(every_s * self.random.uniform(1.0, 3.0), lambda: self._gossip_claims(number, every_s))

    def _claim(self, sender: int, receiver: int) -> None:
        to, claim = self.people[receiver], self.people[sender].election.claim
        is_running = to.is_up and not to.is_paused and self.people[sender].is_up and not self.people[sender].is_paused
        if claim is not None and is_running and not self.cut(sender, receiver):
            self._do(receiver, lambda election: election.claim_seen(claim, id_of(sender), self.clock(receiver)))

    def _check(self, message: Message) -> None:
        if isinstance(message, VoteReply) and message.vote is not None:
            self._check_vote(message.vote)
        elif isinstance(message, Announce):
            certificate = message.certificate
            for vote in certificate.votes:
                self._check_vote(vote)
            key = (certificate.ballot.term, certificate.council)
            assert self._certified.setdefault(key, certificate.ballot) == certificate.ballot, "two leaders in one term"

    def _check_vote(self, vote: Vote) -> None:
        signed = (vote.ballot, vote.council_hash)
        first = self._signed.setdefault((vote.author, vote.ballot.term), signed)
        assert first == signed, f"peer {number_of(vote.author)} signed twice in term {vote.ballot.term}"

    def _check_leases(self) -> None:
        holders = self.lease_holders()
        assert len(holders) <= 1, f"leases of {holders} overlap at {self.now:.4f}"

    def _rules(self, number: int, voters: Sequence[VoterList]) -> Rules:
        if not self._quorum:
            return AvailableRules(self.config)
        return quorum_rules(voters=voters, config=self.config, now=self.clock(number))
