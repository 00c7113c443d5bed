"""``pair simulate --live``: what is refused before a process starts, and how large a run is when nobody says so."""

from typing import Final

from node.cli.failures import wrong_use
from simulations.catalogue import SCENARIOS
from simulations.cli.plan import Size
from simulations.live.possible import LIVE_DURATION_S, LIVE_NODES, LIVE_NODES_MAX, impossible_faults, runs_live
from simulations.scenario import Scenario

LIVE: Final = Size(nodes=LIVE_NODES, duration_s=LIVE_DURATION_S, options=("--live",))


def check_possible(scenario: Scenario) -> None:
    """Return when a scenario can be played on real processes.

    Raises:
        CommandFailed: It cannot (exit 2); names what is in the way.
    """
    faults = impossible_faults(scenario)
    if faults:
        able = ", ".join(entry.name for entry in SCENARIOS.values() if runs_live(entry))
        raise wrong_use(
            f"{scenario.name} cannot be played live: real processes cannot have the fault {' or '.join(faults)}",
            next_step=f"leave --live out; these run live: {able}",
            facts={"faults": faults},
        )
    if scenario.nodes > LIVE_NODES_MAX:
        raise wrong_use(
            f"{scenario.nodes} peers are too many for a live run: each is a process",
            next_step=f"choose at most {LIVE_NODES_MAX} with --nodes",
        )
