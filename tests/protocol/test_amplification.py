"""How much a peer sends to an address that nobody has proved, for each byte that came (RFC 9000, section 8).

Strangers without the key get nothing (``tests/faults/test_flood.py``). Whoever has it may name any address as its own:
this measures every control message, from somebody unknown and from a member that never answered a ping. Requests and
their replies are measured in ``tests/node/test_exchange.py``.
"""

import pytest

from protocol import codec
from protocol.limits import ENVELOPE_OVERHEAD_BYTES
from protocol.messages import CONTROL_MESSAGES, CertificateRequest, Message, Ping, WhoAreYou
from tests.protocol.samples import descriptor
from tests.protocol.test_codec import EXAMPLES
from tests.protocol.test_core import BOOT, RANKED, START, core, follow, pass_time, received, sent

AMPLIFICATION_MAX = 3.0
EXCEPTIONS: dict[type[Message], float] = {
    WhoAreYou: 4.0,  # one introduction, some 200 bytes; at most 200 a second to all together
    CertificateRequest: 10.0,  # one certificate, below one datagram; at most 50 a second to all together
    Ping: 5.0,  # to a ping for another boot the ack shows the descriptor, some 240 bytes
}
"""What may be answered with more, and what bounds it instead."""

STRANGER, MEMBER = 9, RANKED[1]


@pytest.mark.parametrize("who", [STRANGER, MEMBER], ids=["somebody with the key", "member that never answered"])
@pytest.mark.parametrize("to_boot", [BOOT, BOOT - 1], ids=["this boot", "another boot"])
@pytest.mark.parametrize(
    "message", [each for each in EXAMPLES if isinstance(each, CONTROL_MESSAGES)], ids=lambda each: type(each).__name__
)
def test_no_message_is_answered_with_more_than_three_times_its_size(message: Message, to_boot: int, who: int) -> None:
    """To the address of whoever sent it, in the same call."""
    subject = core(knows=RANKED, number=RANKED[4])
    follow(subject, RANKED[0])
    pass_time(subject, until=START + 0.3)  # what is due anyway is no answer
    event = received(message, who, to_boot=to_boot)

    effects = subject.handle(event, START + 0.3)

    answers = [send for send in sent(effects) if send.address == descriptor(who).address]
    asked = codec.encoded_size(event.message) + ENVELOPE_OVERHEAD_BYTES
    answered = sum(codec.encoded_size(send.message) + ENVELOPE_OVERHEAD_BYTES for send in answers)
    assert answered <= EXCEPTIONS.get(type(message), AMPLIFICATION_MAX) * asked, (answered, asked, answers)
