"""Sends forged datagrams at a steady rate: ``python -m benchmarks.flooding PORT SECONDS RATE SEED ID:BOOT …``.

Whoever sends them overheard who speaks (the ids and boots of the members, which travel in clear) and has no key. A
third come from senders that nobody knows, a third claim to be members, a third are noise. Prints how many were sent.
"""

import random
import socket
import struct
import sys
import time
from typing import Final

from protocol.envelope import FLAG_DISCOVERY, MAGIC_AND_VERSION
from protocol.limits import DATAGRAM_SIZE_MAX_BYTES, ENVELOPE_OVERHEAD_BYTES

_VARIETY: Final = 6000
"""Different datagrams; a sender in Python that made each anew would be slower than the flood."""

_BATCH: Final = 20
_HEADER: Final = struct.Struct("!BBH16sQQ")


def main(port: int, seconds: float, rate_per_s: int, seed: int, known: list[str]) -> int:
    """Send, and return how many were sent."""
    source = random.Random(seed)
    members = [(bytes.fromhex(entry.partition(":")[0])[:16], int(entry.partition(":")[2])) for entry in known]
    datagrams = [_forged(source, members) for _ in range(_VARIETY)]
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        target = ("127.0.0.1", port)
        began = time.monotonic()
        while (passed_s := time.monotonic() - began) < seconds:
            if sent >= passed_s * rate_per_s:
                time.sleep(_BATCH / rate_per_s)
                continue
            for _ in range(_BATCH):
                sender.sendto(datagrams[sent % _VARIETY], target)
                sent += 1
    return sent


def _forged(source: random.Random, members: list[tuple[bytes, int]]) -> bytes:
    """Return a datagram that looks right until its seal is checked, or noise."""
    kind = source.random()
    size = source.randrange(ENVELOPE_OVERHEAD_BYTES, DATAGRAM_SIZE_MAX_BYTES)
    if kind < 1 / 3:
        return source.randbytes(size)
    sender, boot = source.choice(members) if kind < 2 / 3 else (source.randbytes(16), source.getrandbits(63))
    flags, counter = source.choice((0, FLAG_DISCOVERY)), source.getrandbits(40)
    header = _HEADER.pack(MAGIC_AND_VERSION, flags, 0, sender, boot, counter)
    return header + source.randbytes(size - _HEADER.size)


if __name__ == "__main__":
    print(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))
