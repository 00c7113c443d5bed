"""The DHT: registers on their k closest peers, read and written at any peer (DESIGN section 7)."""

from node.dht.dht import Dht

__all__ = ["Dht"]
