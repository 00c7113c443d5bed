"""The peer port over TCP: HTTP under mutual TLS, and liveness links, told apart by their first byte.

Connections are bounded in each standing (see ``node.peer_visitor``). Strangers cost an attacker nothing, so when
they are too many the oldest goes, never the newest: a member proves itself within milliseconds, and what has
been silent for longest is least likely to be one. Proved peers that are too many are refused.
"""

import asyncio
import errno
import ipaddress
from collections.abc import Callable
from typing import Final

from node.guest import Door
from node.peer_http import Handler, PeerHttp
from node.peer_limits import PeerPortLimits
from node.peer_visitor import Standing, Visitor
from node.tls import PeerTls
from protocol.errors import ConfigError
from protocol.ids import PeerId

DEFAULT_LIMITS: Final = PeerPortLimits()
_STOP_TIMEOUT_S: Final = 2.0


class PeerPort:
    """Listens on the peer port. Members talk; strangers get silence.

    Invariants:
        1. Each open connection is in exactly one of the three tables.
        2. No table is larger than its limit.
    """

    def __init__(
        self,
        *,
        tls: PeerTls,
        bind: str,
        port: int,
        handle: Handler,
        check_hello: Callable[[bytes], PeerId | None],
        count_members: Callable[[], int],
        door: Door | None = None,
        is_banned: Callable[[PeerId], bool] = lambda peer_id: False,
        limits: PeerPortLimits = DEFAULT_LIMITS,
    ) -> None:
        """Listen nowhere yet.

        Args:
            tls: The peer's certificates.
            bind: Address to listen on.
            port: 0 lets the operating system choose.
            handle: Answers one request of a member that its certificate proved.
            check_hello: Returns who sealed the first frame of a link, None when it proves nothing. Never raises.
            count_members: Returns how many members there are: a leader has a link from each.
            is_banned: Returns whether a peer is refused although it has the network key.
            door: Receives callers without a certificate while an invite is open; without it none is received.
        """
        self.tls = tls
        self.door = door
        self.check_hello = check_hello
        self.limits = limits
        self._bind = bind
        self._port = port
        self._http = PeerHttp(handle, limits)
        self.new_http = self._http.new_protocol
        self._count_members = count_members
        self._is_banned = is_banned
        self._server: asyncio.Server | None = None
        self._strangers: dict[Visitor, None] = {}  # oldest first
        self._links: dict[Visitor, PeerId] = {}
        self._requests: dict[Visitor, PeerId] = {}
        self._emptied: asyncio.Future[None] | None = None

    @property
    def port(self) -> int:
        """The port listened on; the configured one before ``start``."""
        return self._port

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        await self._http.start()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Visitor(self), self._bind, self._port, backlog=self.limits.backlog
            )
        except (OSError, UnicodeError, OverflowError) as error:
            await self._http.stop()
            raise _cannot_listen(self._bind, self._port, error) from error
        self._port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, let requests at work finish for a second, close every connection. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for visitor in [*self._strangers, *self._links]:
            visitor.close()
        await self._http.stop()
        for visitor in list(self._requests):
            visitor.close()
        if self._strangers or self._links or self._requests:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._emptied], timeout=_STOP_TIMEOUT_S)

    def expel(self, peer_id: PeerId) -> None:
        """Close all connections of one peer at once."""
        for table in (self._links, self._requests):
            for visitor in [visitor for visitor, other in table.items() if other == peer_id]:
                visitor.close()

    # For visitors (``node.peer_visitor.House``)

    def arrived(self, visitor: Visitor) -> None:
        """Count in a stranger; the oldest of its host, or of all, goes when they are too many."""
        if self._server is None:  # accepted while the port was being closed
            visitor.close()
        self._strangers[visitor] = None
        if not _is_loopback(visitor.host):
            of_host = [stranger for stranger in self._strangers if stranger.host == visitor.host]
            if len(of_host) > self.limits.strangers_per_host:
                self._turn_away(of_host[0])
        if len(self._strangers) > self.limits.strangers:
            self._turn_away(next(iter(self._strangers)))

    def may_stay(self, visitor: Visitor, standing: Standing, peer_id: PeerId) -> bool:
        """Return whether a proved visitor is admitted, and move it to its table if so."""
        if standing is Standing.LINK:
            table, peer_max = self._links, self.limits.links_per_peer
            table_max = min(2 * self._count_members() + self.limits.links_margin, self.limits.links_max)
        else:
            table, peer_max = self._requests, self.limits.request_connections_per_peer
            table_max = self.limits.request_connections
        of_peer = sum(other == peer_id for other in table.values())
        if self._is_banned(peer_id):
            return False
        if self._server is None or visitor not in self._strangers or len(table) >= table_max or of_peer >= peer_max:
            return False
        del self._strangers[visitor]
        table[visitor] = peer_id
        return True

    def left(self, visitor: Visitor) -> None:
        """Forget a visitor whose connection ended."""
        self._strangers.pop(visitor, None)
        self._links.pop(visitor, None)
        self._requests.pop(visitor, None)
        is_empty = not (self._strangers or self._links or self._requests)
        if is_empty and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def _turn_away(self, stranger: Visitor) -> None:
        del self._strangers[stranger]  # now, not when the loop has closed it: the next arrival counts
        stranger.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _cannot_listen(bind: str, port: int, error: Exception) -> ConfigError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return ConfigError(
            f"TCP port {port} on {bind} is taken by another program",
            next_step="choose another with --port, or stop that program",
        )
    if number == errno.EACCES:
        return ConfigError(f"TCP port {port} on {bind} is not allowed", next_step="give --port a number above 1023")
    return ConfigError(
        f"cannot listen on TCP port {port} of {bind!r}: {error}",
        next_step="give --bind an address of this machine, and --port a number up to 65535",
    )
