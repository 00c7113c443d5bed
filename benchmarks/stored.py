"""Where copies of records really lie: read from the peers' own databases, not from what anybody says."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from benchmarks.pair_network import PairNetwork


def holders_on_disk(network: PairNetwork, keys: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids of the running peers on whose disk each key lies."""
    holders: dict[str, list[str]] = {key: [] for key in keys}
    for peer in network.peers:
        if peer.pid is None:
            continue
        path = network.folder(peer) / "records.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            for (key,) in database.execute("SELECT key FROM records WHERE kind = 'value'"):
                if key in holders:
                    holders[key].append(peer.id)
    return holders
