"""The end of a world: every task that is left ends inside it, so that none is collected half-way in the real one."""

import asyncio
import contextlib
from typing import Final

from simulations.cluster import Cluster
from simulations.world.errors import SimulationError
from simulations.world.loop import SimLoop
from simulations.world.process import State

_PATIENCE_S: Final = 60.0
"""Virtual time for what tasks still wait for while they are cancelled."""


def bury(loop: SimLoop, cluster: Cluster) -> None:
    """Cancel all tasks, those of dead processes too, and close the loop. The verdict has been spoken before.

    Nobody hears or says anything any more: sockets are closed, and peers that are cancelled say no goodbye.
    """
    cluster.witness.listeners.clear()
    for peer in cluster.peers:
        peer.host.kill()
    processes = [process for peer in cluster.peers for process in peer.host.runs]
    for process in processes:
        process.state = State.RUNNING  # what a crash left undone may run to its end now
        loop.run_backlog(process)
    of_processes = (task for process in processes for task in process.tasks if not task.done())
    tasks = list(dict.fromkeys((*of_processes, *asyncio.all_tasks(loop))))
    for task in tasks:
        task.cancel()
    if tasks:
        with contextlib.suppress(SimulationError):
            # Not ``wait_for``, which waits for ever for a task that does not take its cancelling.
            loop.run_until_complete(asyncio.wait(tasks, timeout=_PATIENCE_S))
    loop.failures.clear()
    loop.close()
