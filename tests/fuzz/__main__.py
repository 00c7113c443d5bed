"""``python3 run.py fuzz``: hostile inputs at every decoder, and what came of them.

decoder            inputs     rate      errors   memory before → after   slowest
"""

import argparse
import sys

from tests.fuzz.decoders import decoders
from tests.fuzz.running import HEADER, run

INPUTS = 1_000_000


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for and return the exit code: 1 when anything was not refused as it should be."""
    known = decoders()
    groups = sorted({decoder.name.partition(":")[0] for decoder in known})
    parser = argparse.ArgumentParser(prog="run.py fuzz", description="Send hostile inputs through every decoder.")
    parser.add_argument("--inputs", type=int, default=INPUTS, help=f"for each decoder; {INPUTS:,} by default")
    parser.add_argument(
        "--only", nargs="+", metavar="DECODER", help=f"of: {', '.join(groups)}; or message:Ping"
    )
    parser.add_argument("--seed", type=int, default=1, help="1 by default; the same seed makes the same inputs")
    options = parser.parse_args(arguments)
    wanted = [
        decoder
        for decoder in known
        if not options.only or decoder.name in options.only or decoder.name.partition(":")[0] in options.only
    ]
    if not wanted:
        parser.error(f"no decoder is called so; there are: {', '.join(decoder.name for decoder in known)}")
    print(f"seed {options.seed}\n{HEADER}", flush=True)
    reports = []
    for decoder in wanted:
        report = run(decoder, inputs=options.inputs, seed=options.seed, measures_memory=True)
        reports.append(report)
        print(report.line, flush=True)
        for failure in report.failures:
            print(f"    {failure}", flush=True)
    failed = [report for report in reports if report.is_failure]
    print(f"{len(reports)} decoders, {sum(report.inputs for report in reports):,} inputs, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
