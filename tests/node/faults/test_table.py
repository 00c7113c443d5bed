"""What active faults do to what flows: a table of cases, and the shares that chance must keep."""

import math
import random
from typing import Any

import msgspec
import pytest

from node.errors import OperationError
from node.faults.table import FAULTS_MAX, HELD_BACK_S, ActiveFault, Direction, FaultTable
from node.shapes import FaultOrder
from protocol.ids import PeerId, ShortId, short_id_of

NOW = 100.0
ONE, TWO = PeerId(b"1" * 32), PeerId(b"2" * 32)
HIT, SPARED = short_id_of(ONE), short_id_of(TWO)


class _Table(FaultTable):
    """A table with a seed, and shorter ways to write cases."""

    def __init__(self) -> None:
        super().__init__(random=random.Random(7))

    def begin(self, kind: str, *, to: PeerId | None = ONE, now: float = NOW, **fields: Any) -> ActiveFault:
        peers = {} if to is None else {"peers": [to.hex()]}
        return self.add(msgspec.convert({"kind": kind, **peers, **fields}, FaultOrder, strict=True), now=now)

    def fate(self, peer: ShortId | None = HIT, direction: Direction = "out", now: float = NOW) -> tuple[float, ...]:
        return self.datagram(peer, direction, now=now)


def test_without_a_fault_everything_passes_at_once() -> None:
    """Nor does a fault leave anything behind."""
    table = _Table()
    fault = table.begin("cut")
    assert table.remove(fault.id, now=NOW) == fault

    assert table.fate() == (0.0,)
    assert not table.is_cut(HIT, "in", now=NOW)
    assert table.stream_delay_s(HIT, "in", now=NOW) == 0.0
    assert table.next_end(NOW) == math.inf


@pytest.mark.parametrize(
    ("declared", "out", "in_"), [("both", (), ()), ("out", (), (0.0,)), ("in", (0.0,), ())]
)
def test_a_cut_lets_nothing_through_one_way_or_both(
    declared: str, out: tuple[float, ...], in_: tuple[float, ...]
) -> None:
    """Only between this peer and the named one; direction is as this peer sees it."""
    table = _Table()
    table.begin("cut", direction=declared)

    assert table.fate(direction="out") == out
    assert table.fate(direction="in") == in_
    assert table.is_cut(HIT, "out", now=NOW) == (out == ())
    assert table.is_cut(HIT, "in", now=NOW) == (in_ == ())
    assert table.fate(SPARED) == (0.0,)
    assert not table.is_cut(SPARED, "out", now=NOW)


def test_a_fault_without_peers_hits_everybody_also_the_unknown() -> None:
    """Contacts and stock nodes are met by address only."""
    named, everybody = _Table(), _Table()
    named.begin("cut")
    everybody.begin("cut", to=None)

    assert named.fate(peer=None) == (0.0,)
    assert everybody.fate(peer=None) == everybody.fate(SPARED) == ()


def test_a_fault_ends_by_itself() -> None:
    """At the moment that was said, and then it is forgotten."""
    table = _Table()
    table.begin("cut", seconds=5)
    table.begin("delay", ms=20, seconds=9)

    assert table.next_end(NOW) == NOW + 5
    assert table.fate(now=NOW + 4.99) == ()
    assert table.fate(now=NOW + 5) == (0.02,)
    assert [fault.order.kind for fault in table.active(NOW + 5)] == ["delay"]
    assert table.fate(now=NOW + 9) == (0.0,)


def test_delays_add_up_and_one_cut_is_enough() -> None:
    """Faults are independent."""
    table = _Table()
    table.begin("delay", ms=20)
    table.begin("delay", ms=30, to=None)

    assert table.fate() == (pytest.approx(0.05),)
    assert table.stream_delay_s(HIT, "out", now=NOW) == pytest.approx(0.05)
    assert table.fate(SPARED) == (0.03,)
    table.begin("cut")
    assert table.fate() == ()


def test_jitter_is_the_mean_of_what_comes_on_top() -> None:
    """As in the simulator: exponential, never less than the delay."""
    table = _Table()
    table.begin("delay", ms=20, jitter_ms=10)
    delays = [table.fate()[0] for _ in range(4000)]

    assert min(delays) >= 0.02
    assert sum(delays) / len(delays) == pytest.approx(0.03, rel=0.05)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_loss_hits_its_share(share: float) -> None:
    """Of datagrams; on a stream a loss shows as the time until it was sent again."""
    table = _Table()
    table.begin("loss", probability=share)
    lost = sum(table.fate() == () for _ in range(4000))
    resent = [table.stream_delay_s(HIT, "in", now=NOW) for _ in range(4000)]

    assert lost / 4000 == pytest.approx(share, abs=0.03)
    assert sum(delay_s > 0 for delay_s in resent) / 4000 == pytest.approx(share, abs=0.03)
    assert {round(delay_s, 6) for delay_s in resent} <= {round(0.2 * (2**count - 1), 6) for count in range(7)}
    assert not table.is_cut(HIT, "in", now=NOW)


def test_losing_everything_is_a_cut() -> None:
    """A stream would wait for ever, too."""
    table = _Table()
    table.begin("loss", probability=1)

    assert table.fate() == ()
    assert table.is_cut(HIT, "out", now=NOW)


def test_a_duplicate_comes_soon_after_and_copies_are_bounded() -> None:
    """Six faults that double do not make sixty-four."""
    table = _Table()
    table.begin("duplicate", probability=1)
    first, second = table.fate()
    assert first == 0.0 <= second <= HELD_BACK_S
    for _ in range(5):
        table.begin("duplicate", probability=1)

    assert len(table.fate()) == 4
    assert table.stream_delay_s(HIT, "out", now=NOW) == 0.0


def test_reordering_holds_a_share_back() -> None:
    """What is held back is overtaken by what is not."""
    table = _Table()
    table.begin("reorder", probability=0.5)
    delays = [table.fate()[0] for _ in range(4000)]

    assert sum(delay_s > 0 for delay_s in delays) / 4000 == pytest.approx(0.5, abs=0.03)
    assert max(delays) <= HELD_BACK_S
    assert table.stream_delay_s(HIT, "out", now=NOW) == 0.0


def test_faults_are_bounded_and_each_has_an_id() -> None:
    """An ended one makes place for the next."""
    table = _Table()
    ids = {table.begin("cut", seconds=60).id for _ in range(FAULTS_MAX - 1)}
    ids.add(table.begin("cut", seconds=1).id)
    with pytest.raises(OperationError, match="64 faults") as refusal:
        table.begin("cut")

    assert refusal.value.type == "quota-exceeded"
    assert len(ids) == FAULTS_MAX
    assert all(len(id) == 8 for id in ids)
    assert table.begin("cut", now=NOW + 1).id not in ids


def test_an_unknown_or_ended_fault_cannot_be_removed() -> None:
    """Whoever clears it learns that it had ended."""
    table = _Table()
    fault = table.begin("cut", seconds=1)

    assert table.remove("nothing", now=NOW) is None
    assert table.remove(fault.id, now=NOW + 1) is None


def test_a_fault_tells_what_it_is_and_how_long_it_lasts() -> None:
    """The shape of the API: what a kind does not have is null."""
    fault = _Table().begin("delay", ms=20, direction="in", seconds=30)

    assert msgspec.to_builtins(fault.document(NOW + 10)) == {
        "id": fault.id, "kind": "delay", "peers": [ONE.hex()], "direction": "in", "probability": None, "ms": 20.0,
        "jitter_ms": None, "expires_in_s": 20.0,
    }  # fmt: skip
