"""Hostile inputs near valid ones, where bugs live: made from examples, quickly, and the same for the same seed."""

import random
from collections.abc import Callable, Sequence
from typing import Final

SIZE_MAX_BYTES: Final = 2048
"""Above the largest datagram; what is longer is refused by its size alone."""

_TELLING: Final = (
    b"\x00", b"\x7f", b"\x80", b"\xc0", b"\xc1", b"\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc9\x7f\xff\xff\xff\x01", b"\xd4\x01\x00", b"\x91" * 64,
    b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xcb\x7f\xf8" + bytes(6), b"\xcb\x7f\xf0" + bytes(6),
    b"\xed\xa0\x80", b"\xe2\x80\xae", b"\x1b]0;x\x07", b"\r\n\r\n", b"%00", b"%", b"NaN", b"1e999", b"[" * 64,
    b'{"a":' * 16, b'"\\ud800"', b"-", b"\xff" * 16,
)  # fmt: skip
"""Pieces that decoders stumble over: lying lengths, nesting, extension types, bad UTF-8, special numbers, escapes."""


def mutated(source: random.Random, examples: Sequence[bytes]) -> bytes:
    """Return an example that was changed one to four times, or now and then noise."""
    if source.random() < 0.02:
        return source.randbytes(source.randrange(SIZE_MAX_BYTES))
    data = bytearray(examples[int(source.random() * len(examples))])
    for _ in range(1 + int(source.random() * 4)):
        _WAYS[int(source.random() * len(_WAYS))](source, data, examples)
    return bytes(data[:SIZE_MAX_BYTES])


def _place(source: random.Random, data: bytearray) -> int:
    return int(source.random() * (len(data) + 1))


def _flip_bit(source: random.Random, data: bytearray, examples: Sequence[bytes]) -> None:
    if data:
        data[int(source.random() * len(data))] ^= 1 << int(source.random() * 8)


def _set_byte(source: random.Random, data: bytearray, examples: Sequence[bytes]) -> None:
    if data:
        data[int(source.random() * len(data))] = int(source.random() * 256)


def _cut(source: random.Random, data: bytearray, examples: Sequence[bytes]) -> None:
    del data[_place(source, data) :]


def _take_out(source: random.Random, data: bytearray, examples: Sequence[bytes]) -> None:
    start = _place(source, data)
    del data[start : start + 1 + int(source.random() * 8)]


def _put_in(source: random.Random, data: bytearray, examples: Sequence[bytes]) -> None:
    start = _place(source, data)
    data[start:start] = _TELLING[int(source.random() * len(_TELLING))]


def _overwrite(source: random.Random, data: bytearray, examples: Sequence[bytes]) -> None:
    start, piece = _place(source, data), _TELLING[int(source.random() * len(_TELLING))]
    data[start : start + len(piece)] = piece


def _repeat(source: random.Random, data: bytearray, examples: Sequence[bytes]) -> None:
    start = _place(source, data)
    piece = data[start : start + 1 + int(source.random() * 32)]
    data[start:start] = piece * (1 + int(source.random() * 4))


def _splice(source: random.Random, data: bytearray, examples: Sequence[bytes]) -> None:
    other = examples[int(source.random() * len(examples))]
    data[_place(source, data) :] = other[int(source.random() * (len(other) + 1)) :]


_WAYS: Final[tuple[Callable[[random.Random, bytearray, Sequence[bytes]], None], ...]] = (
    _flip_bit, _flip_bit, _set_byte, _set_byte, _cut, _take_out, _put_in, _overwrite, _repeat, _splice,
)  # fmt: skip
