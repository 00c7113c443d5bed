"""From evidence to states: the only place where the state of another member changes.

Each member's state follows from what is known about its newest descriptor, ordered by boot first and then by
incarnation:

    left      the admin banned it; or its own signed leave of this descriptor or a later one
    failed    two distinct accusers were refused, or this peer condemned it: its time to refute ran out, or a
              lone observer was refused three times
    suspect   somebody accuses it, or it is only remembered from an earlier run
    alive     nothing of this

An accusation counts against exactly the boot and incarnation that it names. One about an older descriptor is
refuted; one about a descriptor that nobody has shown yet cannot be told from an invention. Any order of the
same evidence by living accusers, each piece seen again after the last descriptor (anti-entropy does that), ends
in the same state.
"""

from protocol import limits
from protocol.effects import MemberState
from protocol.ids import PeerId
from protocol.members.local import Kind, LocalPeer
from protocol.members.news import News, subject_of
from protocol.members.suspicion import Suspicions
from protocol.members.table import Member, MemberTable
from protocol.statements import Accusation, Descriptor, Evidence, Leave

NEWCOMER_S = 1.0
"""A member accused within this time of being learned was, as far as we know, never alive: it may defend itself
for the shortest time only, and its accusers may be dead by now."""

REFUSALS_FOR_VERDICT = 2
"""Distinct refused accusers that make a verdict at once."""


def order_of(statement: Descriptor | Accusation | Leave) -> tuple[int, int]:
    """Return what decides which of two statements about a peer is newer: boot first, then incarnation."""
    return (statement.boot, statement.incarnation)


def state_of(member: Member) -> MemberState:
    """Return the state that follows from what is known of ``member``."""
    if member.is_banned or member.leave is not None:
        return "left"
    if member.is_condemned or member.refused_count >= REFUSALS_FOR_VERDICT:
        return "failed"
    if member.accusations or member.is_remembered:
        return "suspect"
    return "alive"


