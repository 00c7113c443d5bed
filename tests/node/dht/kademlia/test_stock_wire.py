"""Stock nodes of the unmodified library and our peers, on loopback sockets."""

from kademlia.utils import digest

from protocol.ids import Digest
from tests.node.dht.kademlia.neighbours import open_network, stock_server


async def test_stock_node_bootstraps_sets_and_gets() -> None:
    """Issue 2, point 7: a stock node joins through one peer, writes what peers read and reads what peers wrote."""
    async with open_network(5) as network, stock_server(network.peers[0].address) as stock:
        network.put(Digest(digest("from-pair")), "grüße".encode())

        assert await stock.set("from-stock", "hello")
        assert network.records[Digest(digest("from-stock"))].value == b"hello"
        assert await stock.get("from-pair") == "grüße"
        assert len(stock.protocol.router.find_neighbors(stock.node)) >= 2
