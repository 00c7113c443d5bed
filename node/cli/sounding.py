"""Sounding out an address with the network's key, as no member and without becoming one: who answers, and how.

A datagram for another boot is answered with the descriptor of whoever took it (``BootNotice``); nothing else comes of
it. Over TCP a connection and its TLS handshake are enough: the certificate tells whether this network is there. What
answers one way and not the other is filtered, and what proves another key belongs to another network.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

from node.tls import PeerTls
from protocol import codec
from protocol.envelope import Opener, Sealer
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.identity import CachingVerifier, Identity
from protocol.ids import ANY_RECEIVER
from protocol.messages import BootNotice, Gossip
from protocol.network import NetworkIdentity
from protocol.statements import Address, Descriptor

ANSWER_TIMEOUT_S: Final = 2.0
"""A peer anywhere on earth that can be used at all answers within it."""

ADDRESSES_MAX: Final = 32
_TRIES: Final = 3
"""Datagrams sent, so that one that is lost is not taken for a filter."""

TcpAnswer: TypeAlias = Literal["this network", "another network", "no peer", "refused", "silent"]
"""What a TCP connection met: TLS with our key, with another key, something else, nobody listening, nothing at all."""


@dataclass(frozen=True, slots=True)
class Sounding:
    """What was heard from one address."""

    udp: Descriptor | None
    """Whoever opened our datagram describes itself so; None when nothing came."""

    tcp: TcpAnswer


def sound(network: NetworkIdentity, folder: Path, addresses: Iterable[Address]) -> Mapping[Address, Sounding]:
    """Sound out addresses, all at once, within some two seconds; ``folder`` is where TLS may put a file for a moment.

    The event loop ends with the call, so only the command line may use it.
    """
    chosen = list(dict.fromkeys(addresses))[:ADDRESSES_MAX]
    return asyncio.run(_sound_all(network, folder, chosen)) if chosen else {}


async def _sound_all(
    network: NetworkIdentity, folder: Path, addresses: Sequence[Address]
) -> Mapping[Address, Sounding]:
    nobody = Identity(os.urandom(32))
    tls = PeerTls(identity=nobody, network=network, folder=folder).client
    tls.check_hostname = False  # whose address it is may be unknown; the authority of this network is what counts
    heard = await asyncio.gather(
        *(_ask(network, nobody, address) for address in addresses), *(_connect(tls, address) for address in addresses)
    )
    udp, tcp = heard[: len(addresses)], heard[len(addresses) :]
    return {
        address: Sounding(cast("Descriptor | None", datagram), cast("TcpAnswer", stream))
        for address, datagram, stream in zip(addresses, udp, tcp, strict=True)
    }


async def _ask(network: NetworkIdentity, nobody: Identity, address: Address) -> Descriptor | None:
    """Return how the peer that answers a datagram describes itself."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Descriptor] = loop.create_future()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Listener(network, nobody, answered), remote_addr=(address.host, address.port)
        )
    except (OSError, UnicodeError):
        return None
    sealer = Sealer(network=network, peer_id=nobody.peer_id, boot=int(time.time()))
    try:
        for _ in range(_TRIES):
            transport.sendto(sealer.seal(codec.encode(Gossip(updates=())), ANY_RECEIVER))
            done, _pending = await asyncio.wait([answered], timeout=ANSWER_TIMEOUT_S / _TRIES)
            if done:
                return answered.result()
        return None
    finally:
        transport.close()


class _Listener(asyncio.DatagramProtocol):
    """Takes the first authentic answer."""

    def __init__(self, network: NetworkIdentity, nobody: Identity, answered: "asyncio.Future[Descriptor]") -> None:
        self._network = network
        self._opener = Opener(network=network, peer_id=nobody.peer_id)
        self._answered = answered

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            message = codec.decode(self._opener.open(data).plaintext)
        except (RemoteProtocolError, LocalProtocolError):
            return
        if not isinstance(message, BootNotice) or self._answered.done():
            return
        if message.descriptor.is_authentic(CachingVerifier(), self._network.network_id):
            self._answered.set_result(message.descriptor)

    def error_received(self, exc: Exception) -> None:
        """Ignore that nobody listens: TCP tells it too."""


async def _connect(tls: ssl.SSLContext, address: Address) -> TcpAnswer:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            _, plain = await asyncio.open_connection(address.host, address.port)
    except ConnectionRefusedError:
        return "refused"
    except (OSError, UnicodeError, TimeoutError):
        return "silent"
    plain.close()
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            _, secured = await asyncio.open_connection(address.host, address.port, ssl=tls, server_hostname="")
    except ssl.SSLCertVerificationError:
        return "another network"
    except (OSError, TimeoutError):
        return "no peer"
    secured.close()
    return "this network"
