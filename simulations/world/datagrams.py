"""Datagram sockets of the virtual world."""

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from simulations.world.process import RUNNING, Process, State

if TYPE_CHECKING:
    from simulations.world.network import Network

SIZE_MAX_BYTES: Final = 65_507
WAITING_MAX: Final = 512
"""Datagrams that the kernel holds for a paused process; the rest is dropped, as a full receive buffer does."""


class FakeSocket:
    """What transports give out as their socket: options are taken and forgotten, but for keep-alive."""

    family = socket.AF_INET
    proto = 0

    def __init__(self, kind: socket.SocketKind, name: tuple[str, int]) -> None:
        self.type = kind
        self.keeps_alive = False
        self._name = name

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Take an option."""
        if level == socket.SOL_SOCKET and option == socket.SO_KEEPALIVE:
            self.keeps_alive = bool(value)

    def getsockopt(self, level: int, option: int) -> int:
        """Return 0 for every option."""
        return 0

    def getsockname(self) -> tuple[str, int]:
        """Return the bound address."""
        return self._name

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1


class DatagramEndpoint(asyncio.DatagramTransport):
    """One bound datagram socket of one process."""

    def __init__(
        self, network: "Network", process: Process, name: tuple[str, int], protocol: asyncio.DatagramProtocol
    ) -> None:
        super().__init__({"sockname": name, "socket": FakeSocket(socket.SOCK_DGRAM, name)})
        self.name: Final = name
        self.process: Final = process
        self._network = network
        self._protocol = protocol
        self._waiting: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._closing = False

    def begin(self) -> None:
        """Tell the protocol before the creator goes on, as asyncio does."""
        self._protocol.connection_made(self)

    def sendto(self, data: bytes | bytearray | memoryview, addr: tuple[str, int] | None = None) -> None:  # type: ignore[override]
        """Send one datagram."""
        if self._closing or addr is None:
            return
        if len(data) > SIZE_MAX_BYTES:
            self._protocol.error_received(OSError(90, "Message too long"))
            return
        self._network.send_datagram(self, bytes(data), addr)

    def arrive(self, data: bytes, source: tuple[str, int]) -> None:
        """Take a datagram from the network; called by the loop itself, outside of every process."""
        process = self.process
        if process.state is RUNNING and not self._waiting and not self._closing:
            process.context.run(self._protocol.datagram_received, data, source)
        elif process.state is not State.DEAD and not self._closing and len(self._waiting) < WAITING_MAX:
            self._waiting.append((data, source))

    def process_resumed(self) -> None:
        """Give what waited, one datagram a turn."""
        if self._waiting:
            self.process.run(asyncio.get_running_loop().call_soon, self._give_one)

    def _give_one(self) -> None:
        if self._waiting and not self._closing:
            data, source = self._waiting.popleft()
            self._protocol.datagram_received(data, source)
            self.process_resumed()

    def process_ended(self, *, power_lost: bool) -> None:
        """The kernel closes the socket; nobody is told."""
        self._closing = True
        self._network.unbind(self)

    def close(self) -> None:
        """Unbind; the protocol hears of it in the next turn."""
        if not self._closing:
            self._closing = True
            self._network.unbind(self)
            self.process.resources.pop(self, None)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """The same as ``close``: there is nothing to flush."""
        self.close()

    def is_closing(self) -> bool:
        """Return whether it was closed."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Nothing is ever buffered."""
        return 0


