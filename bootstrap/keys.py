"""Key files: the seed of an Ed25519 key pair, beside the id that it must give.

The id makes damage visible (a flipped bit would otherwise be another peer), and lets programs that only want to
know who lives in a folder do without the cryptography library.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bootstrap.files import create_once, read_private
from protocol.errors import StoreError

if TYPE_CHECKING:
    from protocol.identity import Identity


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``node.key`` and ``admin.key``, as JSON."""

    id: str
    """64 hexadecimal digits: SHA-256 of the public key."""

    seed: bytes
    """32 secret bytes; base64 in the file."""


def create_key(path: Path) -> "Identity":
    """Create the key file ``path`` from fresh entropy, or load the one that is there.

    Raises:
        ConfigError, StoreError: As ``load_key``; or the file cannot be written.
    """
    from protocol.identity import SEED_SIZE_BYTES, Identity

    if read_private(path) is None:
        identity = Identity(os.urandom(SEED_SIZE_BYTES))
        if create_once(path, _content(identity)):
            return identity
    return load_key(path)


def keep_key(path: Path, identity: "Identity") -> None:
    """Create the key file ``path`` from a key pair that was drawn before there was a folder for it.

    Raises:
        StoreError: There is one already, or it cannot be written.
    """
    if not create_once(path, _content(identity)):
        raise StoreError(f"{path} exists already", next_step="choose another name for the peer: --name N")


def load_key(path: Path) -> "Identity":
    """Return the identity in ``path``.

    Raises:
        ConfigError: Other users may read it, or another user owns it.
        StoreError: It is missing or damaged.
    """
    from protocol.identity import Identity

    file = _load(path)
    try:
        identity = Identity(file.seed)
    except ValueError as error:
        raise _damaged(path) from error
    if identity.peer_id.hex() != file.id:
        raise _damaged(path)
    return identity


def key_id(path: Path) -> str:
    """Return the id that ``path`` names, without checking that its seed gives it.

    Raises:
        ConfigError, StoreError: As ``load_key``.
    """
    return _load(path).id


def _content(identity: "Identity") -> bytes:
    return msgspec.json.encode(KeyFile(id=identity.peer_id.hex(), seed=identity.seed)) + b"\n"


def _load(path: Path) -> KeyFile:
    content = read_private(path)
    if content is None:
        raise StoreError(f"{path} is missing", next_step="restore it from a copy")
    try:
        return msgspec.json.decode(content, type=KeyFile)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"{path} is damaged: it holds no valid key",
        next_step="restore it from a copy; it is not replaced, since whoever has it is somebody else without it",
    )
