"""Zeroconf: peers of one network find each other on the local network with no address given (DESIGN section 6).

What is found is a hint: an address to try, which proves the network key in the join handshake or is forgotten.
Discovery says nothing about liveness, because a crashed peer's record lives on for more than an hour. It never
fails a peer: without multicast there is one warning, ``available`` turns false, and seeds still work.

Departure from plain DNS-SD (RFC 6763): at most ``ANNOUNCERS_PER_HOST`` peers of a network announce on one host and
keep looking for islands; the others open no multicast socket at all, except while they are alone. Fifty
announcers cost two seconds of processor.
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from bootstrap.slots import HostSlots
from protocol.errors import StoreError
from protocol.ids import NetworkId, PeerId, short_id_of
from protocol.statements import Address

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

SERVICE_TYPE: Final = "_pair._tcp.local."
PROTOCOL_VERSION: Final = b"1"
"""Of what the TXT record means; an instance that says another number is ignored."""

ANNOUNCERS_PER_HOST: Final = 3
"""Peers of one network that announce on one host: one may crash and one may stop, and a third is still found."""

CANDIDATES_MAX: Final = 256
"""Addresses waiting to be given, and addresses remembered as given; a flood of services fills no more."""

CANDIDATE_PAUSE_S: Final = 0.1
"""Between two addresses: a flood of services makes this peer try ten new ones a second at most."""

ADDRESSES_PER_INSTANCE_MAX: Final = 4
"""Addresses taken from one instance."""

OPEN_TIMEOUT_S: Final = 1.0
"""For the multicast sockets to be ready; they are local."""

SLOT_RETRY_S: Final = 10.0
"""Between two looks for a free announcer's slot and for new addresses, and two attempts after zeroconf failed."""

CLOSE_TIMEOUT_S: Final = 1.0
"""For the goodbye; after it the sockets are closed all the same."""

FoundCallback: TypeAlias = Callable[[Address], None]

_log = logging.getLogger(__name__)


class Discovery(Protocol):
    """Finds contacts without configuration. No method raises because the network or the host lacks something."""

    @property
    def available(self) -> bool:
        """Whether it works, as far as it was tried."""

    async def start(self, on_found: FoundCallback) -> None:
        """Begin; return at once. ``on_found`` is called on the loop, at most ten times a second, with hints."""

    def set_alone(self, alone: bool) -> None:
        """Say whether this peer has met any other; a peer starts alone."""

    async def stop(self) -> None:
        """Withdraw what was announced and close, within about a second. Idempotent."""


class NoDiscovery:
    """For ``--no-zeroconf``: finds nobody."""

    @property
    def available(self) -> bool:
        """Never."""
        return False

    async def start(self, on_found: FoundCallback) -> None:
        """Do nothing."""

    def set_alone(self, alone: bool) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""


