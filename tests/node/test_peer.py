"""Whole peers in one event loop, over real sockets, files and the HTTP API."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from bootstrap.home import NetworkFolder
from node import peer_http, peer_port
from node.config import PeerConfig
from node.main import REAL
from node.peer import Peer
from protocol.errors import ConfigError
from protocol.limits import VALUE_SIZE_MAX_BYTES
from protocol.statements import Address
from tests.loops import on_every_loop
from tests.node.api.fake_peer import Answer, call, connected, request_head
from tests.ports import free_ports
from tests.waiting import until

_PEERS = 3


@dataclass
class _Network:
    """Peers that run from one folder."""

    folder: NetworkFolder
    peers: list[Peer]
    configs: list[PeerConfig]

    async def ask(
        self, peer: Peer, method: str, target: str, *, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Ask one peer over HTTP, as its admin."""
        token = self.folder.tokens().admin
        return await call(peer._api, method, target, token=token, body=body, headers=headers)

    def agrees(self, *, alive: int) -> bool:
        """Whether all running peers see as many members and follow one of them."""
        statuses = [peer.status() for peer in self.peers]
        leaders = {status.leader for status in statuses}
        return (
            len(leaders) == 1
            and None not in leaders
            and [status.role for status in statuses].count("leader") == 1
            and all(status.ready and status.members.alive == alive for status in statuses)
        )


@contextlib.asynccontextmanager
async def _network(folder: Path, *, peers: int = _PEERS) -> AsyncIterator[_Network]:
    network_folder = NetworkFolder(folder / "test")
    identity = network_folder.found("test")
    configs: list[PeerConfig] = []
    async with contextlib.AsyncExitStack() as stack:
        network = _Network(network_folder, [], configs)
        for number in range(1, peers + 1):
            port, api_port = free_ports()
            config = PeerConfig(
                network=identity,
                network_folder=network_folder.path,
                name=f"peer-{number}",
                port=port,
                api_port=api_port,
                zeroconf=False,
                seeds=tuple(Address(other.bind, other.port) for other in configs),
            )
            configs.append(config)
            network.peers.append(await _started(stack, config))
        await until(lambda: network.agrees(alive=peers))
        yield network


async def _started(stack: contextlib.AsyncExitStack, config: PeerConfig) -> Peer:
    peer = Peer(config, stop=asyncio.Event(), adapters=REAL)
    stack.push_async_callback(peer.stop)
    await peer.start()
    return peer


@on_every_loop
async def test_values_written_through_any_peer_are_read_through_each(tmp_path: Path) -> None:
    """Ask any peer anything: each answer is the same whichever peer is asked (DESIGN section 1)."""
    values = {"greeting": b"hello", "ключ/..": b"\x00\xff", "large": b"x" * VALUE_SIZE_MAX_BYTES, "empty": b""}
    async with _network(tmp_path) as network:
        for writer in network.peers:
            for key, value in values.items():
                own_key = f"{writer.status().name} {key}"
                written = await network.ask(writer, "PUT", f"/v1/kv/{quote(own_key, safe='')}", body=value)
                assert written.status == 200, written.body
                assert len(written.json()["holders"]) >= 2
                assert written.json()["wanted"] == _PEERS
                for reader in network.peers:
                    read = await network.ask(reader, "GET", f"/v1/kv/{quote(own_key, safe='')}")
                    assert (read.status, read.body) == (200, value)
                    assert read.headers["etag"] == written.headers["etag"]
        listings = [await network.ask(peer, "GET", "/v1/kv?prefix=peer-2") for peer in network.peers]
        over_tcp = sum(peer._transport.exchange.counts["tcp"] for peer in network.peers)

    assert [sorted(entry["key"] for entry in listing.json()) for listing in listings] == [
        sorted(f"peer-2 {key}" for key in values)
    ] * _PEERS
    assert over_tcp >= _PEERS


@on_every_loop
async def test_a_deleted_key_is_gone_everywhere_and_an_answer_says_why(tmp_path: Path) -> None:
    """Deleting, a missing key, and ``Pair-Explain`` on real holders."""
    async with _network(tmp_path) as network:
        first, second, third = network.peers
        await network.ask(first, "PUT", "/v1/kv/k", body=b"1")
        deleted = await network.ask(second, "DELETE", "/v1/kv/k")
        missing = [await network.ask(peer, "GET", "/v1/kv/k") for peer in network.peers]
        written = await network.ask(third, "PUT", "/v1/kv/k", body=b"2", headers={"Pair-Explain": "1"})
        refused = await network.ask(first, "PUT", "/v1/kv/k", body=b"3", headers={"If-None-Match": "*"})
        writer_id = third.status().id

    assert deleted.json()["existed"] is True
    assert [(answer.status, answer.problem()) for answer in missing] == [(404, "not-found")] * _PEERS
    explained = json.loads(written.headers["pair-explain"])
    assert explained["served_by"] == writer_id
    assert len(explained["holders"]) == _PEERS
    assert (refused.status, refused.json()["current_version"]) == (412, written.json()["version"])


