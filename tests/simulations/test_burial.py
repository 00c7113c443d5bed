"""The end of a world."""

import asyncio
import gc

from simulations.burial import bury
from simulations.cluster import Cluster
from simulations.world.entropy import Entropy, installed
from simulations.world.loop import SimLoop
from simulations.world.network import Network


def test_a_buried_world_is_over_and_silent() -> None:
    """Every task has ended, those of a killed peer too, and nobody said goodbye to a network that is gone."""
    loop = SimLoop(seed=1)
    cluster = Cluster(loop, Network(loop, seed=1), count=4, seed=1)

    async def story() -> None:
        for peer in cluster.peers:
            cluster.start(peer)
        await asyncio.sleep(5)
        cluster.kill(cluster.peers[3])
        await asyncio.sleep(1)

    with installed(Entropy(loop, seed=1)):
        loop.run_until_complete(story())
        running = [peer.peer for peer in cluster.peers if peer.peer is not None]
        said = [peer.datagram_counts["sent"] for peer in running]
        assert len(running) == 3 and all(said)
        bury(loop, cluster)

    assert loop.is_closed()
    assert all(task.done() for peer in cluster.peers for process in peer.host.runs for task in process.tasks)
    assert [peer.datagram_counts["sent"] for peer in running] == said
    gc.collect()
