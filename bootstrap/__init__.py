"""How a peer finds and joins a network, and how many peers are started on one machine."""
