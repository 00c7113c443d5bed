"""Several machines: each host is a network namespace with an address, a ``PAIR_HOME`` and peers of its own.

``hosts`` makes them on a bridge that can be cut (``tests.faults.cut``), or on a switch in user space that delays, loses
and filters (``switch``). Tests are skipped, with the reason, where no namespaces can be made (not root).
"""
