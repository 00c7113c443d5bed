"""Every container that a peer keeps, found in the source, and why each cannot grow without bound.

A container that is not listed fails a test: whoever adds one says here what bounds it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("protocol", "node", "bootstrap")
LEFT_OUT: Final = ("node/cli/", "node/faults/")
"""Short-lived programs of a person, and what exists only with ``--faults``, for the admin."""

_EMPTY: Final = ("{}", "[]", "set()", "dict()", "list()", "OrderedDict()", "deque()", "Counter()")
_GROWING: Final = ("deque(", "OrderedDict(", "defaultdict(", "asyncio.Queue(", "field(default_factory=")

BOUNDS: Final[dict[str, dict[str, str]]] = {
    "a named maximum, beyond which something goes or nothing comes in": {
        "bootstrap/discovery.py": "ZeroconfDiscovery._waiting ZeroconfDiscovery._given",
        "node/address_proofs.py": "AddressProofs._proven AddressProofs._waiting",
        "node/api/connection.py": "ConnectionCaps._by_address",
        "node/api/writes.py": "OwnedWrites._tasks",
        "node/datagrams.py": "StrangerLimit._buckets",
        "node/dht/first_aid.py": "FirstAid._given",
        "node/dht/followers.py": "Followers._followers Followers._written _Follower.owed",
        "node/dht/holders.py": "Holders._known",
        "node/dht/kademlia/failures.py": "Failures._records",
        "node/dht/kademlia/lookup.py": "Lookup._distances Lookup._candidates",
        "node/dht/kademlia/round_trips.py": "RoundTrips._known",
        "node/dht/kademlia/stock_calls.py": "StockCalls._by_address",
        "node/dht/kademlia/stock_protocol.py": "StockProtocol._tasks",
        "node/dht/quotas.py": "MemberQuotas._used",
        "node/dht/serving.py": "Serving._promised",
        "node/dht/tasks.py": "OwnedTasks._tasks",
        "node/dht/watching.py": "_Watch.queue _Watch._seen Watcher._watches Watcher._members_changed",
        "node/events.py": "EventBus._queues",
        "node/exchange.py": "Exchange._pending Exchange._over_tcp Exchange._serving Exchange._round_trips"
        " Exchange._proving",
        "node/peer_port.py": "PeerPort._strangers PeerPort._links PeerPort._requests",
        "protocol/election/lease.py": "Lease._sent_at",
        "protocol/election/proofs.py": "Proofs._pending",
        "protocol/election/voting.py": "Voter._early",
        "protocol/envelope.py": "Opener._senders Opener._latest_boots",
        "protocol/identity.py": "CachingVerifier._good",
        "protocol/joining.py": "Joining._contacts Joining._nonces Joining._asked_who",
        "protocol/members/pings.py": "Pings._unanswered",
        "protocol/members/probes.py": "Probes._open Probe.helpers",
        "protocol/members/relays.py": "Relays._relays",
        "protocol/members/table.py": "Member.accusations",
    },
    "members of the table, of which there are at most so many": {
        "node/dht/kademlia/members.py": "KademliaNode._unplaced",
        "node/dht/outbox.py": "Outbox._active",
        "node/dht/repair.py": "Repair._newcomers Repair._fallen Repair._unreached",
        "node/dht/shelf.py": "Shelf._sums",
        "node/dht/watching.py": "_Watch.pulled",
        "node/links.py": "Links._links Links._tries",
        "protocol/election/lease.py": "Lease._acknowledged",
        "protocol/election/promises.py": "Promises._told_by",
        "protocol/members/crashes.py": "Crashes._cases",
        "protocol/members/news.py": "News._items News._by_encoding News._ranks",
        "protocol/members/probes.py": "Probes._order Probes._unheard",
        "protocol/members/spreading.py": "Spreading._newcomers",
        "protocol/members/suspicion.py": "Suspicions._running",
        "protocol/members/table.py": "MemberTable._members MemberTable._ids MemberTable._by_short MemberTable._before"
        " MemberTable._living_ids MemberTable._suspect_ids",
        "protocol/network_time.py": "NetworkClock._offsets_ms",
        "protocol/placement.py": "Placement._places Placement._peer_of",
    },
    "peers that the admin banned with a signature": {
        "protocol/bans.py": "Bans._known Bans._banned_short",
        "protocol/members/judge.py": "Judge._banned",
    },
    "places of records that are stored here, which quotas and the disk bound": {
        "node/dht/outbox.py": "Outbox._due Outbox._due_later",
        "node/dht/repair.py": "Repair._foreign Repair._confirmed",
        "node/dht/shelf.py": "Shelf._stamps",
    },
    "one operation of a user of this peer, gone with it; at most k holders, or the council": {
        "node/dht/inquiry.py": "Inquiry.answers Inquiry._asked Inquiry._told Inquiry._explained Inquiry._failed"
        " Inquiry._stumbled Inquiry._requests",
        "node/dht/storing.py": "Storing._asked Storing._told Storing._synced Storing._failed Storing.refused"
        " Storing.explained",
        "protocol/election/campaign.py": "Campaign.would_vote Campaign.votes Campaign.refused",
    },
    "what this peer itself does, or serves at once; others only make it more often": {
        "bootstrap/discovery.py": "ZeroconfDiscovery._tasks",
        "node/dht/shelf.py": "Shelf._commits",
        "node/exchange.py": "Exchange._waiting",
        "node/handover.py": "Handovers._waiters",
        "node/peer_disk.py": "PeerDisk._alarms",
        "node/storage/group_commit.py": "GroupCommit._waiting",
    },
    "the parts of the program: routes, listeners": {
        "node/api/metrics.py": "ApiMetrics._requests",
        "node/api/routing.py": "Router._exact Router._tails",
        "node/dht/holders.py": "Holders.on_stranger",
        "node/dht/outbox.py": "Outbox.on_confirmed Outbox.on_given_up",
        "node/dht/serving.py": "Serving.on_disagreement",
        "node/dht/shelf.py": "Shelf.on_stored Shelf.on_written",
    },
}
"""Why it is bounded → file → class and attribute."""


def listed() -> list[str]:
    """Return the containers of ``BOUNDS``, as ``file:Class.attribute``."""
    files = [entry for group in BOUNDS.values() for entry in group.items()]
    return sorted(f"{file}:{name}" for file, names in files for name in names.split())


def found() -> list[str]:
    """Return the containers in the source that begin empty and are kept in an object."""
    names = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            if not file.startswith(LEFT_OUT):
                names += [f"{file}:{name}" for name in _containers(ast.parse(path.read_text()))]
    return sorted(names)


def _containers(tree: ast.Module) -> Iterator[str]:
    for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for statement in ast.walk(kind):
            if isinstance(statement, ast.AnnAssign):
                target, value = statement.target, statement.value
            elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target, value = statement.targets[0], statement.value
            else:
                continue
            text = ast.unparse(value) if value is not None else ""
            if text not in _EMPTY and not text.startswith(_GROWING):
                continue
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                yield f"{kind.name}.{target.attr}"
            elif isinstance(target, ast.Name) and statement in kind.body:
                yield f"{kind.name}.{target.id}"
