"""Checks of reads and writes fail where something is wrong, and only there."""

from typing import Any

from protocol.ids import key_digest
from simulations.checkers.acknowledged import AcknowledgedIsOnDisk
from simulations.checkers.calm import Calm
from simulations.checkers.network_times import NetworkTimes
from simulations.checkers.progress import EnoughCopies
from simulations.checkers.reads import CalmAnswers, CalmReadsAreFresh, ReadsAreTrue, ReadsReturnTheNewestSeen
from simulations.checkers.writes import EverybodyAnswersAlike, GoneStaysGone, NoWriteIsLost
from simulations.faults import Kill
from tests.simulations.checkers.doctored import Doctored, doctored, fails, holds, version


def calm(world: Doctored) -> Calm:
    """Return a calm that has lasted from 1 s to 60 s."""
    world.run_all()
    made = Calm(world.context)
    for at_s in range(1, 61):
        made.scanned(float(at_s))
    return made


def test_a_value_that_nobody_wrote_is_found() -> None:
    """Nor may one appear under another key, or before its write."""
    with doctored() as world:
        checker = ReadsAreTrue(world.context)
        world.operation("put", value=b"0 ", version=version(1))
        world.operation("get", value=b"0 ", version=version(1), began_s=11.0)
        world.operation("get", value=None, began_s=11.0)
        holds(checker)
        for wrong in ({"value": b"x"}, {"value": b"0 ", "key": "another"}, {"value": b"0 ", "began_s": 5.0}):
            checker = ReadsAreTrue(world.context)
            read = world.operation("get", version=version(1), **{"began_s": 11.0, **wrong})
            fails(checker)
            world.history.operations.remove(read)


def test_less_than_the_newest_version_seen_is_found() -> None:
    """What holders told is in the explanation of each answer."""
    with doctored() as world:
        world.operation("get", value=b"0 ", version=version(2), seen=(version(1), version(2)))
        holds(ReadsReturnTheNewestSeen(world.context))
        world.operation("get", value=b"0 ", version=version(1), seen=(version(1), version(2)))

        fails(ReadsReturnTheNewestSeen(world.context))


def test_an_old_answer_of_a_quiet_network_is_found() -> None:
    """The same answer is no violation next to a fault, or where a delete may have come between."""
    with doctored() as world:
        quiet = calm(world)
        world.operation("put", version=version(5), began_s=10.0)
        world.operation("get", version=version(5), value=b"0 ", began_s=11.0)
        holds(CalmReadsAreFresh(world.context, quiet))
        stale = world.operation("get", version=version(4), value=b"1 ", began_s=12.0)
        assert "older than" in fails(CalmReadsAreFresh(world.context, quiet))

        stale.version, stale.value = None, None
        assert "did not find" in fails(CalmReadsAreFresh(world.context, quiet))
        world.operation("delete", outcome="unknown", began_s=10.5)
        holds(CalmReadsAreFresh(world.context, quiet))

    with doctored(faults=(Kill(at_s=11.5, target="peer-2"),)) as world:
        disturbed = calm(world)
        world.operation("put", version=version(5), began_s=10.0)
        world.operation("get", version=version(4), value=b"1 ", began_s=12.0)
        holds(CalmReadsAreFresh(world.context, disturbed))


def test_a_superseded_write_that_is_acknowledged_is_found() -> None:
    """On a quiet network a write that begins later has the higher version."""
    with doctored() as world:
        quiet = calm(world)
        world.operation("put", version=version(5), began_s=10.0)
        world.operation("put", version=version(4), value=b"1 ", began_s=11.0)

        fails(CalmReadsAreFresh(world.context, quiet))


def test_a_failure_on_a_quiet_network_is_found_and_so_is_a_nameless_one_anywhere() -> None:
    """Peers raise named problems only, and none where nothing is wrong."""
    with doctored() as world:
        quiet = calm(world)
        world.operation("put", version=version(1))
        world.operation("get", outcome="failed", problem="not-enough-holders", began_s=1.5)
        holds(CalmAnswers(world.context, quiet))
        world.operation("get", outcome="failed", problem="not-enough-holders")
        fails(CalmAnswers(world.context, quiet))
    with doctored() as world:
        world.operation("get", outcome="unknown", problem="escaped: KeyError()")
        fails(CalmAnswers(world.context, Calm(world.context)))


