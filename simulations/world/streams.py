"""Streams (TCP) of the virtual world: bytes in order, back-pressure, and every way in which a connection ends.

Pieces arrive in order; a lost one delays all behind it. While a link is cut the sender tries again and again, and
gives up after ``GIVE_UP_S``. A killed process's kernel says goodbye (FIN, or RST where bytes were left unread); after
a power cut nobody does, and the other end stays open until it sends something, or until its keep-alive notices.
"""

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from simulations.world.datagrams import FakeSocket
from simulations.world.process import RUNNING, Process, State

if TYPE_CHECKING:
    from simulations.world.network import Network

WINDOW_BYTES: Final = 256 * 1024
"""Bytes under way or unread at the receiver; the rest waits at the sender."""

PIECE_BYTES: Final = 64 * 1024
OVERHEAD_BYTES: Final = 40
"""Headers of one piece."""
RESEND_S: Final = 0.2
RESEND_MAX_S: Final = 3.0
GIVE_UP_S: Final = 15.0
KEEP_ALIVE_S: Final = 11.0

_FIN: Final = None


class StreamEnd(asyncio.Transport):
    """One end of a connection, the transport of its protocol.

    Invariants:
        1. Pieces reach the other end in the order in which they were written, the end of the stream last.
        2. ``connection_lost`` is called exactly once, after ``connection_made``.
    """

    def __init__(self, network: "Network", process: Process, name: tuple[str, int], peer_name: tuple[str, int]) -> None:
        self._socket = FakeSocket(socket.SOCK_STREAM, name)
        super().__init__({"sockname": name, "peername": peer_name, "socket": self._socket})
        self.name: Final = name
        self.process: Final = process
        self._network = network
        self._other: StreamEnd | None = None
        self._protocol: asyncio.BaseProtocol | None = None
        self._outgoing: deque[bytes | None] = deque()
        """Written and not yet sent; None is the end of the stream."""
        self._outgoing_bytes = 0
        self._unread: deque[bytes | None] = deque()
        self._window_used = 0
        """Bytes of ours that are under way or unread at the other end."""
        self._last_arrival = 0.0
        self._stuck_since: float | None = None
        self._resend_s = RESEND_S
        self._retry_set = False
        self._reading_paused = False
        self._closing = False
        self._eof_written = False
        self._lost = False
        self._write_paused = False
        self._high_water = 64 * 1024
        self._low_water = 16 * 1024
        process.resources[self] = None

    def join(self, other: "StreamEnd") -> None:
        """Make two ends one connection."""
        self._other, other._other = other, self

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the end its protocol, and what has arrived already."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._give_soon()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, in order."""
        if self._lost or self._closing or self._eof_written or not data:
            return
        content = bytes(data)
        for start in range(0, len(content), PIECE_BYTES):
            self._outgoing.append(content[start : start + PIECE_BYTES])
        self._outgoing_bytes += len(content)
        self._send()
        self._tell_write_state()

    def writelines(self, list_of_data: Any) -> None:
        """Send several pieces."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Send the end of the stream."""
        if not self._eof_written and not self._lost:
            self._eof_written = True
            self._outgoing.append(_FIN)
            self._send()

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the window."""
        return self._outgoing_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return low and high water, in bytes."""
        return self._low_water, self._high_water

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Choose when the protocol is told to stop and to go on."""
        self._high_water = high if high is not None else 64 * 1024 if low is None else 4 * low
        self._low_water = low if low is not None else self._high_water // 4
        self._tell_write_state()

    def _send(self) -> None:
        """Send what the window allows; while nothing gets through, try again later."""
        other = self._other
        assert other is not None, "joined before it is used"
        loop = self._network.loop
        source, target = self.process.host, other.process.host
        links, label = self._network.links, source.label + target.label
        while self._outgoing and not self._lost and self.process.state is not State.DEAD:
            piece = self._outgoing[0]
            size = len(piece) if piece is not None else 0
            if size and self._window_used + size > WINDOW_BYTES:
                return
            if self._network.is_cut(source, target) or other.is_gone_silently:
                self._retry_later()
                return
            self._stuck_since = None
            self._resend_s = RESEND_S
            self._outgoing.popleft()
            self._outgoing_bytes -= size
            self._window_used += size
            now = loop.true_time
            delay_s = links.piece_s(source, target, size + OVERHEAD_BYTES, now=now, resend_s=RESEND_S)
            self._last_arrival = max(self._last_arrival, now + delay_s)
            self._network.counts["pieces"] += 1
            self._network.trace.note(label, b"", when=now, size_bytes=size)
            loop.at(self._last_arrival, other.arrive, piece)
        if self._closing and not self._outgoing:
            self._lose_soon(None)

    def _retry_later(self) -> None:
        loop = self._network.loop
        if self._stuck_since is None:
            self._stuck_since = loop.true_time
        if loop.true_time - self._stuck_since >= GIVE_UP_S:
            self.lose(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        elif not self._retry_set:
            self._retry_set = True
            loop.at(loop.true_time + self._resend_s, self._retry)
            self._resend_s = min(2 * self._resend_s, RESEND_MAX_S)

    def _retry(self) -> None:
        self._retry_set = False
        self.process.run(self._send)

    def _tell_write_state(self) -> None:
        protocol = self._protocol
        if protocol is None or self._lost:
            return
        if not self._write_paused and self._outgoing_bytes > self._high_water:
            self._write_paused = True
            protocol.pause_writing()
        elif self._write_paused and self._outgoing_bytes <= self._low_water:
            self._write_paused = False
            protocol.resume_writing()

    # Reading

    def arrive(self, piece: bytes | None) -> None:
        """Take a piece from the network; the kernel keeps it until the process reads."""
        if self.process.state is State.DEAD or self._lost:
            if not self.process.host.is_dark:
                self._reset_other()
            return
        self._unread.append(piece)
        self._give_soon()

    def pause_reading(self) -> None:
        """Leave further pieces in the kernel."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Read again."""
        self._reading_paused = False
        self._give_soon()

    def is_reading(self) -> bool:
        """Return whether pieces are given to the protocol."""
        return not self._reading_paused and not self._closing

    def _give_soon(self) -> None:
        if self._unread and self._protocol is not None and self.process.state is RUNNING:
            self.process.run(self._network.loop.call_soon, self._give)

    def _give(self) -> None:
        while self._unread and self.is_reading() and not self._lost and self._protocol is not None:
            piece = self._unread.popleft()
            if piece is None:
                self._end_of_stream()
                return
            other = self._other
            assert other is not None
            other._window_used -= len(piece)
            if other._outgoing:
                self._network.loop.at(self._network.loop.true_time, other._retry)
            self._hand_over(piece)

    def _hand_over(self, piece: bytes) -> None:
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            left = memoryview(piece)
            while left:
                buffer = memoryview(protocol.get_buffer(len(left)))
                size = min(len(buffer), len(left))
                buffer[:size] = left[:size]
                protocol.buffer_updated(size)
                left = left[size:]
        elif isinstance(protocol, asyncio.Protocol):
            protocol.data_received(piece)

    def _end_of_stream(self) -> None:
        protocol = self._protocol
        keep_open = isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol) and protocol.eof_received()
        if not keep_open:
            self.close()

    # Ending

    @property
    def is_gone_silently(self) -> bool:
        """Whether this end vanished without a word: its machine lost power."""
        return self.process.host.is_dark and self.process.state is State.DEAD

    def is_closing(self) -> bool:
        """Return whether it was closed or lost."""
        return self._closing or self._lost

    def close(self) -> None:
        """Send what is written, then the end of the stream."""
        if self._closing or self._lost:
            return
        self.write_eof()
        self._closing = True
        if not self._outgoing:
            self._lose_soon(None)

    def abort(self) -> None:
        """End now; the other end hears of a reset."""
        if not self._lost:
            self._closing = True
            self._reset_other()
            self._lose_soon(None)

    def lose(self, error: OSError | None) -> None:
        """The connection ended, for this end; its protocol hears of it once it runs."""
        if self.process.state is not State.DEAD:
            self.process.run(self._lose_soon, error)

    def _lose_soon(self, error: OSError | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._outgoing.clear()
        self._outgoing_bytes = 0
        self.process.resources.pop(self, None)
        self._network.loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: OSError | None) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)

    def _reset_other(self) -> None:
        other = self._other
        if other is None or other._lost or self._network.is_cut(self.process.host, other.process.host):
            return
        arrival = self._last_word(other)
        error = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self._network.loop.at(arrival, other.lose, error)

    def _last_word(self, other: "StreamEnd") -> float:
        """Return when an empty piece that leaves now arrives, behind all others."""
        now = self._network.loop.true_time
        delay_s = self._network.links.piece_s(
            self.process.host, other.process.host, OVERHEAD_BYTES, now=now, resend_s=RESEND_S
        )
        self._last_arrival = max(self._last_arrival, now + delay_s)
        return self._last_arrival

    def process_resumed(self) -> None:
        """Give what arrived during the pause."""
        self._give_soon()

    def process_ended(self, *, power_lost: bool) -> None:
        """The process is gone: the kernel says goodbye, or after a power cut keep-alive notices some day."""
        other = self._other
        if other is None or other._lost:
            return
        loop = self._network.loop
        if power_lost:
            if other._socket.keeps_alive:
                error = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
                loop.at(loop.true_time + KEEP_ALIVE_S, other.lose, error)
        elif self._unread:
            self._reset_other()
        elif not self._network.is_cut(self.process.host, other.process.host):
            loop.at(self._last_word(other), other.arrive, _FIN)

    # What libraries ask of a transport

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        assert self._protocol is not None, "a transport in use has a protocol"
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over."""
        self._protocol = protocol


class Listener(asyncio.AbstractServer):
    """A listening socket; also what ``create_server`` returns."""

    def __init__(
        self,
        network: "Network",
        process: Process,
        name: tuple[str, int],
        factory: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self.name: Final = name
        self.process: Final = process
        self.sockets = (FakeSocket(socket.SOCK_STREAM, name),)
        self._network = network
        self._factory = factory
        self._serving = True

    def accept(self, stream: StreamEnd) -> None:
        """Take a connection: its protocol starts in the listener's process, once that runs."""
        self.process.run(self._network.loop.call_soon, self._begin, stream)

    def _begin(self, stream: StreamEnd) -> None:
        if self._serving:
            stream.begin(self._factory())
        else:
            stream.abort()

    def process_resumed(self) -> None:
        """Accepted connections wait in the process's backlog already."""

    def process_ended(self, *, power_lost: bool) -> None:
        """The kernel closes the socket."""
        self._serving = False
        self._network.unlisten(self)

    def close(self) -> None:
        """Stop listening; connections stay."""
        if self._serving:
            self._serving = False
            self._network.unlisten(self)
            self.process.resources.pop(self, None)

    def is_serving(self) -> bool:
        """Return whether it listens."""
        return self._serving

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._network.loop

    async def start_serving(self) -> None:
        """It serves from the start."""

    async def serve_forever(self) -> None:
        """Serve until cancelled."""
        await self._network.loop.create_future()

    async def wait_closed(self) -> None:
        """There is nothing to wait for."""
