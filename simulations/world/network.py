"""The network between hosts: who is bound where, who reaches whom, and what is under way."""

import asyncio
import errno
import os
import socket
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from simulations.world.datagrams import DatagramEndpoint
from simulations.world.errors import EscapeError
from simulations.world.links import LinkModel
from simulations.world.loop import SimLoop
from simulations.world.process import Host, Process, State
from simulations.world.streams import Listener, StreamEnd
from simulations.world.trace import Trace

_ANY: Final = "0.0.0.0"
_LOOPBACK: Final = "127.0.0.1"
_EPHEMERAL_FIRST: Final = 49_152

CONNECT_TIMEOUT_S: Final = 15.0
"""Until a connection attempt gives up that nothing answers."""


class Network:
    """Tables of addresses, cuts, and the delivery of everything."""

    def __init__(self, loop: SimLoop, *, seed: int, trace: Trace | None = None) -> None:
        self.loop: Final = loop
        self.links: Final = LinkModel(seed=seed)
        self.trace: Final = trace or Trace()
        self.counts: Counter[str] = Counter()
        """``sent``, ``lost``, ``cut``, ``nobody`` for datagrams; ``pieces`` for streams."""
        self.taps: list[Callable[[bytes, tuple[str, int]], None]] = []
        """Called with each datagram that arrives somewhere, and where: whoever sits on the wire sees that much."""
        self.hosts: dict[str, Host] = {}
        """By address."""
        self._names: dict[str, str] = {}
        self._datagrams: dict[tuple[str, int], DatagramEndpoint] = {}
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._cuts: dict[tuple[str, str], None] = {}
        self._connecting: weakref.WeakKeyDictionary[socket.socket, StreamEnd] = weakref.WeakKeyDictionary()
        self._ephemeral: Counter[str] = Counter()
        loop.network = self

    # Hosts and cuts

    def add(self, host: Host) -> None:
        """Connect a host."""
        assert host.address not in self.hosts, "each host has an address of its own"
        self.hosts[host.address] = host
        self._names[host.name] = host.address

    def resolve(self, name: str) -> str:
        """Return the address of a host name; an address is its own.

        Raises:
            OSError: There is no such host.
        """
        if name in (_ANY, "localhost") or name.startswith("127."):
            return _LOOPBACK
        if name in self.hosts:
            return name
        address = self._names.get(name)
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return address

    def cut(self, source: Host, target: Host) -> None:
        """Let nothing through from ``source`` to ``target``; the other direction stays."""
        self._cuts[(source.address, target.address)] = None

    def heal(self, source: Host, target: Host) -> None:
        """Let everything through again from ``source`` to ``target``."""
        self._cuts.pop((source.address, target.address), None)

    def heal_all(self) -> None:
        """Remove every cut."""
        self._cuts.clear()

    def partition(self, groups: Iterable[Iterable[Host]]) -> None:
        """Cut every pair of hosts that share no group, both ways, and heal all others.

        A host in two groups is a bridge; one in no group is alone.
        """
        self.heal_all()
        members = [tuple(group) for group in groups]
        together = {(a.address, b.address) for group in members for a in group for b in group}
        for a in self.hosts.values():
            for b in self.hosts.values():
                if a is not b and (a.address, b.address) not in together:
                    self.cut(a, b)

    @property
    def has_cuts(self) -> bool:
        """Whether anything is cut."""
        return bool(self._cuts)

    def is_cut(self, source: Host, target: Host) -> bool:
        """Return whether nothing gets from ``source`` to ``target``."""
        return (source.address, target.address) in self._cuts

    # Datagrams

    def bind_datagrams(
        self, process: Process, address: tuple[str, int], protocol: asyncio.DatagramProtocol
    ) -> DatagramEndpoint:
        """Bind a datagram socket.

        Raises:
            OSError: The address is taken, or is not the host's.
        """
        name = self._bind(process.host, address, self._datagrams)
        endpoint = DatagramEndpoint(self, process, name, protocol)
        self._datagrams[name] = endpoint
        process.resources[endpoint] = None
        endpoint.begin()
        return endpoint

    def unbind(self, endpoint: DatagramEndpoint) -> None:
        """Free an endpoint's address."""
        self._datagrams.pop(endpoint.name, None)

    def send_datagram(self, sender: DatagramEndpoint, data: bytes, address: tuple[str, int]) -> None:
        """Take a datagram and let it arrive later, twice, or never."""
        counts, source = self.counts, sender.process.host
        counts["sent"] += 1
        target = self.hosts.get(address[0])
        if target is None:
            if not address[0].startswith("127."):
                counts["nobody"] += 1
                return
            target, address = source, (source.address, address[1])
        now = self.loop.true_time
        self.trace.note(source.label + target.label, data, when=now, size_bytes=len(data))
        if self._cuts and (source.address, target.address) in self._cuts:
            counts["cut"] += 1
            return
        delays_s = self.links.datagram(source, target, len(data), now=now)
        if not delays_s:
            counts["lost"] += 1
        for delay_s in delays_s:
            self.loop.at(now + delay_s, self._arrive, data, sender.name, address)

    def _arrive(self, data: bytes, source: tuple[str, int], target: tuple[str, int]) -> None:
        for tap in self.taps:
            tap(data, target)
        endpoint = self._datagrams.get(target)
        if endpoint is None:
            self.counts["nobody"] += 1
        else:
            endpoint.arrive(data, source)

    # Streams

    def listen(
        self, process: Process, address: tuple[str, int], factory: Callable[[], asyncio.BaseProtocol]
    ) -> Listener:
        """Listen for streams.

        Raises:
            OSError: The address is taken, or is not the host's.
        """
        name = self._bind(process.host, address, self._listeners)
        listener = Listener(self, process, name, factory)
        self._listeners[name] = listener
        process.resources[listener] = None
        return listener

    def unlisten(self, listener: Listener) -> None:
        """Free a listener's address."""
        self._listeners.pop(listener.name, None)

    async def connect(self, process: Process, address: tuple[str, int]) -> StreamEnd:
        """Connect to a listener: one round trip, then the stream is open at both ends.

        Raises:
            OSError: Refused, no such host, or nothing answered in time.
        """
        source = process.host
        resolved = self.resolve(address[0])
        target = source if resolved == _LOOPBACK else self.hosts[resolved]
        started_at = self.loop.time()
        pause_s = 1.0
        while self.is_cut(source, target) or self.is_cut(target, source) or target.is_dark:
            if self.loop.time() - started_at >= CONNECT_TIMEOUT_S:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            await asyncio.sleep(pause_s)
            pause_s *= 2
        await asyncio.sleep(self._one_way_s(source, target))
        listener = self._listeners.get((target.address, address[1]))
        if listener is None or listener.process.state is State.DEAD:
            await asyncio.sleep(self._one_way_s(target, source))
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        near = StreamEnd(self, process, (source.address, self._ephemeral_port(source)), listener.name)
        far = StreamEnd(self, listener.process, listener.name, near.name)
        near.join(far)
        listener.accept(far)
        try:
            await asyncio.sleep(self._one_way_s(target, source))
        except BaseException:
            near.abort()
            raise
        return near

    async def connect_for(self, process: Process, sock: socket.socket, address: tuple[str, int]) -> None:
        """Connect on behalf of a real, unconnected socket, which is closed at once."""
        sock.close()
        self._connecting[sock] = await self.connect(process, address)

    async def taken(self, sock: socket.socket) -> StreamEnd:
        """Return the stream that was connected for ``sock``.

        Raises:
            EscapeError: None was.
        """
        stream = self._connecting.pop(sock, None)
        if stream is None:
            raise EscapeError("a real socket came from outside")
        return stream

    def _one_way_s(self, source: Host, target: Host) -> float:
        return self.links.piece_s(source, target, 60, now=self.loop.true_time, resend_s=1.0)

    def _ephemeral_port(self, host: Host) -> int:
        self._ephemeral[host.address] += 1
        return _EPHEMERAL_FIRST + self._ephemeral[host.address] % 16_000

    def _bind(self, host: Host, address: tuple[str, int], table: Mapping[tuple[str, int], object]) -> tuple[str, int]:
        if address[0] not in (_ANY, host.address, "localhost") and not address[0].startswith("127."):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        port = address[1] or self._ephemeral_port(host)
        name = (host.address, port)
        if name in table:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return name
