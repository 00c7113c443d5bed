"""The folder of a network: what makes a machine a member, and the peers that run here (DESIGN section 10).

``$PAIR_HOME/<network>/`` holds ``network.key``, ``admin.key``, ``tokens.json`` and one folder for each peer. Each
file is created once, whole, and never replaced, except by tokens that somebody brings: of two programs that found the
same network at once both end with the same one, and a founding that was interrupted is continued by the next.

Light to import: the command line reads these folders before it decides what else it needs.
"""

import base64
import hashlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import msgspec

from bootstrap.files import create_once, make_private_folder, os_errors, read_private, replace_file
from bootstrap.keys import create_key, load_key
from bootstrap.locks import FolderLock
from bootstrap.peer_folder import PeerFolder
from protocol.errors import ConfigError, StoreError
from protocol.ids import is_name

if TYPE_CHECKING:
    from protocol.identity import Identity
    from protocol.network import Mode, NetworkIdentity

READER_NAME: Final = "reader.json"
"""File of a machine that reads a network and is no member of it; see ``bootstrap.reader``."""

TOKEN_PREFIX: Final = "pairt_"
"""Starts every token, so that scanners and the filter of the log recognise one."""

_TOKEN_ENTROPY_BYTES: Final = 32
_DIGITS: Final = re.compile(r"(\d+)")

ContentT = TypeVar("ContentT")


