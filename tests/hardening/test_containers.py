"""Nothing that others send makes a peer grow without bound (threats, section 5, memory growth)."""

import asyncio
import gc
import hashlib
import random
import sys
import types
from collections.abc import Iterator

import msgspec

from node.datagrams import DatagramPort
from protocol import limits
from protocol.config import LOCAL
from protocol.core import Core, CoreStart
from protocol.dht_messages import Fetch, Holding, Offer, PullChanges
from protocol.effects import ContactsFound, Received
from protocol.envelope import Sealer
from protocol.ids import ANY_RECEIVER, PeerId, ShortId, short_id_of
from protocol.messages import Ack, BootNotice, Gossip, JoinForward, JoinRequest, Message, Ping, WhoAreYou
from protocol.statements import Accusation, Address, Descriptor, Leave
from tests.hardening.containers import found, listed
from tests.node.dht.cluster import Cluster
from tests.node.dht.virtual_time import in_virtual_time
from tests.protocol import samples

FORGED = 100_000
ENTRIES_MAX = 2 * limits.SENDERS_MAX * 2
"""Larger than any single maximum, and far below what is forged."""

START = 1000.0
DRAFT = samples.descriptor(2)


def test_every_container_is_listed_with_its_bound() -> None:
    """A new one needs a line in ``tests/hardening/containers.py``; one that went needs none."""
    assert found() == listed()


class Trusting:
    """Stands for the verifier: these forgers hold the network key and sign whatever they like, quickly."""

    def verify(self, **_: object) -> bool:
        """Everything is signed well."""
        return True


def forged_id(number: int) -> PeerId:
    return PeerId(hashlib.sha256(b"forged %d" % number).digest())


def forged_descriptor(number: int) -> Descriptor:
    return msgspec.structs.replace(
        DRAFT,
        author_key=hashlib.sha256(b"key %d" % number).digest(),
        address=Address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 7400),
        boot=1 + number,
        signature=bytes(64),
    )


