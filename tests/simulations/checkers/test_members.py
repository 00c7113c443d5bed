"""Checks of members, machines and traffic fail where something is wrong, and only there."""

from types import SimpleNamespace

import pytest

from protocol.ids import PeerId
from simulations.checkers import health
from simulations.checkers.health import MachinesKeepTheirInvariants, NoStorm
from simulations.checkers.members import DeadAreFound, TablesAreBounded, TermsAreBounded
from simulations.checkers.progress import EqualTables, OneLeaderInTheEnd
from simulations.checkers.replays import NothingIsOpenedTwice
from tests.simulations.checkers.doctored import COUNT, doctored, fails, holds


@pytest.mark.parametrize("trouble", ["asleep", "nobody", "two", "not leading"])
def test_no_one_leader_in_the_end_is_found(trouble: str) -> None:
    """All run, all follow one, and that one leads."""
    with doctored() as world:
        world.run_all()
        holds(OneLeaderInTheEnd(world.context))
        if trouble == "asleep":
            world.peers[2].host.kill()
        elif trouble == "nobody":
            world.run(world.peers[2], leader=None)
        elif trouble == "two":
            world.run(world.peers[2], leader=world.id_of(2), role="leader")
        else:
            world.run(world.peers[0], role="follower")

        fails(OneLeaderInTheEnd(world.context))


@pytest.mark.parametrize("trouble", ["suspect", "unknown", "incarnation"])
def test_tables_that_differ_are_found(trouble: str) -> None:
    """Same members, same states, same descriptors."""
    with doctored() as world:
        world.run_all()
        holds(EqualTables(world.context))
        assert world.peers[3].peer is not None
        rows = list(world.peers[3].peer.core.membership.table)
        if trouble == "suspect":
            rows[0].state = "suspect"
        elif trouble == "incarnation":
            rows[0].descriptor.incarnation = 4
        else:
            del rows[0]
        world.run(world.peers[3], rows=rows)

        fails(EqualTables(world.context))


def test_a_broken_invariant_is_found() -> None:
    """Every core is asked each second."""
    with doctored() as world:
        world.run_all()
        checker = world.watch(MachinesKeepTheirInvariants(world.context))
        world.scan(1.0)

        def broken() -> None:
            raise AssertionError("ids are sorted")

        world.run(world.peers[1], check_invariants=broken)
        world.scan(2.0)
        assert "peer-2 breaks an invariant: ids are sorted" in fails(checker)


def test_in_a_large_network_the_cores_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is asked before the first is asked again."""
    monkeypatch.setattr(health, "_ROWS_AT_ONCE", 2 * COUNT)
    with doctored() as world:
        asked: list[str] = []
        for peer in world.peers:
            world.run(peer, check_invariants=lambda name=peer.name: asked.append(name))
        checker = world.watch(MachinesKeepTheirInvariants(world.context))
        world.scan(1.0, 2.0, 3.0)
        assert asked == ["peer-1", "peer-2", "peer-3", "peer-4", "peer-5", "peer-1"]
        assert holds(checker).detail.startswith("11 "), "the end asks all"


def test_a_dead_peer_that_is_taken_for_living_is_found() -> None:
    """Not at once, and not by a peer that started later."""
    with doctored() as world:
        world.run_all()
        checker = world.watch(DeadAreFound(world.context))
        world.scan(1.0)
        world.peers[4].peer = None
        world.peers[4].host.cut_power()
        world.scan(2.0, 10.0, 17.0)
        holds(checker)
        world.scan(18.0)
        assert "thinks peer-5 alive, dead since 2 s" in fails(checker)


def test_an_invented_member_is_found_and_a_guest_is_not() -> None:
    """A lying member is a member; whom it invents is none."""
    with doctored() as world:
        world.run_all()
        checker = world.watch(TablesAreBounded(world.context))
        assert world.peers[1].peer is not None
        rows = list(world.peers[1].peer.core.membership.table)
        stranger = PeerId(bytes(32))
        world.run(world.peers[1], rows=[*rows, SimpleNamespace(peer_id=stranger, is_living=True)])
        world.cluster.guests.append(stranger)
        world.scan(1.0)
        holds(checker)
        world.cluster.guests.clear()
        world.scan(2.0)
        assert "peer-2 has stranger 00000000" in fails(checker)


def test_a_term_that_no_election_explains_is_found() -> None:
    """Members may say what they like."""
    with doctored() as world:
        world.run_all()
        checker = world.watch(TermsAreBounded(world.context))
        world.scan(1.0)
        holds(checker)
        world.run(world.peers[1], term=2**62)
        world.scan(2.0)
        fails(checker)


def test_a_datagram_that_is_opened_twice_is_found() -> None:
    """Only what arrives at one process again is a replay; what is refused is none, however often it comes."""
    with doctored() as world:
        world.run_all()
        checker = world.watch(NothingIsOpenedTwice(world.context))
        first = world.peers[0]
        assert first.peer is not None
        counts: dict[str, int] = dict(first.peer.datagram_counts)

        def arrives(data: bytes, *, refused: bool) -> None:
            for tap in world.network.taps:
                tap(data, (first.host.address, 7400))
            counts["received"] += 1
            counts["refused"] += refused

        first.peer.datagram_counts = counts  # type: ignore[misc]
        arrives(b"a" * 40, refused=True)
        arrives(b"b" * 40, refused=False)
        arrives(b"b" * 40, refused=True)
        arrives(b"c" * 40, refused=False)
        world.scan(1.0)
        assert holds(checker).detail.startswith("4 ")
        arrives(b"b" * 40, refused=False)
        world.scan(2.0)
        assert "peer-1 opened a datagram that had arrived before" in fails(checker)


def test_what_waited_during_a_pause_is_not_taken_for_a_replay() -> None:
    """A process that goes on opens what waited, while more arrives."""
    with doctored() as world:
        world.run_all()
        checker = world.watch(NothingIsOpenedTwice(world.context))
        first = world.peers[0]
        assert first.peer is not None
        counts: dict[str, int] = dict(first.peer.datagram_counts)
        first.peer.datagram_counts = counts  # type: ignore[misc]
        for is_paused in (True, True, False):
            (first.host.pause if is_paused else first.host.resume)()
            for tap in world.network.taps:
                tap(b"a" * 40, (first.host.address, 7400))
        counts["received"] += 3
        counts["refused"] += 2
        world.scan(0.001)

        holds(checker)


def test_a_storm_is_found() -> None:
    """Operations explain datagrams; without any, there are few."""
    with doctored() as world:
        checker = world.watch(NoStorm(world.context))
        world.network.counts["sent"] += 500
        world.scan(1.0)
        holds(checker)
        world.network.counts["sent"] += 5000
        world.scan(2.0)
        fails(checker)
