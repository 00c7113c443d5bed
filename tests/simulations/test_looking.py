"""How a whole network looks from outside."""

import asyncio

from simulations.burial import bury
from simulations.cluster import Cluster
from simulations.looking import is_united
from simulations.world.entropy import Entropy, installed
from simulations.world.loop import SimLoop
from simulations.world.network import Network


def test_a_network_is_united_while_all_describe_all_alike() -> None:
    """What a table looked like is kept until the table changes, and no longer."""
    loop = SimLoop(seed=1)
    cluster = Cluster(loop, Network(loop, seed=1), count=4, seed=1)

    async def story() -> None:
        for peer in cluster.peers:
            cluster.start(peer)
        await asyncio.sleep(5)

    with installed(Entropy(loop, seed=1)):
        loop.run_until_complete(story())
        first, second, *_ = cluster.peers
        assert is_united(cluster) and first.view == second.view and first.view is first.view

        member = first.table.find(second.peer_id)
        assert member is not None
        first.table.move(member, "suspect", now=5.0)
        assert not is_united(cluster) and first.view != second.view
        first.table.move(member, "alive", now=5.0)
        assert is_united(cluster)
        bury(loop, cluster)
