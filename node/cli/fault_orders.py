"""What ``pair fault add`` asks of which peer: names become ids, a partition becomes cuts. Decides; asks nobody."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from node.cli.failures import not_found, wrong_use
from node.cli.peers import ambiguous, is_id_prefix

ID_SIZE: Final = 64


@dataclass(frozen=True, slots=True)
class KnownPeers:
    """The members that names may mean: id → name."""

    names: Mapping[str, str]
    here: Mapping[str, str]
    """Name → id of the peers of this machine: of several members of one name, these are meant."""

    def name_of(self, id: str) -> str:
        """Return the name of a member, or the start of its id."""
        return self.names.get(id, id[:12])

    def ids_of(self, wanted: Iterable[str]) -> list[str]:
        """Return the ids that ``wanted`` means, each once: names or starts of ids, also with commas between them.

        Raises:
            CommandFailed: One means nobody (exit 3), several (exit 2), or is empty (exit 2).
        """
        words = [word.strip() for text in wanted for word in text.split(",")]
        return list(dict.fromkeys(self._id_of(word) for word in words))

    def _id_of(self, word: str) -> str:
        if not word:
            raise wrong_use("a peer has no empty name", next_step="name peers as in peer-1,peer-2")
        if word in self.here:
            return self.here[word]
        found = [id for id, name in self.names.items() if name == word]
        if not found and is_id_prefix(word):
            found = [id for id in self.names if id.startswith(word.lower())]
        if len(found) > 1:
            raise ambiguous(word, [f"{self.names[id]} ({id})" for id in found])
        if not found:
            if is_id_prefix(word) and len(word) == ID_SIZE:
                return word.lower()
            raise not_found(f"there is no peer {word!r}", next_step="pair members lists the peers of the network")
        return found[0]


def cuts_of_partition(groups: Sequence[Sequence[str]], everybody: Sequence[str]) -> dict[str, list[str]]:
    """Return whom each peer must be cut off from: all that share no group with it. Who is in no group stays together.

    Args:
        groups: Ids of each group; a peer in two groups is a bridge.
        everybody: Ids of all members.

    Raises:
        CommandFailed: Nobody would be cut off (exit 2).
    """
    grouped = [id for group in groups for id in group]
    members = list(dict.fromkeys([*everybody, *grouped]))
    sides = [*groups, [id for id in members if id not in grouped]]
    cuts = {
        id: [other for other in members if not any(id in side and other in side for side in sides)] for id in members
    }
    if not any(cuts.values()):
        raise wrong_use("that cuts nobody off", next_step="leave some peers out, or name several groups")
    return cuts


def described(fault: Mapping[str, Any], known: KnownPeers) -> list[object]:
    """Return the row of one fault in a table: on, id, kind, direction, with, how, ends in."""
    return [
        fault["on"],
        fault["id"],
        fault["kind"],
        fault["direction"],
        "everybody" if fault["peers"] is None else listed([known.name_of(id) for id in fault["peers"]]),
        _how(fault),
        f"{fault['expires_in_s']:.0f} s",
    ]


def listed(names: Sequence[str], *, at_most: int = 4) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def _how(fault: Mapping[str, Any]) -> str | None:
    if fault["probability"] is not None:
        return f"{100 * fault['probability']:g} %"
    if fault["ms"] is None:
        return None
    return f"{fault['ms']:g} ms" + (f" + {fault['jitter_ms']:g} ms" if fault["jitter_ms"] else "")
