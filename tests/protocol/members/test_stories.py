"""Stories of whole clusters in virtual time: joining, crashes, silence, stalls, cuts (DESIGN section 6).

Each runs on some seeds; a failure is repeated by its seed.
"""

from collections import Counter

import pytest

from protocol.effects import MemberChanged, MemberState
from tests.protocol import samples
from tests.protocol.cluster import Cluster

SEEDS = range(3)


def cluster(count: int, *, seed: int, loss: float = 0.0, within_s: float = 0.2) -> Cluster:
    """Return a cluster whose tables are complete and at rest."""
    subject = Cluster(seed=seed, loss=loss)
    subject.start_many(count, within_s=within_s)
    assert subject.run_until(lambda: len(subject.running) == count and subject.is_complete(), within_s=5) is not None
    subject.run(3)
    return subject


def verdicts(subject: Cluster, *, since: int, state: MemberState = "failed") -> Counter[str]:
    """Return how often each peer was put into ``state``."""
    return Counter(
        told.event.descriptor.name
        for told in subject.told[since:]
        if isinstance(told.event, MemberChanged) and told.event.state == state
    )


def everybody_sees(subject: Cluster, number: int, state: MemberState) -> bool:
    return all(subject.state(viewer, number) == state for viewer in subject.running if viewer != number)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("contacts", [(1,), (1, 2, 3)])
def test_fifty_peers_that_start_together_know_each_other_within_a_second(seed: int, contacts: tuple[int, ...]) -> None:
    """Half a second of starting, half a second for the last table; some thirty datagrams for each peer."""
    subject = Cluster(seed=seed)
    subject.start_many(50, within_s=0.5, contacts=contacts)

    took = subject.run_until(lambda: len(subject.running) == 50 and subject.is_complete(), within_s=2)

    assert took is not None and took <= 1.0
    assert subject.sent.total() < 50 * 60


@pytest.mark.parametrize("seed", SEEDS)
def test_hundred_peers_that_start_at_once_hear_of_each_other_about_once(seed: int) -> None:
    """A datagram holds six descriptors, and each newcomer needs ninety-nine: 1,650 at the least, and some to join."""
    subject = Cluster(seed=seed)
    subject.start_many(100, contacts=(1, 2, 3))

    assert subject.run_until(lambda: len(subject.running) == 100 and subject.is_complete(), within_s=0.5) is not None

    assert subject.sent["Gossip"] < 100 * 20
    assert subject.sent.total() < 100 * 45


@pytest.mark.parametrize("seed", SEEDS)
def test_mass_join_survives_loss(seed: int) -> None:
    """Five of a hundred datagrams are lost; anti-entropy fills the gaps."""
    subject = Cluster(seed=seed, loss=0.05)
    subject.start_many(50, within_s=0.5)

    took = subject.run_until(lambda: len(subject.running) == 50 and subject.is_complete(), within_s=3)

    assert took is not None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("count", "within_s"), [(2, 0.06), (3, 0.02), (5, 0.02), (40, 0.5)])
def test_crash_is_known_to_all_in_milliseconds(count: int, within_s: float, seed: int) -> None:
    """Refused connections are a verdict; the first observers tell the others."""
    subject = cluster(count, seed=seed)
    before = subject.sent.total()

    subject.kill(count // 2 + 1)

    assert subject.run_until(subject.is_complete, within_s=within_s, step_s=0.001) is not None
    assert subject.sent.total() - before < 20 * count


@pytest.mark.parametrize("seed", SEEDS)
def test_third_of_the_peers_killed_at_once_is_known_in_a_second(seed: int) -> None:
    """Also where all holders of a peer's links died with it."""
    subject = cluster(50, seed=seed)

    subject.kill(*range(5, 50, 3))

    assert subject.run_until(subject.is_complete, within_s=1.0) is not None


def test_silent_peer_is_suspected_failed_and_comes_back() -> None:
    """SIGSTOP and SIGCONT: silence needs the suspicion timer; a refutation undoes the verdict."""
    subject = cluster(40, seed=1)
    subject.pause(3)
    assert subject.run_until(lambda: everybody_sees(subject, 3, "failed"), within_s=6) is not None

    subject.resume(3)

    assert subject.run_until(subject.is_complete, within_s=1) is not None


@pytest.mark.parametrize(("seed", "off_s"), [(0, 2.0), (2, 0.5)])
def test_stalled_peers_condemn_nobody_that_is_healthy(seed: int, off_s: float) -> None:
    """Eight of forty run 50 ms out of every two seconds; no healthy peer is ever declared failed by anybody."""
    subject = cluster(40, seed=seed)
    since = len(subject.told)
    stalled = range(1, 40, 5)

    def stall(number: int) -> None:
        subject.pause(number)
        subject.after(off_s, lambda: subject.resume(number))
        subject.after(off_s + 0.05, lambda: stall(number))

    for number in stalled:
        subject.after(off_s * number / 40, lambda number=number: stall(number))  # type: ignore[misc]
    subject.run(9)

    sick = {f"peer-{number}" for number in stalled}
    assert set(verdicts(subject, since=since, state="suspect")) & sick, "the faults were felt"
    assert set(verdicts(subject, since=since)) <= sick


@pytest.mark.parametrize("seed", SEEDS)
def test_lossy_network_condemns_nobody(seed: int) -> None:
    """One in twenty datagrams is lost for half a minute: helpers, last words and refutations hold."""
    subject = cluster(20, seed=seed)
    since = len(subject.told)

    subject.loss = 0.05
    subject.run(30)

    assert not verdicts(subject, since=since)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("count", "few"), [(5, 1), (5, 2), (30, 1), (30, 6), (30, 15)])
