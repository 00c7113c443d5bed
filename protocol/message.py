"""What all messages have in common; the messages themselves are in ``protocol.messages``."""

from typing import Annotated, ClassVar

import msgspec

from protocol.statements import Boot

Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
BucketDigests = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)], ...], msgspec.Meta(min_length=16, max_length=16)
]


class Message(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True, tag_field="tag"
):
    """Base of all messages."""

    changes_state: ClassVar[bool] = True
    """Whether the receiver must check ``receiver_boot`` before it acts."""

    receiver_boot: Boot = 0


class Request(Message, frozen=True, kw_only=True):
    """Base of requests; each is answered by one reply with the same number, by datagram or over TCP."""

    request_id: Sequence = 0
    """Random 63 bits, set by whoever sends; a reply must also come from the peer that was asked."""


class Reply(Message, frozen=True, kw_only=True):
    """Base of replies. A reply changes nothing by itself: it is bound to a request by its number."""

    changes_state: ClassVar[bool] = False

    request_id: Sequence = 0


class ReplyTooLarge(Reply, frozen=True, kw_only=True, tag=32):
    """The answer fits no datagram: ask again over TCP."""


class Refusal(Reply, frozen=True, kw_only=True, tag=33):
    """The request was understood and refused, or its handling failed."""

    reason: Annotated[str, msgspec.Meta(max_length=200)]
