"""The routing table: the library's buckets, with exact neighbours and fresh addresses.

Departures from the library's table: the whole space is exactly 2^160 places, so that every bucket is one prefix; a
full bucket splits for as long as the table has room, because membership knows thousands of peers and all of them
count; a contact that is seen again moves to its bucket's fresh end with its present address; neighbours are the
truly nearest, not the first that a walk over the buckets meets.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from kademlia.routing import KBucket, RoutingTable

from node.dht.kademlia.contacts import Contact

_SPACE_END: Final = 2**160 - 1


class PairRoutingTable(RoutingTable):
    """At most ``capacity`` contacts.

    A full table keeps those that it has, for contacts that have lived long go on living (Kademlia 2002, section
    2.2), and lets newcomers in as they die.

    1. Buckets are disjoint prefixes in ascending order and cover the whole space.
    2. A contact is in the bucket of its id and nowhere else.
    3. The local node is never a contact.
    """

    def __init__(self, protocol: object, ksize: int, node: Contact, *, capacity: int) -> None:
        self.capacity = capacity
        super().__init__(protocol, ksize, node)

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.buckets)

    def __iter__(self) -> Iterator[Contact]:
        """Iterate over all contacts, by bucket, least recently seen first within each."""
        for bucket in self.buckets:
            yield from bucket.get_nodes()

    def flush(self) -> None:
        """Forget everybody."""
        self.buckets: list[KBucket] = [KBucket(0, _SPACE_END, self.ksize)]

    def find(self, node_id: bytes) -> Contact | None:
        """Return the contact with this id, or None."""
        contact: Contact | None = self.buckets[self._index_of(int.from_bytes(node_id, "big"))][node_id]
        return contact

    def get_bucket_for(self, node: Contact) -> int:
        """Return the index of the bucket for ``node``'s id."""
        return self._index_of(node.long_id)

    def is_new_node(self, node: Contact) -> bool:
        """Return whether ``node`` is unknown, here or in a replacement list."""
        bucket = self.buckets[self.get_bucket_for(node)]
        return node.id not in bucket.nodes and node.id not in bucket.replacement_nodes

    def add_contact(self, node: Contact) -> bool:
        """Add ``node``, or refresh its address and place in the order; return whether it is in the table now."""
        if node.id == self.node.id or (self.is_new_node(node) and len(self) >= self.capacity):
            return False
        while not self.buckets[self.get_bucket_for(node)].add_node(node):
            self.split_bucket(self.get_bucket_for(node))
        return True

    def find_neighbors(self, node: Contact, k: int | None = None, exclude: Contact | None = None) -> list[Contact]:
        """Return the ``k`` contacts nearest to ``node``, nearest first, without those at ``exclude``'s address."""
        count = self.ksize if k is None else k
        nearest: list[Contact] = []
        for bucket in self._by_distance(node.long_id):
            if len(nearest) >= count:
                break
            contacts = (each for each in bucket.nodes.values() if exclude is None or not each.same_home_as(exclude))
            nearest += sorted(contacts, key=lambda each: each.long_id ^ node.long_id)
        return nearest[:count]

    def _by_distance(self, target: int) -> list[KBucket]:
        """Return the buckets by distance: prefixes are disjoint, so all of one are nearer than all of the next."""

        def distance(bucket: KBucket) -> int:
            first, last = bucket.range
            nearest: int = (first ^ target) & ~(last - first)
            return nearest

        return sorted(self.buckets, key=distance)

    def _index_of(self, long_id: int) -> int:
        return bisect_right(self.buckets, long_id, key=lambda bucket: bucket.range[0]) - 1
