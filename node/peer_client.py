"""Requests to other peers over TCP: HTTP under mutual TLS, on connections that are kept.

The peer that answers is proved, not named: its certificate's public key must hash to the id that was asked for,
before a byte of the request leaves.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from node.peer_http import KEEPALIVE_S, MESSAGE_TYPE, REQUEST_PATH
from node.ports import PeerUnreachable
from node.tls import PeerTls, host_name_of, peer_id_of_transport
from protocol import codec
from protocol.errors import RemoteProtocolError
from protocol.limits import LARGE_MESSAGE_SIZE_MAX_BYTES
from protocol.messages import Reply, Request
from protocol.statements import Descriptor

CONNECTIONS_MAX: Final = 64
CONNECTIONS_PER_PEER_MAX: Final = 8

_IDLE_S: Final = KEEPALIVE_S - 5.0
"""Idle connections are closed before the server does it, so that no request meets a connection that is closing."""

_PIECE_SIZE_BYTES: Final = 2**16

_TRIES: Final = 2
"""A kept connection may have ended with the last boot of its peer: handlers are idempotent, one more try is free."""


class PeerClient:
    """Asks other peers over TCP. Costs nothing until it is used: the session is opened for the first request."""

    def __init__(self, tls: PeerTls) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def request(self, peer: Descriptor, data: Request, timeout_s: float) -> Reply:
        """Send ``data`` as it is to ``peer`` and return the reply.

        Raises:
            PeerUnreachable: No answer of this peer in time: nobody there, somebody else there, too slow, too busy.
                Whether the request took effect is unknown.
            RemoteProtocolError: The peer answered with something that is no reply.
            LocalProtocolError: The request is too large.
        """
        body = codec.encode_large(data)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._exchange(peer, body)
        except TimeoutError as error:
            raise PeerUnreachable(f"no answer from {peer.address} within {timeout_s:g} s") from error
        reply = codec.decode_large(answer)
        if not isinstance(reply, Reply):
            raise RemoteProtocolError(f"{type(reply).__name__} is no reply")
        return reply

    async def close(self) -> None:
        """Close all connections; later requests fail. Idempotent."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(self, peer: Descriptor, body: bytes) -> bytes:
        for tries_left in reversed(range(_TRIES)):
            try:
                return await self._post(peer, body)
            except (aiohttp.ClientConnectorError, ValueError) as error:  # refused, no route, or an impossible host name
                raise PeerUnreachable(f"cannot connect to {peer.address}: {error}") from error
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if not tries_left:
                    raise PeerUnreachable(f"{peer.address} closed the connection") from error
            except aiohttp.ClientPayloadError as error:
                raise PeerUnreachable(f"{peer.address} ended in the middle of its answer") from error
            except aiohttp.ServerFingerprintMismatch as error:
                raise PeerUnreachable(f"another peer answers at {peer.address}") from error
            except aiohttp.ClientError as error:
                raise RemoteProtocolError(f"{peer.address} speaks no HTTP of ours: {error}") from error
        raise AssertionError("the last try returned or raised")

    async def _post(self, peer: Descriptor, body: bytes) -> bytes:
        url = URL.build(scheme="https", host=peer.address.host, port=peer.address.port, path=REQUEST_PATH)
        async with self._open_session().post(
            url,
            data=_pieces(body),
            headers={"Content-Type": MESSAGE_TYPE, "Content-Length": str(len(body))},
            ssl=self._tls.client,
            server_hostname=host_name_of(peer.peer_id),
            allow_redirects=False,
        ) as response:
            if response.status in (500, 503):
                raise PeerUnreachable(f"{peer.address} could not answer: {response.status}")
            if response.status != 200:
                raise RemoteProtocolError(f"{peer.address} answered with status {response.status}")
            return await _read_answer(response)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise PeerUnreachable("this peer stops")
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX,
                limit_per_host=CONNECTIONS_PER_PEER_MAX,
                keepalive_timeout=_IDLE_S,
                ssl=_PeerPin(),
                resolver=ThreadedResolver(),  # aiohttp would otherwise take aiodns where it happens to be installed
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            )
        return self._session


class _PeerPin(aiohttp.Fingerprint):
    """Compares the peer at the other end with the one that the request names, on each new connection.

    One pin serves all peers: what to expect is the TLS server name of the connection. The name leaves out the
    last digit of the id; the other 252 bits are as hard to meet as all.
    """

    def __init__(self) -> None:
        super().__init__(bytes(32))

    def check(self, transport: asyncio.Transport) -> None:
        """Raise ``ServerFingerprintMismatch`` unless the certificate's key is the expected peer's."""
        expected = transport.get_extra_info("ssl_object").server_hostname
        try:
            found = host_name_of(peer_id_of_transport(transport))
        except RemoteProtocolError as error:
            found = str(error)
        if found != expected:
            host, port, *_ = transport.get_extra_info("peername")
            raise aiohttp.ServerFingerprintMismatch(expected.encode(), found.encode(), host, port)


async def _pieces(body: bytes) -> AsyncIterator[memoryview]:
    """Yield ``body`` piece by piece: as a whole, a large one would hold up the event loop."""
    view = memoryview(body)
    for start in range(0, len(body), _PIECE_SIZE_BYTES):
        yield view[start : start + _PIECE_SIZE_BYTES]


async def _read_answer(response: aiohttp.ClientResponse) -> bytes:
    answer = bytearray()
    while chunk := await response.content.readany():
        answer += chunk
        if len(answer) > LARGE_MESSAGE_SIZE_MAX_BYTES:
            raise RemoteProtocolError("the answer is too large")
    return bytes(answer)
