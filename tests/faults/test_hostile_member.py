"""A member with the real network key that lies: replays, huge terms, forged certificates. The network goes on."""

import json
import os
from collections.abc import Iterator
from typing import Any, Final

import pytest

from bootstrap.home import load_key_file
from protocol.dht_messages import Store
from protocol.messages import (
    Announce,
    Gossip,
    Heartbeat,
    HeartbeatAck,
    LeaderClaim,
    Ping,
    PreVoteReply,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
)
from protocol.records import Record, stamp_of
from protocol.statements import (
    Accusation,
    Address,
    Ballot,
    Certificate,
    Descriptor,
    Leave,
    Vote,
    council_hash,
    signed,
)
from tests.faults.asking import ask, delete, get, pid_of, put, view, wait_for_leader
from tests.faults.hostile import HostileMember
from tests.running import Home, kill, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("hostile")]

NAMES: Final = ("peer-1", "peer-2", "peer-3")
HUGE: Final = 2**62


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Three honest peers."""
    with running_home(tmp_path_factory.mktemp("hostile")) as home:
        home.up(3)
        yield home


@pytest.fixture
def hostile(home: Home) -> Iterator[HostileMember]:
    """A fourth that has the key, and that all others know."""
    network = load_key_file(home.folder / "local" / "network.key")
    with HostileMember(network) as member:
        member.join([address_of(home, name) for name in NAMES])
        wait_until_all_see(home, member, "alive")
        yield member


def address_of(home: Home, name: str) -> Address:
    host, _, port = json.loads((home.folder / "local" / name / "run.json").read_text())["address"].rpartition(":")
    return Address(host, int(port))


def wait_until_all_see(home: Home, member: HostileMember, *states: str) -> None:
    def seen() -> bool:
        found = [row for name in NAMES for row in view(home, name, "members") if row["id"] == member.peer_id.hex()]
        return len(found) == len(NAMES) and all(row["state"] in states for row in found)

    until_blocking(seen, what=f"the hostile member {' or '.join(states)} everywhere", deadline_s=30)


def counts(home: Home, name: str) -> dict[str, float]:
    """Return a peer's metrics about datagrams."""
    text = ask(home, name, "GET", "/metrics")[1].decode()
    rows = [line.split() for line in text.splitlines() if "datagrams_" in line and not line.startswith("#")]
    return {row[0].rpartition("datagrams_")[2].removesuffix("_total"): float(row[1]) for row in rows}


def snapshot(home: Home) -> dict[str, Any]:
    """Return all that a replay could change, as each peer sees it.

    Incarnations rise by honest doubts too; and a peer that restarted may not have heard of those that left before.
    """
    return {
        name: {
            "members": sorted(
                (row["id"], row["role"])
                for row in view(home, name, "members")
                if row["state"] in ("alive", "suspect")
            ),
            "leader": (view(home, name, "leader")["id"], view(home, name, "leader")["term"]),
            "keys": json.loads(ask(home, name, "GET", "/v1/kv?prefix=")[1]),
            "held": view(home, name, "status")["keys_held"],
        }
        for name in NAMES
    }


def provoke(home: Home, hostile: HostileMember) -> None:
    """Send each peer one of everything that changes something, valid and signed."""
    time_ms = 1_700_000_000_000
    peers = list(hostile.known.values())
    for peer in peers:
        record = signed(
            Record(author_key=hostile.identity.public_key, key="hostile/key", value=b"old", stamp=stamp_of(time_ms)),
            hostile.identity,
            hostile.network.network_id,
        )
        hostile.tell(peer, Store(records=(record,), request_id=5, view=b""))
        accused = next(other for other in peers if other is not peer)
        accusation = signed(
            Accusation(
                author_key=hostile.identity.public_key,
                accused=accused.peer_id,
                boot=accused.boot,
                incarnation=accused.incarnation,
                kind="silent",
            ),
            hostile.identity,
            hostile.network.network_id,
        )
        hostile.tell(peer, Gossip(updates=(accusation.encoded,)))
        council = tuple(sorted([*(other.peer_id for other in peers), hostile.peer_id]))
        for term in (2, 3):
            hostile.tell(peer, PreVoteRequest(ballot=Ballot(term, hostile.peer_id), council=council))
            hostile.tell(peer, VoteRequest(ballot=Ballot(term, hostile.peer_id), council=council))


def say_goodbye(hostile: HostileMember) -> None:
    leave = signed(
        Leave(author_key=hostile.identity.public_key, boot=hostile.boot, incarnation=0),
        hostile.identity,
        hostile.network.network_id,
    )
    for peer in list(hostile.known.values()):
        hostile.tell(peer, Gossip(updates=(leave.encoded,)))


