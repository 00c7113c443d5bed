"""What readers are told in a network where three members of ten lie."""

from typing import Final

from benchmarks import liars
from benchmarks.apart import apart
from benchmarks.bench import Bench
from benchmarks.results import Outcome

RIGHT_MUST: Final = 0.95


async def measure_liars(bench: Bench) -> Outcome:
    """Write and read through honest peers of the virtual world."""
    honest, lying = bench.size(42, 7), bench.size(18, 3)
    keys, reads = bench.size(60, 5), bench.size(1000, 20)
    heard = await apart(liars.read_among_liars, honest, lying, keys, reads, bench.seed)
    share = heard.right / heard.reads
    return Outcome(
        measured=f"{share:.1%} right, {heard.old} old, {heard.refused} refused, {heard.forged} forged",
        must=share >= RIGHT_MUST and not heard.forged and not heard.wrong_verdicts,
        goal=heard.right == heard.reads and not heard.forged,
        lead=1 - share,
        notes=(
            f"{honest} honest members and {lying} that lie, {heard.reads} reads with --consistency quorum; "
            f"{heard.acknowledged} of {heard.writes} writes were acknowledged; honest peers that somebody took for "
            f"failed at the end: {heard.wrong_verdicts}",
        ),
        figures={"right": heard.right, "old": heard.old, "refused": heard.refused, "forged": heard.forged},
    )
