"""Invites on a real peer port: the issuer proved first, one use burned before the key leaves, strangers kept out."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from node.adapters import Disk
from node.config import PeerConfig
from node.errors import OperationError
from node.invites import Invites
from node.knocking import Admission, BrokenOff, DoorClosed, NotReached, Refused, use_invite
from node.peer_limits import PeerPortLimits
from node.peer_port import PeerPort
from node.tls import host_name_of
from protocol.doorway import KNOCK_SIZE_MAX_BYTES, Guest, Welcome
from protocol.errors import DiskFull
from protocol.identity import CachingVerifier, Identity
from protocol.ids import PeerId
from protocol.invite_book import INVITES_MAX, WRONG_PROOFS_MAX, IssuedInvite
from protocol.invites import Invite, decode_invite
from protocol.messages import Reply, Request
from protocol.statements import Address
from tests.loops import on_every_loop
from tests.node.tcp_peers import (
    ALICE,
    BOB,
    NETWORK,
    OTHER_NETWORK,
    REQUEST,
    descriptor_of,
    name_caller,
    open_client,
    open_port,
    open_stream,
    read_to_end,
    tls_of,
)

NEWCOMER = Identity(b"N" * 32)


@dataclass
class FakeDisk:
    """Keeps invites as bytes, like a file, and says in which order things happened."""

    identity: Identity = ALICE
    invites: tuple[IssuedInvite, ...] = ()
    tokens: dict[str, str] = field(default_factory=lambda: {"read": "pairt_read"})
    kept: list[bytes] = field(default_factory=list)
    is_full: bool = False

    def keep_invites(self, invites: Sequence[IssuedInvite]) -> None:
        if self.is_full:
            raise DiskFull("cannot write: the disk is full", next_step="free some space")
        self.kept.append(msgspec.json.encode(tuple(invites)))

    def apis_here(self) -> Sequence[str]:
        return ["http://127.0.0.1:8400"]

    def reopened(self) -> "FakeDisk":
        return FakeDisk(invites=msgspec.json.decode(self.kept[-1], type=tuple[IssuedInvite, ...]))


def invites_on(disk: FakeDisk, *, port: Callable[[], int] = lambda: 1, banned: Sequence[PeerId] = ()) -> Invites:
    return Invites(
        config=PeerConfig(network=NETWORK, network_folder=Path(), name="alice", profile="lan", k=5),
        disk=cast(Disk, disk),
        verifier=CachingVerifier(),
        addresses=lambda: [Address("127.0.0.1", port())],
        contacts=lambda: [Address("127.0.0.1", port()), Address("127.0.0.1", 7499)],
        is_banned=lambda peer_id: peer_id in banned,
    )


@dataclass
class Issuer:
    """A peer port with a door."""

    port: PeerPort
    invites: Invites
    disk: FakeDisk

    def invite(self, **order: Any) -> Invite:
        return decode_invite(self.invites.create(**{"role": "member", "uses": 1, "expires_s": 900} | order).invite)


@asynccontextmanager
async def issuer(folder: Path, *, banned: Sequence[PeerId] = (), **options: Any) -> AsyncIterator[Issuer]:
    disk = FakeDisk()
    ports: list[PeerPort] = []
    invites = invites_on(disk, port=lambda: ports[0].port, banned=banned)
    async with open_port(ALICE, folder, door=invites, **options) as port:
        ports.append(port)
        yield Issuer(port, invites, disk)


async def join(invite: Invite, newcomer: Identity = NEWCOMER, *, timeout_s: float = 10.0) -> Admission:
    return await asyncio.to_thread(use_invite, invite, newcomer, timeout_s=timeout_s)


@on_every_loop
async def test_a_newcomer_gets_the_network_key_once(tmp_path: Path) -> None:
    """DESIGN section 5: the invite never holds the key; the issuer hands it over once the secret is proved."""
    async with issuer(tmp_path) as alice:
        invite = alice.invite()
        admission = await join(invite)
        with pytest.raises(Refused, match="used"):
            await join(invite, BOB)

    assert isinstance(admission.answer, Welcome)
    assert admission.answer.network == NETWORK
    assert (admission.answer.profile, admission.answer.k) == ("lan", 5)
    assert admission.issuer_at == Address("127.0.0.1", alice.port.port)
    assert admission.own_host == "127.0.0.1"
    assert NETWORK.key not in msgspec.json.encode(invite)


@on_every_loop
async def test_the_use_is_on_disk_before_the_key_leaves(tmp_path: Path) -> None:
    """A crash between the two leaves a burned invite, never a second use; a disk that is full lets nobody in."""
    async with issuer(tmp_path) as alice:
        invite = alice.invite(uses=2)
        await join(invite)
        again = invites_on(alice.disk.reopened()).listing()
        alice.disk.is_full = True
        with pytest.raises(Refused, match="failed"):
            await join(invite, BOB)

    assert [row.used_by for row in again] == [[NEWCOMER.peer_id.hex()]]


async def test_a_reader_gets_a_token_and_never_the_key(tmp_path: Path) -> None:
    """Decision 0010: a reader has a token of the read level and the addresses where it is good."""
    async with issuer(tmp_path) as alice:
        admission = await join(alice.invite(role="reader"))

    assert isinstance(admission.answer, Guest)
    assert (admission.answer.token, admission.answer.apis) == ("pairt_read", ("http://127.0.0.1:8400",))
    assert NETWORK.key not in msgspec.msgpack.encode(admission.answer)


async def test_the_secret_is_shown_to_nobody_but_the_issuer(tmp_path: Path) -> None:
    """Another peer at the address, even a member, hears nothing but the start of TLS."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    async with issuer(tmp_path) as alice:
        invite = alice.invite()
        impostor = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=tls_of(BOB, tmp_path).server_for_guests)
        there = Address("127.0.0.1", impostor.sockets[0].getsockname()[1])
        with pytest.raises(NotReached, match="another peer"):
            await join(msgspec.structs.replace(invite, addresses=(there,)))
        both = await join(msgspec.structs.replace(invite, addresses=(there, *invite.addresses)))
        impostor.close()
        await impostor.wait_closed()

    assert heard in ([], [b""], [b"", b""])
    assert isinstance(both.answer, Welcome)


