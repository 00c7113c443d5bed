"""Membership and election together, in whole clusters on virtual time (DESIGN sections 1 and 6)."""

import pytest

from tests.protocol.cluster import Cluster


def cluster(count: int, *, seed: int) -> Cluster:
    """Return a cluster that agrees and is at rest."""
    subject = Cluster(seed=seed)
    subject.start_many(count, within_s=0.3)
    assert subject.run_until(lambda: len(subject.running) == count and subject.agrees(), within_s=5) is not None
    subject.run(2)
    return subject


def leader_of(subject: Cluster) -> int:
    (leader,) = subject.leaders()
    assert leader is not None
    return leader


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [2, 3, 5, 50])
def test_peers_that_start_together_follow_one_leader(count: int, seed: int) -> None:
    """Complete tables and one leader a moment after the last start."""
    subject = Cluster(seed=seed)
    subject.start_many(count, within_s=0.5)

    took = subject.run_until(lambda: len(subject.running) == count and subject.agrees(), within_s=3)

    assert took is not None and took <= 1.5


def test_lone_peer_leads_itself_after_its_grace() -> None:
    """The last peer alive is a network of one."""
    subject = Cluster()
    subject.start(1)

    assert subject.run_until(subject.agrees, within_s=3.5) is not None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "datagrams_max"), [(5, 60), (40, 400)])
def test_survivors_of_a_leader_follow_the_next_in_milliseconds(count: int, datagrams_max: int, seed: int) -> None:
    """Refused connections are a verdict, and the council stands at once; the storm stays small."""
    subject = cluster(count, seed=seed)
    before = subject.sent.total()

    subject.kill(leader_of(subject))

    assert subject.run_until(subject.agrees, within_s=0.1, step_s=0.001) is not None
    assert subject.sent.total() - before <= datagrams_max


@pytest.mark.parametrize("seed", range(3))
def test_leaders_are_killed_until_one_peer_is_left(seed: int) -> None:
    """Each time the survivors agree again; the last one leads itself."""
    subject = cluster(5, seed=seed)

    while len(subject.running) > 1:
        subject.kill(leader_of(subject))
        assert subject.run_until(subject.agrees, within_s=3) is not None, subject.running


@pytest.mark.parametrize("seed", range(3))
def test_stopped_leader_is_replaced_and_follows_when_it_goes_on(seed: int) -> None:
    """SIGSTOP: heartbeats stop; nobody waits for the suspicion timer."""
    subject = cluster(10, seed=seed)
    old = leader_of(subject)
    others = [number for number in subject.running if number != old]
    subject.pause(old)

    def follow_another() -> bool:
        leaders = {subject.processes[number].core.election.leader for number in others}
        return len(leaders) == 1 and not leaders & {None, subject.processes[old].descriptor.peer_id}

    assert subject.run_until(follow_another, within_s=1.5) is not None
    subject.run(3)
    subject.resume(old)

    assert subject.run_until(subject.agrees, within_s=3) is not None


@pytest.mark.parametrize("seed", range(3))
def test_halves_of_a_cut_have_a_leader_each_and_end_with_one(seed: int) -> None:
    """Available mode; islands that meet unite under one leader within two seconds of their meeting."""
    subject = cluster(8, seed=seed)
    left, right = range(1, 5), range(5, 9)
    subject.cut(left, right)

    def is_split() -> bool:
        return all(
            len(leaders) == 1 and None not in leaders
            for leaders in (
                {subject.processes[number].core.election.leader for number in side} for side in (left, right)
            )
        ) and all(subject.sees(number, side) for side in (left, right) for number in side)

    assert subject.run_until(is_split, within_s=30) is not None

    subject.heal()

    assert subject.run_until(subject.agrees, within_s=8) is not None


@pytest.mark.parametrize("seed", range(3))
def test_network_that_was_killed_as_a_whole_agrees_again(seed: int) -> None:
    """A full stop and start, by remembered members alone; promises are on disk."""
    subject = cluster(10, seed=seed)
    remembered = [subject.processes[number].core.descriptor for number in range(1, 11)]
    subject.kill(*range(1, 11))
    subject.run(1)

    for number in range(1, 11):
        others = [descriptor for descriptor in remembered if descriptor.name != f"peer-{number}"]
        subject.after(0.03 * number, lambda number=number, others=others: subject.start(number, remembered=others))  # type: ignore[misc]

    assert subject.run_until(lambda: len(subject.running) == 10 and subject.agrees(), within_s=6) is not None