class ZeroconfDiscovery:
    """Announces and browses with multicast DNS on the interfaces that the peer is bound to.

    Ownership: one task opens and closes zeroconf as the slot and ``set_alone`` demand, a second passes on what was
    found; ``stop`` cancels and awaits both.
    """

    def __init__(
        self,
        *,
        network_id: NetworkId,
        peer_id: PeerId,
        bind: str,
        port: int,
        slots_folder: Path,
        patience_s: float = 0.0,
    ) -> None:
        """Open nothing yet.

        Args:
            bind: IPv4 address that the peer port is bound to; ``0.0.0.0`` means all interfaces.
            slots_folder: Folder shared by the peers of this network on this host.
            patience_s: Time that a lone peer without a slot waits before it browses; zero without seeds. With
                them it spares fifty peers that start together an instance each.
        """
        self._network_tag = hashlib.sha256(b"pair/zeroconf/1" + network_id).digest()[:8].hex().encode()
        self._instance_name = f"{short_id_of(peer_id).hex()}.{SERVICE_TYPE}"
        self._bind = bind
        self._port = port
        self._slots = HostSlots(slots_folder, "zeroconf-slot", count=ANNOUNCERS_PER_HOST)
        self._patience_s = patience_s
        self._alone = True
        self._changed = asyncio.Event()
        self._failure_told = False
        self._hosts: frozenset[str] = frozenset()
        self._own_addresses: frozenset[Address] = frozenset()
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._is_announced = False
        self._waiting: dict[Address, None] = {}
        self._has_waiting = asyncio.Event()
        self._given: dict[Address, None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.available = True

    async def start(self, on_found: FoundCallback) -> None:
        """Begin; see ``Discovery``."""
        assert not self._tasks, "started once"
        self._tasks = [
            asyncio.create_task(self._owned(self._keep), name="zeroconf"),
            asyncio.create_task(self._owned(lambda: self._give(on_found)), name="zeroconf candidates"),
        ]

    def set_alone(self, alone: bool) -> None:
        """See ``Discovery``."""
        if alone != self._alone:
            self._alone = alone
            self._changed.set()

    async def stop(self) -> None:
        """See ``Discovery``."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()
        self._slots.release()

    # Opening and closing

    async def _owned(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run one task of this object; whatever goes wrong in zeroconf ends with it."""
        try:
            await work()
        except Exception as error:  # top of an owned task: discovery may fail, the peer may not
            self._tell_failure(error)

    async def _keep(self) -> None:
        """Hold zeroconf open exactly while this peer announces or is alone."""
        patience_ends = asyncio.get_running_loop().time() + self._patience_s
        while True:
            pause_s = SLOT_RETRY_S
            try:
                if self._zeroconf is not None and self._hosts != frozenset(_interfaces(self._bind)):
                    await self._close()  # this machine moved: what was announced leads nowhere
                if self._slots.acquire():
                    await self._open()
                    await self._announce()
                elif self._alone and (left_s := patience_ends - asyncio.get_running_loop().time()) > 0:
                    pause_s = min(left_s, SLOT_RETRY_S)
                elif self._alone:
                    await self._open()
                else:
                    await self._close()
            except _failures() as error:
                self._tell_failure(error)
                await self._close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            self._changed.clear()

    async def _open(self) -> None:
        """Open the multicast sockets and browse, unless that is done."""
        if self._zeroconf is not None:
            return
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        # It logs whole tracebacks when an interface goes away, which it survives.
        logging.getLogger("zeroconf").setLevel(logging.ERROR)
        interfaces = _interfaces(self._bind)
        _check_multicast(interfaces)
        self._hosts = frozenset(interfaces)
        self._own_addresses = frozenset(Address(host, self._port) for host in interfaces)
        self._zeroconf = AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only)
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await self._zeroconf.zeroconf.async_wait_for_start()
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._on_change])
        self.available = True
        self._failure_told = False

    async def _announce(self) -> None:
        """Register this peer, unless that is done; a name in use is changed."""
        if self._is_announced:
            return
        from zeroconf.asyncio import AsyncServiceInfo

        assert self._zeroconf is not None, "opened before"
        hosts = [address.host for address in sorted(self._own_addresses, key=str)]
        reachable = [host for host in hosts if not ipaddress.ip_address(host).is_loopback] or hosts
        info = AsyncServiceInfo(
            SERVICE_TYPE,
            self._instance_name,
            port=self._port,
            parsed_addresses=reachable[:ADDRESSES_PER_INSTANCE_MAX],
            properties={"v": PROTOCOL_VERSION, "net": self._network_tag},
            server=f"pair-{self._instance_name.partition('.')[0]}.local.",
        )
        sent = await self._zeroconf.async_register_service(info, allow_name_change=True)
        await sent
        self._is_announced = True

    async def _close(self) -> None:
        """Say goodbye and close the sockets. Idempotent."""
        zeroconf, self._zeroconf = self._zeroconf, None
        browser, self._browser = self._browser, None
        self._is_announced = False
        self._waiting.clear()
        self._given.clear()
        if zeroconf is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if browser is not None:
                    await browser.async_cancel()
                await zeroconf.async_close()
        except _failures() as error:
            _log.info("zeroconf did not close in an orderly way: %r", error)
            zeroconf.zeroconf.engine.close()

    def _tell_failure(self, error: Exception) -> None:
        """Warn once for each time that it stops working."""
        self.available = False
        if not self._failure_told:
            self._failure_told = True
            _log.warning(
                "zeroconf does not work on %s (%s): peers nearby are not found by themselves; seeds still work",
                self._bind,
                error or type(error).__name__,
            )

    # What was found

    def _on_change(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        """Note where an instance of this network is, once all of its records are there.

        zeroconf calls this for each record that arrives. Nothing is asked for what is missing: an instance sends
        its records together, and a question for each of ten thousand instances would be a flood of our own.
        """
        from zeroconf import BadTypeInNameException, IPVersion, ServiceStateChange
        from zeroconf.asyncio import AsyncServiceInfo

        if state_change is ServiceStateChange.Removed:
            return
        try:
            info = AsyncServiceInfo(service_type, name)
        except BadTypeInNameException:  # control characters, say: anybody on the local network can send any name
            return
        if not info.load_from_cache(zeroconf) or not info.port or not self._is_of_this_network(info):
            return
        for host in info.parsed_addresses(IPVersion.V4Only)[:ADDRESSES_PER_INSTANCE_MAX]:
            address = Address(host, info.port)
            is_news = address not in self._given and address not in self._own_addresses
            if is_news and _can_be_dialled(host) and len(self._waiting) < CANDIDATES_MAX:
                self._waiting[address] = None
                self._has_waiting.set()

    def _is_of_this_network(self, info: "AsyncServiceInfo") -> bool:
        """Return whether an instance claims to be of this network, in words that we know."""
        return info.properties.get(b"net") == self._network_tag and info.properties.get(b"v") == PROTOCOL_VERSION

    async def _give(self, on_found: FoundCallback) -> None:
        """Pass on one waiting address after the other, at a bounded rate."""
        while True:
            await self._has_waiting.wait()
            if not self._waiting:
                self._has_waiting.clear()
                continue
            address = next(iter(self._waiting))
            del self._waiting[address]
            if len(self._given) >= CANDIDATES_MAX:
                del self._given[next(iter(self._given))]
            self._given[address] = None
            on_found(address)
            await asyncio.sleep(CANDIDATE_PAUSE_S)


def _failures() -> tuple[type[Exception], ...]:
    """Return what zeroconf raises when the host or the network is not as it wishes."""
    from zeroconf import Error

    return (OSError, RuntimeError, ValueError, StoreError, Error)


def _interfaces(bind: str) -> list[str]:
    """Return the IPv4 addresses of the interfaces that ``bind`` covers.

    Raises:
        OSError: There is none: no interface has an IPv4 address, or ``bind`` is no IPv4 address.
    """
    import ifaddr

    address = ipaddress.ip_address(bind)
    if address.version != 4:
        raise OSError("it needs an IPv4 address")
    if not address.is_unspecified:
        return [bind]
    found = [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    if not found:
        raise OSError("no interface has an IPv4 address")
    return found


def _check_multicast(interfaces: list[str]) -> None:
    """Join the multicast group once on each interface, because zeroconf itself only logs when it cannot.

    Raises:
        OSError: None of them can.
    """
    failure: OSError | None = None
    for interface in interfaces:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                membership = socket.inet_aton("224.0.0.251") + socket.inet_aton(interface)
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
                return
            except OSError as error:
                failure = error
    assert failure is not None, "at least one interface"
    raise failure


def _can_be_dialled(host: str) -> bool:
    """Return whether ``host`` names one machine."""
    address = ipaddress.ip_address(host)
    return not (address.is_multicast or address.is_unspecified or host == "255.255.255.255")