@on_every_loop
async def test_every_peer_shows_the_same_members_and_leader(tmp_path: Path) -> None:
    """``members``, ``leader``, ``status`` and ``metrics`` of each peer's own view agree on a quiet network."""
    async with _network(tmp_path) as network:
        views = [
            {(row["id"], row["state"]) for row in (await network.ask(peer, "GET", "/v1/members")).json()}
            for peer in network.peers
        ]
        leaders = [(await network.ask(peer, "GET", "/v1/leader")).json() for peer in network.peers]
        health = await call(network.peers[0]._api, "GET", "/v1/health", token=None)
        metrics = await network.ask(network.peers[0], "GET", "/metrics")

    assert views[0] == views[1] == views[2]
    assert {state for _, state in views[0]} == {"alive"}
    assert len({(leader["id"], leader["term"]) for leader in leaders}) == 1
    assert health.json() == {"alive": True, "ready": True}
    assert b'pair_members{state="alive"} 3.0' in metrics.body


@on_every_loop
async def test_a_watch_sees_what_another_peer_writes(tmp_path: Path) -> None:
    """A change anywhere reaches a stream at any peer."""
    async with _network(tmp_path) as network, asyncio.timeout(20):
        watcher, writer = network.peers[:2]
        async with connected(watcher._api) as (reader, stream):
            head = request_head(watcher._api, "GET", "/v1/kv-watch?prefix=w", version="1.0")
            stream.write(head.replace(b"pairt_admin", network.folder.tokens().admin.encode()))
            await reader.readuntil(b"retry: 1000\n\n")
            await network.ask(writer, "PUT", "/v1/kv/w1", body=b"seen")
            event = await reader.readuntil(b"\n\n")

    assert '"event":"put","key":"w1","value":"seen"' in event.decode()


@on_every_loop
async def test_a_peer_that_stops_is_left_behind_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An orderly stop says goodbye and waits for nobody: the others follow their own leader and keep every value."""
    for module in (peer_port, peer_http):
        monkeypatch.setattr(module, "_STOP_TIMEOUT_S", 60.0)
    async with _network(tmp_path) as network:
        for number in range(10):
            await network.ask(network.peers[0], "PUT", f"/v1/kv/{number}", body=b"kept")
        stopping = next(peer for peer in network.peers if peer.status().role == "leader")
        network.peers.remove(stopping)
        begun = time.monotonic()
        await stopping.stop()
        took_s = time.monotonic() - begun
        await until(lambda: network.agrees(alive=_PEERS - 1))
        answers = [
            await network.ask(peer, "GET", f"/v1/kv/{number}") for peer in network.peers for number in range(10)
        ]
        left = [peer.status().members.left for peer in network.peers]

    assert took_s < 10.0, "it waited for somebody"
    assert [answer.body for answer in answers] == [b"kept"] * 20
    assert left == [1, 1]


@on_every_loop
async def test_a_peer_that_comes_back_is_the_same_and_serves_what_it_missed(tmp_path: Path) -> None:
    """Same folder, same id, a later boot; what was written meanwhile is read through it as well."""
    async with _network(tmp_path) as network, contextlib.AsyncExitStack() as stack:
        gone = network.peers.pop()
        id_before = gone.status().id
        await gone.stop()
        await until(lambda: network.agrees(alive=_PEERS - 1))
        await network.ask(network.peers[0], "PUT", "/v1/kv/missed", body=b"new")
        back = await _started(stack, network.configs[-1])
        network.peers.append(back)
        await until(lambda: network.agrees(alive=_PEERS))
        read = await network.ask(back, "GET", "/v1/kv/missed")
        id_after = back.status().id

    assert id_after == id_before
    assert read.body == b"new"


async def test_a_lone_peer_is_a_network_of_one(tmp_path: Path) -> None:
    """The last peer alive leads itself, and reads and writes."""
    async with _network(tmp_path, peers=1) as network:
        (peer,) = network.peers
        written = await network.ask(peer, "PUT", "/v1/kv/k", body=b"v")
        read = await network.ask(peer, "GET", "/v1/kv/k")
        handover = await network.ask(peer, "POST", "/v1/leader/handover")

    assert (written.json()["wanted"], read.body) == (1, b"v")
    assert (handover.status, handover.problem()) == (409, "conflict")


@on_every_loop
async def test_the_leader_hands_over_on_request(tmp_path: Path) -> None:
    """Any peer can be asked; the wish names a member by name."""
    async with _network(tmp_path) as network:
        successor = next(peer for peer in network.peers if peer.status().role == "follower")
        name = successor.status().name
        for asked in network.peers:
            answer = await network.ask(
                asked,
                "POST",
                "/v1/leader/handover",
                body=json.dumps({"to": name}).encode(),
                headers={"Content-Type": "application/json"},
            )
            assert (answer.status, answer.json()["name"]) == (200, name)
        await until(lambda: network.agrees(alive=_PEERS))
        assert successor.status().role == "leader"


async def test_a_start_that_fails_half_way_leaves_nothing_open(tmp_path: Path) -> None:
    """The API port is taken: the error names it, and the peer port and the folder are free again."""
    async with contextlib.AsyncExitStack() as stack:
        network_folder = NetworkFolder(tmp_path / "test")
        port, _ = free_ports()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            config = PeerConfig(
                network=network_folder.found("test"),
                network_folder=network_folder.path,
                name="peer-1",
                port=port,
                api_port=taken.getsockname()[1],
                zeroconf=False,
            )
            peer = Peer(config, stop=asyncio.Event(), adapters=REAL)
            with pytest.raises(ConfigError, match="taken"):
                await peer.start()
            await peer.stop()
        peer = await _started(stack, config)
        answer = await call(peer._api, "GET", "/v1/health", token=None)

    assert answer.json()["alive"] is True
