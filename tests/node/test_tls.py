"""Certificates between peers: who is believed, and what is not (DESIGN section 5)."""

import contextlib
import datetime
import ssl
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from node.tls import host_name_of, peer_id_from_certificate
from protocol.errors import RemoteProtocolError
from protocol.identity import Identity
from tests.node.tcp_peers import ALICE, BOB, NETWORK, OTHER_NETWORK, PeerTlsAuthority, forged_leaf, tls_of


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, server_name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Let both ends talk in memory until both are done; raises what either raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_end = server.wrap_bio(to_server, to_client, server_side=True)
    client_end = client.wrap_bio(to_client, to_server, server_hostname=server_name)
    for _ in range(4):
        for end in (client_end, server_end):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return server_end, client_end


def _certificate(end: ssl.SSLObject) -> bytes:
    certificate = end.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def test_both_ends_learn_the_other_peers_id(tmp_path: Path) -> None:
    """The id is the hash of the key that the handshake proved; TLS is 1.3."""
    server_end, client_end = _handshake(
        tls_of(ALICE, tmp_path).server, tls_of(BOB, tmp_path).client, host_name_of(ALICE.peer_id)
    )

    assert peer_id_from_certificate(_certificate(client_end)) == ALICE.peer_id
    assert peer_id_from_certificate(_certificate(server_end)) == BOB.peer_id
    assert server_end.version() == client_end.version() == "TLSv1.3"


def test_another_networks_peer_is_refused(tmp_path: Path) -> None:
    """The authority is derived from the network key: both ends refuse a foreign one."""
    ours, theirs = tls_of(ALICE, tmp_path), tls_of(BOB, tmp_path, network=OTHER_NETWORK)

    for server, client in ((ours, theirs), (theirs, ours)):
        name = host_name_of(ALICE.peer_id if server is ours else BOB.peer_id)
        with pytest.raises(ssl.SSLError):
            _handshake(server.server, client.client, name)


def test_a_caller_without_a_certificate_is_refused(tmp_path: Path) -> None:
    """Mutual TLS: the handshake does not end without one."""
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.load_verify_locations(cadata=PeerTlsAuthority(NETWORK).der)

    with pytest.raises(ssl.SSLError):
        _handshake(tls_of(ALICE, tmp_path).server, nobody, host_name_of(ALICE.peer_id))


def test_older_protocols_are_refused(tmp_path: Path) -> None:
    """TLS 1.3 only."""
    old = tls_of(BOB, tmp_path).client
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError):
        _handshake(tls_of(ALICE, tmp_path).server, old, host_name_of(ALICE.peer_id))


def test_older_protocols_of_a_server_are_refused(tmp_path: Path) -> None:
    """Whoever sits at a peer's address cannot talk a client down either."""
    old = tls_of(ALICE, tmp_path).server
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError):
        _handshake(old, tls_of(BOB, tmp_path).client, host_name_of(ALICE.peer_id))


def test_sessions_are_not_resumed(tmp_path: Path) -> None:
    """Every connection proves both ends anew: a stolen or expired session opens nothing."""
    server, client = tls_of(ALICE, tmp_path).server, tls_of(BOB, tmp_path).client
    name = host_name_of(ALICE.peer_id)
    _, first = _handshake(server, client, name)
    assert first.session is None or not first.session.has_ticket

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_end = server.wrap_bio(to_server, to_client, server_side=True)
    again = client.wrap_bio(to_client, to_server, server_hostname=name, session=first.session)
    for _ in range(4):
        for end in (again, server_end):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()

    assert not again.session_reused and not server_end.session_reused
    assert peer_id_from_certificate(_certificate(server_end)) == BOB.peer_id


def test_a_certificate_is_the_same_at_any_time(tmp_path: Path) -> None:
    """Dates are fixed and do not end: a clock that is years off changes nothing, and all members make one authority."""
    _, client_end = _handshake(
        tls_of(ALICE, tmp_path).server, tls_of(BOB, tmp_path).client, host_name_of(ALICE.peer_id)
    )
    leaf = x509.load_der_x509_certificate(_certificate(client_end))

    assert leaf.not_valid_before_utc == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert leaf.not_valid_after_utc == datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
    authorities = [tls_of(who, tmp_path).client.get_ca_certs(binary_form=True) for who in (ALICE, BOB)]
    assert authorities[0] == authorities[1]


def test_names_in_a_certificate_prove_nothing() -> None:
    """Any member can sign any name; the id comes from the key."""
    mallory = Identity(b"M" * 32)
    forged = forged_leaf(host_name_of(ALICE.peer_id), Ed25519PrivateKey.from_private_bytes(mallory.seed))

    assert peer_id_from_certificate(forged.public_bytes(Encoding.DER)) == mallory.peer_id


@pytest.mark.parametrize("certificate", [b"", b"\x30\x00", b"x" * 2000])
def test_what_is_no_certificate_is_the_others_fault(certificate: bytes) -> None:
    """Remote bytes raise the remote kind of error, and no other."""
    with pytest.raises(RemoteProtocolError):
        peer_id_from_certificate(certificate)


def test_a_certificate_with_another_kind_of_key_is_no_peers() -> None:
    """Peers have Ed25519 keys only."""
    forged = forged_leaf(host_name_of(ALICE.peer_id), ec.generate_private_key(ec.SECP256R1()))

    with pytest.raises(RemoteProtocolError, match="Ed25519"):
        peer_id_from_certificate(forged.public_bytes(Encoding.DER))


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_key_leaves_no_file_behind(tmp_path: Path, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL wants a file; on Linux it is in memory, elsewhere it is gone at once."""
    monkeypatch.setattr(sys, "platform", platform)

    assert tls_of(ALICE, tmp_path).client.get_ca_certs()
    assert list(tmp_path.iterdir()) == []
