"""The HTTP API of a peer (DESIGN section 9): ``ApiServer`` serves a ``node.service.PeerService``.

A request passes, in this order: the caps and deadlines of its connection (``connection``), the Host, Origin and
encoding checks (``guards``), the table of routes (``routes``), the token (``tokens``), its handler (``routes_*``).
Whatever ends it early becomes a problem document (``problems``).
"""

from node.api.server import ApiServer

__all__ = ["ApiServer"]
