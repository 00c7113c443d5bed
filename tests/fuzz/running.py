"""One decoder under many inputs: how fast, which errors got out, and whether memory stays flat."""

import gc
import logging
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.decoders import Decoder
from tests.fuzz.mutating import mutated

GROWTH_MAX_BYTES: Final = 4 * 2**20
"""Beyond the caches that fill in the first part of a run; above this, memory is not flat."""

_WARM_UP_SHARE: Final = 10
"""The first tenth of the inputs fills caches."""

_FAILURES_TOLD: Final = 5

HEADER: Final = "decoder                          inputs     per s  accepted  errors            memory   slowest"


@dataclass(slots=True)
class Report:
    """What one run found."""

    name: str
    inputs: int
    accepted: int
    seconds: float
    errors: int
    failures: list[str]
    """The first few, each with the input that made it."""

    before_bytes: int
    after_bytes: int
    slowest_s: float

    @property
    def is_failure(self) -> bool:
        """Whether an error got out, or memory grew."""
        return self.errors > 0 or self.after_bytes - self.before_bytes > GROWTH_MAX_BYTES

    @property
    def line(self) -> str:
        """A row of the table."""
        memory = f"{self.before_bytes / 2**20:.1f} → {self.after_bytes / 2**20:.1f} MiB"
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return (
            f"{self.name:28} {self.inputs:10,} {rate:9,.0f} {self.accepted:9,} {self.errors:7,} {memory:>17} "
            f"{self.slowest_s * 1000:6.1f} ms"
        )


def run(decoder: Decoder, *, inputs: int, seed: int, measures_memory: bool = False) -> Report:
    """Decode ``inputs`` hostile inputs. Memory means something in long runs only, and looking at it takes long."""
    source = random.Random(f"{seed}/{decoder.name}")
    failures: list[str] = []
    accepted = errors = 0
    slowest_s = 0.0
    before_bytes = 0
    logging.disable(logging.CRITICAL)
    started = time.monotonic()
    try:
        for number in range(inputs):
            if measures_memory and number == inputs // _WARM_UP_SHARE:
                before_bytes = _resident_bytes()
            data = mutated(source, decoder.examples)
            began = time.perf_counter()
            try:
                decoder.decode(data)
                accepted += 1
            except decoder.refusals:
                pass
            except Exception as error:
                errors += 1
                if len(failures) < _FAILURES_TOLD:
                    failures.append(f"input {number}: {error!r} of {data.hex()}")
            slowest_s = max(slowest_s, time.perf_counter() - began)
    finally:
        logging.disable(logging.NOTSET)
    seconds = time.monotonic() - started
    return Report(decoder.name, inputs, accepted, seconds, errors, failures, before_bytes, _resident_bytes(), slowest_s)


def _resident_bytes() -> int:
    """Return the memory that this process has now; 0 where the system does not tell."""
    gc.collect()
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
