"""A member that lies: it holds the network key and a key pair of its own, and sends what no honest peer would.

What it can do at most is what its own signature allows (DESIGN section 1, promise 5): accuse, refuse, repeat old
records, vote for whom it likes. It cannot speak for others, invent members, or lead without votes.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

import msgspec

from node import __version__
from protocol import codec
from protocol.dht_messages import Compare, Compared, Fetch, Fetched, Offer, Offered, RecordOutcome, Store, Stored
from protocol.envelope import Opener, Sealer
from protocol.errors import DecodeError, LocalProtocolError, RemoteProtocolError
from protocol.identity import Identity
from protocol.ids import ANY_RECEIVER, PeerId, ShortId, short_id_of
from protocol.message import Message, Refusal, Reply, Request
from protocol.messages import (
    Ack,
    Announce,
    BootNotice,
    Gossip,
    Heartbeat,
    HeartbeatAck,
    JoinRequest,
    LeaderClaim,
    Ping,
    PreVoteReply,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
)
from protocol.records import Record
from protocol.statements import (
    Accusation,
    Address,
    Ballot,
    Certificate,
    Descriptor,
    Evidence,
    Leave,
    StatementT,
    Vote,
    council_hash,
    signed,
)
from simulations.cluster import API_PORT, PEER_PORT, Cluster, SimPeer
from simulations.faults import Hostile, Lie
from simulations.world.clock import EPOCH_S
from simulations.world.process import Host

_LIE_EVERY_S: Final = 0.02
_INTRODUCE_EVERY_S: Final = 1.0
_REMEMBERED_MAX: Final = 2048
_TERMS: Final = (2**16, 2**17, 2**32, 2**62)
_BOOT_RANDOM_BITS: Final = 24
_SAID_TO_BE_SYNCED: Final = RecordOutcome(outcome="synced")
"""What keeps nothing can say that it does: a majority that counts it has one copy less."""


class Hostiles:
    """All lying members of one run."""

    def __init__(self, cluster: Cluster, *, seed: int) -> None:
        """Prepare; the first one appears with the first fault that asks for it."""
        self._cluster = cluster
        self._seed = seed
        self._members: list[HostileMember] = []

    def begin(self, fault: Hostile) -> None:
        """Let a new member join and lie, until the fault ends."""
        number = len(self._members) + 1
        member = HostileMember(self._cluster, number, fault.lies, random.Random(f"{self._seed}/hostile/{number}"))
        self._members.append(member)
        member.start()
        loop = self._cluster.loop
        loop.at(loop.true_time + fault.for_s, member.end)

    def end(self) -> None:
        """Take all of them away."""
        for member in self._members:
            member.end()


class HostileMember(asyncio.DatagramProtocol):
    """One lying member on a host of its own."""

    def __init__(self, cluster: Cluster, number: int, lies: Sequence[Lie], draws: random.Random) -> None:
        """Make the host and the key pair; ``start`` connects it."""
        self._cluster = cluster
        self._draws = draws
        self._identity: Final = Identity(draws.randbytes(32))
        self._host = Host(
            cluster.loop,
            name=f"hostile-{number}",
            address=f"10.250.0.{number}",
            place=(0.0, 0.0),
            seed=draws.getrandbits(64),
        )
        cluster.network.add(self._host)
        cluster.guests.append(self._identity.peer_id)
        boot = int(EPOCH_S + cluster.loop.true_time) << _BOOT_RANDOM_BITS | draws.getrandbits(_BOOT_RANDOM_BITS)
        self._descriptor = Descriptor(
            author_key=self._identity.public_key,
            name=self._host.name,
            address=Address(self._host.address, PEER_PORT),
            api=Address(self._host.address, API_PORT),
            boot=boot,
            incarnation=0,
            version=__version__,
        )
        self._sealer = Sealer(network=cluster.identity, peer_id=self._identity.peer_id, boot=boot)
        self._opener = Opener(network=cluster.identity, peer_id=self._identity.peer_id)
        self._transport: asyncio.DatagramTransport | None = None
        self._sequence = 0
        self._datagrams: deque[tuple[bytes, tuple[str, int]]] = deque(maxlen=_REMEMBERED_MAX)
        self._records: dict[str, Record] = {}
        self._votes: deque[Vote] = deque(maxlen=64)
        tellers: dict[Lie, Callable[[SimPeer], None]] = {
            "forged-members": self._forge_members,
            "stale-records": self._bring_stale_records,
            "inflated-terms": self._inflate_terms,
            "forged-certificates": self._forge_certificates,
            "replays": self._replay,
        }
        self._tellers: Final = [tellers[lie] for lie in lies]

    def start(self) -> None:
        """Join and begin to lie."""
        if self._replay in self._tellers:
            self._cluster.network.taps.append(self._overhear)
        self._host.start(self._live())

    def end(self) -> None:
        """Vanish as a killed process does. Idempotent."""
        self._host.kill()
        if self._overhear in self._cluster.network.taps:
            self._cluster.network.taps.remove(self._overhear)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer so that the others keep this member, and remember what can be turned against them."""
        try:
            opened = self._opener.open(data)
            message = codec.decode(opened.plaintext)
        except (RemoteProtocolError, DecodeError):
            return
        self._listen(message)
        answer = self._answer(message, opened.sender_boot)
        if answer is not None:
            self._send(answer, Address(addr[0], addr[1]), opened.sender)

    def _overhear(self, data: bytes, target: tuple[str, int]) -> None:
        self._datagrams.append((data, target))

    # Life

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(self._host.address, PEER_PORT))
        server = await loop.create_server(asyncio.Protocol, self._host.address, PEER_PORT)
        introduce_at = loop.time()
        async with server:
            while True:
                running = self._cluster.running()
                if running and loop.time() >= introduce_at:
                    introduce_at = loop.time() + _INTRODUCE_EVERY_S
                    self._introduce(running)
                if running and self._tellers:
                    self._draws.choice(self._tellers)(self._draws.choice(running))
                await asyncio.sleep(_LIE_EVERY_S)

    def _introduce(self, running: list[SimPeer]) -> None:
        """Say who this is, with a higher incarnation each time: that refutes every accusation."""
        self._descriptor = msgspec.structs.replace(
            self._descriptor, incarnation=self._descriptor.incarnation + 1, signature=b""
        )
        self._descriptor = self._signed(self._descriptor)
        for peer in self._draws.sample(running, min(3, len(running))):
            request = JoinRequest(descriptor=self._descriptor, nonce=self._draws.getrandbits(63))
            self._send(request, peer.address, ANY_RECEIVER)

    def _listen(self, message: Message) -> None:
        if isinstance(message, Announce):
            self._votes.extend(message.certificate.votes)
        elif isinstance(message, Store):
            for record in message.records:
                if len(self._records) < _REMEMBERED_MAX:
                    self._records.setdefault(record.key, record)

    def _answer(self, message: Message, sender_boot: int) -> Message | None:
        if isinstance(message, BootNotice):
            nonce = self._draws.getrandbits(63)
            return JoinRequest(receiver_boot=sender_boot, descriptor=self._descriptor, nonce=nonce)
        if isinstance(message, Ping):
            # The wall clock that it tells is a lie as well; network time takes the median.
            return Ack(sequence=message.sequence, wall_ms=int(EPOCH_S * 1000) + self._draws.getrandbits(32))
        if not isinstance(message, Request):
            return None
        reply: Reply = Refusal(reason="no")
        if isinstance(message, Fetch):
            old = [record for record in self._records.values() if record.digest(open_network=False) == message.place]
            reply = Fetched(record=old[0] if old else None)
        elif isinstance(message, Store):
            outcome = self._draws.choice((RecordOutcome(outcome="refused", reason="disk-full"), _SAID_TO_BE_SYNCED))
            reply = Stored(outcomes=(outcome,) * len(message.records))
        elif isinstance(message, Compare):
            reply = Compared(differing=2**16 - 1, collected_before=2**62)
        elif isinstance(message, Offer):
            reply = Offered(answers=bytes(len(message.holdings)))
        return msgspec.structs.replace(reply, request_id=message.request_id)

    # Lies

    def _forge_members(self, victim: SimPeer) -> None:
        """Invent a member, move a real one, speak for it, accuse it."""
        other = self._draws.choice(self._cluster.peers)
        invented = Identity(self._draws.randbytes(32))
        author = other.disk.identity
        boot = other.disk.last_boot or 0
        high = self._draws.randrange(1, 2**31)
        nowhere = Address("10.251.0.1", PEER_PORT)
        forged = self._draws.choice((invented.public_key, author.public_key))
        descriptor = msgspec.structs.replace(
            self._descriptor, author_key=forged, name="forged", address=nowhere, incarnation=high, boot=boot + 1
        )
        accusation = Accusation(
            author_key=self._identity.public_key, accused=author.peer_id, boot=boot, incarnation=0, kind="refused"
        )
        evidence: tuple[Evidence, ...] = (
            descriptor,
            Leave(author_key=author.public_key, boot=boot, incarnation=high, signature=self._descriptor.signature),
            msgspec.structs.replace(accusation, author_key=author.public_key, accused=victim.disk.identity.peer_id),
            self._signed(accusation),
        )
        self._tell(victim, Gossip(updates=tuple(each.encoded for each in evidence)))

    def _bring_stale_records(self, victim: SimPeer) -> None:
        """Bring the first version of a record that this member ever saw, as it was and with another value."""
        if not self._records:
            return
        record = self._draws.choice(list(self._records.values()))
        lie = msgspec.structs.replace(record, value=b"forged", stamp=record.stamp + 2**20)
        self._tell(victim, Store(records=(record,), request_id=self._draws.getrandbits(63)))
        self._tell(victim, Store(records=(lie,), request_id=self._draws.getrandbits(63)))

    def _inflate_terms(self, victim: SimPeer) -> None:
        """Speak of terms that nobody reached."""
        me, other = self._identity.peer_id, self._draws.choice(self._cluster.peers).disk.identity.peer_id
        ballot = Ballot(self._draws.choice(_TERMS) + self._draws.getrandbits(8), self._draws.choice((me, other)))
        claim = LeaderClaim(ballot, self._draws.randrange(4096))
        council = tuple(sorted((me, *self._some_ids(4))))
        self._sequence += 1
        lies: tuple[Message, ...] = (
            Ping(sequence=self._sequence, claim=claim),
            PreVoteRequest(ballot=ballot, council=council),
            PreVoteReply(ballot=ballot, granted=False, highest=ballot),
            VoteRequest(ballot=ballot, council=council, is_merge=True),
            VoteReply(ballot=ballot, highest=ballot),
            Heartbeat(ballot=ballot, sequence=self._sequence, followers=4096),
            HeartbeatAck(ballot=ballot, sequence=self._sequence, highest=ballot),
        )
        self._tell(victim, self._draws.choice(lies))

    def _forge_certificates(self, victim: SimPeer) -> None:
        """Announce leaders whom nobody elected: with forged votes, too few, one many times, or those of another."""
        peer = victim.peer
        term = peer.core.election.term + self._draws.randrange(1, 8) if peer is not None else 1
        candidate = self._draws.choice((self._identity.peer_id, *self._some_ids(1)))
        ballot = Ballot(term, candidate)
        peers = self._draws.sample(self._cluster.peers, min(4, len(self._cluster.peers)))
        keys = {each.disk.identity.peer_id: each.disk.identity.public_key for each in peers}
        council = self._draws.choice(
            (tuple(sorted(keys)), tuple(sorted((self._identity.peer_id, *keys))), (self._identity.peer_id,))
        )
        own = self._signed(
            Vote(
                author_key=self._identity.public_key,
                ballot=ballot,
                council_hash=council_hash(council),
                voter_boot=self._descriptor.boot,
            )
        )
        forged = tuple(msgspec.structs.replace(own, author_key=keys[each]) for each in sorted(keys))
        votes = self._draws.choice(((own,), (own,) * 4, forged, (own, *forged[1:]), tuple(self._votes)[-4:] or (own,)))
        certificate = Certificate(ballot=ballot, council=council, votes=votes)
        self._tell(victim, Announce(certificate=certificate, followers=4096))

    def _replay(self, victim: SimPeer) -> None:
        """Send again what was on the wire: to whom it was meant, or to somebody else."""
        if self._datagrams and self._transport is not None:
            datagram, target = self._draws.choice(list(self._datagrams))
            elsewhere = (victim.host.address, PEER_PORT)
            self._transport.sendto(datagram, self._draws.choice((target, target, elsewhere)))

    # Sending

    def _some_ids(self, count: int) -> list[PeerId]:
        peers = self._draws.sample(self._cluster.peers, min(count, len(self._cluster.peers)))
        return [peer.disk.identity.peer_id for peer in peers]

    def _tell(self, peer: SimPeer, message: Message) -> None:
        boot = peer.disk.last_boot or 0
        self._send(
            msgspec.structs.replace(message, receiver_boot=boot), peer.address, short_id_of(peer.disk.identity.peer_id)
        )

    def _send(self, message: Message, address: Address, receiver: ShortId) -> None:
        if self._transport is None:
            return
        with contextlib.suppress(LocalProtocolError):  # what fits no datagram is not sent
            datagram = self._sealer.seal(codec.encode(message), receiver)
            self._transport.sendto(datagram, (address.host, address.port))

    def _signed(self, statement: StatementT) -> StatementT:
        return signed(statement, self._identity, self._cluster.identity.network_id)
