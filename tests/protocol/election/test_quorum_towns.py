"""Towns in *quorum* mode: leases never overlap in true time, whatever happens; and what happens when voters go."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.config import LOCAL
from protocol.election.quorum import CLOCK_RATE_MAX, CLOCK_RATE_MIN, promise_s
from protocol.messages import Heartbeat
from tests.examples import examples
from tests.protocol.election.story import Step, Story
from tests.protocol.election.town import Town, ids
from tests.protocol.samples import voter_list

SEEDS = range(4)
LIST = voter_list(voters=ids(range(3)))
TRUE_PROMISE_S = promise_s(LOCAL.lease_s) / CLOCK_RATE_MIN

_steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["cut", "isolate", "heal", "one way", "kill", "restart", "pause", "resume", "hand over", "wait"]
        ),
        st.integers(0, 2**16),
        st.integers(0, 2**16),
        st.sampled_from([0.02, 0.1, 0.3, 1.0]),
    ),
    max_size=20,
)
_rates = st.one_of(st.sampled_from([CLOCK_RATE_MIN, CLOCK_RATE_MAX]), st.floats(CLOCK_RATE_MIN, CLOCK_RATE_MAX))


def town(count: int = 5, *, seed: int = 0, voters: int = 3, rates: tuple[float, ...] = ()) -> Town:
    """Return a town that follows one leader."""
    subject = Town(count, seed=seed, rates=rates or (1.0,) * count, voters=[voter_list(voters=ids(range(voters)))])
    subject.all_see_all()
    assert subject.run(3.0, until=subject.is_united)
    subject.run(0.5)
    return subject


def leader_of(subject: Town) -> int:
    (leader,) = subject.leaders()
    return leader


def follow_nobody(subject: Town) -> bool:
    return set(subject.followed().values()) == {None}


@settings(deadline=None, max_examples=examples(120), suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=_steps,
    voters=st.integers(1, 5),
    rates=st.lists(_rates, min_size=5, max_size=5),
    seed=st.integers(0, 2**16),
    latency_s=st.sampled_from([0.001, 0.01, 0.03, 0.1]),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
)
def test_leases_never_overlap_in_true_time(
    steps: list[Step], voters: int, rates: list[float], seed: int, latency_s: float, loss: float
) -> None:
    """Clock rates within 5 %, delays, losses, cuts, pauses, restarts, handovers; the town looks after every step."""
    known = [voter_list(voters=ids(range(voters)))]
    subject = Town(5, seed=seed, rates=rates, voters=known, latency_s=latency_s, loss=loss)
    story = Story(subject, seed=seed)
    subject.run(0.5)

    story.carry_out(steps)

    subject.run(1.0)


def _isolated_leader(seed: int, *, slow: float, fast: float) -> Town:
    """Cut off a leader with a slow clock from voters with fast ones, who learn of it at once."""
    subject = town(3, seed=seed, rates=(slow, fast, fast))
    while leader_of(subject) != 0:
        subject.hand_over(leader_of(subject), 0)
        subject.run(0.5)
    subject.run(0.01, until=lambda: isinstance(subject.messages[-1][3], Heartbeat))
    subject.run(0.005)
    subject.cut = lambda sender, receiver: 0 in (sender, receiver)
    for number in (1, 2):
        subject.lose(number, 0)
    subject.run(1.0)
    return subject


@pytest.mark.parametrize("seed", SEEDS)
def test_slowest_leader_is_outlasted_by_the_fastest_voters(seed: int) -> None:
    """The worst case within the bound: the next leader begins after the last moment of the old lease."""
    subject = _isolated_leader(seed, slow=CLOCK_RATE_MIN, fast=CLOCK_RATE_MAX)

    assert leader_of(subject) in (1, 2)


def test_clocks_beyond_the_bound_do_break_it() -> None:
    """The check can fail: a quarter more or less is not borne."""
    with pytest.raises(AssertionError, match="overlap"):
        for seed in range(20):
            _isolated_leader(seed, slow=0.8, fast=1.2)


@pytest.mark.parametrize("seed", SEEDS)
def test_restarted_voters_do_not_forget_a_running_lease(seed: int) -> None:
    """Promises are not on disk: the leader that they carried is out of reach, and its lease runs on."""
    subject = town(3, seed=seed)
    old = leader_of(subject)
    others = [voter for voter in range(3) if voter != old]
    subject.cut = lambda sender, receiver: old in (sender, receiver)
    for voter in others:
        subject.people[voter].is_up = False
    for voter in others:
        subject.restart(voter, others)

    assert subject.run(TRUE_PROMISE_S + 0.2, until=lambda: len({*subject.leaders()} & {*others}) == 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_leader_is_replaced_when_its_promises_end(seed: int) -> None:
    """Not before, and with hardly more than the head start of the voters after."""
    subject = town(seed=seed)
    killed_at = subject.now
    subject.kill(leader_of(subject))

    assert subject.run(3.0, until=subject.is_united)
    assert LOCAL.lease_s - LOCAL.heartbeat_interval_s < subject.now - killed_at < TRUE_PROMISE_S + 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_majority_of_voters_nobody_leads(seed: int) -> None:
    """Everybody knows within the lease; one voter back, and there is a leader again."""
    subject = town(seed=seed)
    gone = [voter for voter in range(3) if voter != leader_of(subject)]
    for voter in gone:
        subject.kill(voter)

    assert subject.run(LOCAL.lease_s + 0.01, until=lambda: follow_nobody(subject))
    term = subject.term()
    for _ in range(20):
        subject.run(0.25)
        assert follow_nobody(subject) and subject.term() == term  # opinions cost no terms

    subject.restart(gone[0], range(5))
    subject.all_see_all()
    assert subject.run(TRUE_PROMISE_S + 0.5, until=subject.is_united)


def test_minority_side_of_a_cut_has_no_leader() -> None:
    """Two voters of three lead on; the side with one, though larger, follows nobody."""
    subject = town(9)
    groups = {number: int(number in (0, 1)) for number in range(9)}
    subject.cut = lambda sender, receiver: groups[sender] != groups[receiver]
    for number in subject.people:
        subject.see(number, [other for other in subject.people if groups[other] == groups[number]])
    subject.run(2.0)

    assert leader_of(subject) in (0, 1)
    assert {subject.followed()[number] for number in range(2, 9)} == {None}

    subject.cut = lambda _sender, _receiver: False
    subject.all_see_all()
    assert subject.run(1.0, until=subject.is_united)


@pytest.mark.parametrize("seed", SEEDS)
def test_handover_waits_for_no_promise(seed: int) -> None:
    """The leader's release frees the voices that it had; only a voter can be the successor."""
    subject = town(seed=seed)
    successor = next(voter for voter in range(3) if voter != leader_of(subject))

    subject.hand_over(leader_of(subject), successor)

    assert subject.run(0.1, until=lambda: subject.is_united() and leader_of(subject) == successor)
    subject.hand_over(successor, 4)
    subject.run(1.0)
    assert leader_of(subject) == successor


