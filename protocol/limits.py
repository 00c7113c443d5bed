"""Named maxima of everything that another peer can make grow.

Each constant says why it exists and why it has this size. Wire fields repeat the smaller ones as msgspec
constraints, so that an oversized field never reaches a machine.
"""

from typing import Final

DATAGRAM_SIZE_MAX_BYTES: Final = 1232
"""Whole sealed datagram: the IPv6 minimum MTU (1,280) less the IPv6 and UDP headers; never fragmented."""

ENVELOPE_OVERHEAD_BYTES: Final = 36 + 16
"""Header and authentication tag of a sealed datagram."""

MESSAGE_SIZE_MAX_BYTES: Final = DATAGRAM_SIZE_MAX_BYTES - ENVELOPE_OVERHEAD_BYTES
"""Encoded message inside one datagram."""

MEMBERS_MAX: Final = 4096
"""Members in one full table; beyond that gossip of the full table costs more than it gives."""

REMEMBERED_DEAD_MAX: Final = 1024
"""Failed and left members kept for retries; the oldest is forgotten first."""

COUNCIL_SIZE_MAX: Final = 7
"""Peers that vote: four of seven make a certificate that still fits one datagram."""

BANS_MAX: Final = 1024
"""Statements of the admin about banned peers, kept by every member: some 150 KiB."""

BANS_PER_MESSAGE_MAX: Final = 6
"""Such statements in one datagram, of some 160 bytes each."""

ACCUSATIONS_PER_MEMBER_MAX: Final = 3
"""Accusations kept as evidence against one member; a verdict never needs more than two accusers."""

EVIDENCE_SIZE_MAX_BYTES: Final = 512
"""One encoded statement inside a message: what is longer could not be repeated to others."""

UPDATES_PER_MESSAGE_MAX: Final = 24
"""Gossip items in one message; the byte budget usually ends first."""

TERM_MAX: Final = 2**63 - 1
TERM_JUMP_MAX: Final = 2**16
"""Largest accepted rise of the term at once; an honest network needs one step per election."""

KEY_SIZE_MAX_BYTES: Final = 512
VALUE_SIZE_MAX_BYTES: Final = 2**20
"""Largest value of a register, 1 MiB; larger things are files."""

LARGE_MESSAGE_SIZE_MAX_BYTES: Final = VALUE_SIZE_MAX_BYTES + 16 * 1024
"""Encoded message that travels over TCP: the largest value, its key, and what surrounds them."""

HOLDERS_MAX: Final = 32
"""Largest ``k``."""

RECORDS_PER_OWNER_MAX: Final = 100_000
BYTES_PER_OWNER_MAX: Final = 2**30
"""Default quota that one writer may use on one holder."""

STORE_RECORDS_MAX: Final = 256
"""Records moved between holders by one request; their size ends most batches earlier."""

OFFER_SIZE_MAX: Final = 512
"""Versions offered by one request: some 16 KiB."""

LIST_PAGE_MAX: Final = 1024
"""Records in one page of a listing or of changes."""

WATCH_LEASE_MAX_S: Final = 60
"""Longest time that a peer pushes changes without being asked again."""

WATCHES_PER_PEER_MAX: Final = 64
"""Watches of one peer that another one serves: each costs a comparison with every change."""

REQUESTS_IN_FLIGHT_MAX: Final = 1024
"""Outstanding requests of one peer; further ones wait their turn."""

INBOUND_QUEUE_MAX: Final = 4096
"""Datagrams accepted but not yet handled; beyond it the newest is dropped and counted."""

SENDERS_MAX: Final = 8192
"""Cipher states kept for (sender, boot) pairs; the least recently used one goes first."""

REPLAY_WINDOW_SIZE: Final = 1024
"""Counters behind the highest seen that are still told apart."""

NAME_SIZE_MAX: Final = 63
HOST_SIZE_MAX: Final = 255
