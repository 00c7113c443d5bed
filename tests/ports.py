"""Free ports for peers that a test starts by itself."""

import random

from bootstrap.ports import is_free

LOOPBACK = "127.0.0.1"

_DRAWN_FROM = range(20_000, 32_000)
"""Above what ``pair`` takes by itself, below what systems hand out to whoever connects: a port that a stopped peer will
want again is nobody's meanwhile."""


def free_ports() -> tuple[int, int]:
    """Return a port that is free for UDP and TCP, and another that is free for TCP."""
    draw = random.SystemRandom()
    while True:
        port, api_port = draw.sample(_DRAWN_FROM, 2)
        if is_free(LOOPBACK, port, udp=True) and is_free(LOOPBACK, api_port, udp=False):
            return port, api_port
