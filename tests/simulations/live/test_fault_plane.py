"""What each real peer is told for a cut or a bad link, and how it gets rid of it."""

import asyncio
import itertools
import json
from types import SimpleNamespace
from typing import Any, cast

from simulations.faults import AnyFault, Links, OneWayCut, Partition
from simulations.live.fault_plane import FaultPlane
from simulations.live.network import LiveNetwork
from simulations.live.requests import Reply

IDS = {"peer-1": "11" * 32, "peer-2": "22" * 32, "peer-3": "33" * 32}


class Peers:
    """Three peers that take every order, and their network."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {name: {} for name in IDS}
        """What each peer has now, by id."""

        self.status = 200
        peers = [
            SimpleNamespace(
                name=name, peer_id=bytes.fromhex(id), api=f"http://{name}", boot=1, is_answering=True
            )
            for name, id in IDS.items()
        ]
        self.named = {peer.name: peer for peer in peers}
        self._numbers = itertools.count(1)
        network = SimpleNamespace(
            peers=peers, named=self.named, requests=self, now_s=lambda: 0.0, cut=frozenset(), bad_links=frozenset()
        )
        self.network = cast(LiveNetwork, network)

    async def send(self, method: str, url: str, *, body: bytes | None, **rest: Any) -> Reply:
        assert rest["level"] == "admin"
        name, _, path = url.removeprefix("http://").partition("/")
        if self.status >= 300:
            return Reply(self.status, {}, b'{"type": "faults-disabled"}')
        if (method, path) == ("DELETE", "v1/faults"):
            self.orders[name].clear()
            return Reply(200, {}, b"[]")
        if method == "DELETE":
            del self.orders[name][path.removeprefix("v1/faults?id=")]
            return Reply(200, {}, b"[]")
        assert body is not None
        order, id = json.loads(body), f"{next(self._numbers):08x}"
        self.orders[name][id] = order
        told = {"probability": None, "ms": None, "jitter_ms": None, "peers": None, **order}
        del told["seconds"]
        return Reply(200, {}, json.dumps({**told, "id": id, "expires_in_s": order["seconds"]}).encode())

    def told(self, name: str) -> list[tuple[str, str, list[str]]]:
        """Return kind, direction and others of each order that a peer has."""
        names = {id: other for other, id in IDS.items()}
        return [
            (order["kind"], order.get("direction", "both"), [names[id] for id in order["peers"]])
            for order in self.orders[name].values()
        ]


def test_both_ends_of_a_cut_are_told() -> None:
    """One of them may be restarted meanwhile."""

    async def story() -> None:
        peers = Peers()
        plane = FaultPlane(peers.network)
        cut = Partition(at_s=1, groups=(("peer-1", "peer-2"),), for_s=4)

        await plane.begin(cut)
        assert peers.told("peer-1") == [("cut", "both", ["peer-3"])]
        assert peers.told("peer-3") == [("cut", "both", ["peer-1", "peer-2"])]
        assert ("peer-1", "peer-3") in peers.network.cut and ("peer-1", "peer-2") not in peers.network.cut

        await plane.end(cut)
        assert peers.orders == {name: {} for name in IDS}
        assert peers.network.cut == frozenset()

    asyncio.run(story())


def test_a_cut_one_way_is_one_at_both_ends() -> None:
    """Out at its source, in at its target."""

    async def story() -> None:
        peers = Peers()
        plane = FaultPlane(peers.network)

        await plane.begin(OneWayCut(at_s=1, sources=("peer-1",), targets=("peer-2",), for_s=4))

        assert peers.told("peer-1") == [("cut", "out", ["peer-2"])]
        assert peers.told("peer-2") == [("cut", "in", ["peer-1"])]
        assert peers.told("peer-3") == []

    asyncio.run(story())


def test_a_bad_link_is_bad_once() -> None:
    """At the sending end; what two faults do to one link adds up, and the end of one leaves the other."""

    async def story() -> None:
        peers = Peers()
        plane = FaultPlane(peers.network)
        everywhere = Links(at_s=1, loss=0.1, for_s=9)
        near_one: AnyFault = Links(at_s=1, peers=("peer-1",), loss=0.4, delay_s=0.02, for_s=4)

        await plane.begin(everywhere)
        await plane.begin(near_one)
        assert peers.told("peer-1") == [
            ("delay", "out", ["peer-2", "peer-3"]), ("loss", "out", ["peer-2", "peer-3"]),
        ]  # fmt: skip
        assert sorted(peers.told("peer-2")) == [
            ("delay", "out", ["peer-1"]), ("loss", "out", ["peer-1"]), ("loss", "out", ["peer-3"]),
        ]  # fmt: skip
        assert {order.get("probability") for order in peers.orders["peer-1"].values()} == {None, 0.4}
        assert [order["ms"] for order in peers.orders["peer-1"].values() if order["ms"]] == [20.0]

        await plane.end(near_one)
        assert peers.told("peer-1") == [("loss", "out", ["peer-2", "peer-3"])]
        assert [order["probability"] for order in peers.orders["peer-1"].values()] == [0.1]

        await plane.end_all()
        assert peers.orders == {name: {} for name in IDS}
        assert peers.network.bad_links == frozenset()

    asyncio.run(story())


def test_a_restarted_peer_is_told_anew() -> None:
    """Its faults ended with its process; a frozen one is told nothing until it goes on."""

    async def story() -> None:
        peers = Peers()
        plane = FaultPlane(peers.network)
        await plane.begin(Partition(at_s=1, groups=(("peer-1", "peer-2"),), for_s=4))
        peers.orders["peer-3"].clear()
        peers.named["peer-3"].boot, peers.named["peer-3"].is_answering = 2, False

        await plane.apply()
        assert peers.told("peer-3") == []
        peers.named["peer-3"].is_answering = True
        await plane.apply()
        await plane.apply()

        assert peers.told("peer-3") == [("cut", "both", ["peer-1", "peer-2"])]
        assert len(peers.orders["peer-1"]) == 1

    asyncio.run(story())


def test_an_order_that_a_running_peer_refuses_is_told() -> None:
    """A scenario that was not played must not pass."""

    async def story() -> None:
        peers = Peers()
        peers.status = 403
        plane = FaultPlane(peers.network)

        await plane.begin(Partition(at_s=1, groups=(("peer-1", "peer-2"),), for_s=4))

        assert any("faults-disabled" in refusal for refusal in plane.refusals)

    asyncio.run(story())