def test_replayed_datagrams_change_nothing_even_after_a_restart(home: Home, hostile: HostileMember) -> None:
    """Every datagram of a member again: refused by the window, and by the boot once the receiver has restarted."""
    provoke(home, hostile)
    until_blocking(lambda: get(home, "peer-1", "hostile/key") == b"old", what="the hostile record")
    put(home, "peer-1", "hostile/key", b"new")
    put(home, "peer-2", "hostile/gone", b"x")
    delete(home, "peer-2", "hostile/gone")
    say_goodbye(hostile)
    wait_until_all_see(home, hostile, "left", "failed")
    wait_for_leader(home, NAMES)

    before, refused = snapshot(home), {name: counts(home, name)["refused"] for name in NAMES}
    hostile.replay()
    each = {name: sum(to == address_of(home, name) for _, to in hostile.sent) for name in NAMES}
    until_blocking(
        lambda: all(counts(home, name)["refused"] >= refused[name] + each[name] for name in NAMES),
        what="the refusal of each replayed datagram",
    )
    assert snapshot(home) == before

    home.ok("--timeout", "60", "restart", "peer-2")
    wait_for_leader(home, NAMES)
    before, received = snapshot(home), counts(home, "peer-2")["received"]
    hostile.replay()
    until_blocking(
        lambda: counts(home, "peer-2")["received"] >= received + each["peer-2"], what="the arrival of the replays"
    )
    assert get(home, "peer-2", "hostile/key") == b"new"
    assert get(home, "peer-2", "hostile/gone") is None
    assert snapshot(home) == before


def forged_certificates(hostile: HostileMember, peers: list[Descriptor]) -> list[Certificate]:
    """Return certificates that the hostile member can make by itself."""
    own = hostile.peer_id
    full = tuple(sorted([*(peer.peer_id for peer in peers), own]))
    found = []
    for term in (HUGE, 50):
        for council in ((own,), full):
            ballot = Ballot(term, own)
            vote = signed(
                Vote(
                    author_key=hostile.identity.public_key,
                    ballot=ballot,
                    council_hash=council_hash(council),
                    voter_boot=hostile.boot,
                ),
                hostile.identity,
                hostile.network.network_id,
            )
            forged = tuple(
                Vote(
                    author_key=peer.author_key,
                    ballot=ballot,
                    council_hash=council_hash(council),
                    voter_boot=peer.boot,
                    signature=os.urandom(64),
                )
                for peer in peers
            )
            found.append(Certificate(ballot=ballot, council=council, votes=(vote,)))
            found.append(Certificate(ballot=ballot, council=council, votes=(vote, vote, vote)))
            found.append(Certificate(ballot=ballot, council=council, votes=(vote, *forged)[:3]))
    return found


def test_member_that_claims_a_huge_term_changes_no_leader(home: Home, hostile: HostileMember) -> None:
    """A jump above 2^16 is refused and alarmed, in whatever message it comes; terms stay small, the leader leads."""
    leader = wait_for_leader(home, NAMES)
    put(home, "peer-1", "kept", b"value")
    peers = list(hostile.known.values())
    council = tuple(sorted([*(peer.peer_id for peer in peers), hostile.peer_id]))
    huge = Ballot(HUGE, hostile.peer_id)

    def is_alarmed() -> bool:
        for peer in peers:
            present = Ballot(view(home, leader, "leader")["term"], bytes.fromhex(view(home, leader, "leader")["id"]))
            hostile.tell(peer, Ping(sequence=1, claim=LeaderClaim(huge, 4)))
            hostile.tell(peer, PreVoteRequest(ballot=huge, council=council))
            hostile.tell(peer, PreVoteReply(ballot=present, granted=False, highest=huge))
            hostile.tell(peer, VoteRequest(ballot=huge, council=council))
            hostile.tell(peer, VoteRequest(ballot=huge, council=council, is_merge=True))
            hostile.tell(peer, VoteReply(ballot=present, highest=huge))
            hostile.tell(peer, Heartbeat(ballot=huge, sequence=1, followers=4))
            hostile.tell(peer, HeartbeatAck(ballot=present, sequence=1, highest=huge))
            for certificate in forged_certificates(hostile, peers):
                hostile.tell(peer, Announce(certificate=certificate, followers=4))
        return all("alarm: refused" in log_of(home, name) and str(HUGE) in log_of(home, name) for name in NAMES)

    until_blocking(is_alarmed, what="an alarm in each log", deadline_s=30)

    assert wait_for_leader(home, NAMES) == leader
    for name in NAMES:
        assert view(home, name, "status")["term"] < 1000
    put(home, leader, "kept/2", b"value")
    for name in NAMES:
        assert get(home, name, "kept") == get(home, name, "kept/2") == b"value"

    kill(pid_of(home, leader))
    others = [name for name in NAMES if name != leader]
    assert wait_for_leader(home, others) in others
    assert view(home, others[0], "status")["term"] < 1000


def log_of(home: Home, name: str) -> str:
    return (home.folder / "local" / name / "peer.log").read_text(errors="replace")
