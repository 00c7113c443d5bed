"""What a peer said of itself at the last look, in the shapes of ``simulations.outside``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocol.effects import MemberState, Role
from protocol.ids import PeerId


@dataclass(frozen=True, slots=True)
class Described:
    """How a table describes a member; its boot is not told over HTTP."""

    name: str
    incarnation: int
    boot: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a member table."""

    peer_id: PeerId
    state: MemberState
    descriptor: Described

    @property
    def is_living(self) -> bool:
        """Whether the peer thinks that it may be there."""
        return self.state in ("alive", "suspect")


class Table:
    """A member table, ascending by id."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {row.peer_id: row for row in sorted(rows, key=lambda row: row.peer_id)}

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    @property
    def ids(self) -> tuple[PeerId, ...]:
        """Ids of all members, ascending."""
        return tuple(self._rows)

    @property
    def living(self) -> tuple[PeerId, ...]:
        """Ids of the living members, ascending."""
        return tuple(row.peer_id for row in self if row.is_living)

    def find(self, peer_id: PeerId) -> Row | None:
        """Return the row of a member, in any state; None when it is not there."""
        return self._rows.get(peer_id)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one peer said at one look; also its part in the election."""

    role: Role
    term: int
    leader: PeerId | None
    table: Table


def seen_of(status: Mapping[str, Any], members: Sequence[Mapping[str, Any]], later: Mapping[str, Any]) -> Seen:
    """Return what a peer said.

    Args:
        status: Its answer to ``/v1/status``; ``members`` that to ``/v1/members``.
        later: Its status again, once every other peer had been asked too. Peers are asked one after the other, and a
            leader may step down between two of them: only who leads both times led at the moment in between.
    """
    leads_still = (later["role"], later["term"]) == (status["role"], status["term"])
    return Seen(
        role="follower" if status["role"] == "leader" and not leads_still else status["role"],
        term=later["term"],
        leader=PeerId(bytes.fromhex(later["leader"])) if later["leader"] is not None else None,
        table=Table([_row(member) for member in members]),
    )


def _row(member: Mapping[str, Any]) -> Row:
    return Row(
        peer_id=PeerId(bytes.fromhex(member["id"])),
        state=member["state"],
        descriptor=Described(name=member["name"], incarnation=member["incarnation"]),
    )
