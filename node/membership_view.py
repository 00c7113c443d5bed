"""The membership as the DHT and the API see it: a view of the core's table, never a copy that can go stale."""

from collections.abc import Sequence

from protocol.core import Core
from protocol.ids import PeerId
from protocol.statements import Descriptor


class MembershipView:
    """Implements ``node.ports.Members`` on the core's table."""

    def __init__(self, core: Core) -> None:
        self._table = core.membership.table
        self._local = core.descriptor.peer_id

    @property
    def local(self) -> PeerId:
        """Id of this peer."""
        return self._local

    @property
    def living_ids(self) -> tuple[PeerId, ...]:
        """Alive and suspect members, the local peer included, ascending; the same object until one comes or goes."""
        return self._table.living

    def is_living(self, peer_id: PeerId) -> bool:
        """Return whether a peer is an alive or suspect member."""
        member = self._table.find(peer_id)
        return member is not None and member.is_living

    def living(self) -> Sequence[Descriptor]:
        """Return how the living members describe themselves, in the same order."""
        return self._table.living_descriptors

    def others(self) -> Sequence[Descriptor]:
        """Return ``living`` without the local peer."""
        return [descriptor for descriptor in self.living() if descriptor.peer_id != self._local]

    def find(self, peer_id: PeerId) -> Descriptor | None:
        """Return what is known of a member in any state, or None."""
        member = self._table.find(peer_id)
        return member.descriptor if member is not None else None

    def is_suspect(self, peer_id: PeerId) -> bool:
        """Return whether a member is accused just now."""
        member = self._table.find(peer_id)
        return member is not None and member.state == "suspect"

    def expected_count(self) -> int:
        """Return how many members have not left: living and failed ones."""
        return sum(member.state != "left" for member in self._table)
