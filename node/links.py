"""Liveness links: plain TCP connections that carry nothing and end when the other process does.

Crash and silence are different (DESIGN section 6): the operating system ends the connections of a process that
dies, whatever killed it, so a link tells of a crash in the time of one packet. It proves nothing else. A paused
process keeps its links, and an ended link is no verdict: it only starts probes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, cast

from node.link_hello import end_with_host, frame_hello
from protocol.ids import PeerId
from protocol.statements import Descriptor

LINKS_KEPT_MAX: Final = 16
"""Links that one peer holds; the protocol asks for three: to the leader and to two successors."""

TRIES_MAX: Final = 32
"""Connections tried at once; a further one is left out, and whoever asked tries again."""

_PAUSE_MIN_S: Final = 0.05
_PAUSE_MAX_S: Final = 2.0
"""Pauses before a link is opened again: they double while it does not hold."""

_HELD_S: Final = 2.0
"""A link that held for so long was no fault of ours: the pauses start from the shortest again."""

_CONNECT_TIMEOUT_S: Final = 2.0
_TRY_TIMEOUT_S: Final = 0.5

Connect: TypeAlias = Callable[[Descriptor, Callable[[], asyncio.Protocol]], Awaitable[asyncio.BaseTransport]]
"""Opens a connection to a peer; raises what ``loop.create_connection`` does."""


async def connect(peer: Descriptor, new_protocol: Callable[[], asyncio.Protocol]) -> asyncio.BaseTransport:
    """Open a connection to the peer port of ``peer``."""
    transport, _ = await asyncio.get_running_loop().create_connection(
        new_protocol, peer.address.host, peer.address.port
    )
    return transport


class Links:
    """Holds links to the peers it is told to, and says when one ends or is refused.

    Owns one task for each kept peer and one for each connection being tried. The callbacks run inside the event
    loop's own callbacks and may call ``keep`` and ``try_connection``.

    Invariants:
        1. Exactly the peers of the last ``keep`` have a link object.
        2. ``on_lost`` is called only for a peer that is still kept, once for each connection that ended.
    """

    def __init__(
        self,
        *,
        hello_bytes: Callable[[Descriptor], bytes],
        on_lost: Callable[[PeerId], None],
        on_refused: Callable[[PeerId, int], None],
        connect: Connect = connect,
    ) -> None:
        """Hold nothing yet.

        Args:
            hello_bytes: Returns the sealed bytes that introduce this peer to another; fresh for each connection.
            on_lost: Told at once that an established link ended.
            on_refused: Told which boot of a peer was looked for where the operating system refused to connect. A
                host name with several addresses is never said to refuse.
            connect: Opens a connection.
        """
        self._hello_bytes = hello_bytes
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._connect = connect
        self._links: dict[PeerId, _Link] = {}
        self._tries: dict[PeerId, asyncio.Task[None]] = {}
        self._closed = False

    def keep(self, peers: tuple[Descriptor, ...]) -> None:
        """Hold links to exactly ``peers``: open what is missing, close what is too much."""
        assert len(peers) <= LINKS_KEPT_MAX, "the protocol asks for three links"
        if self._closed:
            return
        wanted = {peer.peer_id: peer for peer in peers}
        for peer_id, link in list(self._links.items()):
            peer = wanted.get(peer_id)
            if peer is None or not link.leads_to(peer):
                del self._links[peer_id]
                link.drop()
        for peer_id, peer in wanted.items():
            if peer_id not in self._links:
                self._links[peer_id] = _Link(
                    peer, self._hello_bytes, self._on_lost, self._on_refused, self._connect
                )

    def try_connection(self, peer: Descriptor) -> None:
        """Open and close one connection within half a second, to learn whether it is refused."""
        if self._closed or peer.peer_id in self._tries or len(self._tries) >= TRIES_MAX:
            return
        self._tries[peer.peer_id] = asyncio.get_running_loop().create_task(self._try(peer))

    async def close(self) -> None:
        """Close all links; no callback is called any more. Idempotent."""
        self._closed = True
        links, self._links = list(self._links.values()), {}
        tasks = [link.drop() for link in links] + list(self._tries.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _try(self, peer: Descriptor) -> None:
        refused = False
        try:
            async with asyncio.timeout(_TRY_TIMEOUT_S):
                transport = await self._connect(peer, asyncio.Protocol)
            cast(asyncio.Transport, transport).abort()
        except ConnectionRefusedError:
            refused = True
        except (OSError, UnicodeError, TimeoutError):
            pass  # not refused: silence is for probes to judge
        finally:
            del self._tries[peer.peer_id]  # before the callback, which may ask for another try
        if refused and not self._closed:
            self._on_refused(peer.peer_id, peer.boot)


class _Link(asyncio.Protocol):
    """One kept peer: its task opens the connection again and again, for as long as the peer is wanted."""

    def __init__(
        self,
        peer: Descriptor,
        hello_bytes: Callable[[Descriptor], bytes],
        on_lost: Callable[[PeerId], None],
        on_refused: Callable[[PeerId, int], None],
        connect: Connect,
    ) -> None:
        self._peer = peer
        self._peer_id = peer.peer_id
        self._hello_bytes = hello_bytes
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._connect = connect
        self._wanted = True
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] | None = None
        self._task = asyncio.get_running_loop().create_task(self._hold())

    def leads_to(self, peer: Descriptor) -> bool:
        """Return whether this link is to the same process: the same address and boot."""
        return (peer.address, peer.boot) == (self._peer.address, self._peer.boot)

    def drop(self) -> asyncio.Task[None]:
        """End the link without a word and return its cancelled task."""
        self._wanted = False
        if self._transport is not None:
            self._transport.abort()
        self._task.cancel()
        return self._task

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        link = cast(asyncio.Transport, transport)  # uvloop's is of no asyncio class
        if not self._wanted:
            link.abort()
            return
        self._transport = link
        end_with_host(link)
        link.write(frame_hello(self._hello_bytes(self._peer)))

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:  # a link carries nothing: whoever talks there is no peer
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is None:
            return  # dropped before it was made
        self._transport = None
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        if self._wanted:
            self._on_lost(self._peer_id)

    async def _hold(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = 0.0
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(max(2 * pause_s, _PAUSE_MIN_S), _PAUSE_MAX_S)
            started_at = loop.time()
            self._ended = loop.create_future()
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await self._connect(self._peer, lambda: self)
            except ConnectionRefusedError:
                self._on_refused(self._peer_id, self._peer.boot)
                continue
            except (OSError, UnicodeError, TimeoutError):  # the middle one: a host name that cannot be one
                continue
            await self._ended
            if loop.time() - started_at >= _HELD_S:
                pause_s = _PAUSE_MIN_S
