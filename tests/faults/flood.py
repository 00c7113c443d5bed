"""Sends many hostile datagrams to one port: ``python -m tests.faults.flood KEY_FILE PORT COUNT SEED``.

A third are random bytes. A third are sealed with the network key and then damaged. A third are sealed whole around
messages that are damaged, cut, or valid and meaningless, from senders that nobody knows.
"""

import random
import socket
import sys
import time
from pathlib import Path

import msgspec

from bootstrap.home import load_key_file
from protocol import codec
from protocol.dht_messages import Fetch, Store
from protocol.envelope import MAGIC_AND_VERSION, Sealer
from protocol.ids import ANY_RECEIVER, PeerId
from protocol.limits import DATAGRAM_SIZE_MAX_BYTES, MESSAGE_SIZE_MAX_BYTES
from protocol.messages import Gossip, JoinRequest, Ping, WhoAreYou
from tests.protocol import samples

RATE_PER_S = 9_000
SENDERS = 64


def main(key_file: str, port: int, count: int, seed: int) -> None:
    """Send ``count`` datagrams at a bounded rate."""
    source = random.Random(seed)
    network = load_key_file(Path(key_file))
    sealers = [
        Sealer(network=network, peer_id=PeerId(source.randbytes(32)), boot=source.getrandbits(63))
        for _ in range(SENDERS)
    ]
    messages = [
        codec.encode(message)
        for message in (
            Ping(sequence=1, updates=(samples.descriptor(2).encoded,)),
            Gossip(updates=(samples.accusation(1, 2).encoded, b"\x01\x90", b"")),
            JoinRequest(descriptor=samples.descriptor(3), nonce=1),
            WhoAreYou(),
            Store(records=(samples.record(1),), request_id=1),
            Fetch(place=bytes(20), request_id=2),
        )
    ]
    messages.append(nested())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        started = time.monotonic()
        for number in range(count):
            try:
                sender.send(datagram(source, sealers, messages))
            except ConnectionRefusedError:
                sys.exit("nobody listens there any more")
            ahead = number / RATE_PER_S - (time.monotonic() - started)
            if ahead > 0.01:
                time.sleep(ahead)


def nested() -> bytes:
    """Return MessagePack that nests as deep as fits a datagram."""
    return b"\x91" * (MESSAGE_SIZE_MAX_BYTES - 1) + b"\xc0"


def datagram(source: random.Random, sealers: list[Sealer], messages: list[bytes]) -> bytes:
    """Return one hostile datagram."""
    kind = source.random()
    if kind < 1 / 3:
        noise = source.randbytes(source.choice((0, 1, 35, 36, 52, 60, 400, DATAGRAM_SIZE_MAX_BYTES, 1400)))
        return bytes([MAGIC_AND_VERSION]) + noise if source.random() < 0.5 else noise
    sealed = source.choice(sealers).seal(plaintext(source, messages), ANY_RECEIVER)
    if kind < 2 / 3:
        return damaged(source, sealed)
    return sealed


def plaintext(source: random.Random, messages: list[bytes]) -> bytes:
    """Return a message, whole or not."""
    message = source.choice(messages)
    kind = source.random()
    if kind < 0.3:
        return message
    if kind < 0.5:
        return source.randbytes(source.randrange(MESSAGE_SIZE_MAX_BYTES))
    if kind < 0.6:
        return msgspec.msgpack.encode([source.randrange(80), 0, {"a": 1}, [None] * source.randrange(40)])
    return damaged(source, message)


def damaged(source: random.Random, content: bytes) -> bytes:
    """Return ``content`` with some bytes changed, cut off or added."""
    changed = bytearray(content)
    for _ in range(source.randrange(1, 4)):
        if changed:
            changed[source.randrange(len(changed))] = source.getrandbits(8)
    kind = source.random()
    if kind < 0.2:
        return bytes(changed[: source.randrange(len(changed) + 1)])
    if kind < 0.3:
        return bytes(changed + source.randbytes(8))[:MESSAGE_SIZE_MAX_BYTES]
    return bytes(changed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
