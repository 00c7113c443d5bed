"""Peers for tests of the TCP port: identities, descriptors, ports that answer, forged certificates."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from node.guest import Door
from node.peer_client import PeerClient
from node.peer_limits import PeerPortLimits
from node.peer_port import PeerPort
from node.tls import PeerTls
from protocol.identity import Identity
from protocol.ids import PeerId
from protocol.messages import HandoverWish, Refusal, Reply, Request
from protocol.network import NetworkIdentity
from protocol.statements import Address, Descriptor

NETWORK = NetworkIdentity(name="home", key=b"k" * 32, admin_public_key=b"a" * 32)
OTHER_NETWORK = NetworkIdentity(name="home", key=b"o" * 32, admin_public_key=b"a" * 32)
ALICE, BOB, CAROL = (Identity(letter * 32) for letter in (b"A", b"B", b"C"))
REQUEST = HandoverWish(request_id=7, successor=ALICE.peer_id)

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def tls_of(identity: Identity, folder: Path, *, network: NetworkIdentity = NETWORK) -> PeerTls:
    return PeerTls(identity=identity, network=network, folder=folder)


def descriptor_of(identity: Identity, port: int, *, boot: int = 1) -> Descriptor:
    """An unsigned descriptor: signatures are checked long before TCP."""
    return Descriptor(
        author_key=identity.public_key,
        name="peer",
        address=Address("127.0.0.1", port),
        api=Address("127.0.0.1", 8400),
        boot=boot,
        incarnation=0,
        version="0",
    )


def hello_of(identity: Identity) -> bytes:
    """Stands for a sealed hello: the id in clear."""
    return identity.peer_id


def check_hello(sealed: bytes) -> PeerId | None:
    return PeerId(sealed) if len(sealed) == 32 else None


async def name_caller(caller: PeerId, request: Request) -> Reply:
    """A handler that answers with the caller's id."""
    return Refusal(request_id=request.request_id, reason=caller.hex())


@contextlib.asynccontextmanager
async def open_port(
    identity: Identity,
    folder: Path,
    *,
    network: NetworkIdentity = NETWORK,
    handle: Any = name_caller,
    check_hello: Callable[[bytes], PeerId | None] = check_hello,
    members: int = 50,
    door: Door | None = None,
    is_banned: Callable[[PeerId], bool] = lambda peer_id: False,
    limits: PeerPortLimits | None = None,
    port: int = 0,
) -> AsyncIterator[PeerPort]:
    """A peer port on the loopback for as long as the block runs."""
    peer_port = PeerPort(
        tls=tls_of(identity, folder, network=network),
        bind="127.0.0.1",
        port=port,
        handle=handle,
        check_hello=check_hello,
        count_members=lambda: members,
        door=door,
        is_banned=is_banned,
        limits=limits or PeerPortLimits(),
    )
    await peer_port.start()
    try:
        yield peer_port
    finally:
        await peer_port.stop()


@contextlib.asynccontextmanager
async def open_client(
    identity: Identity, folder: Path, *, network: NetworkIdentity = NETWORK
) -> AsyncIterator[PeerClient]:
    client = PeerClient(tls_of(identity, folder, network=network))
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def open_stream(port: int, **options: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A raw connection, which ``options`` may put under TLS."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """What the other end sent until it closed, however it did."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        async with asyncio.timeout(15):
            return await reader.read()
    return b""


def forged_leaf(host_name: str, key: PrivateKey, *, network: NetworkIdentity = NETWORK) -> x509.Certificate:
    """A certificate for any name and key, as a hostile member can sign it: it has the authority's key."""
    authority_key = ed25519.Ed25519PrivateKey.from_private_bytes(network.derive(b"pair/ca/1"))
    authority = x509.load_der_x509_certificate(PeerTlsAuthority(network).der)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forged")])
    return (
        x509.CertificateBuilder(subject_name=name, issuer_name=authority.subject, public_key=key.public_key())
        .serial_number(77)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(2100, 1, 1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host_name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, algorithm=None)
    )


def forged_context(host_name: str, key: PrivateKey, folder: Path, *, protocol: int) -> ssl.SSLContext:
    """A member's context with a forged leaf."""
    path = folder / "forged.pem"
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(key_pem + forged_leaf(host_name, key).public_bytes(Encoding.PEM))
    context = ssl.SSLContext(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=PeerTlsAuthority(NETWORK).der)
    context.load_cert_chain(path)
    return context


class PeerTlsAuthority:
    """The authority that members of a network trust, taken from one of them."""

    def __init__(self, network: NetworkIdentity) -> None:
        trusted = PeerTls(identity=CAROL, network=network, folder=Path()).client.get_ca_certs(binary_form=True)
        self.der: bytes = trusted[0]