@pytest.mark.parametrize("outcome", ["revoked", "blocked", "wrong-proof", "unknown", "banned", "busy"])
async def test_each_refusal_has_its_reason(tmp_path: Path, outcome: str) -> None:
    """An unattended join tells what was wrong."""
    banned = [NEWCOMER.peer_id] if outcome == "banned" else []
    async with issuer(tmp_path, banned=banned) as alice:
        invite = alice.invite()
        alice.invite()  # keeps the door open
        wrong = msgspec.structs.replace(invite, secret=bytes(16))
        if outcome == "revoked":
            alice.invites.revoke(invite.invite_id.hex()[:4])
        elif outcome == "blocked":
            for _ in range(WRONG_PROOFS_MAX):
                with pytest.raises(Refused, match="wrong-proof"):
                    await join(wrong)
        elif outcome == "unknown":
            invite = msgspec.structs.replace(invite, invite_id=bytes(6))
        elif outcome == "busy":
            alice.invites._knocks.allows = lambda now: False  # type: ignore[method-assign]
        with pytest.raises(Refused) as refusal:
            await join(wrong if outcome == "wrong-proof" else invite)

    assert refusal.value.reason == outcome


async def test_a_caller_without_a_certificate_finds_a_closed_door_once_no_invite_is_left(tmp_path: Path) -> None:
    """Only while an invite is open may anybody come without a certificate (threats, section 6.3)."""
    async with issuer(tmp_path) as alice:
        invite = alice.invite()
        for kept in alice.invites._book._invites.values():
            kept.expires_ms = 0
        with pytest.raises(DoorClosed):
            await join(invite)


