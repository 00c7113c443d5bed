"""The sealed datagram (DESIGN section 4).

    magic+version 1 | flags 1 | key epoch 2 | sender short id 16 | boot id 8 | counter 8     36 bytes, authenticated
    ciphertext | tag 16                                                     whole datagram at most 1,232 bytes

One key per sender and boot (``NetworkIdentity.datagram_key``), so a counter never repeats under one key. The
authenticated data ends with the receiver's short id: a datagram recorded on its way to one peer opens at no
other. Discovery, which knows an address only, sets a flag and seals to ``ids.ANY_RECEIVER``.

The replay window is kept per sender and boot and moves only after the tag was checked (RFC 4303, section 3.4.3).
A boot below the highest authenticated one of that sender is refused: its peer is gone, its datagrams are replays.
"""

import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol import limits
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ids import ANY_RECEIVER, PeerId, ShortId, short_id_of
from protocol.network import NetworkIdentity

MAGIC_AND_VERSION: Final = 0xA1
"""High half: ours. Low half: version 1. Stock Kademlia datagrams start with 0x00 or 0x01."""

FLAG_DISCOVERY: Final = 0x01
_KEY_EPOCH: Final = 0
_HEADER: Final = struct.Struct("!BBH16sQQ")
_SENDER_AND_BOOT: Final = slice(4, 28)
"""Where a header names who seals, which is also the key of what is kept of it."""

_TAG_SIZE_BYTES: Final = 16
_NONCE: Final = struct.Struct("!IQ")

assert _HEADER.size + _TAG_SIZE_BYTES == limits.ENVELOPE_OVERHEAD_BYTES


class ReplayWindow:
    """Tells which counters of one sender and boot were seen.

    Invariant: bit i of ``_seen`` is set exactly when counter ``_highest - i`` was accepted, for i in
    ``range(REPLAY_WINDOW_SIZE)``.
    """

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0

    def is_new(self, counter: int) -> bool:
        """Return whether ``counter`` lies in the window or above and was not accepted yet."""
        behind = self._highest - counter
        return behind < 0 or (behind < limits.REPLAY_WINDOW_SIZE and not (self._seen >> behind) & 1)

    def accept(self, counter: int) -> None:
        """Mark ``counter`` as seen; ``is_new`` held."""
        ahead = counter - self._highest
        if ahead > 0:
            kept = limits.REPLAY_WINDOW_SIZE - 1
            self._seen = ((self._seen << ahead) if ahead <= kept else 0) & ((1 << limits.REPLAY_WINDOW_SIZE) - 1) | 1
            self._highest = counter
        else:
            self._seen |= 1 << -ahead


class Sealer:
    """Seals what one boot of one peer sends. Counters rise by one and never repeat."""

    def __init__(self, *, network: NetworkIdentity, peer_id: PeerId, boot: int) -> None:
        self._sender = short_id_of(peer_id)
        self._boot = boot
        self._cipher = ChaCha20Poly1305(network.datagram_key(self._sender, boot))
        self._counter = 0

    def seal(self, plaintext: bytes, receiver: ShortId) -> bytes:
        """Return the datagram that carries ``plaintext`` to ``receiver``.

        Raises:
            LocalProtocolError: It would not fit one datagram.
        """
        if len(plaintext) > limits.MESSAGE_SIZE_MAX_BYTES:
            raise LocalProtocolError(f"{len(plaintext)} bytes do not fit one datagram")
        counter = self._counter
        self._counter += 1
        flags = FLAG_DISCOVERY if receiver == ANY_RECEIVER else 0
        header = _HEADER.pack(MAGIC_AND_VERSION, flags, _KEY_EPOCH, self._sender, self._boot, counter)
        return header + self._cipher.encrypt(_NONCE.pack(0, counter), plaintext, header + receiver)


class Opened(msgspec.Struct, frozen=True):
    """What a datagram carried, proved by the network key."""

    sender: ShortId
    sender_boot: int
    plaintext: bytes


@dataclass(slots=True)
class _Sender:
    cipher: ChaCha20Poly1305
    window: ReplayWindow


def claimed_sender(datagram: bytes) -> ShortId | None:
    """Return who a datagram says sealed it, which nothing proves yet; None when it is no envelope."""
    if len(datagram) < _HEADER.size or datagram[0] != MAGIC_AND_VERSION:
        return None
    return ShortId(_HEADER.unpack_from(datagram)[3])


class Opener:
    """Opens what others sealed for one peer.

    Invariants:
        1. At most ``SENDERS_MAX`` senders are kept, each in the latest boot that was authenticated.
        2. A kept window never goes back.
    """

    def __init__(self, *, network: NetworkIdentity, peer_id: PeerId) -> None:
        self._network = network
        self._receiver = short_id_of(peer_id)
        self._senders: OrderedDict[bytes, _Sender] = OrderedDict()
        self._latest_boots: OrderedDict[bytes, int] = OrderedDict()

    def is_known(self, datagram: bytes) -> bool:
        """Return whether the claimed sender and boot were authenticated before: opening then derives no key."""
        return datagram[_SENDER_AND_BOOT] in self._senders

    def open(self, datagram: bytes) -> Opened:
        """Return what ``datagram`` carried.

        Raises:
            RemoteProtocolError: It is no datagram of this network for this peer, or a replay. Answer nothing.
        """
        if not limits.ENVELOPE_OVERHEAD_BYTES <= len(datagram) <= limits.DATAGRAM_SIZE_MAX_BYTES:
            raise RemoteProtocolError("size")
        magic, flags, epoch, sender, boot, counter = _HEADER.unpack_from(datagram)
        if magic != MAGIC_AND_VERSION or flags & ~FLAG_DISCOVERY or epoch != _KEY_EPOCH:
            raise RemoteProtocolError("header")
        if sender == self._receiver:
            raise RemoteProtocolError("own datagram")
        header = datagram[: _HEADER.size]
        state = self._senders.get(header[_SENDER_AND_BOOT])
        is_new_sender = state is None
        if state is None:
            if boot < self._latest_boots.get(sender, 0):
                raise RemoteProtocolError("older boot")
            key = self._network.datagram_key(ShortId(sender), boot)
            state = _Sender(ChaCha20Poly1305(key), ReplayWindow())
        elif not state.window.is_new(counter):
            raise RemoteProtocolError("replay")
        receiver = ANY_RECEIVER if flags & FLAG_DISCOVERY else self._receiver
        try:
            plaintext = state.cipher.decrypt(_NONCE.pack(0, counter), datagram[_HEADER.size :], header + receiver)
        except InvalidTag:
            raise RemoteProtocolError("seal") from None
        state.window.accept(counter)
        if is_new_sender:
            self._keep(sender, boot, state)
        return Opened(ShortId(sender), boot, plaintext)

    def _keep(self, sender: bytes, boot: int, state: _Sender) -> None:
        previous = self._latest_boots.get(sender)
        if previous is not None:
            self._senders.pop(_sender_and_boot(sender, previous), None)
        self._latest_boots[sender] = boot
        self._latest_boots.move_to_end(sender)
        self._senders[_sender_and_boot(sender, boot)] = state
        if len(self._senders) > limits.SENDERS_MAX:
            self._senders.popitem(last=False)
        if len(self._latest_boots) > 4 * limits.SENDERS_MAX:
            self._latest_boots.popitem(last=False)


def _sender_and_boot(sender: bytes, boot: int) -> bytes:
    return sender + boot.to_bytes(8)
