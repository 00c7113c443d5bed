"""The member table: what is known of each peer, in id order, the local peer included.

The table keeps facts and remembers what changed; ``judge`` alone decides which facts hold.
"""

import bisect
import math
from collections.abc import Iterator
from typing import Final

import msgspec

from protocol.effects import MemberChanged, MemberState
from protocol.ids import PeerId, ShortId, short_id_of
from protocol.limits import COUNCIL_SIZE_MAX
from protocol.members.digests import TableDigest, bucket_of, mark_of
from protocol.messages import Sync
from protocol.statements import Accusation, Descriptor, Leave

LIVING_STATES: tuple[MemberState, ...] = ("alive", "suspect")


class Member(msgspec.Struct, eq=False, kw_only=True):
    """One peer as this one knows it. Times are in the core's time; only ``judge`` and ``table`` write states."""

    peer_id: PeerId
    descriptor: Descriptor
    mark: int
    """What stands for ``descriptor`` in a digest of the table."""

    state: MemberState
    since: float
    """When ``state`` began."""

    learned_at: float
    """When this boot of the peer was first heard of."""

    accusations: dict[PeerId, Accusation] = {}
    """The accusations that stand against exactly this descriptor, by accuser."""

    leave: Leave | None = None
    is_condemned: bool = False
    """Failed by this peer's own clock: the suspicion ran out, or a lone observer was refused three times."""

    is_banned: bool = False
    """The admin banned it: whatever it and others say, it is no member."""

    is_remembered: bool = False
    """Known from an earlier run only: a suspect until somebody vouches for it or the grace ends."""

    is_met: bool = False
    """Whether this boot ever sent us anything."""

    is_introduced: bool = False
    """Whether this peer introduced this boot to the others, or is about to."""

    is_refusal_void: bool = False
    """This boot answered the word that it refuses connections: only our way to its port is closed."""

    prompted_at: float = -math.inf
    """When we last showed it the accusations against it."""

    round_trip_s: float | None = None
    """Smoothed round-trip time of its acks; None before the first."""

    held_sync: Sync | None = None
    """A comparison of tables that waits until the member's address has answered a ping of ours."""

    @property
    def is_living(self) -> bool:
        """Alive or suspect."""
        return self.state in LIVING_STATES

    @property
    def refused_count(self) -> int:
        """How many distinct accusers say that its address refuses connections."""
        return sum(accusation.kind == "refused" for accusation in self.accusations.values())

    @property
    def encoded_accusations(self) -> list[bytes]:
        """The standing accusations as evidence, ready to be sent."""
        return [accusation.encoded for accusation in self.accusations.values()]

    @property
    def encoded_evidence(self) -> list[bytes]:
        """All that proves the state of this member, the descriptor first."""
        leave = [self.leave.encoded] if self.leave else []
        return [self.descriptor.encoded, *leave, *self.encoded_accusations]


