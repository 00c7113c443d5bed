"""``invites.json``: the invites that one peer issued, in its own folder, readable by its owner only.

It holds the secrets of open invites, which is why it is a secret file, and nothing of the network key.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from bootstrap.files import read_private, replace_file, set_aside

if TYPE_CHECKING:
    from protocol.invite_book import IssuedInvite

FILE_NAME: Final = "invites.json"


def load_invites(folder: Path) -> "tuple[tuple[IssuedInvite, ...], Path | None]":
    """Return the invites that were kept, and where a damaged file of them lies now: those in it let nobody in.

    Raises:
        ConfigError: Other users may read the file, or another user owns it.
        StoreError: It cannot be read, or not be set aside.
    """
    from protocol.invite_book import IssuedInvite

    path = folder / FILE_NAME
    content = read_private(path)
    if content is None:
        return (), None
    try:
        return msgspec.json.decode(content, type=tuple[IssuedInvite, ...]), None
    except (msgspec.MsgspecError, ValueError):
        return (), set_aside(path)


def save_invites(folder: Path, invites: "Sequence[IssuedInvite]") -> None:
    """Keep ``invites`` instead of those kept before, durably.

    Raises:
        StoreError: It is not known to be on disk: let nobody in.
    """
    replace_file(folder / FILE_NAME, msgspec.json.format(msgspec.json.encode(list(invites))) + b"\n")
