"""The newcomer's side of an invite: find the issuer, have it prove itself, knock, and understand the answer.

Blocking, for the command line. The issuer is proved by TLS itself: its certificate's key must hash to the id in the
invite, before a byte that follows from the secret leaves. Who signed that certificate is not asked: nobody but the
issuer can finish the handshake with its key, whatever authority vouches for it.

    KnockError
    ├── NotReached   no address of the invite led to the issuer
    ├── DoorClosed   the issuer lets nobody in just now: by its clock no invite of its own is left
    ├── BrokenOff    no answer after the knock: the invite may be spent
    └── Refused      the issuer said no, and why
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from node.tls import host_name_of, peer_id_from_certificate
from protocol.doorway import (
    ANSWER_SIZE_MAX_BYTES,
    DoorMessage,
    Greeting,
    Guest,
    Reason,
    TurnedAway,
    Welcome,
    frame,
    frame_in,
    knock,
)
from protocol.errors import PairError, RemoteProtocolError
from protocol.identity import Identity
from protocol.invites import Invite
from protocol.statements import Address

_CONNECT_TIMEOUT_S: Final = 1.5
"""For one address of several: a firewall that swallows what is sent must not use up the time of the others."""

MessageT = TypeVar("MessageT", bound=DoorMessage)


class KnockError(PairError):
    """An invite let nobody in."""


class NotReached(KnockError):
    """No address of the invite led to its issuer.

    Attributes:
        tried: Each address, and what was found there.
    """

    def __init__(self, tried: list[tuple[Address, str]]) -> None:
        super().__init__("; ".join(f"{address}: {found}" for address, found in tried))
        self.tried = tried


class DoorClosed(KnockError):
    """The issuer takes nobody without a certificate: it knows of no invite that has not expired."""


class BrokenOff(KnockError):
    """No answer came after the knock: whether the invite is spent is unknown."""


class Refused(KnockError):
    """The issuer said no.

    Attributes:
        reason: Why.
        wall_ms: The issuer's wall clock.
    """

    def __init__(self, reason: Reason, *, wall_ms: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wall_ms = wall_ms


class _HungUp(RemoteProtocolError):
    """The connection ended where a message was due."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What an invite gave."""

    answer: Welcome | Guest
    issuer_at: Address
    """Where the issuer was reached."""

    own_host: str
    """Address of this machine on the way there."""

    wall_ms: int
    """The issuer's wall clock."""


def use_invite(invite: Invite, newcomer: Identity, *, timeout_s: float) -> Admission:
    """Let ``newcomer`` in by ``invite``: its addresses are tried in order, all within ``timeout_s``.

    Raises:
        KnockError: It did not; see the module.
    """
    ends = time.monotonic() + timeout_s
    tried: list[tuple[Address, str]] = []
    for address in invite.addresses:
        try:
            return _use_at(address, invite, newcomer, ends)
        except ssl.SSLError as error:
            tried.append((address, f"no peer answers there ({error.reason or error})"))
        except TimeoutError:
            tried.append((address, "no answer in time"))
        except OSError as error:
            tried.append((address, (error.strerror or str(error)).lower()))
        except RemoteProtocolError as error:
            tried.append((address, str(error)))
    raise NotReached(tried)


def _use_at(address: Address, invite: Invite, newcomer: Identity, ends: float) -> Admission:
    with _proved(address, invite, ends) as connection:
        greeting = _greeting(connection, ends)
        try:
            connection.sendall(frame(knock(invite, greeting, newcomer)))
            answer = _read(connection, DoorMessage, ends)
        except (OSError, RemoteProtocolError) as error:
            raise BrokenOff(f"no answer from {address} after the proof") from error
        own_host = str(connection.getsockname()[0])
    if isinstance(answer, TurnedAway):
        raise Refused(answer.reason, wall_ms=answer.wall_ms)
    if isinstance(answer, Welcome if invite.role == "member" else Guest):
        assert isinstance(answer, (Welcome, Guest))
        return Admission(answer=answer, issuer_at=address, own_host=own_host, wall_ms=greeting.wall_ms)
    raise BrokenOff(f"{address} answered with something that is no answer")


@contextlib.contextmanager
def _proved(address: Address, invite: Invite, ends: float) -> Iterator[ssl.SSLSocket]:
    """Connect, and go on only if the issuer is at the other end."""
    connect_s = min(_CONNECT_TIMEOUT_S, _left_s(ends))
    with socket.create_connection((address.host, address.port), timeout=connect_s) as plain:
        plain.settimeout(_left_s(ends))
        with _context().wrap_socket(plain, server_hostname=host_name_of(invite.issuer)) as connection:
            certificate = connection.getpeercert(binary_form=True)
            if certificate is None or peer_id_from_certificate(certificate) != invite.issuer:
                raise RemoteProtocolError("another peer answers there")
            yield connection


def _greeting(connection: ssl.SSLSocket, ends: float) -> Greeting:
    """Return the issuer's first word; one that has proved itself and then hangs up receives nobody."""
    try:
        return _read(connection, Greeting, ends)
    except TimeoutError:
        raise
    except (OSError, _HungUp) as error:
        raise DoorClosed("the issuer knows of no invite that has not expired") from error


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the key is compared instead (``_proved``)
    return context


def _read(connection: ssl.SSLSocket, kind: type[MessageT], ends: float) -> MessageT:
    received = b""
    while True:
        connection.settimeout(_left_s(ends))
        piece = connection.recv(ANSWER_SIZE_MAX_BYTES)
        if not piece:
            raise _HungUp("the issuer hung up")
        received += piece
        message = frame_in(received, size_max_bytes=ANSWER_SIZE_MAX_BYTES)
        if message is None:
            continue
        if not isinstance(message, kind):
            raise RemoteProtocolError("the issuer says something that has no place there")
        return message


def _left_s(ends: float) -> float:
    left_s = ends - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
