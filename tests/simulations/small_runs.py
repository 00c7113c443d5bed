"""Small scenarios, and the record of a run that nobody had to play."""

from pathlib import Path

from simulations.faults import Kill, Partition, Start
from simulations.history import Operation, Outcome
from simulations.record import AppliedFault, Moment, RunRecord
from simulations.report.run import Run
from simulations.scenario import Scenario, Workload
from simulations.verdict import Check, Verdict

SMALL = Scenario(
    name="small",
    nodes=3,
    k=3,
    duration_s=4.0,
    settle_s=10.0,
    workload=Workload(clients=1, operations_per_s=5.0, keys=3),
    faults=(Kill(at_s=1.5, target="leader"), Start(at_s=2.5, target="all")),
)
"""Plays in a fraction of a second."""

FUNCTION = '''
from simulations.faults import Kill
from simulations.scenario import Workload

def scenario(draw):
    """One death."""
    return draw.scenario(
        Kill(at_s=1.0, target="leader"),
        workload=Workload(clients=1, operations_per_s=5.0, keys=3),
    )

def hopeless(draw):
    """Nobody has the time to be well again."""
    return draw.scenario(Kill(at_s=0.9 * draw.duration_s, target="all"), settle_s=0.0)

def broken(draw):
    return 1 / 0

def wrong(draw):
    return "a scenario"

number = 7
'''


def function_file(folder: Path) -> Path:
    """Write a Python file with scenarios and return its path."""
    path = folder / "mine.py"
    path.write_text(FUNCTION)
    return path


def verdict(*, ok: bool = True, name: str = "small") -> Verdict:
    """Return a verdict that was spoken over nothing."""
    return Verdict(
        scenario=name,
        nodes=3,
        seed=7,
        verdict="PASS" if ok else "FAIL",
        checks=(
            Check(name="one vote per term", ok=True, detail="21 signatures"),
            Check(name="no acknowledged write is lost", ok=ok, detail="<b>key-3</b> & more"),
        ),
        figures={"operations_ok": 2.0, "simulated_s": 12.5, "datagrams": 12345.0},
        trace_sha256="ab" * 32,
        replay=f"pair simulate {name} --seed 7",
    )


def finished_run(*, name: str = "small") -> Run:
    """Return a run of twelve seconds with a change of the leader, a cut, and a write that failed."""
    cut = Partition(at_s=3.0, groups=(("peer-1",), ("peer-2", "peer-3")), for_s=4.0)
    kill = Kill(at_s=8.0, target="leader")
    record = RunRecord(scenario=Scenario(name=name, nodes=3, summary="Kills & cuts <all>."), seed=7)
    record.applied += [
        AppliedFault(fault=cut, began_s=3.0, ended_s=7.0, targets=(), text="partition 1 | 2,3"),
        AppliedFault(fault=kill, began_s=8.0, ended_s=8.0, targets=("peer-1",), text="kill peer-1"),
    ]
    for second in range(1, 13):
        leaders = {"peer-1": 3} if second < 9 else {"peer-2": 2}
        record.moments.append(moment(second, leaders=leaders, up=3 if second < 9 else 2))
    for number, outcome in enumerate(("ok", "failed", "unknown", "ok")):
        record.history.operations.append(operation(number, outcome))  # type: ignore[arg-type]
    record.healed_s, record.settled_s = 10.0, 11.0
    return Run(verdict(name=name), record)


def moment(second: int, *, leaders: dict[str, int], up: int = 3) -> Moment:
    """Return how it stood at a second."""
    return Moment(
        at_s=float(second), up=up, alive_tables={up: up}, leaders=leaders, terms=(1,), ok=second, failed=0, unknown=0,
        faults_now=("partition 1 | 2,3",) if 3 <= second < 7 else (), datagrams=10 * second,
    )  # fmt: skip


def operation(number: int, outcome: Outcome) -> Operation:
    """Return a put that ended a tenth of a second after it began."""
    return Operation(
        number=number, kind="put", key="key-1", value=b"x", asked="peer-1", began_s=number + 0.5,
        ended_s=number + 0.6, outcome=outcome,
    )  # fmt: skip
