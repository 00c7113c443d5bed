"""What the fork server runs: the program of a peer, from the settings in its folder.

Importing this module imports everything that a peer needs, so that forked peers share it; also what a peer on its
own imports only when it comes to use it.
"""

import contextlib
import encodings.idna  # noqa: F401  (for the first host name)
from collections.abc import Callable, Mapping, Sequence

import zeroconf.asyncio  # noqa: F401

from bootstrap.fork_server import Run
from bootstrap.home import NetworkFolder
from bootstrap.settings import StartSettings
from node.config import PeerConfig
from node.main import run_peer
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

    def run(name: str, on_started: Callable[[], None]) -> None:
        config = peer_config(network, identity, name, settings[name])
        contacts = (*settings[name].seeds, *seeds[name])
        run_peer(config, seeds=contacts, log_path=config.folder / "peer.log", on_started=on_started)

    return run


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
