"""What every request must satisfy before anything else looks at it: who it claims to talk to, and from where.

Against DNS rebinding the Host header must name this server, port included; against cross-site requests Origin
and ``Sec-Fetch-Site`` must be ours. There are no CORS headers, so no other site's script reads an answer.
"""

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from node.errors import OperationError

_SITES_ALLOWED: Final = (None, "same-origin", "none")
_UNSPECIFIED: Final = ("", "0.0.0.0", "::")
_ANY_PORT: Final = ":*"
_NEXT_STEP: Final = "use 127.0.0.1, localhost or the bound address with the right port, or start with --api-host NAME"


class Guard:
    """The names that one server answers to."""

    def __init__(self, *, bind: str, port: int, hosts: Sequence[str]) -> None:
        """Take the bound address and port, and further hosts: ``NAME`` (our port), ``NAME:PORT`` or ``NAME:*``.

        The star is for ports that others forward to ours, such as those that a container engine publishes.
        """
        self._at_any_port = frozenset(name[:-2].lower() for name in hosts if name.endswith(_ANY_PORT))
        names = ["127.0.0.1", "[::1]", "localhost", *(name for name in hosts if not name.endswith(_ANY_PORT))]
        if bind not in _UNSPECIFIED:
            names.append(_bracketed(bind))
        self._port = port
        self._any_address = bind in _UNSPECIFIED
        self._allowed = frozenset(form for name in names for form in _header_forms(name.lower(), port))

    def check(self, request: web.BaseRequest) -> None:
        """Let ``request`` pass or raise.

        Raises:
            OperationError: ``bad-request``, ``host-not-allowed`` or ``encoding-refused``.
        """
        # An absolute-form target would override the Host header, so only the origin form is taken.
        if not request.raw_path.startswith("/"):
            raise OperationError("bad-request", "the request target must be a path", next_step="send `GET /… HTTP/1.1`")
        headers = request.headers
        hosts = headers.getall("Host", ())
        if len(hosts) != 1:
            raise OperationError("bad-request", f"{len(hosts)} Host headers instead of one", next_step=_NEXT_STEP)
        host = hosts[0].lower()
        is_named = host in self._allowed or _without_port(host) in self._at_any_port
        if not is_named and not self._is_own_address(host, request):
            raise OperationError("host-not-allowed", f"this peer does not answer to {host!r}", next_step=_NEXT_STEP)
        origin = headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{host}":
            raise OperationError("host-not-allowed", f"requests from the site {origin!r} are refused")
        if headers.get("Sec-Fetch-Site") not in _SITES_ALLOWED:
            raise OperationError("host-not-allowed", "requests from another site are refused")
        if "Content-Encoding" in headers:
            raise OperationError("encoding-refused", "bodies are taken as they are", next_step="send it uncompressed")

    def _is_own_address(self, host: str, request: web.BaseRequest) -> bool:
        # Bound to all interfaces: the address that this connection reached is ours, and no name can rebind to it.
        if not self._any_address or request.transport is None:
            return False
        local = request.transport.get_extra_info("sockname")
        return bool(local) and host in _header_forms(_bracketed(str(local[0])), self._port)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _header_forms(name: str, port: int) -> tuple[str, ...]:
    """Return the values of a Host header that mean ``name``; a name that brings its own port means only that."""
    if name.rpartition("]")[2].rpartition(":")[1]:
        return (name,)
    with_port = f"{name}:{port}"
    return (with_port, name) if port == 80 else (with_port,)
