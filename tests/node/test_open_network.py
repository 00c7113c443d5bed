"""Open networks: real peers, and a node of the unmodified kademlia library that joins, writes and reads (DESIGN 4)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from kademlia.network import Server
from kademlia.utils import digest

from bootstrap.home import NetworkFolder
from node.config import PeerConfig
from node.errors import OperationError
from node.main import REAL
from node.peer import Peer
from protocol.statements import Address
from tests.node.dht.kademlia.neighbours import LOOPBACK, stock_server
from tests.ports import free_ports
from tests.running import running_home
from tests.waiting import until

TIMEOUT_S = 10.0
PEERS = 3


@asynccontextmanager
async def open_peers(folder: Path) -> AsyncIterator[list[tuple[Peer, tuple[str, int]]]]:
    """Run three peers of one open network in this process."""
    network_folder = NetworkFolder(folder / "open")
    network = network_folder.found("open", open=True)
    seeds: tuple[Address, ...] = ()
    async with AsyncExitStack() as stack:
        peers: list[tuple[Peer, tuple[str, int]]] = []
        for number in range(1, PEERS + 1):
            port, api_port = free_ports()
            config = PeerConfig(
                network=network,
                network_folder=network_folder.path,
                name=f"peer-{number}",
                port=port,
                api_port=api_port,
                zeroconf=False,
                seeds=seeds,
            )
            seeds = (*seeds, Address(LOOPBACK, port))
            peer = Peer(config, stop=asyncio.Event(), adapters=REAL)
            stack.push_async_callback(peer.stop)
            await peer.start()
            peers.append((peer, (LOOPBACK, port)))
        await until(lambda: all(peer.status().members.alive == PEERS for peer, _ in peers))
        yield peers


async def read_everywhere(peers: list[tuple[Peer, tuple[str, int]]], key: str) -> list[bytes]:
    return [(await peer.get(key, quorum=False, timeout_s=TIMEOUT_S)).record.value for peer, _ in peers]


async def test_stock_node_writes_and_reads_through_real_peers(tmp_path: Path) -> None:
    """What a stock node sets every peer gets, and the other way round."""
    async with open_peers(tmp_path) as peers, stock_server(peers[0][1]) as stock:
        assert await stock.set("from-stock", "hello")
        assert await stock.set("bytes-from-stock", b"\xff\x00")
        assert await read_everywhere(peers, "from-stock") == [b"hello"] * PEERS
        assert await read_everywhere(peers, "bytes-from-stock") == [b"\xff\x00"] * PEERS

        await peers[1][0].put("from-pair", "grüße".encode(), ttl_s=None, if_version=None, timeout_s=TIMEOUT_S)
        await peers[2][0].put("bytes-from-pair", b"\xfe", ttl_s=None, if_version=None, timeout_s=TIMEOUT_S)
        assert await stock.get("from-pair") == "grüße"
        assert await stock.get("bytes-from-pair") == b"\xfe"


async def test_later_write_wins_on_either_side(tmp_path: Path) -> None:
    """Versions follow network time: a stock write over a signed one, a signed one over a stock write."""
    async with open_peers(tmp_path) as peers, stock_server(peers[0][1]) as stock:
        await peers[0][0].put("key", b"first", ttl_s=None, if_version=None, timeout_s=TIMEOUT_S)
        await stock.set("key", "second")
        assert await read_everywhere(peers, "key") == [b"second"] * PEERS

        await peers[2][0].put("key", b"third", ttl_s=None, if_version=None, timeout_s=TIMEOUT_S)
        assert await read_everywhere(peers, "key") == [b"third"] * PEERS
        await until_read(stock, "key", "third")


async def test_value_that_only_stock_nodes_hold_is_read_through_any_peer(tmp_path: Path) -> None:
    """Members said absent, so the stock contacts are asked; what nobody has stays not found."""
    async with open_peers(tmp_path) as peers, stock_server(peers[0][1]) as stock:
        stock.storage[digest("only-there")] = "away"
        await until(lambda: all(peer._dht._stock.protocol.contacts for peer, _ in peers))

        assert await read_everywhere(peers, "only-there") == [b"away"] * PEERS
        with pytest.raises(OperationError, match="nowhere"):
            await peers[0][0].get("nowhere", quorum=False, timeout_s=TIMEOUT_S)


async def test_deleted_key_is_not_read_from_a_stock_copy(tmp_path: Path) -> None:
    """The wire has no delete: copies at stock nodes stay, but a peer that knows of the deletion does not ask them."""
    async with open_peers(tmp_path) as peers, stock_server(peers[0][1]) as stock:
        await until(lambda: all(peer._dht._stock.protocol.contacts for peer, _ in peers))
        await peers[0][0].put("key", b"value", ttl_s=None, if_version=None, timeout_s=TIMEOUT_S)
        await until(lambda: stock.storage.get(digest("key")) == "value")
        await peers[0][0].delete("key", if_version=None, timeout_s=TIMEOUT_S)

        for peer, _ in peers:
            with pytest.raises(OperationError, match="no key"):
                await peer.get("key", quorum=False, timeout_s=TIMEOUT_S)


async def test_stock_nodes_are_no_members(tmp_path: Path) -> None:
    """They are contacts: they neither count nor vote nor hold."""
    async with open_peers(tmp_path) as peers, stock_server(peers[0][1]) as stock:
        receipt = await peers[0][0].put("key", b"value", ttl_s=None, if_version=None, timeout_s=TIMEOUT_S)

        assert receipt.wanted == PEERS
        assert stock.node.id.hex() not in {holder[:40] for holder in receipt.holders}
        assert [peer.status().members.alive for peer, _ in peers] == [PEERS] * PEERS


@pytest.mark.processes
async def test_stock_node_and_command_line_meet(tmp_path: Path) -> None:
    """The whole of point 7 as a person sees it: ``pair up --open``, ``pair put``, ``pair get``, and a stock node."""
    with running_home(tmp_path) as home:
        rows = await asyncio.to_thread(home.up, PEERS, "--open")
        host, _, port = rows[-1]["address"].rpartition(":")
        async with stock_server((host, int(port))) as stock:
            assert await stock.set("from-stock", "hello")
            for row in rows:
                assert (await asyncio.to_thread(home.ok, "--peer", row["name"], "get", "from-stock")).stdout == b"hello"
            await asyncio.to_thread(home.ok, "put", "from-pair", "grüße")
            assert await stock.get("from-pair") == "grüße"
        token = json.loads((tmp_path / "local" / "tokens.json").read_bytes())["read"]
        headers = {"Authorization": f"Bearer {token}"}
        pages = [home.request(row["api"], "GET", "/metrics", headers=headers)[2].decode() for row in rows]
        assert any(float(page.split("\npair_stock_served ")[1].split()[0]) > 0 for page in pages)


async def until_read(stock: Server, key: str, expected: str) -> None:
    """Wait until the stock node reads ``expected``; a copy of its own may be offered to it a moment later."""
    async with asyncio.timeout(TIMEOUT_S):
        while await stock.get(key) != expected:  # noqa: ASYNC110  (the stock node has no event to wait for)
            await asyncio.sleep(0.01)
