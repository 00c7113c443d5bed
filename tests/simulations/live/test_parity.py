"""The same five scenarios in virtual time and on real processes come to the same verdicts."""

import json
from pathlib import Path

import msgspec
import pytest

from simulations.catalogue import scenario_of
from simulations.faults import AnyFault
from simulations.live.live_run import LiveRun
from simulations.record import RunRecord
from simulations.scenario import Scenario
from simulations.simulation import Simulation
from simulations.verdict import Verdict
from tests.running import Home

pytestmark = pytest.mark.processes

SEED = 1
NODES = 5
DURATION_S = 5.0


def scenario(name: str) -> Scenario:
    return scenario_of(name, seed=SEED, nodes=NODES, duration_s=DURATION_S)


def told(verdict: Verdict) -> str:
    broken = [f"{check.name}: {check.detail}" for check in verdict.checks if not check.ok]
    return "; ".join(broken) or "all checks hold"


def done(record: RunRecord) -> list[tuple[AnyFault, int]]:
    """Return what was done, and to how many peers; a busy machine may do two things in another order."""
    in_order = sorted(record.applied, key=lambda applied: applied.fault.at_s)
    return [(applied.fault, len(applied.targets)) for applied in in_order]


def check_parity(found: Verdict, expected: Verdict) -> None:
    """As a whole, and in each check that both judge; what is not judged is named."""
    assert found.verdict == expected.verdict, told(found)
    held = {check.name: check.ok for check in expected.checks}
    assert {check.name: check.ok for check in found.checks if check.name in held}.items() <= held.items()
    assert {check.name for check in found.checks} >= held.keys() - set(found.not_judged)


@pytest.mark.parametrize("name", ["leader-pause", "split-brain-and-heal", "rolling-restart", "lossy-links"])
def test_a_live_run_comes_to_the_verdict_of_the_simulated_one(name: str) -> None:
    """What was done to how many peers is the same as well."""
    simulation, live = Simulation(scenario(name), seed=SEED), LiveRun(scenario(name), seed=SEED)

    expected, found = simulation.run(), live.run()

    check_parity(found, expected)
    assert done(live.record) == done(simulation.record)


def test_the_command_tells_the_verdict_of_the_simulated_run(tmp_path: Path) -> None:
    """In the same shape, with no trace, and with what is not judged; the report is the same page."""
    report = tmp_path / "report.html"
    size = ("--nodes", str(NODES), "--duration", f"{DURATION_S:g}")

    done = Home(tmp_path / "home").run(
        "simulate", "leader-crash", "--live", *size, "--seed", str(SEED), "--report", str(report), "--json",
        timeout_s=120,
    )  # fmt: skip

    assert done.code == 0, done.stderr + done.text
    document = json.loads(done.stdout)
    check_parity(
        msgspec.convert(document, Verdict), Simulation(scenario("leader-crash"), seed=SEED).run()
    )
    assert document["trace_sha256"] is None
    assert "one vote per term" in document["not_judged"]
    assert {"operations_ok", "operations_failed", "elections", "datagrams", "simulated_s"} <= set(document["figures"])
    assert document["figures"]["elections"] >= 2
    assert document["replay"] == f"pair simulate leader-crash --live {' '.join(size)} --seed {SEED}"
    assert "Not judged: one vote per term" in report.read_text()