def sizes(root: object) -> Iterator[tuple[int, str]]:
    """Yield size and kind of every container that can be reached from ``root``, the program itself left out."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, types.ModuleType, types.CodeType, types.FrameType)):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, (dict, list, set, frozenset, tuple)) or type(thing).__name__ in ("deque", "OrderedDict"):
            yield len(thing), f"{type(thing).__name__} of {next(iter(thing), None)!r:.80}"  # type: ignore[arg-type]
        if isinstance(thing, types.FunctionType):
            waiting.extend(cell.cell_contents for cell in thing.__closure__ or () if cell.cell_contents is not thing)
            continue
        waiting.extend(gc.get_referents(thing))


def assert_bounded(root: object) -> None:
    largest = sorted((each for each in sizes(root) if each[0] > ENTRIES_MAX), reverse=True)[:5]
    assert not largest, largest


def test_core_stays_bounded_under_forged_ids() -> None:
    """A hundred thousand newcomers, introductions, accusations and goodbyes of as many ids: one full table at most."""
    subject = Core(
        CoreStart(
            identity=samples.identity(1),
            network=samples.NETWORK,
            descriptor=samples.descriptor(1, boot=5),
            config=LOCAL,
            verifier=Trusting(),  # type: ignore[arg-type]
            random=random.Random(1),
            promise=None,
            may_vote=True,
            remembered=(),
            wall_ms=1,
            now=START,
        )
    )
    source = random.Random(7)
    makers = (_newcomer, _introduction, _accusation, _goodbye, _notice, _ping)
    for number in range(FORGED):
        if number % 500 == 0:  # ten a second: whoever finds them takes no more
            subject.handle(_hints(number), START + number / FORGED)
        event = makers[number % len(makers)](number, source)
        subject.handle(event, START + number / FORGED)
        if number % 10_000 == 0:
            subject.next_deadline()  # what is due is done now and then: a full table makes that slow

    assert len(list(subject.membership.table)) <= limits.MEMBERS_MAX + limits.REMEMBERED_DEAD_MAX
    subject.check_invariants()
    assert_bounded(subject)


def _received(message: Message, number: int, boot: int) -> Received:
    who = forged_descriptor(number)
    addressed = msgspec.structs.replace(message, receiver_boot=5)
    return Received(addressed, who.address, short_id_of(who.peer_id), boot)


def _newcomer(number: int, source: random.Random) -> Received:
    return _received(JoinRequest(descriptor=forged_descriptor(number), nonce=number), number, 1 + number)


def _introduction(number: int, source: random.Random) -> Received:
    told = forged_descriptor(number).encoded
    known = number - number % 6  # the newcomer of this round
    message = source.choice((Gossip(updates=(told,)), JoinForward(descriptor=forged_descriptor(number))))
    return _received(message, known, 1 + known)


def _accusation(number: int, source: random.Random) -> Received:
    known = number - number % 6
    accuser = forged_descriptor(number)
    accused = Accusation(
        author_key=accuser.author_key,
        accused=forged_descriptor(known).peer_id,
        boot=1 + known,
        incarnation=0,
        kind="silent",
        signature=bytes(64),
    )
    return _received(Gossip(updates=(accused.encoded,)), known, 1 + known)


def _goodbye(number: int, source: random.Random) -> Received:
    known = number - number % 6
    leave = Leave(author_key=forged_descriptor(number).author_key, boot=1 + number, incarnation=0, signature=bytes(64))
    return _received(Gossip(updates=(leave.encoded,)), known, 1 + known)


def _notice(number: int, source: random.Random) -> Received:
    return _received(BootNotice(descriptor=forged_descriptor(number)), number, 1 + number)


def _ping(number: int, source: random.Random) -> Received:
    message = source.choice((Ping(sequence=number), Ack(sequence=number, wall_ms=1), WhoAreYou()))
    return _received(message, number, 1 + number)


def _hints(number: int) -> ContactsFound:
    return ContactsFound((forged_descriptor(number).address,), are_hints=True)


def test_datagram_port_stays_bounded_under_forged_senders() -> None:
    """Sealed under the key by as many senders, in the clear, and from as many addresses."""
    network, own = samples.NETWORK, samples.identity(1).peer_id
    port = DatagramPort(network=network, peer_id=own, boot=1, on_message=lambda event: None)
    plain = b"\x92\x08\x00"
    for number in range(FORGED // 4):
        sealer = Sealer(network=samples.NETWORK, peer_id=forged_id(number), boot=number + 1)
        port.datagram_received(sealer.seal(plain, ANY_RECEIVER), (f"10.0.{number >> 8 & 255}.{number & 255}", 1))
        meant_for_another = sealer.seal(plain, ShortId(b"another peer's.."))
        port.datagram_received(meant_for_another, (f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1))

    assert_bounded(port)
    assert port.counts["received"] == FORGED // 4 * 2 and port.counts["refused"] > 0


@in_virtual_time
async def test_dht_stays_bounded_under_forged_places() -> None:
    """A member asks, offers and watches at places and with numbers without end."""
    async with Cluster(2) as cluster:
        asking, asked = cluster.peers
        for number in range(FORGED // 10):
            place = forged_id(number)[:20]
            requests = (
                Fetch(place=place, view=b"view"),
                Offer(holdings=tuple(Holding(forged_id(number * 8 + extra)[:20], number + 1) for extra in range(8))),
                PullChanges(watch=number, prefix="a", is_exact=False, since=0, lease_s=60),
            )
            for request in requests:
                answer = asked.dht.handle(asking.peer_id, request)
                if not isinstance(answer, msgspec.Struct):
                    await answer
            if number % 500 == 0:
                await asyncio.sleep(0.001)

        assert_bounded(asked.dht._serving)
        assert_bounded(asked.dht._followers)
        assert_bounded(asked.dht._around.holders)


def test_the_search_for_large_containers_finds_them() -> None:
    """Or the tests above would mean nothing."""

    class Keeper:
        def __init__(self) -> None:
            self.inner = {"deep": [dict.fromkeys(range(ENTRIES_MAX + 1))]}

    assert max(size for size, _ in sizes(Keeper())) == ENTRIES_MAX + 1
    assert sys.getrefcount(Keeper) > 0
