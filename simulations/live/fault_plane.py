"""Cuts and bad links on real peers: each is told over its API what to do to what it sends and receives.

What is in force follows from a set of faults, as in the virtual world: after each change every peer gets the orders
that it lacks, then loses those that it should no longer have. One that was restarted has none, and gets them anew.
"""

import asyncio
import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import msgspec

from node.shapes import FAULT_DELAY_MAX_MS, FAULT_SECONDS_MAX, Fault, FaultDirection, FaultKind, FaultOrder
from simulations.conditions import worsened
from simulations.faults import AnyFault, Links
from simulations.live.network import LiveNetwork
from simulations.live.peers import LivePeer
from simulations.live.requests import BROKEN, NotReached
from simulations.targets import pairs_cut
from simulations.world.links import LinkQuality

_TIMEOUT_S: Final = 2.0
_DELAY_MIN_MS: Final = 0.001
"""An order of a delay needs one, also where only the jitter is worse."""

_HEALTHY: Final = LinkQuality()


class FaultPlane:
    """The cuts and bad links of one live run."""

    def __init__(self, network: LiveNetwork) -> None:
        self._network = network
        self._in_force: list[AnyFault] = []
        self._posted: dict[tuple[str, int], dict[FaultOrder, str]] = {}
        """What each boot of each peer was told, with the id that it gave."""

        self._turn = asyncio.Lock()
        self.refusals: list[str] = []
        """Orders that a running peer did not take, described."""

    async def begin(self, fault: AnyFault) -> None:
        """Let a fault hold until ``end`` is called."""
        self._in_force.append(fault)
        self._show()
        await self.apply()

    async def end(self, fault: AnyFault) -> None:
        """Let a fault be over; idempotent."""
        self._in_force = [other for other in self._in_force if other is not fault]
        await self.apply()
        self._show()

    async def end_all(self) -> None:
        """Let all faults be over, those too whose order was cut off before its answer came."""
        async with self._turn:
            self._in_force = []
            self._posted.clear()
            await asyncio.gather(*(self._clear(peer) for peer in self._network.peers if peer.is_answering))
        self._show()

    async def apply(self) -> None:
        """Bring every peer that answers to what should be in force."""
        async with self._turn:
            if not self._in_force and not any(self._posted.values()):
                return
            wanted = self._wanted()
            await asyncio.gather(*(self._bring(peer, wanted[peer.name]) for peer in self._network.peers))

    # What is wanted

    def _show(self) -> None:
        """Let those who look know what is cut and bad; a link counts as whole again once the peers know."""
        names = list(self._network.named)
        network = self._network
        network.cut = frozenset(pair for fault in self._in_force for pair in pairs_cut(fault, names))
        network.bad_links = frozenset(
            pair for pair in itertools.permutations(names, 2) if self._quality(*pair) != _HEALTHY
        )

    def _wanted(self) -> dict[str, list[FaultOrder]]:
        names = list(self._network.named)
        cut = frozenset(pair for fault in self._in_force for pair in pairs_cut(fault, names))
        return {name: [*self._cuts(name, cut), *self._bad_links(name)] for name in names}

    def _cuts(self, name: str, cut: frozenset[tuple[str, str]]) -> Iterator[FaultOrder]:
        """Yield the cuts at one peer. Both ends of a cut are told: one of them may be restarted meanwhile."""
        sides: dict[FaultDirection, list[str]] = {"both": [], "out": [], "in": []}
        for other in self._network.named:
            is_out, is_in = (name, other) in cut, (other, name) in cut
            if is_out or is_in:
                sides["both" if is_out and is_in else "out" if is_out else "in"].append(other)
        for direction, others in sides.items():
            if others:
                yield FaultOrder(kind="cut", direction=direction, peers=self._ids(others))

    def _bad_links(self, name: str) -> Iterator[FaultOrder]:
        """Yield what happens to what one peer sends; each link is bad at its sending end only."""
        alike: dict[LinkQuality, list[str]] = defaultdict(list)
        for other in self._network.named:
            if other != name and (quality := self._quality(name, other)) != _HEALTHY:
                alike[quality].append(other)
        for quality, others in alike.items():
            yield from _orders(quality, self._ids(others))

    def _quality(self, source: str, target: str) -> LinkQuality:
        links = [fault for fault in self._in_force if isinstance(fault, Links)]
        quality = worsened([link for link in links if not link.peers or {source, target} & set(link.peers)])
        return dataclasses.replace(quality, bandwidth_bytes_per_s=math.inf)  # nobody can narrow a real link here

    def _ids(self, names: list[str]) -> tuple[str, ...]:
        return tuple(self._network.named[name].peer_id.hex() for name in names)

    # Telling the peers

    async def _bring(self, peer: LivePeer, wanted: list[FaultOrder]) -> None:
        if not peer.is_answering:
            return
        posted = self._posted.setdefault((peer.name, peer.boot), {})
        try:
            for order in wanted:
                if order not in posted:
                    posted[order] = await self._post(peer, order)
            for order in [order for order in posted if order not in wanted]:
                await self._send(peer, "DELETE", f"/v1/faults?id={posted[order]}", None)
                del posted[order]
        except (*BROKEN, NotReached):
            return  # it is dying or frozen; if it lives it is told at the next look
        except _Refused as refusal:
            self._note_refusal(peer, refusal)

    async def _clear(self, peer: LivePeer) -> None:
        try:
            await self._send(peer, "DELETE", "/v1/faults", None)
        except (*BROKEN, NotReached):
            return  # it has just ended
        except _Refused as refusal:
            self._note_refusal(peer, refusal)

    def _note_refusal(self, peer: LivePeer, refusal: Exception) -> None:
        self.refusals.append(f"{peer.name} at {self._network.now_s():.1f} s: {refusal}")

    async def _post(self, peer: LivePeer, order: FaultOrder) -> str:
        body = msgspec.json.encode(msgspec.structs.replace(order, seconds=FAULT_SECONDS_MAX))
        return msgspec.json.decode(await self._send(peer, "POST", "/v1/faults", body), type=Fault).id

    async def _send(self, peer: LivePeer, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        reply = await self._network.requests.send(
            method, f"{peer.api}{path}", timeout_s=_TIMEOUT_S, headers=headers, body=body, level="admin"
        )
        if reply.status >= 300 and reply.status != 404:
            raise _Refused(reply.body.decode(errors="replace"))
        return reply.body


class _Refused(Exception):
    """A peer answered with a problem."""


def _orders(quality: LinkQuality, ids: tuple[str, ...]) -> Iterator[FaultOrder]:
    """Yield what makes a healthy link to these peers as bad."""
    delay_ms = (quality.delay_s - _HEALTHY.delay_s) * 1000
    jitter_ms = (quality.jitter_s - _HEALTHY.jitter_s) * 1000
    if delay_ms > 0 or jitter_ms > 0:
        yield FaultOrder(
            kind="delay",
            direction="out",
            peers=ids,
            ms=min(FAULT_DELAY_MAX_MS, max(_DELAY_MIN_MS, delay_ms)),
            jitter_ms=min(FAULT_DELAY_MAX_MS, jitter_ms),
        )
    shares: tuple[tuple[FaultKind, float], ...] = (
        ("loss", quality.loss), ("duplicate", quality.duplication), ("reorder", quality.reordering),
    )  # fmt: skip
    for kind, share in shares:
        if share > 0:
            yield FaultOrder(kind=kind, direction="out", peers=ids, probability=share)