def test_a_receipt_that_is_not_true_is_found() -> None:
    """A holder that it names has nothing; or fewer than all hold it though all are well."""
    with doctored() as world:
        quiet = calm(world)
        names = tuple(world.id_of(number).hex() for number in range(3))
        receipt: dict[str, Any] = {"version": version(1), "holders": names, "wanted": 3, "on_disk": names}
        write = world.operation("put", **receipt)
        holds(AcknowledgedIsOnDisk(world.context, quiet))
        write.on_disk = names[:2]
        assert "had not synced" in fails(AcknowledgedIsOnDisk(world.context, quiet))
        write.holders = names[:2]
        assert "all of them well" in fails(AcknowledgedIsOnDisk(world.context, quiet))
        write.holders = ()
        assert "no holder at all" in fails(AcknowledgedIsOnDisk(world.context, quiet))


def test_a_lost_write_is_found_unless_all_its_disks_were_destroyed() -> None:
    """A later version counts, an older one does not."""
    with doctored() as world:
        holder = (world.id_of(1).hex(),)
        world.operation("put", version=version(5), holders=holder, wanted=1)
        world.keep(1, world.record(stamp=6))
        holds(NoWriteIsLost(world.context))
        world.keep(1, world.record(stamp=4))
        assert "is lost" in fails(NoWriteIsLost(world.context))
        excused = NoWriteIsLost(world.context)
        world.loop.true_time = 20.0
        world.peers[1].disk.destroy()
        holds(excused)


def test_peers_that_answer_differently_are_found() -> None:
    """The newest version on any disk is what each has to answer; around an expiry both answers are right."""
    with doctored() as world:
        world.run_all()
        times = NetworkTimes(world.context)
        world.keep(1, world.record(stamp=5))
        kept = world.record(stamp=5).version
        world.final_read(version=kept, value=b"0 ")
        holds(EverybodyAnswersAlike(world.context, times))
        wrong = world.final_read(version=None, asked="peer-2")
        fails(EverybodyAnswersAlike(world.context, times))
        wrong.outcome, wrong.problem = "failed", "not-enough-holders"
        fails(EverybodyAnswersAlike(world.context, times))

    with doctored() as world:
        world.run_all()
        world.loop.true_time = 60.0
        world.keep(1, world.record(stamp=5, expires_ms=1_700_000_050_000))
        kept = world.record(stamp=5, expires_ms=1_700_000_050_000).version
        world.final_read(version=kept, value=b"0 ", began_s=50.0)
        world.final_read(version=None, began_s=50.0)
        holds(EverybodyAnswersAlike(world.context, NetworkTimes(world.context)))


def test_a_key_that_returns_is_found() -> None:
    """From a delete that was acknowledged, or from its own end."""
    with doctored() as world:
        world.run_all()
        world.operation("put", version=version(4))
        world.operation("delete", version=version(5), began_s=11.0)
        world.final_read(version=version(4), value=b"0 ")
        assert "deleted at" in fails(GoneStaysGone(world.context, NetworkTimes(world.context)))
    with doctored() as world:
        world.run_all()
        world.operation("put", version=version(4), ttl_s=5.0)
        world.operation("get", version=version(4), value=b"0 ", began_s=14.0)
        holds(GoneStaysGone(world.context, NetworkTimes(world.context)))
        world.operation("get", version=version(4), value=b"0 ", began_s=17.0)
        assert "which expired by" in fails(GoneStaysGone(world.context, NetworkTimes(world.context)))


def test_a_missing_copy_is_found() -> None:
    """The k closest hold the newest version, each of them."""
    with doctored() as world:
        world.run_all()
        record = world.record(stamp=5)
        place = key_digest(record.key, open_network=False)
        for number in range(5):
            world.keep(number, record)
        holds(EnoughCopies(world.context))
        nearest = min(
            world.peers, key=lambda peer: int.from_bytes(peer.disk.identity.peer_id[:20]) ^ int.from_bytes(place)
        )
        world.keep(world.peers.index(nearest), world.record(stamp=4))

        assert f"{nearest.name} holds" in fails(EnoughCopies(world.context))
