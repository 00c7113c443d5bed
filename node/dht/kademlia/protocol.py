"""What the library's protocol class becomes for both wires: members' messages and stock datagrams."""

import asyncio
import logging
from typing import Any, Final, NoReturn, TypeAlias

from kademlia.protocol import KademliaProtocol

from node.dht.kademlia.contacts import Contact
from node.dht.kademlia.failures import Failures
from node.dht.kademlia.routing import PairRoutingTable

BUCKET_SIZE: Final = 20
"""Contacts per bucket, and in an answer to a stock node (Kademlia 2002, section 4.1: k = 20)."""

CallResult: TypeAlias = tuple[bool, Any]
"""As the library has it: whether the other side answered as it should, and what."""

_LIBRARY_LOGGERS: Final = ("kademlia", "rpcudp")


class PairProtocol(KademliaProtocol):
    """Routing table and RPC vocabulary of the library, without its habits.

    A subclass defines the calls that its wire carries as real methods, which take the place of the library's
    "any attribute is a remote call". Values are kept by the DHT, so this class has no storage, and a newcomer is
    handed nothing: the DHT moves records when membership changes.
    """

    router: PairRoutingTable
    source_node: Contact

    def __init__(self, local: Contact, *, capacity: int) -> None:
        for name in _LIBRARY_LOGGERS:  # they log each value at INFO and each lost datagram as an error
            logging.getLogger(name).setLevel(logging.CRITICAL)
        super().__init__(local, None, BUCKET_SIZE)
        self.router = PairRoutingTable(self, BUCKET_SIZE, local, capacity=capacity)
        self.failures = Failures()

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what is not there; the library would make a remote call of any typing error."""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def welcome_if_new(self, node: Contact) -> None:
        """Add a contact or refresh its address."""
        self.router.add_contact(node)

    def handle_call_response(self, result: CallResult, node: Contact) -> CallResult:
        """Note whether ``node`` answered; one lost answer costs nobody its place in the table."""
        if result[0]:
            self.failures.forgive(node.id)
            self.welcome_if_new(node)
        else:
            self.failures.add(node.id, asyncio.get_running_loop().time())
        return result

    def is_avoided(self, node: Contact) -> bool:
        """Return whether ``node`` failed lately."""
        return self.failures.is_avoided(node.id, asyncio.get_running_loop().time())
