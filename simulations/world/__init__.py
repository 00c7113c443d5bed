"""The virtual world: an event loop on virtual time, hosts with clocks and processes, and the network between them.

One operating-system process, one seed, the same trace every time. The code that runs inside is the code that ships:
it sees an event loop, sockets behind asyncio's transports, a clock and entropy, and none of them is real. Whatever
would reach the real world raises ``EscapeError``.
"""
