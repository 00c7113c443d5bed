"""Faults that last: two that overlap add up, and the end of one leaves the other."""

from collections.abc import Iterator

import pytest

from simulations.cluster import Cluster, SimPeer
from simulations.conditions import Conditions
from simulations.faults import DiskFull, DiskSlow, Links, OneWayCut, Partition
from simulations.world.links import LinkQuality
from simulations.world.loop import SimLoop
from simulations.world.network import Network


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Four peers of which none runs."""
    loop = SimLoop(seed=1)
    yield Cluster(loop, Network(loop, seed=1), count=4, seed=1)
    loop.close()


def cuts(cluster: Cluster) -> list[tuple[int, int]]:
    """Return who is not heard by whom, by number."""
    peers = list(enumerate(cluster.peers, start=1))
    return [(i, j) for i, a in peers for j, b in peers if cluster.network.is_cut(a.host, b.host)]


def quality(cluster: Cluster, source: SimPeer, target: SimPeer) -> LinkQuality:
    return cluster.network.links.quality(source.host, target.host)


def test_a_partition_cuts_pairs_that_share_no_group(cluster: Cluster) -> None:
    """A peer in two groups is a bridge; one in none is alone."""
    groups = (("peer-1", "peer-2"), ("peer-2", "peer-3"))
    Conditions(cluster).begin(Partition(at_s=0, groups=groups, for_s=1), ())

    assert cuts(cluster) == [(1, 3), (1, 4), (2, 4), (3, 1), (3, 4), (4, 1), (4, 2), (4, 3)]


def test_the_end_of_one_cut_leaves_another(cluster: Cluster) -> None:
    """In whatever order they end."""
    conditions = Conditions(cluster)
    split = conditions.begin(Partition(at_s=0, groups=(("peer-1",), ("peer-2", "peer-3", "peer-4")), for_s=1), ())
    conditions.begin(OneWayCut(at_s=0, sources=("peer-1",), targets=("peer-2",), for_s=2), ())

    conditions.end(split)
    conditions.end(split)

    assert cuts(cluster) == [(1, 2)]
    conditions.end_all()
    assert cuts(cluster) == []


def test_bad_links_add_up_and_become_healthy_again(cluster: Cluster) -> None:
    """Delays are added, of losses the larger counts; links in use follow as well."""
    one, two, three, _ = cluster.peers
    conditions = Conditions(cluster)
    assert quality(cluster, one, two) == LinkQuality()
    everywhere = conditions.begin(Links(at_s=0, delay_s=0.1, loss=0.2, for_s=1), ())
    conditions.begin(Links(at_s=0, peers=("peer-1",), delay_s=0.2, loss=0.1, for_s=1), ())

    assert (round(quality(cluster, one, two).delay_s, 4), quality(cluster, one, two).loss) == (0.3002, 0.2)
    assert round(quality(cluster, two, three).delay_s, 4) == 0.1002

    conditions.end(everywhere)
    assert (round(quality(cluster, two, one).delay_s, 4), quality(cluster, two, one).loss) == (0.2002, 0.1)
    assert quality(cluster, two, three) == LinkQuality()
    conditions.end_all()
    assert quality(cluster, one, two) == LinkQuality()


def test_disks_are_slow_and_full_only_while_it_lasts(cluster: Cluster) -> None:
    """Only those that were meant."""
    disk, other = cluster.peers[0].disk, cluster.peers[1].disk
    usual_s = disk.sync_s
    conditions = Conditions(cluster)
    conditions.begin(DiskFull(at_s=0, target="peer-1", for_s=1), cluster.peers[:1])
    slow = conditions.begin(DiskSlow(at_s=0, target="peer-1", sync_s=0.5, for_s=1), cluster.peers[:1])

    assert (disk.is_full, disk.sync_s, other.is_full, other.sync_s) == (True, 0.5, False, usual_s)
    conditions.end(slow)
    assert (disk.is_full, disk.sync_s) == (True, usual_s)
    conditions.end_all()
    assert not disk.is_full
