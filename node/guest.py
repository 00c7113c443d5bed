"""A connection to the peer port whose caller has no certificate: it has one word, and then it is over.

It never meets the HTTP server of members. Until its end it counts as a stranger: it has the time of one, and goes
first when strangers are too many (``node.peer_port``).
"""

import asyncio
from typing import Protocol, cast

from protocol.doorway import KNOCK_SIZE_MAX_BYTES, DoorMessage, Greeting, Knock, frame, frame_in
from protocol.errors import DecodeError


class Door(Protocol):
    """Who receives newcomers with an invite; ``node.invites`` is one."""

    @property
    def is_open(self) -> bool:
        """Whether anybody is expected; otherwise a caller without a certificate is refused by TLS."""

    def greet(self) -> Greeting:
        """Return the first word to a newcomer."""

    def answer(self, message: Knock, *, nonce: bytes) -> DoorMessage:
        """Weigh a newcomer's word; ``nonce`` is the one that it was greeted with. Never raises."""


class Guest(asyncio.Protocol):
    """Greets, takes one frame, answers it and hangs up."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._greeting = door.greet()
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet at once."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(frame(self._greeting))

    def data_received(self, data: bytes) -> None:
        """Take what comes until it is a whole frame; nothing more than one is ever read."""
        if self._transport is None:
            return
        self._received += data
        try:
            message = frame_in(self._received, size_max_bytes=KNOCK_SIZE_MAX_BYTES)
        except DecodeError:
            self._transport.abort()
            return
        if message is None:
            return
        transport, self._transport = self._transport, None
        if isinstance(message, Knock):
            transport.write(frame(self._door.answer(message, nonce=self._greeting.nonce)))
        transport.close()
