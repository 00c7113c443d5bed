"""Stories of several machines: what happens between the first vote and the last follower."""

import itertools

import pytest

from protocol.config import LOCAL
from protocol.messages import Announce, Heartbeat, HeartbeatAck, PreVoteRequest, VoteRequest
from tests.protocol.election.papers import ballot, certificate
from tests.protocol.election.town import Town, id_of, ids

SEEDS = range(5)


def town(count: int, *, seed: int = 0, loss: float = 0.0) -> Town:
    """Return a town that follows one leader."""
    subject = Town(count, seed=seed, loss=loss)
    subject.all_see_all()
    assert subject.run(3.0, until=subject.is_united)
    subject.run(0.5)
    return subject


def leader_of(subject: Town) -> int:
    (leader,) = subject.leaders()
    return leader


def part(subject: Town, groups: dict[int, int], *, verdict_s: float = 1.0) -> None:
    """Cut the town; the members of each group lose sight of the others after a while."""

    def is_cut(sender: int, receiver: int) -> bool:
        return groups[sender] != groups[receiver]

    subject.cut = is_cut
    for number in subject.people:
        group = [other for other in subject.people if groups[other] == groups[number]]
        subject.after(verdict_s * subject.random.uniform(0.8, 1.2), lambda n=number, g=group: subject.see(n, g))  # type: ignore[misc]


def heal(subject: Town) -> None:
    """End the cut; views grow together within a third of a second."""
    subject.cut = lambda _sender, _receiver: False
    for number in subject.people:
        subject.after(subject.random.uniform(0.0, 0.3), lambda n=number: subject.see(n, subject.people))  # type: ignore[misc]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 40])
def test_first_election_takes_one_term(count: int) -> None:
    """One certificate, within a few trips and syncs."""
    subject = Town(count)
    subject.all_see_all()

    assert subject.run(0.05, until=subject.is_united)
    subject.run(5.0)
    assert subject.is_united() and subject.term() == 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [2, 5, 40])
def test_killed_leader_is_replaced_in_milliseconds_and_one_term(count: int, seed: int) -> None:
    """After the verdict: opinions, votes with one sync, announcement; nobody waits a fixed time."""
    subject = town(count, seed=seed)
    subject.kill(leader_of(subject), verdict_s=0.005)

    assert subject.run(0.02, until=subject.is_united)
    subject.run(2.0)
    assert subject.is_united() and subject.term() <= 3  # the second only if a signer died


@pytest.mark.parametrize("seed", SEEDS)
def test_leader_and_its_successor_die_together(seed: int) -> None:
    """The next in the council goes on without waiting for verdicts about both."""
    subject = town(7, seed=seed)
    leader = leader_of(subject)
    subject.kill(leader)
    subject.kill(1 if leader != 1 else 0)

    assert subject.run(0.5, until=subject.is_united)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [5, 40])
def test_stopped_leader_is_replaced_and_steps_down_when_it_goes_on(count: int, seed: int) -> None:
    """SIGSTOP, SIGCONT: no membership verdict is needed; the old leader acts on no old lease."""
    subject = town(count, seed=seed)
    old = leader_of(subject)
    subject.pause(old)
    assert subject.run(0.75, until=subject.is_united)
    subject.run(2.0)

    subject.resume(old)

    assert subject.people[old].election.role == "follower"
    assert subject.run(0.05, until=subject.is_united)
    subject.run(2.0)
    assert subject.term() == 2


def test_short_stall_of_the_leader_costs_no_term() -> None:
    """It lapses, asks whether it is still accepted, and leads on."""
    subject = town(5)
    leader = leader_of(subject)
    subject.pause(leader)
    subject.run(LOCAL.lease_s)
    subject.resume(leader)

    assert subject.run(0.05, until=subject.is_united)
    subject.run(2.0)
    assert leader_of(subject) == leader and subject.term() == 1


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("seed", SEEDS)
def test_planned_handover_reaches_the_named_successor(seed: int, loss: float) -> None:
    """One term; also when datagrams are lost."""
    subject = town(5, seed=seed)
    subject.loss = loss
    leader = leader_of(subject)
    successor = 4 if leader != 4 else 3

    subject.hand_over(leader, successor)

    assert subject.run(0.5, until=lambda: subject.is_united() and leader_of(subject) == successor)


@pytest.mark.parametrize("seed", SEEDS)
def test_restarted_leader_does_not_lead_on_by_memory(seed: int) -> None:
    """Back before anybody noticed: it lost its lead with its process, and one term restores order."""
    subject = town(5, seed=seed)
    leader = leader_of(subject)
    subject.people[leader].is_up = False
    subject.run(0.02)
    subject.restart(leader, range(5))

    assert subject.run(1.5, until=lambda: subject.is_united() and subject.term() == 2)


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param({number: int(number > 1) for number in range(5)}, id="2+3"),
        pytest.param({number: number % 2 for number in range(6)}, id="3+3"),
        pytest.param({number: int(number >= 5) for number in range(30)}, id="5+25"),
        pytest.param({number: int(number >= 25) for number in range(30)}, id="25+5"),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_sides_of_a_cut_lead_themselves_and_unite_in_at_most_one_term(groups: dict[int, int], seed: int) -> None:
    """One leader is left within two seconds of their meeting (DESIGN section 6)."""
    subject = town(len(groups), seed=seed)
    part(subject, groups)
    subject.run(4.0)
    assert [groups[leader] for leader in sorted(subject.leaders(), key=lambda n: groups[n])] == [0, 1]
    term = subject.term()

    heal(subject)
    subject.run(0.31)

    assert subject.run(1.7, until=subject.is_united)
    united_in = subject.term()
    subject.run(3.0)
    assert subject.is_united() and subject.term() == united_in <= term + 1


