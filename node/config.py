"""Everything that the start of a peer depends on."""

from dataclasses import dataclass
from pathlib import Path

from protocol import limits
from protocol.config import Profile
from protocol.errors import ConfigError
from protocol.ids import is_name
from protocol.network import NetworkIdentity
from protocol.statements import Address


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerConfig:
    """One peer: who, where, in which network."""

    network: NetworkIdentity
    network_folder: Path
    """Holds ``network.key``, ``tokens.json`` and a folder for each peer."""

    name: str
    """Also the name of the peer's folder."""

    bind: str = "127.0.0.1"
    port: int = 7400
    """The peer port: UDP and TCP."""

    api_bind: str = "127.0.0.1"
    api_port: int = 8400
    api_hosts: tuple[str, ...] = ()
    """Further host names that the API answers to, beside the loopback's and the bound address."""

    advertise: str | None = None
    """Address that others should use; by default the bound one."""

    roams: bool = False
    """Whether ``advertise`` was read from this machine, which may get another address while the peer runs."""

    seeds: tuple[Address, ...] = ()
    profile: Profile = "local"
    k: int = 8
    """Holders of each record."""

    descriptors_max: int = 8192
    """How many files and connections the process may have open (``node.descriptors``)."""

    zeroconf: bool = True
    faults: bool = False

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise ConfigError(
                f"{self.name!r} cannot name a peer", next_step="use 1 to 63 characters of a-z, 0-9 and '-'"
            )
        for port in (self.port, self.api_port):
            if not 0 <= port <= 65535:  # uvloop would silently take another one
                raise ConfigError(f"there is no port {port}", next_step="choose 1 to 65535")
        if not 1 <= self.k <= limits.HOLDERS_MAX:
            raise ConfigError(f"k = {self.k} is out of range", next_step=f"choose 1 to {limits.HOLDERS_MAX}")

    @property
    def folder(self) -> Path:
        """Where this peer keeps its own files."""
        return self.network_folder / self.name

    @property
    def advertised_host(self) -> str:
        """The host that goes into the descriptor."""
        return self.advertise or self.bind

    def address_at(self, host: str) -> Address:
        """Where the peer port is, on a machine that others reach at ``host``."""
        return Address(host, self.port)

    def api_at(self, host: str) -> Address:
        """Where the API is, on a machine that others reach at ``host``."""
        return Address(host if self.api_bind == "0.0.0.0" else self.api_bind, self.api_port)