class MemberTable:
    """All known peers; iteration is in ascending id order.

    Invariants:
        1. ``_ids`` is sorted and names exactly the keys of ``_members``; ``_by_short`` names them as well.
        2. ``_living_ids`` and ``_suspect_ids`` are sorted and follow from the states.
        3. ``digest`` counts the living that are not only remembered.
        4. The local peer is in the table, alive.
    """

    def __init__(self, descriptor: Descriptor, *, now: float) -> None:
        self.local_id = descriptor.peer_id
        self.version = 0
        """Rises with each change of a member's state or descriptor."""
        self.digest: Final = TableDigest()
        """What other tables are compared with: the living that are not only remembered."""
        self._members: dict[PeerId, Member] = {}
        self._ids: list[PeerId] = []
        self._by_short: dict[ShortId, PeerId] = {}
        self._before: dict[PeerId, tuple[Descriptor, MemberState | None]] = {}
        self._living_ids: list[PeerId] = []
        self._suspect_ids: list[PeerId] = []
        self._living: tuple[PeerId, ...] | None = None
        self.insert(descriptor, "alive", now=now)
        self._before.clear()

    def __iter__(self) -> Iterator[Member]:
        return map(self._members.__getitem__, self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> tuple[PeerId, ...]:
        """Ids of all members in any state, ascending."""
        return tuple(self._ids)

    def find(self, peer_id: PeerId) -> Member | None:
        """Return the member called ``peer_id``, if it is known."""
        return self._members.get(peer_id)

    def by_short_id(self, short_id: ShortId) -> Member | None:
        """Return the member whose id starts with ``short_id``, if it is known."""
        peer_id = self._by_short.get(short_id)
        return None if peer_id is None else self._members[peer_id]

    @property
    def local(self) -> Member:
        """The local peer."""
        return self._members[self.local_id]

    @property
    def living(self) -> tuple[PeerId, ...]:
        """Ids of all alive and suspect members, the local peer included, ascending; a new object when that changes."""
        if self._living is None:
            self._living = tuple(self._living_ids)
        return self._living

    @property
    def living_count(self) -> int:
        """How many members are alive or suspect, the local peer included."""
        return len(self._living_ids)

    @property
    def suspects(self) -> tuple[PeerId, ...]:
        """Ids of all suspect members, ascending."""
        return tuple(self._suspect_ids)

    @property
    def council(self) -> tuple[PeerId, ...]:
        """The lowest living ids, at most ``COUNCIL_SIZE_MAX``, ascending."""
        return self.living[:COUNCIL_SIZE_MAX]

    def living_others(self) -> list[Member]:
        """Return all alive and suspect members but the local one, in id order."""
        return [self._members[peer_id] for peer_id in self.living if peer_id != self.local_id]

    @property
    def living_descriptors(self) -> tuple[Descriptor, ...]:
        """How all alive and suspect members describe themselves, in id order."""
        members = self._members
        return tuple([members[peer_id].descriptor for peer_id in self._living_ids])

    def in_bucket(self, bucket: int) -> list[Member]:
        """Return all members of one bucket of the digest, in id order."""
        first, last = (bisect.bisect_left(self._ids, edge, key=bucket_of) for edge in (bucket, bucket + 1))
        return [self._members[peer_id] for peer_id in self._ids[first:last]]

    def successors_of(self, peer_id: PeerId, count: int) -> tuple[PeerId, ...]:
        """Return the next ``count`` living ids after ``peer_id`` in the ring, nearest first, without itself."""
        return self._neighbours(peer_id, count, step=1)

    def predecessors_of(self, peer_id: PeerId, count: int) -> tuple[PeerId, ...]:
        """Return the ``count`` living ids before ``peer_id`` in the ring, nearest first, without itself."""
        return self._neighbours(peer_id, count, step=-1)

    def steps_to(self, peer_id: PeerId) -> int:
        """Return how far behind the local peer a living member comes in the ring; 1: it is the next."""
        ring = self._living_ids
        return (bisect.bisect_left(ring, peer_id) - bisect.bisect_left(ring, self.local_id)) % len(ring)

    def insert(
        self, descriptor: Descriptor, state: MemberState, *, now: float, is_remembered: bool = False
    ) -> Member:
        """Add a peer that is not in the table and return its row."""
        peer_id = descriptor.peer_id
        assert peer_id not in self._members, "insert is for unknown peers"
        member = Member(
            peer_id=peer_id,
            descriptor=descriptor,
            mark=mark_of(descriptor.encoded),
            state=state,
            since=now,
            learned_at=now,
            is_remembered=is_remembered,
        )
        self._members[peer_id] = member
        self._by_short[short_id_of(peer_id)] = peer_id
        bisect.insort(self._ids, peer_id)
        self._refile(member, None, state)
        self._before.setdefault(peer_id, (descriptor, None))
        self.version += 1
        return member

    def remove(self, member: Member) -> None:
        """Forget a peer; nobody is told."""
        assert member.peer_id != self.local_id, "a peer never forgets itself"
        del self._members[member.peer_id]
        del self._by_short[short_id_of(member.peer_id)]
        del self._ids[bisect.bisect_left(self._ids, member.peer_id)]
        self._refile(member, member.state, None)
        self._before.pop(member.peer_id, None)
        self.version += 1

    def describe(self, member: Member, descriptor: Descriptor) -> None:
        """Replace what is known of where a member is."""
        self._before.setdefault(member.peer_id, (member.descriptor, member.state))
        counts = member.is_living and not member.is_remembered
        if counts:
            self.digest.count(member.peer_id, member.mark, is_in=False)
        member.descriptor = descriptor
        member.mark = mark_of(descriptor.encoded)
        if counts:
            self.digest.count(member.peer_id, member.mark, is_in=True)
        self.version += 1

    def known_anew(self, member: Member) -> None:
        """Note that more is known of a member than what an earlier run remembered."""
        if member.is_remembered:
            member.is_remembered = False
            if member.is_living:
                self.digest.count(member.peer_id, member.mark, is_in=True)

    def move(self, member: Member, state: MemberState, *, now: float) -> None:
        """Put a member into ``state``; does nothing when it is there."""
        if member.state == state:
            return
        self._before.setdefault(member.peer_id, (member.descriptor, member.state))
        self._refile(member, member.state, state)
        member.state = state
        member.since = now
        self.version += 1

    def take_changes(self) -> list[MemberChanged]:
        """Return what changed since the last call, one event per member, in the order of first change."""
        changes = []
        for peer_id, (descriptor, previous) in self._before.items():
            member = self._members[peer_id]
            if previous is None or (descriptor, previous) != (member.descriptor, member.state):
                changes.append(MemberChanged(descriptor=member.descriptor, state=member.state, previous=previous))
        self._before.clear()
        return changes

    def check_invariants(self) -> None:
        """Assert the invariants of the class."""
        assert self._ids == sorted(self._members), "ids are sorted and complete"
        assert [self._by_short[short_id_of(peer_id)] for peer_id in self._ids] == self._ids, "short ids resolve"
        assert len(self._by_short) == len(self._ids), "no short id is left over"
        assert self._living_ids == [member.peer_id for member in self if member.is_living], "the living are filed"
        suspects = [member.peer_id for member in self if member.state == "suspect"]
        assert self._suspect_ids == suspects, "the suspects are filed"
        digest = TableDigest()
        for member in self:
            if member.is_living and not member.is_remembered:
                digest.count(member.peer_id, mark_of(member.descriptor.encoded), is_in=True)
        assert digest.buckets == self.digest.buckets, "the digest is of this table"
        assert self.local.state == "alive", "the local peer is alive"

    def _refile(self, member: Member, before: MemberState | None, after: MemberState | None) -> None:
        """Move a peer from the lists of one state to those of another; None: it is not in the table."""
        is_in = after in LIVING_STATES
        if is_in != (before in LIVING_STATES):
            _put(member.peer_id, self._living_ids, is_in=is_in)
            self._living = None
            if not member.is_remembered:
                self.digest.count(member.peer_id, member.mark, is_in=is_in)
        if (after == "suspect") != (before == "suspect"):
            _put(member.peer_id, self._suspect_ids, is_in=after == "suspect")

    def _neighbours(self, peer_id: PeerId, count: int, *, step: int) -> tuple[PeerId, ...]:
        ring = self._living_ids
        start = bisect.bisect_left(ring, peer_id)
        is_in_ring = start < len(ring) and ring[start] == peer_id
        first = start - 1 if step < 0 else start + is_in_ring
        others = len(ring) - is_in_ring
        return tuple(ring[(first + step * offset) % len(ring)] for offset in range(min(count, others)))


def _put(peer_id: PeerId, ascending: list[PeerId], *, is_in: bool) -> None:
    """Put an id into an ascending list, or take it out."""
    if is_in:
        bisect.insort(ascending, peer_id)
    else:
        del ascending[bisect.bisect_left(ascending, peer_id)]
