"""Links: what becomes of each datagram follows from the seed, the two hosts and its number alone."""

import pytest

from simulations.world.links import LOOPBACK_S, LinkModel, LinkQuality
from simulations.world.loop import SimLoop
from simulations.world.process import Host

LOOP = SimLoop(seed=1)
A, B, C = (
    Host(LOOP, name=name, address=f"10.0.0.{number}", place=(number / 1000, 0.0), seed=number)
    for number, name in enumerate("abc", start=1)
)


def fates(links: LinkModel, source: Host, target: Host, count: int = 20) -> list[tuple[float, ...]]:
    return [links.datagram(source, target, 100, now=0.0) for _ in range(count)]


def test_a_link_draws_the_same_whatever_happens_on_others() -> None:
    """Removing one fault from a schedule must shift the fate of nothing else."""
    calm, busy = LinkModel(seed=5), LinkModel(seed=5)
    busy.set_quality(B, A, LinkQuality(loss=0.5, duplication=0.5, reordering=0.5))
    fates(busy, B, A), fates(busy, A, C)

    assert fates(calm, A, B) == fates(busy, A, B)
    assert fates(LinkModel(seed=6), A, B) != fates(LinkModel(seed=5), A, B)
    assert fates(LinkModel(seed=5), A, B) != fates(LinkModel(seed=5), B, A)


def test_a_link_that_was_bad_draws_on_as_if_it_had_not_been() -> None:
    """Each datagram takes the same numbers, needed or not; so does each piece of a stream."""
    good, healed = LinkModel(seed=5), LinkModel(seed=5)
    healed.change(A, B, loss=1.0, bandwidth_bytes_per_s=1000.0)
    assert fates(healed, A, B) == [()] * 20
    healed.piece_s(A, B, 100, now=0.0, resend_s=0.2)
    healed.set_quality(A, B, None)

    fates(good, A, B, count=21)
    assert fates(healed, A, B) == fates(good, A, B)


def test_delays_are_those_of_the_quality() -> None:
    """The distance, the link's own delay, and a jitter with the right mean; nothing of it at home."""
    links = LinkModel(seed=5)
    links.set_common_quality(LinkQuality(delay_s=0.1, jitter_s=0.01))

    delays = [delay for fate in fates(links, A, C, count=4000) for delay in fate]

    assert len(delays) == 4000 and min(delays) >= 0.102
    assert sum(delays) / len(delays) == pytest.approx(0.112, abs=0.0005)
    assert links.datagram(A, A, 100, now=0.0) == (LOOPBACK_S,)


def test_shares_are_shares() -> None:
    """Of datagrams that are lost, arrive twice, or are overtaken."""
    links = LinkModel(seed=5)
    links.set_quality(A, B, LinkQuality(jitter_s=0.0, loss=0.2, duplication=0.3, reordering=0.4))

    got = fates(links, A, B, count=4000)

    arrived = [fate for fate in got if fate]
    assert (4000 - len(arrived)) / 4000 == pytest.approx(0.2, abs=0.03)
    assert sum(len(fate) == 2 for fate in arrived) / len(arrived) == pytest.approx(0.3, abs=0.03)
    assert sum(fate[0] > 0.00121 for fate in arrived) / len(arrived) == pytest.approx(0.4, abs=0.03)


def test_a_narrow_line_makes_datagrams_wait_for_each_other() -> None:
    """Each direction has a line of its own; what was sent long ago is through."""
    links = LinkModel(seed=5)
    links.set_common_quality(LinkQuality(delay_s=0.0, jitter_s=0.0, bandwidth_bytes_per_s=1000.0))

    first, second = fates(links, A, B, count=2)
    assert first[0] == pytest.approx(0.101) and second[0] == pytest.approx(0.201)
    assert links.datagram(B, A, 100, now=0.0)[0] == pytest.approx(0.101)
    assert links.datagram(A, B, 100, now=5.0)[0] == pytest.approx(0.101)