def test_larger_side_keeps_its_leader() -> None:
    """Of two sides of one term; the smaller side's leader follows."""
    subject = town(9)
    groups = {number: int(number >= 2) for number in range(9)}
    part(subject, groups)
    subject.run(4.0)
    larger = next(leader for leader in subject.leaders() if groups[leader] == 1)

    heal(subject)

    assert subject.run(2.3, until=lambda: subject.is_united() and leader_of(subject) == larger)


def test_many_lone_leaders_unite() -> None:
    """Every peer was cut off alone, and led itself."""
    subject = town(12)
    part(subject, {number: number for number in range(12)})
    subject.run(4.0)
    assert len(subject.leaders()) == 12

    heal(subject)
    subject.run(0.31)

    assert subject.run(1.7, until=subject.is_united)


@pytest.mark.parametrize("seed", range(12))
def test_three_sides_unite_when_none_has_a_majority_of_the_common_council(seed: int) -> None:
    """All three leases end before anybody unites the sides, and two of the leaders may not vote, so cannot stand."""
    subject = town(16, seed=seed)
    groups = {number: 0 if number in (0, 1, 3) else 2 if number in (6, 13, 14, 15) else 1 for number in range(16)}
    part(subject, groups)
    subject.run(4.0)
    leads = {groups[leader]: leader for leader in subject.leaders()}
    subject.hand_over(leads[1], 10)
    subject.hand_over(leads[2], 15)
    subject.run(1.0)
    assert {10, 15} < set(subject.leaders())

    subject.cut = lambda _sender, _receiver: False
    subject.all_see_all()

    assert subject.run(2.0, until=subject.is_united)


@pytest.mark.parametrize("ends", [(0, 2), (0, 4), (1, 3)])
@pytest.mark.parametrize("is_one_way", [False, True])
def test_cuts_between_two_peers_never_make_leaders_take_turns(ends: tuple[int, int], is_one_way: bool) -> None:
    """At most one change between living leaders in ``change_pause_s``, also when the two lose sight of each other."""
    subject = town(5)
    left, right = ends
    subject.cut = lambda sender, receiver: (sender, receiver) == ends or (not is_one_way and (receiver, sender) == ends)
    subject.after(1.0, lambda: subject.lose(right, left))
    subject.after(1.2, lambda: subject.lose(left, right))
    for person in subject.people.values():
        person.reports.clear()
    started_at = subject.now

    subject.run(20.0)

    for number in subject.people:
        followed = [(at, who) for at, who in subject.changes_seen_by(number) if who is not None]
        assert len(followed) <= 1 + (subject.now - started_at) / LOCAL.change_pause_s
        for (before, _), (after, _) in itertools.pairwise(followed):
            assert after - before >= LOCAL.change_pause_s - 0.5


@pytest.mark.parametrize("seed", range(3))
def test_leader_is_kept_while_a_fifth_of_the_peers_hardly_runs(seed: int) -> None:
    """Eight of forty are stalled 2 s of every 2.05 s, three of them in the council."""
    subject = town(40, seed=seed)
    stalled = [1, 3, 5, *range(20, 25)]

    def stall(number: int) -> None:
        subject.pause(number)
        subject.after(2.0, lambda: subject.resume(number))
        subject.after(2.05, lambda: stall(number))

    for number in stalled:
        subject.after(2.05 * subject.random.random(), lambda number=number: stall(number))  # type: ignore[misc]
    subject.run(15.0)

    healthy = {subject.people[number].election.leader for number in subject.people if number not in stalled}
    assert healthy == {id_of(leader_of(subject))}
    assert subject.term() <= 2


def test_hostile_member_gains_nothing() -> None:
    """Huge terms, forged and foreign certificates, acts in the leader's name: refused, alarmed, and bounded."""
    subject = town(5)
    leader, before = leader_of(subject), len(subject.messages)
    huge = 2**62
    lies = [
        Announce(certificate=certificate(4, term=huge, signers=[4]), followers=4000),
        Announce(certificate=certificate(4, term=2, council=[4, 50, 51, 52, 53]), followers=4000),
        Heartbeat(ballot=ballot(huge, 4), sequence=1, followers=4000),
        Heartbeat(ballot=ballot(1, leader), sequence=99, followers=0),
        HeartbeatAck(ballot=ballot(1, leader), sequence=1, highest=ballot(huge, 4)),
        PreVoteRequest(ballot=ballot(huge, 4), council=ids(range(5)), is_merge=True),
        VoteRequest(ballot=ballot(huge, 4), council=ids(range(5)), is_merge=True),
        VoteRequest(ballot=ballot(2, 4), council=ids(range(5))),
    ]
    for _ in range(100):
        for lie in lies:
            for victim in range(4):
                subject.inject(4, victim, lie)
        subject.run(0.01)
    subject.run(1.0)

    assert leader_of(subject) == leader and subject.is_united() and subject.term() == 1
    assert len(subject.messages) - before <= 3 * 100 * len(lies) * 4
    assert all(any("far above" in text for text in subject.people[victim].alarms()) for victim in range(4))
    assert all(len(person.alarms()) <= 5 for person in subject.people.values())


@pytest.mark.parametrize("seed", range(3))
def test_voter_with_a_damaged_file_takes_part_again_once_it_knows_the_term(seed: int) -> None:
    """It votes nothing before; a certificate, or a majority of the others, tells it."""
    subject = town(3, seed=seed)
    lost = next(number for number in (1, 2) if number != leader_of(subject))
    subject.kill(lost)
    subject.run(1.0)
    subject.restart(lost, range(3), may_vote=False)
    subject.all_see_all()
    subject.run(1.0)
    assert subject.is_united()

    subject.kill(leader_of(subject))

    assert subject.run(0.5, until=subject.is_united)
