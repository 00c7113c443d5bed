"""Reads among liars: three members of ten hold the network key and lie all the time, in the virtual world.

Each key is written twice, so that there is an old version to be lied with; then honest peers read with
``--consistency quorum``, and the newest acknowledged version is the right answer.
"""

import asyncio
import gc
import logging
import random
from collections import Counter
from dataclasses import dataclass
from typing import Final, get_args

from benchmarks.worlds import until_united
from node.errors import OperationError
from simulations.burial import bury
from simulations.cluster import Cluster, SimPeer
from simulations.faults import Lie
from simulations.hostile import HostileMember
from simulations.world.entropy import Entropy, installed
from simulations.world.loop import SimLoop
from simulations.world.network import Network

_LYING_S: Final = 10.0
"""Virtual time that the liars have before the first write."""

_OPERATION_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What honest peers were told."""

    reads: int
    right: int
    old: int
    """Older versions, or that there is no such key."""

    forged: int
    """Values that nobody honest wrote."""

    refused: int
    """Reads that ended without an answer."""

    writes: int
    acknowledged: int
    wrong_verdicts: int
    """Honest peers that some honest peer takes for failed or left, at the end."""


def read_among_liars(honest: int, liars: int, keys: int, reads: int, seed: int) -> Heard:
    """Play it; a process of its own has to."""
    loop = SimLoop(seed=seed)
    network = Network(loop, seed=seed)
    logging.disable(logging.CRITICAL)  # honest peers are alarmed all the time
    gc.disable()
    with installed(Entropy(loop, seed=seed)):
        cluster = Cluster(loop, network, count=honest, seed=seed)
        heard = loop.run_until_complete(_story(cluster, liars, keys, reads, random.Random(f"{seed}/liars")))
        bury(loop, cluster)
    return heard


async def _story(cluster: Cluster, liars: int, keys: int, reads: int, draws: random.Random) -> Heard:
    await until_united(cluster)
    members = [
        HostileMember(cluster, number + 1, get_args(Lie), random.Random(draws.getrandbits(64)))
        for number in range(liars)
    ]
    for member in members:
        member.start()
    await asyncio.sleep(_LYING_S)
    newest: dict[str, bytes] = {}
    acknowledged = 0
    for version in (1, 2):
        for number in range(keys):
            key, value = f"key-{number}", f"value {number} version {version}".encode()
            is_kept = await _put(cluster, draws.choice(cluster.peers), key, value)
            acknowledged += is_kept
            if is_kept:
                newest[key] = value
            else:
                newest.pop(key, None)  # either version is right
    answers: Counter[str] = Counter()
    for _ in range(reads):
        key = draws.choice(sorted(newest))
        answers[await _get(cluster, draws.choice(cluster.peers), key, newest[key])] += 1
    for member in members:
        member.end()
    return Heard(
        reads=reads,
        right=answers["right"],
        old=answers["old"],
        forged=answers["forged"],
        refused=answers["refused"],
        writes=2 * keys,
        acknowledged=acknowledged,
        wrong_verdicts=len(_given_up(cluster)),
    )


async def _put(cluster: Cluster, peer: SimPeer, key: str, value: bytes) -> bool:
    try:
        await cluster.ask(
            peer,
            lambda running: running.put(key, value, ttl_s=None, if_version=None, timeout_s=_OPERATION_S),
        )
    except OperationError:
        return False
    return True


async def _get(cluster: Cluster, peer: SimPeer, key: str, right: bytes) -> str:
    try:
        found = await cluster.ask(peer, lambda running: running.get(key, quorum=True, timeout_s=_OPERATION_S))
    except OperationError as error:
        return "old" if error.type == "not-found" else "refused"
    if found.record.value == right:
        return "right"
    return "old" if found.record.value.startswith(b"value ") else "forged"


def _given_up(cluster: Cluster) -> set[bytes]:
    honest = {peer.disk.identity.peer_id for peer in cluster.peers}
    return {
        member.peer_id
        for peer in cluster.running()
        if peer.peer is not None
        for member in peer.peer.core.membership.table
        if member.peer_id in honest and not member.is_living
    }
