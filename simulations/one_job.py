"""Plays one job in a process of its own: ``python -m simulations.one_job`` reads it, and writes the verdict.

For engines whose workers run what they are given in a thread beside their own loop: a run takes clock and entropy of
its whole process.
"""

import subprocess
import sys
from typing import Final

import msgspec

from simulations.scenario import Scenario
from simulations.simulation import PROCESSOR_S_MAX, Simulation
from simulations.verdict import Verdict

_TIMEOUT_S: Final = 2 * PROCESSOR_S_MAX
"""Of the real time: a worker may share its core."""


class Job(msgspec.Struct, frozen=True):
    """One run."""

    scenario: Scenario
    seed: int


def played(job: Job) -> Verdict:
    """Play a job in this process."""
    return Simulation(job.scenario, seed=job.seed).run()


def played_apart(job: Job) -> Verdict:
    """Play a job in a new process.

    Raises:
        RuntimeError: The process ended without a verdict.
    """
    done = subprocess.run(
        [sys.executable, "-m", "simulations.one_job"],
        input=msgspec.msgpack.encode(job),
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return msgspec.msgpack.decode(done.stdout, type=Verdict)


def main() -> None:
    """Play what standard input holds."""
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.msgpack.encode(played(job)))


if __name__ == "__main__":
    main()
