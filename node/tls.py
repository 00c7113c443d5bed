"""Mutual TLS between peers: certificates derived from what a peer already has.

The certificate authority's key is derived from the network key, so each member makes the same authority, byte
for byte, and signs its own leaf with it; the leaf's key is the node key (DESIGN section 5). TLS therefore proves
two things: that the other end knows the network key, and that it owns the key pair whose hash is its peer id.

Any member could sign a leaf that carries any name, so names prove nothing: both ends recompute the peer id from
the public key of the other's certificate. Dates prove nothing either: they are fixed and do not end, so a peer
whose clock is years off is still a member.
"""

import asyncio
import contextlib
import datetime
import functools
import os
import ssl
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.errors import RemoteProtocolError
from protocol.identity import Identity
from protocol.ids import PeerId, peer_id_of
from protocol.network import NetworkIdentity

_AUTHORITY_PURPOSE: Final = b"pair/ca/1"
_VALID_FROM: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_VALID_TO: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""The date that means "no end" (RFC 5280, section 4.1.2.5)."""

_LABEL_SIZE_MAX: Final = 63
"""Longest label of a DNS name (RFC 1035, section 2.3.4): one hexadecimal digit of a peer id does not fit."""


class PeerTls:
    """One peer's TLS contexts, each made when it is first used: many peers never speak TLS, or only one way."""

    def __init__(self, *, identity: Identity, network: NetworkIdentity, folder: Path) -> None:
        """Take what the certificates are made from; ``folder`` is the peer's own (see ``_secret_file``)."""
        self._identity = identity
        self._network = network
        self._folder = folder

    @functools.cached_property
    def server(self) -> ssl.SSLContext:
        """The context for connections that others open; a caller without a member's certificate is refused."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0  # a ticket costs memory at both ends, and connections are kept open instead
        return context

    @functools.cached_property
    def server_for_guests(self) -> ssl.SSLContext:
        """The same, but a caller may show no certificate at all; a foreign one is refused as ever."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    @functools.cached_property
    def client(self) -> ssl.SSLContext:
        """The context for connections that this peer opens."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        authority_key = Ed25519PrivateKey.from_private_bytes(self._network.derive(_AUTHORITY_PURPOSE))
        authority = _authority_certificate(self._network, authority_key)
        leaf_key = Ed25519PrivateKey.from_private_bytes(self._identity.seed)
        leaf = _leaf_certificate(host_name_of(self._identity.peer_id), leaf_key.public_key(), authority, authority_key)

        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=authority.public_bytes(Encoding.DER))
        key_pem = leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with _secret_file(key_pem + leaf.public_bytes(Encoding.PEM), self._folder) as path:
            context.load_cert_chain(path)
        return context


def host_name_of(peer_id: PeerId) -> str:
    """Return the name in a peer's certificate, ``<63 of 64 hexadecimal digits of its id>.pair.internal``."""
    return f"{peer_id.hex()[:_LABEL_SIZE_MAX]}.pair.internal"


def peer_id_from_certificate(certificate: bytes) -> PeerId:
    """Return the id of the peer that owns the public key in ``certificate`` (DER); its names are not read.

    Raises:
        RemoteProtocolError: It is no certificate, or its key is not Ed25519.
    """
    try:
        # Of certificates that only a hostile end makes, the library warns; what it warns of is no peer's.
        with warnings.catch_warnings(action="error", category=CryptographyDeprecationWarning):
            key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm, CryptographyDeprecationWarning) as error:
        raise RemoteProtocolError(f"unreadable certificate: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise RemoteProtocolError(f"a peer's certificate holds an Ed25519 key, not {type(key).__name__}")
    return peer_id_of(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def shows_certificate(transport: asyncio.BaseTransport) -> bool:
    """Return whether the other end of a TLS connection showed a certificate, which the handshake then checked."""
    tls = transport.get_extra_info("ssl_object")
    return tls is not None and tls.getpeercert(binary_form=True) is not None


def peer_id_of_transport(transport: asyncio.BaseTransport) -> PeerId:
    """Return the id of the peer at the other end of a TLS connection whose handshake is done.

    Raises:
        RemoteProtocolError: There is no certificate, or it is no peer's.
    """
    tls = transport.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    if certificate is None:
        raise RemoteProtocolError("the other end showed no certificate")
    return peer_id_from_certificate(certificate)


def _authority_certificate(network: NetworkIdentity, key: Ed25519PrivateKey) -> x509.Certificate:
    """Return the network's self-signed authority; the same bytes on every member."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pair {network.network_id.hex()[:32]}")])
    return (
        _builder(subject=name, issuer=name, key=key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, algorithm=None)
    )


def _leaf_certificate(
    host_name: str, key: Ed25519PublicKey, authority: x509.Certificate, authority_key: Ed25519PrivateKey
) -> x509.Certificate:
    """Return a member's certificate, for either end of a connection."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_name[:32])])
    issuer_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        _builder(subject=subject, issuer=authority.subject, key=key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host_name)]), critical=False)
        .add_extension(issuer_key_id, critical=False)
        .sign(authority_key, algorithm=None)
    )


def _builder(*, subject: x509.Name, issuer: x509.Name, key: Ed25519PublicKey) -> x509.CertificateBuilder:
    serial = int.from_bytes(b"\x01" + peer_id_of(key.public_bytes(Encoding.Raw, PublicFormat.Raw))[:16], "big")
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key, serial_number=serial)
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_TO)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@contextlib.contextmanager
def _secret_file(content: bytes, folder: Path) -> Iterator[str]:
    """Give ``content`` a path for as long as the block runs: OpenSSL's loader takes a key from files only.

    On Linux the file lives in memory and no disk ever holds it. Elsewhere it is a file in the peer's folder that
    only its owner reads, removed at once; the folder holds the same key in ``node.key`` anyway.
    """
    if sys.platform == "linux" and hasattr(os, "memfd_create") and Path("/proc/self/fd").exists():
        with os.fdopen(os.memfd_create("pair-tls", os.MFD_CLOEXEC), "wb") as memory:
            memory.write(content)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".tls-") as file:  # created with mode 0600
            file.write(content)
            file.flush()
            yield file.name
