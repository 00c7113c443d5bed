"""What the fork server runs: the program of a peer, from the settings in its folder.

Importing this module imports everything that a peer needs, so that forked peers share it; also what a peer on its
own imports only when it comes to use it.
"""

import contextlib
import encodings.idna  # noqa: F401  (for the first host name)
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import zeroconf.asyncio  # noqa: F401

from bootstrap.fork_server import Run
from bootstrap.home import NetworkFolder
from bootstrap.settings import StartSettings
from node.config import PeerConfig
from node.main import run_peer
from node.tls import PeerTls
from protocol.envelope import Sealer
from protocol.identity import SEED_SIZE_BYTES, CachingVerifier, Identity
from protocol.ids import ANY_RECEIVER
from protocol.network import NetworkIdentity

with contextlib.suppress(ImportError):
    import uvloop  # noqa: F401


def local_run(
    network: NetworkFolder, settings: Mapping[str, StartSettings], seeds: Mapping[str, Sequence[str]]
) -> Run:
    """Return what runs one of the peers of ``network`` that ``settings`` names.

    Raises:
        ConfigError, StoreError: See ``NetworkFolder.load``.
    """
    identity = network.load()
    _rehearse(identity, network.path)

    def run(name: str, on_started: Callable[[], None]) -> None:
        config = peer_config(network, identity, name, settings[name])
        contacts = (*settings[name].seeds, *seeds[name])
        run_peer(config, seeds=contacts, log_path=config.folder / "peer.log", on_started=on_started)

    return run


def _rehearse(network: NetworkIdentity, folder: Path) -> None:
    """Do once what each peer would do at its start, so that what the libraries set up for it is shared too.

    OpenSSL alone takes 30 ms and a megabyte for its first signature. Nothing here opens a loop, a thread or a socket,
    and OpenSSL and SQLite allow a fork afterwards: no key, connection or random state is carried over.
    """
    nobody = Identity(bytes(SEED_SIZE_BYTES))
    CachingVerifier().verify(public_key=nobody.public_key, signature=nobody.sign(b"rehearsal"), message=b"rehearsal")
    Sealer(network=network, peer_id=nobody.peer_id, boot=1).seal(b"rehearsal", ANY_RECEIVER)
    tls = PeerTls(identity=nobody, network=network, folder=folder)
    assert tls.server is not tls.client
    sqlite3.connect(":memory:").close()


def peer_config(
    network: NetworkFolder, identity: NetworkIdentity, name: str, settings: StartSettings
) -> PeerConfig:
    """Return the configuration of one peer, before the names in it are resolved.

    Raises:
        ConfigError: A setting cannot work.
    """
    return PeerConfig(
        network=identity,
        network_folder=network.path,
        name=name,
        bind=settings.bind,
        port=settings.port,
        api_bind=settings.api_bind,
        api_port=settings.api_port,
        api_hosts=settings.api_hosts,
        advertise=settings.advertise,
        profile=settings.profile,
        k=settings.k,
        zeroconf=settings.zeroconf,
        faults=settings.faults,
    )
