"""What a peer says of itself, as checkers look at it."""

from typing import Any

from protocol.ids import PeerId
from simulations.live.seen import seen_of

PEER = "ab" * 32
OTHER = "cd" * 32


def status(*, role: str = "follower", term: int = 3, leader: str | None = OTHER) -> dict[str, Any]:
    return {"role": role, "term": term, "leader": leader}


def member(id: str, state: str = "alive") -> dict[str, Any]:
    return {"id": id, "state": state, "name": "peer-1", "incarnation": 0}


def test_who_leads_before_and_after_led_in_between() -> None:
    """Two leaders of one group are told from one that followed the other."""
    leading = status(role="leader", leader=PEER)

    assert seen_of(leading, [], leading).role == "leader"


def test_who_stepped_down_or_was_elected_during_a_look_did_not_lead_all_the_while() -> None:
    """Peers are asked one after the other: the next may have been elected meanwhile."""
    leading = status(role="leader", leader=PEER)

    assert seen_of(leading, [], status()).role == "follower"
    assert seen_of(status(), [], leading).role == "follower"
    assert seen_of(leading, [], status(role="leader", term=4, leader=PEER)).role == "follower"


def test_a_table_is_ordered_and_knows_the_living() -> None:
    """As the table of a core."""
    seen = seen_of(status(leader=None), [member(OTHER, "failed"), member(PEER, "suspect")], status(leader=None))

    assert [(row.peer_id.hex(), row.is_living) for row in seen.table] == [(PEER, True), (OTHER, False)]
    assert seen.table.find(PeerId(bytes.fromhex(OTHER))) is not None
    assert seen.table.find(PeerId(bytes(32))) is None
    assert seen.leader is None
