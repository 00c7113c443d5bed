"""``pair`` with a wrong wall clock: ``python -m tests.faults.shifted_clock SECONDS start …``; nothing else differs."""

import sys
import time

from node.cli import main


def shift(seconds: float) -> None:
    """Set the wall clock of this process ahead (or behind, when negative)."""
    right = time.time
    time.time = lambda: right() + seconds


if __name__ == "__main__":
    shift(float(sys.argv.pop(1)))
    main()
