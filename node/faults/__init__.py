"""The fault plane: cuts, losses and delays between this peer and others, made on purpose while it runs.

It exists only in a peer that was started with ``--faults``, and acts on everything that flows between peers:
datagrams, liveness links and requests over TCP. The API is never touched, so that faults can be cleared. ``table``
decides, ``plane`` keeps time and holds back, ``flows`` are the ways through it. In the simulator the network itself
is broken instead (``simulations.faults``).
"""