def test_new_list_spreads_and_the_leader_is_elected_again_by_it() -> None:
    """One voter knows the new version; the others learn it, and all follow a certificate of the new council."""
    subject = town()
    newer = voter_list(voters=ids(range(4)), version=2)
    subject.kill(1)
    subject.run(1.0)
    subject.people[1].voters = (newer,)
    subject.restart(1, range(5))
    subject.all_see_all()

    def is_spread() -> bool:
        return all(
            person.election.certificate is not None and person.election.certificate.council == ids(range(4))
            for person in subject.people.values()
        )

    assert subject.run(4.0, until=lambda: subject.is_united() and is_spread())


def test_voter_that_leaves_the_list_hands_its_lead_over() -> None:
    """A leader that is no voter any more does not lead on."""
    subject = town()
    old = leader_of(subject)
    newer = voter_list(voters=ids([number for number in range(3) if number != old]), version=2)
    other = next(number for number in range(3) if number != old)
    subject.kill(other)
    subject.run(0.02)
    subject.people[other].voters = (newer,)
    subject.restart(other, range(5))
    subject.all_see_all()

    assert subject.run(4.0, until=lambda: subject.is_united() and leader_of(subject) != old)


def test_two_lists_of_one_version_never_share_a_leader() -> None:
    """An admin signed twice: when the sides meet both raise alarms, and each follows only its own certificates."""
    other = voter_list(voters=ids([2, 3, 4]))
    sides = {number: [0, 1] if number < 2 else [2, 3, 4] for number in range(5)}
    subject = Town(5, voters=[LIST, LIST, other, other, other], are_leases_exclusive=False)
    for number, side in sides.items():
        subject.see(number, side)
    subject.run(1.0)

    subject.all_see_all()
    subject.run(3.0)

    assert all(followed in sides[number] for number, followed in subject.followed().items())
    assert any("contradicts ours" in text for number in (0, 1) for text in subject.people[number].alarms())
    assert any("contradicts ours" in text for number in (2, 3, 4) for text in subject.people[number].alarms())
    assert sum(len(person.alarms()) for person in subject.people.values()) <= 5 * 4
