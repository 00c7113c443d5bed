"""What a peer says of itself: status, members, leader, as the JSON shapes of the API."""

from datetime import UTC, datetime

from node import __version__
from node.clock import steady_s, wall_ms
from node.config import PeerConfig
from node.shapes import Leader, Member, MemberCounts, Status, text_of_time
from protocol.core import Core
from protocol.effects import Role
from protocol.ids import PeerId


class Reports:
    """Reads the core and writes the asked peer's own view."""

    def __init__(self, *, core: Core, config: PeerConfig) -> None:
        self._core = core
        self._config = config
        self._started_at = steady_s()

    def status(self, *, keys_held: int) -> Status:
        """Return the peer's view of itself; ``keys_held`` counts the live values that it stores."""
        election, banned = self._core.election, self._core.bans.own
        states = [member.state for member in self._core.membership.table]
        return Status(
            id=self._core.descriptor.peer_id.hex(),
            name=self._config.name,
            network=self._config.network.name,
            version=__version__,
            ready=self._core.is_ready and banned is None,
            role=election.role,
            term=election.term,
            leader=election.leader.hex() if election.leader else None,
            mode=self._config.network.mode,
            members=MemberCounts(
                alive=states.count("alive"),
                suspect=states.count("suspect"),
                failed=states.count("failed"),
                left=states.count("left"),
            ),
            keys_held=keys_held,
            uptime_s=round(steady_s() - self._started_at, 3),
            profile=self._config.profile,
            banned=text_of_time(banned.version) if banned is not None else None,
        )

    def members(self) -> list[Member]:
        """Return the member table, by name and id."""
        members = [
            Member(
                id=member.peer_id.hex(),
                name=member.descriptor.name,
                address=str(member.descriptor.address),
                api=f"http://{member.descriptor.api}",
                state=member.state,
                role=self._role_of(member.peer_id),
                incarnation=member.descriptor.incarnation,
                rtt_ms=None if member.round_trip_s is None else round(member.round_trip_s * 1000, 3),
                since=rfc3339_of_steady(member.since),
            )
            for member in self._core.membership.table
        ]
        return sorted(members, key=lambda member: (natural_order(member.name), member.id))

    def leader(self) -> Leader:
        """Return the followed leader, all null when there is none."""
        election = self._core.election
        certificate = election.certificate
        leader = election.leader
        member = self._core.membership.table.find(leader) if leader else None
        if certificate is None or member is None:
            return Leader()
        return Leader(
            id=member.peer_id.hex(),
            name=member.descriptor.name,
            address=str(member.descriptor.address),
            api=f"http://{member.descriptor.api}",
            term=certificate.ballot.term,
            since=rfc3339_of_steady(election.followed_since),
        )

    def _role_of(self, peer_id: PeerId) -> Role:
        election = self._core.election
        if peer_id == self._core.descriptor.peer_id:
            return election.role
        return "leader" if peer_id == election.leader else "follower"


def rfc3339_of_steady(moment: float) -> str:
    """Return the wall-clock time of a moment of the steady clock."""
    return rfc3339(wall_ms() - int((steady_s() - moment) * 1000))


def rfc3339(time_ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 text in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def natural_order(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key that puts ``peer-2`` before ``peer-10``."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in name.split("-"))
