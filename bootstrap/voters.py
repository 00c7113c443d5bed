"""``voters.json``: the list of voters of a network in *quorum* mode, in the network's folder (DESIGN section 6).

Only the holder of the admin key can make a list. Each peer also keeps the newest one that it heard of among its own
documents; what the folder holds is where peers of this machine begin.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from bootstrap.files import read_file, replace_file
from bootstrap.home import NetworkFolder
from protocol.config import PROFILES, Profile
from protocol.errors import StoreError

if TYPE_CHECKING:
    from protocol.statements import VoterList

FILE_NAME: Final = "voters.json"


class VotersFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``voters.json``: what a person wants to know, and the signed statement, which alone counts."""

    version: int
    voters: tuple[str, ...]
    """Peer ids, 64 hexadecimal digits each, ascending."""

    lease_ms: int
    """Longest lease of any leader, in milliseconds."""

    statement: bytes
    """The signed list as MessagePack; base64 in the file."""


def read_voters(network: NetworkFolder) -> VotersFile | None:
    """Return what the folder says of the voters; None when it says nothing. Needs no cryptography.

    Raises:
        StoreError: The file is damaged or cannot be read.
    """
    path = network.path / FILE_NAME
    content = read_file(path)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=VotersFile)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _damaged(path) from error


def load_voters(network: NetworkFolder) -> "VoterList | None":
    """Return the list of voters in the folder, whose signature is not yet checked; None when there is none.

    Raises:
        StoreError: As ``read_voters``.
    """
    from protocol.statements import VoterList

    file = read_voters(network)
    if file is None:
        return None
    try:
        return msgspec.msgpack.decode(file.statement, type=VoterList)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _damaged(network.path / FILE_NAME) from error


def save_voters(network: NetworkFolder, voters: "VoterList") -> None:
    """Put ``voters`` in the folder, in the place of an older list; a newer one there stays.

    Raises:
        StoreError: It cannot be written, or what is there is damaged.
    """
    before = read_voters(network)
    if before is not None and before.version >= voters.version:
        return
    file = VotersFile(
        version=voters.version,
        voters=tuple(voter.hex() for voter in voters.voters),
        lease_ms=voters.lease_ms,
        statement=msgspec.msgpack.encode(voters),
    )
    replace_file(network.path / FILE_NAME, msgspec.json.format(msgspec.json.encode(file)) + b"\n")


def found_voters(network: NetworkFolder, names: Sequence[str], *, profile: Profile) -> None:
    """Make the peers called ``names`` the voters of a network that has none yet; their keys are drawn if need be.

    A founding that was interrupted is continued by the next: a list that is there stays.

    Raises:
        ConfigError: The admin's key is not here, or a key is not private.
        StoreError: A file cannot be read or written.
    """
    from protocol.statements import VoterList, signed

    if read_voters(network) is not None:
        return
    admin, identity = network.admin(), network.load()
    voters = sorted(network.peer(name).create().peer_id for name in names)
    paper = VoterList(
        author_key=admin.public_key,
        version=1,
        voters=tuple(voters),
        lease_ms=lease_ms_of(profile),
    )
    save_voters(network, signed(paper, admin, identity.network_id))


def lease_ms_of(profile: Profile) -> int:
    """Return the lease of a profile in milliseconds: the longest one in a network that is founded with it."""
    return round(PROFILES[profile].lease_s * 1000)


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"{path} is damaged",
        next_step="restore it from a copy, or delete it: peers keep the list of voters among their own documents too",
    )
