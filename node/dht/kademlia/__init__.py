"""Kademlia, built on the ``kademlia`` library: its routing table, its RPC vocabulary, its wire in open networks.

Two classes matter to the rest of the DHT.

``KademliaNode`` knows the members by distance and finds those that this peer does not know::

    node = KademliaNode(members=…, requester=…, verifier=…, network_id=…, introduce=…)
    node.member_up(descriptor)              # membership feeds the table; a later boot replaces the address
    node.member_down(peer_id)               # and prunes it at once
    node.closest(digest, count)             # [PeerId], exact, nearest first, the local peer where it is near enough
    await node.lookup(digest, count, timeout_s=1.0)   # [MemberContact]: asked, answered, nearest first; never raises
    node.answer_find_node(sender, request)  # FoundNodes, for an inbound FindNode

``StockWire`` speaks with stock ``kademlia`` nodes, in open networks only, through the peer's own socket::

    wire = StockWire(node=node, read=…, store=…, send=datagrams.send_stock)
    wire.start()                            # its upkeep; ``await wire.stop()`` ends everything it began
    wire.datagram_received(data, source)    # every datagram that starts with 0x00 or 0x01
    await wire.find_value(digest, timeout_s=1.0)      # bytes of a value that stock nodes hold, or None
    await wire.set_digest(digest, value)    # offer a value to the nearest stock nodes: best effort, never raises

``read(digest)`` returns the live record held here or None; ``store(digest, value)`` writes an unsigned record to its
holders and returns whether enough of them confirmed. ``docs/decisions/0003-kademlia-library.md`` lists what the
library gets wrong and what became of it.
"""
