"""A program for the test of determinism: plays seeds of swizzle and prints their digests as JSON.

Usage: one_run.py HEAP_PAD NODES DURATION_S SEED...
"""

import json
import sys

HEAP_PAD = [object() for _ in range(int(sys.argv[1]))]
"""Made before everything else, so that objects lie elsewhere than in the other process."""

if __name__ == "__main__":
    from simulations.catalogue import scenario_of
    from simulations.simulation import Simulation

    for seed in map(int, sys.argv[4:]):
        scenario = scenario_of("swizzle", seed=seed, nodes=int(sys.argv[2]), duration_s=float(sys.argv[3]))
        simulation = Simulation(scenario, seed=seed)
        verdict = simulation.run()
        figures = dict(verdict.figures)
        print(json.dumps([verdict.trace_sha256, simulation.record.checkpoints, figures]), flush=True)