def test_each_side_of_a_cut_knows_within_seconds_who_is_left(count: int, few: int, seed: int) -> None:
    """The smaller side as well: whoever gets no answer from most of the others is cut off, not unwell."""
    subject = cluster(count, seed=seed)
    left, right = range(1, few + 1), range(few + 1, count + 1)

    subject.cut(left, right)

    def is_split() -> bool:
        return all(subject.sees(number, side) for side in (left, right) for number in side)

    assert subject.run_until(is_split, within_s=12) is not None
    assert subject.run_until(lambda: None not in subject.leaders(), within_s=2) is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_peer_that_was_cut_off_for_a_moment_is_not_slower_in_the_next_cut(seed: int) -> None:
    """The helpers that it was asking when the cut healed answered all at once: no illness of its own."""
    subject = cluster(30, seed=seed)
    others = range(2, 31)
    subject.cut([1], others)
    subject.run(1.5)
    subject.heal()
    subject.run(2)

    subject.cut([1], others)

    assert subject.run_until(lambda: subject.sees(1, [1]), within_s=12) is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_islands_merge_after_a_cut(seed: int) -> None:
    """The failed are remembered, asked now and then, and refute; one return makes the peers ask the others."""
    subject = cluster(10, seed=seed)
    left, right = range(1, 6), range(6, 11)
    subject.cut(left, right)

    def is_split() -> bool:
        return all(subject.sees(number, left) for number in left) and all(
            subject.sees(number, right) for number in right
        )

    assert subject.run_until(is_split, within_s=30) is not None

    subject.heal()

    assert subject.run_until(subject.is_complete, within_s=4) is not None


def test_restarted_peer_is_back_at_once_in_its_new_boot() -> None:
    """A later boot stands above everything said about the earlier one."""
    subject = cluster(5, seed=2)
    subject.kill(3)
    assert subject.run_until(subject.is_complete, within_s=1) is not None

    subject.start(3, contacts=(1,))

    assert subject.run_until(subject.is_complete, within_s=0.5) is not None


def test_peer_that_says_goodbye_left_and_did_not_fail() -> None:
    """Links that end after the goodbye are nobody's news."""
    subject = cluster(10, seed=3)
    since = len(subject.told)

    subject.stop(4)
    subject.run(2)

    assert everybody_sees(subject, 4, "left")
    assert not verdicts(subject, since=since)


@pytest.mark.parametrize("seed", SEEDS)
def test_network_that_starts_again_finds_itself_by_memory_alone(seed: int) -> None:
    """All stopped and started: no seed, only the remembered members."""
    subject = cluster(12, seed=seed)
    remembered = [samples.descriptor(number) for number in range(1, 13)]
    subject.kill(*range(1, 13))
    subject.run(1)

    for number in range(1, 13):
        others = [descriptor for descriptor in remembered if descriptor.name != f"peer-{number}"]
        subject.after(0.05 * number, lambda number=number, others=others: subject.start(number, remembered=others))  # type: ignore[misc]

    def is_back() -> bool:
        return len(subject.running) == 12 and subject.is_complete()

    assert subject.run_until(is_back, within_s=3) is not None


def test_one_peer_that_starts_again_with_memory_accuses_nobody() -> None:
    """Equal tables must not look like agreement while nobody vouched."""
    subject = cluster(12, seed=5)
    subject.kill(7)
    subject.run(1)
    since = len(subject.told)

    subject.start(7, remembered=[samples.descriptor(number) for number in range(1, 13) if number != 7])

    assert subject.run_until(subject.is_complete, within_s=1) is not None
    subject.run(4)
    assert not verdicts(subject, since=since)
    assert not verdicts(subject, since=since, state="suspect").keys() - {f"peer-{n}" for n in range(1, 13) if n != 7}


def test_idle_network_sends_a_probe_each_half_second_and_little_else() -> None:
    """Two pings, two acks and a fifth of a digest for each peer and second."""
    subject = cluster(50, seed=0)
    subject.run(20)
    before = subject.sent.copy()

    subject.run(10)

    sent = subject.sent - before
    membership = sum(sent[kind] for kind in ("Ping", "Ack", "Sync", "Gossip", "PingRequest", "IndirectAck"))
    assert membership <= 50 * 10 * 4.5
    assert not sent["Gossip"] and not sent["PingRequest"]


def test_same_seed_tells_the_same_story() -> None:
    """Replay is how a failure is understood."""
    stories = []
    for _ in range(2):
        subject = cluster(10, seed=7, loss=0.02)
        subject.kill(4)
        subject.run(2)
        stories.append((subject.told, subject.sent))

    assert stories[0] == stories[1]