class Tokens(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``tokens.json``: one bearer token for each level of the API."""

    read: str
    member: str
    admin: str


def pair_home() -> Path:
    """Return the folder of all networks: ``PAIR_HOME``, or the platform's data folder. It may not exist yet."""
    chosen = os.environ.get("PAIR_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/pair"
    data = os.environ.get("XDG_DATA_HOME", "")
    # The specification says that a relative path there is to be ignored.
    return (Path(data) if Path(data).is_absolute() else Path.home() / ".local/share") / "pair"


def list_networks(home: Path) -> "list[NetworkFolder]":
    """Return the networks in ``home``, in natural order of their names: each has a key, or peers that need one.

    Raises:
        StoreError: The folder cannot be listed.
    """
    networks = [NetworkFolder(path) for path in _subfolders(home)]
    return [network for network in networks if network.exists() or network.peers()]


def load_key_file(path: Path) -> "NetworkIdentity":
    """Return the network that a ``network.key`` file describes, wherever it lies.

    Raises:
        ConfigError: It is missing, other users may read it, or another user owns it.
        StoreError: It is damaged or cannot be read.
    """
    from protocol.network import NetworkIdentity

    content = read_private(path)
    if content is None:
        raise _no_key(path)
    file = _decode(content, NetworkKeyFile, path)
    try:
        network = NetworkIdentity(
            name=file.name, key=file.key, admin_public_key=file.admin_public_key, mode=file.mode, open=file.open
        )
    except ValueError as error:
        raise _damaged(path) from error
    if network.network_id.hex() != file.id:
        raise _damaged(path)
    return network


class NetworkKeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``network.key``, as JSON; bytes are base64."""

    name: str
    id: str
    """64 hexadecimal digits: the network id that the other fields must give, so that damage is visible."""

    key: bytes
    admin_public_key: bytes
    mode: Literal["available", "quorum"]
    open: bool


class NetworkFolder:
    """One network's folder; creating the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.key_path: Final = path / "network.key"

    @property
    def name(self) -> str:
        """Name of the folder, and of the network."""
        return self.path.name

    def exists(self) -> bool:
        """Return whether a network was founded or joined here."""
        try:
            return self.key_path.exists()
        except OSError:
            return False

    def found(self, name: str, *, open: bool = False, mode: "Mode" = "available") -> "NetworkIdentity":
        """Create the network's keys and tokens, or load what is there: the arguments count only for a new one.

        An open network has no secret: its key and its admin key follow from its name, so that machines that found
        an open network of the same name and mode are in the same one, and anybody is its admin.

        Raises:
            ConfigError: The name is none, or keys that are there are not private.
            StoreError: A file cannot be written, is damaged, or is missing beside peers that need it.
        """
        from protocol.network import NETWORK_KEY_SIZE_BYTES, NetworkIdentity, open_network_key

        if not is_name(name):
            raise ConfigError(f"{name!r} cannot name a network", next_step="use 1 to 63 characters of a-z, 0-9 and '-'")
        if self.exists():
            network = self.load()
            self.tokens()
            return network
        self._refuse_lost_key()
        self._refuse_namesake()
        make_private_folder(self.path)
        admin = open_admin(name) if open else create_key(self.path / "admin.key")
        key = open_network_key(name) if open else os.urandom(NETWORK_KEY_SIZE_BYTES)
        return self.adopt(
            NetworkIdentity(name=name, key=key, admin_public_key=admin.public_key, mode=mode, open=open),
            is_founder=True,
        )

    def adopt(self, network: "NetworkIdentity", *, is_founder: bool = False) -> "NetworkIdentity":
        """Make this folder one of ``network``, whose key came from elsewhere; return what the folder now holds.

        Args:
            is_founder: Another founder may have been faster: its key is returned, instead of an error.

        Raises:
            ConfigError: The folder belongs to another network.
            StoreError: A file cannot be written or is damaged.
        """
        make_private_folder(self.path)
        file = NetworkKeyFile(
            name=network.name,
            id=network.network_id.hex(),
            key=network.key,
            admin_public_key=network.admin_public_key,
            mode=network.mode,
            open=network.open,
        )
        if not create_once(self.key_path, _encode(file)):
            here = self.load()
            if here != network and not is_founder:
                raise ConfigError(
                    f"{self.path} belongs to another network with the same name",
                    next_step="choose another folder with PAIR_HOME",
                )
            network = here
        self.tokens()
        return network

    def is_open(self) -> bool:
        """Return whether the network here is an open one, without the cost of loading its keys.

        Raises:
            ConfigError, StoreError: As ``load``.
        """
        return self._key_file().open

    def is_founded_here(self) -> bool:
        """Return whether the admin's key lies here."""
        return (self.path / "admin.key").exists()

    def mode(self) -> "Mode":
        """Return how leaders are elected here, without the cost of loading the keys.

        Raises:
            ConfigError, StoreError: As ``load``.
        """
        return self._key_file().mode

    def load(self) -> "NetworkIdentity":
        """Return the network of this folder.

        Raises:
            ConfigError: There is none, its key is readable by others, or belongs to another user.
            StoreError: The key is damaged or cannot be read.
        """
        return load_key_file(self.key_path)

    def admin(self) -> "Identity":
        """Return the admin's key pair, which only the founder's folder holds.

        Raises:
            ConfigError, StoreError: As ``load``, and as ``bootstrap.keys.load_key``.
        """
        network = self.load()
        return open_admin(network.name) if network.open else load_key(self.path / "admin.key")

    def tokens(self) -> Tokens:
        """Return the tokens of this folder; they are drawn when first asked for.

        Raises:
            ConfigError: There is no network here, or other users may read the tokens.
            StoreError: They are damaged or cannot be written.
        """
        path = self.path / "tokens.json"
        content = read_private(path)
        if content is None:
            if not self.exists():
                raise ConfigError(f"there is no network in {self.path}", next_step="start one with 'pair up 5'")
            create_once(path, _encode(Tokens(read=_new_token(), member=_new_token(), admin=_new_token())))
            content = read_private(path) or b""
        return _decode(content, Tokens, path)

    def adopt_tokens(self, path: Path) -> Tokens:
        """Make the tokens in ``path``, a copy of another ``tokens.json``, those of this folder, and return them.

        Peers that run keep those that they started with.

        Raises:
            ConfigError: It is missing, or other users may read it.
            FolderInUse: Another program starts or ends peers here just now.
            StoreError: It is damaged or cannot be read, or the folder cannot be written.
        """
        content = read_private(path)
        if content is None:
            raise ConfigError(f"there are no tokens at {path}", next_step="copy the tokens.json of a member")
        tokens = _decode(content, Tokens, path)
        here = self.path / "tokens.json"
        make_private_folder(self.path)
        if not create_once(here, _encode(tokens)) and self.tokens() != tokens:
            with self.lock():
                replace_file(here, _encode(tokens))
        return tokens

    def peer(self, name: str) -> PeerFolder:
        """Return the folder of the peer called ``name``, which may not exist yet.

        Raises:
            ConfigError: The name is none.
        """
        if not is_name(name):
            raise ConfigError(f"{name!r} cannot name a peer", next_step="use 1 to 63 characters of a-z, 0-9 and '-'")
        return PeerFolder(self.path / name)

    def peers(self) -> list[PeerFolder]:
        """Return the peers that live here, in natural order: peer-2 before peer-10.

        Raises:
            StoreError: The folder cannot be listed.
        """
        peers = [PeerFolder(path) for path in _subfolders(self.path)]
        return [peer for peer in peers if peer.exists()]

    def lock(self) -> FolderLock:
        """Take the right to start and end peers here; hold it only while doing so.

        Raises:
            FolderInUse: Another program does so just now.
            StoreError: The lock cannot be created.
        """
        make_private_folder(self.path)
        return FolderLock(
            self.path / "up.lock",
            purpose=f"another command is starting or ending peers of {self.name!r}",
            next_step="wait until it is done and try again",
        )

    def purge(self) -> None:
        """Delete the network from this machine: keys, tokens and all data of its peers, which must not run.

        Raises:
            StoreError: Something cannot be deleted.
        """
        import shutil  # only here: it brings the archive formats along

        with os_errors(f"delete {self.path}"):
            if self.path.exists():
                shutil.rmtree(self.path)

    def _key_file(self) -> NetworkKeyFile:
        content = read_private(self.key_path)
        if content is None:
            raise _no_key(self.key_path)
        return _decode(content, NetworkKeyFile, self.key_path)

    def _refuse_namesake(self) -> None:
        if (self.path / READER_NAME).exists():
            raise ConfigError(
                f"this machine reads a network called {self.name!r} that others founded",
                next_step=f"found one with another name: --network NAME; or delete {self.path / READER_NAME}",
            )

    def _refuse_lost_key(self) -> None:
        # Asked again after the look at the peers: another founder may have been faster.
        if self.peers() and not self.exists():
            raise StoreError(
                f"{self.key_path} is missing, though peers of the network live here",
                next_step="restore it from a copy, or begin anew with 'pair down --purge'",
            )


def open_admin(name: str) -> "Identity":
    """Return the admin's key pair of the open network called ``name``: no secret, like its key."""
    from protocol.identity import Identity

    return Identity(hashlib.sha256(b"pair/open-admin/1" + name.encode()).digest())


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which numbers inside names count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name) if part]


def _subfolders(path: Path) -> list[Path]:
    with os_errors(f"list {path}"):
        try:
            found = [entry for entry in path.iterdir() if is_name(entry.name) and entry.is_dir()]
        except FileNotFoundError:
            return []
    return sorted(found, key=lambda folder: natural_order(folder.name))


def _new_token() -> str:
    return TOKEN_PREFIX + base64.urlsafe_b64encode(os.urandom(_TOKEN_ENTROPY_BYTES)).decode().rstrip("=")


def _encode(content: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content)) + b"\n"


def _decode(content: bytes, kind: type[ContentT], path: Path) -> ContentT:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _damaged(path) from error


def _no_key(path: Path) -> ConfigError:
    return ConfigError(f"there is no network key at {path}", next_step="copy it from a machine that is a member")


def _damaged(path: Path) -> StoreError:
    return StoreError(f"{path} is damaged", next_step="restore it from a copy; it is never replaced by a new one")