class Judge:
    """Admits evidence about other peers and keeps table, suspicions and news in step."""

    def __init__(self, *, local: LocalPeer, table: MemberTable, news: News, suspicions: Suspicions) -> None:
        self._local = local
        self._table = table
        self._news = news
        self._suspicions = suspicions
        self._banned: dict[PeerId, None] = {}
        """Peers whose evidence, and evidence about whom, is none; bounded as ``protocol.bans`` is."""

    def ban(self, peer_id: PeerId, *, now: float) -> None:
        """Leave ``peer_id`` out from now on."""
        self._banned[peer_id] = None
        member = self._table.find(peer_id)
        if member is not None:
            member.is_banned = True
            self._table.known_anew(member)
            self._clear_accusations(member)
            self._recompute(member, now=now)

    def lift(self, peer_id: PeerId) -> None:
        """Let ``peer_id`` be a member again: what was known of it is forgotten, it introduces itself anew."""
        self._banned.pop(peer_id, None)
        member = self._table.find(peer_id)
        if member is not None:
            self._table.remove(member)

    def admit(self, evidence: Evidence, *, now: float) -> bool:
        """Weigh evidence about another peer; return whether it changed what we know, and so is news.

        Its signature is checked before it has any effect. Forged, refuted and repeated evidence, and what a full
        table has no room for, change nothing.
        """
        if self._banned and (evidence.author in self._banned or subject_of(evidence) in self._banned):
            return False
        if isinstance(evidence, Descriptor):
            return self._admit_descriptor(evidence, now=now)
        if isinstance(evidence, Accusation):
            return self._admit_accusation(evidence, now=now)
        return self._admit_leave(evidence, now=now)

    def remember(self, descriptor: Descriptor, *, now: float) -> None:
        """Enter a peer from an earlier run: a suspect until somebody vouches for it."""
        if self._table.find(descriptor.peer_id) is not None or len(self._table) >= limits.MEMBERS_MAX:
            return
        if descriptor.peer_id in self._banned:
            return
        if self._is_sound(descriptor):
            self._table.insert(descriptor, "suspect", now=now, is_remembered=True)

    def heard(self, member: Member, *, now: float) -> None:
        """Count an authentic message of this boot of ``member``: one that was only remembered is back."""
        member.is_met = True
        if member.is_remembered:
            self._vouch(member, now=now)

    def accuse(self, member: Member, kind: Kind, *, now: float) -> bool:
        """Sign an accusation of a living member; return whether it adds anything to those that stand."""
        own = member.accusations.get(self._local.peer_id)
        if not member.is_living or (own is not None and own.kind in (kind, "refused")):
            return False
        if not _has_room(member, self._local.peer_id, kind):
            return False
        accusation = self._local.accuse(member.descriptor, kind)
        self._keep(member, accusation)
        self._news.add(accusation)
        self._recompute(member, now=now)
        return True

    def condemn(self, member: Member, *, now: float) -> None:
        """Declare an accused member failed by the own clock."""
        assert member.accusations, "nobody is condemned without evidence"
        member.is_condemned = True
        self._recompute(member, now=now)

    def give_up(self, member: Member, *, now: float) -> None:
        """Declare a member failed that was only remembered and that nobody vouched for in time."""
        if not member.accusations:
            self.accuse(member, "silent", now=now)
        self._table.known_anew(member)
        self.condemn(member, now=now)

    def _admit_descriptor(self, descriptor: Descriptor, *, now: float) -> bool:
        member = self._table.find(descriptor.peer_id)
        if member is None:
            if self._table.living_count >= limits.MEMBERS_MAX or not self._is_sound(descriptor):
                return False
            self._table.insert(descriptor, "alive", now=now)
            self._news.add(descriptor, is_urgent=False)
            return True
        if descriptor is member.descriptor and not member.is_remembered:
            return False
        order, known_order = order_of(descriptor), order_of(member.descriptor)
        # Two descriptors of one order can only come from one key used twice; all tables keep the same one.
        if order < known_order or (order == known_order and descriptor.encoded <= member.descriptor.encoded):
            if descriptor == member.descriptor and member.is_remembered:
                self._vouch(member, now=now)
            return False
        if not self._is_sound(descriptor):
            return False
        self._news.add(descriptor, is_urgent=descriptor.boot == member.descriptor.boot)
        self._replace(member, descriptor, now=now)
        return True

    def _admit_accusation(self, accusation: Accusation, *, now: float) -> bool:
        accuser_id = accusation.author
        member = self._table.find(PeerId(accusation.accused))
        accuser = self._table.find(accuser_id)
        # Echoes of own accusations add nothing: those of this boot are kept, an earlier boot's are not ours.
        if member is None or accuser is None or accuser_id in (member.peer_id, self._local.peer_id):
            return False
        if not member.is_living or order_of(accusation) != order_of(member.descriptor):
            return False
        known = member.accusations.get(accuser_id)
        if known is not None and known.kind in (accusation.kind, "refused"):
            return False
        if not accuser.is_living and not self._is_newcomer(member, now=now):
            return False  # the word of the dead counts only about those whose life nobody here has seen
        if not _has_room(member, accuser_id, accusation.kind) or not self._local.is_authentic(accusation):
            return False
        self._keep(member, accusation)
        self._news.add(accusation)
        self._recompute(member, now=now)
        return True

    def _admit_leave(self, leave: Leave, *, now: float) -> bool:
        member = self._table.find(leave.author)
        if member is None or order_of(leave) < order_of(member.descriptor):
            return False
        if member.leave is not None and order_of(leave) <= order_of(member.leave):
            return False
        if not self._local.is_authentic(leave):
            return False
        member.leave = leave
        self._table.known_anew(member)  # somebody heard it since
        self._clear_accusations(member)
        member.is_condemned = False
        self._news.add(leave)
        self._recompute(member, now=now)
        return True

    def _is_sound(self, descriptor: Descriptor) -> bool:
        """Return whether a descriptor may enter the table: others can repeat it, and its author signed it."""
        fits = len(descriptor.encoded) <= limits.EVIDENCE_SIZE_MAX_BYTES
        return fits and self._local.is_authentic(descriptor)

    def _keep(self, member: Member, accusation: Accusation) -> None:
        """Keep an accusation for which ``_has_room`` said that there is some."""
        kept = member.accusations
        if accusation.author not in kept and len(kept) >= limits.ACCUSATIONS_PER_MEMBER_MAX:
            displaced = next(author for author, other in kept.items() if other.kind == "silent")
            del kept[displaced]
            self._news.forget_accusations(member.peer_id, (displaced,))
        kept[accusation.author] = accusation

    def _clear_accusations(self, member: Member) -> None:
        """Drop what was said against ``member``: it is void."""
        self._news.forget_accusations(member.peer_id, member.accusations)
        member.accusations.clear()

    def _replace(self, member: Member, descriptor: Descriptor, *, now: float) -> None:
        """Take a newer description: what was said against the older one is void."""
        if order_of(descriptor) > order_of(member.descriptor):
            member.is_refusal_void |= member.refused_count > 0
            self._clear_accusations(member)
            member.is_condemned = False
            self._suspicions.stop(member.peer_id)
            if member.leave is not None and order_of(member.leave) < order_of(descriptor):
                member.leave = None
        if descriptor.boot != member.descriptor.boot:
            member.is_met = member.is_introduced = member.is_refusal_void = False
            member.learned_at = now
        if (descriptor.boot, descriptor.address) != (member.descriptor.boot, member.descriptor.address):
            member.round_trip_s = member.held_sync = None  # whoever is at the new address has to answer first
        self._table.known_anew(member)
        self._table.describe(member, descriptor)
        self._recompute(member, now=now)

    def _vouch(self, member: Member, *, now: float) -> None:
        self._table.known_anew(member)
        self._recompute(member, now=now)

    def _recompute(self, member: Member, *, now: float) -> None:
        state = state_of(member)
        self._table.move(member, state, now=now)
        if state != "suspect" or not member.accusations:
            self._suspicions.stop(member.peer_id)
            return
        accusers = len(member.accusations)
        if self._is_newcomer(member, now=now):
            accusers = max(accusers, self._local.config.suspicion_confirmations)
        self._suspicions.accused(member.peer_id, accusers=accusers, members=self._table.living_count, now=now)

    def _is_newcomer(self, member: Member, *, now: float) -> bool:
        return not member.is_met and now - member.learned_at < NEWCOMER_S


def _has_room(member: Member, accuser: PeerId, kind: Kind) -> bool:
    """Return whether an accusation would be kept: a further one of silence tells nothing new (Lifeguard 2017, K).

    Who is refused is always heard, in place of one who only heard nothing: two of the former are a verdict.
    """
    kept = member.accusations
    if accuser in kept or len(kept) < limits.ACCUSATIONS_PER_MEMBER_MAX:
        return True
    return kind == "refused" and any(other.kind == "silent" for other in kept.values())
