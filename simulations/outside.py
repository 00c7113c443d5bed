"""A network as it is seen from outside: what looks at simulated peers looks at real processes alike.

The virtual world answers from the peers' memory, a live run from what each said of itself at the last look.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias, TypeVar

from protocol.effects import MemberState, Role
from protocol.ids import Digest, PeerId
from protocol.records import Record

PeerT_co = TypeVar("PeerT_co", bound="PeerSeen", covariant=True)


class DescriptorSeen(Protocol):
    """How a table describes a member."""

    @property
    def name(self) -> str: ...
    @property
    def boot(self) -> int: ...
    @property
    def incarnation(self) -> int: ...


class MemberSeen(Protocol):
    """A row of a member table."""

    @property
    def peer_id(self) -> PeerId: ...
    @property
    def state(self) -> MemberState: ...
    @property
    def is_living(self) -> bool: ...
    @property
    def descriptor(self) -> DescriptorSeen: ...


class TableSeen(Protocol):
    """A peer's member table, ascending by id."""

    def __iter__(self) -> Iterator[MemberSeen]: ...
    @property
    def ids(self) -> tuple[PeerId, ...]:
        """Ids of all members, ascending."""

    @property
    def living(self) -> tuple[PeerId, ...]:
        """Ids of the living members, ascending."""

    def find(self, peer_id: PeerId, /) -> MemberSeen | None: ...


View: TypeAlias = tuple[tuple[int, int, MemberState], ...]
"""Boot, incarnation and state of each living member of a table, ascending by id."""


def view_of(table: TableSeen) -> View:
    """Return how a table describes the living."""
    return tuple([(m.descriptor.boot, m.descriptor.incarnation, m.state) for m in table if m.is_living])


class ElectionSeen(Protocol):
    """A peer's part in the election."""

    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> PeerId | None:
        """Whom it follows."""


class RecordsSeen(Protocol):
    """What a peer's disk holds for others."""

    def read(self, digest: Digest, /) -> Record | None: ...
    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return place and stamp of each record."""


class PeerSeen(Protocol):
    """One peer; ``election``, ``table`` and ``view`` only of one that runs."""

    @property
    def name(self) -> str: ...
    @property
    def peer_id(self) -> PeerId: ...
    @property
    def is_up(self) -> bool:
        """Whether a process exists, paused or not."""

    @property
    def boot(self) -> int:
        """Number of its present or last run; 0 before the first."""

    @property
    def losses(self) -> int:
        """How often its disk was lost."""

    @property
    def records(self) -> RecordsSeen: ...
    @property
    def election(self) -> ElectionSeen: ...
    @property
    def table(self) -> TableSeen: ...
    @property
    def view(self) -> View:
        """How its table describes the living."""



class NetworkSeen(Protocol[PeerT_co]):
    """All peers of a run, and what lies between them."""

    @property
    def peers(self) -> Sequence[PeerT_co]: ...
    @property
    def guests(self) -> Sequence[PeerId]:
        """Ids of members that are no peers of the run: those that lie."""

    def running(self) -> Sequence[PeerT_co]:
        """Return the peers that answer just now."""

    @property
    def epoch_s(self) -> float:
        """Wall-clock seconds since 1970 at true time 0."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is cut anywhere."""

    @property
    def are_links_good(self) -> bool:
        """Whether no link at all is slow or lossy."""

    def is_cut(self, source: str, target: str, /) -> bool:
        """Return whether nothing gets from one named peer to another."""

    def link_is_good(self, source: str, target: str, /) -> bool:
        """Return whether the link from one named peer to another is neither slow nor lossy."""

    def clocks_ahead_s(self, at_s: float, /) -> Sequence[float]:
        """Return how far ahead of true time network time is at each running peer."""
