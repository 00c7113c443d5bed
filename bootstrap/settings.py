"""How a peer was last started, kept in its folder (``start.json``) so that it can be started again alike.

Light to import: the command line reads it before it decides what else it needs.
"""

import msgspec

from bootstrap.files import read_file, replace_file
from bootstrap.peer_folder import PeerFolder
from protocol.config import Profile
from protocol.errors import StoreError


class StartSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``start.json``; the fields mean what the options of the same names do."""

    port: int
    api_port: int
    bind: str = "127.0.0.1"
    api_bind: str = "127.0.0.1"
    api_hosts: tuple[str, ...] = ()
    advertise: str | None = None
    seeds: tuple[str, ...] = ()
    """As given, ``HOST:PORT``: names are resolved anew at each start."""

    profile: Profile = "local"
    k: int = 8
    zeroconf: bool = True
    faults: bool = False


def load_settings(folder: PeerFolder) -> StartSettings | None:
    """Return how the peer was last started; None when it never was.

    Raises:
        StoreError: The file is damaged or cannot be read.
    """
    path = folder.path / "start.json"
    content = read_file(path)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=StartSettings)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(
            f"{path} is damaged", next_step="delete it; the peer starts with new settings then, and keeps its data"
        ) from error


def save_settings(folder: PeerFolder, settings: StartSettings) -> None:
    """Keep how the peer is started; its folder exists.

    Raises:
        StoreError: It cannot be written.
    """
    replace_file(folder.path / "start.json", msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
