"""``reader.json``: what a machine has that was invited to read only, in the folder of the network (decision 0010).

It stands in the place of ``network.key``: a reader runs no peer, it asks those of other machines.
"""

from pathlib import Path

import msgspec

from bootstrap.files import create_once, make_private_folder, os_errors, read_private
from bootstrap.home import READER_NAME, NetworkFolder
from protocol.errors import ConfigError, StoreError


class ReaderFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``reader.json``."""

    name: str
    """Of the network."""

    id: str
    """The network id, 64 hexadecimal digits."""

    token: str
    """Of the read level."""

    apis: tuple[str, ...]
    """Where it is good: ``http://HOST:PORT``."""


def read_reader(network: NetworkFolder) -> ReaderFile | None:
    """Return what a reader has here; None when the folder is no reader's.

    Raises:
        ConfigError: Other users may read the file, or another user owns it.
        StoreError: It is damaged or cannot be read.
    """
    path = network.path / READER_NAME
    content = read_private(path)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=ReaderFile)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(
            f"{path} is damaged", next_step="delete it and ask for a new invite: pair invite --role reader"
        ) from error


def networks_read(home: Path) -> list[NetworkFolder]:
    """Return the networks in ``home`` that this machine was invited to read, by name.

    Raises:
        StoreError: The folder cannot be listed.
    """
    with os_errors(f"list {home}"):
        found = sorted(home.glob(f"*/{READER_NAME}"))
    return [NetworkFolder(path.parent) for path in found]


def save_reader(network: NetworkFolder, reader: ReaderFile) -> None:
    """Make this folder a reader's.

    Raises:
        ConfigError: It is one already.
        StoreError: It cannot be written.
    """
    make_private_folder(network.path)
    if not create_once(network.path / READER_NAME, msgspec.json.format(msgspec.json.encode(reader)) + b"\n"):
        raise ConfigError(
            f"this machine already reads the network {network.name!r}",
            next_step=f"to read it through another peer, first delete {network.path / READER_NAME}",
        )