async def test_an_issuer_that_breaks_off_leaves_the_use_open_to_doubt(tmp_path: Path) -> None:
    """Whoever hears nothing after the proof does not say that the invite was not used."""
    async with issuer(tmp_path) as alice:
        invite = alice.invite()
        alice.invites.answer = lambda message, *, nonce: alice.invites.greet()  # type: ignore[method-assign]
        with pytest.raises(BrokenOff, match="no answer"):
            await join(invite)


async def test_members_are_served_and_foreign_certificates_dropped_while_the_door_is_open(tmp_path: Path) -> None:
    """An open door changes nothing for whoever shows a certificate."""
    async with (
        issuer(tmp_path) as alice,
        open_client(BOB, tmp_path) as member,
        open_client(BOB, tmp_path, network=OTHER_NETWORK) as foreigner,
    ):
        alice.invite()
        there = descriptor_of(ALICE, alice.port.port)
        served = await member.request(there, REQUEST, 10)
        with pytest.raises(Exception, match=r"cannot connect|closed the connection"):
            await foreigner.request(there, REQUEST, 10)

    assert getattr(served, "reason", "") == BOB.peer_id.hex()


@pytest.mark.parametrize(
    "said",
    [
        b"POST /peer/v1/request HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer pairt_read\r\n\r\n",
        b"\xff\xff" + bytes(KNOCK_SIZE_MAX_BYTES * 4),
        b"\x00\x02\x91\x01",
        b"\x00\x00",
    ],
    ids=["request", "api", "long", "greeting", "empty"],
)
async def test_a_guest_has_one_word_and_reaches_nothing_else(tmp_path: Path, said: bytes) -> None:
    """The join exchange is the only thing that a caller without a certificate reaches on the peer port."""
    asked: list[PeerId] = []

    async def handle(caller: PeerId, request: Request) -> Reply:
        asked.append(caller)
        return await name_caller(caller, request)

    async with issuer(tmp_path, handle=handle) as alice:
        alice.invite()
        async with guest_stream(alice.port.port) as (reader, writer):
            writer.write(said)
            answer = await read_to_end(reader)

    assert not asked
    assert len(answer) <= 64  # the greeting
    assert b"HTTP" not in answer


async def test_a_silent_guest_is_a_stranger_and_has_its_time(tmp_path: Path) -> None:
    """Handshake and word together have the time of a stranger."""
    async with issuer(tmp_path, limits=PeerPortLimits(stranger_timeout_s=0.3)) as alice:
        alice.invite()
        async with guest_stream(alice.port.port) as (reader, _):
            answer = await read_to_end(reader)
        assert not alice.port._requests

    assert len(answer) <= 64


async def test_the_book_of_a_peer_is_bounded() -> None:
    """At most so many invites at once."""
    invites = invites_on(FakeDisk())
    for _ in range(INVITES_MAX):
        invites.create(role="member", uses=1, expires_s=60)

    with pytest.raises(OperationError, match="have not expired") as failure:
        invites.create(role="member", uses=1, expires_s=60)
    assert failure.value.type == "quota-exceeded"


async def test_nobody_is_invited_into_an_open_network() -> None:
    """It has no key to hand over: its key follows from its name."""
    invites = invites_on(FakeDisk())
    invites._network = msgspec.structs.replace(NETWORK, open=True)

    with pytest.raises(OperationError, match="anybody can join"):
        invites.create(role="member", uses=1, expires_s=60)


async def test_an_invite_that_cannot_be_kept_is_none() -> None:
    """What is not on disk lets nobody in."""
    invites = invites_on(FakeDisk(is_full=True))

    with pytest.raises(OperationError, match="could not be kept"):
        invites.create(role="member", uses=1, expires_s=60)
    assert not invites.is_open


@asynccontextmanager
async def guest_stream(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TLS connection without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with open_stream(port, ssl=context, server_hostname=host_name_of(ALICE.peer_id)) as streams:
        yield streams
