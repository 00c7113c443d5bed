"""How much the TCP side of the peer port takes from others at once."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerPortLimits:
    """Every bound of the peer port's connections. The defaults are what peers run with."""

    stranger_timeout_s: float = 5.0
    """From the accepted connection to the proved network key."""

    strangers: int = 64
    """Connections that have proved nothing yet; the oldest goes first."""

    strangers_per_host: int = 16
    """The same for one address; not for the loopback, where all peers of one machine are one host."""

    request_connections: int = 192
    """Proved connections for requests: with the strangers 256, of some 100 KiB each under TLS."""

    request_connections_per_peer: int = 16
    """Twice what ``node.peer_client`` opens to one peer."""

    links_per_peer: int = 4
    """A peer holds one; the others are those of its earlier boots whose end is not noticed yet."""

    links_margin: int = 16
    """Links allowed beyond two for each member: newcomers are members before the table says so."""

    links_max: int = 8192
    """Links in all, however many members there are: each is a descriptor."""

    backlog: int = 256
    """Connections that wait to be accepted."""

    transfer_grace_s: float = 10.0
    """Time that any body may take, beside one second for each KiB."""

    handler_timeout_s: float = 30.0
    """Time a request's handler may take; callers have given up long before."""

    def __post_init__(self) -> None:
        if self.strangers_per_host > self.strangers:
            raise ValueError("strangers_per_host must not exceed strangers")
        if self.request_connections_per_peer > self.request_connections:
            raise ValueError("request_connections_per_peer must not exceed request_connections")
