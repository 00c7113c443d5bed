"""What members had this peer store, counted within bounds."""

import hashlib

from node.dht.quotas import _MEMBERS_MAX, MemberQuotas
from protocol import limits
from protocol.ids import PeerId


def test_members_that_are_counted_are_bounded_and_the_idle_ones_go_first() -> None:
    """A hundred thousand ids leave no more than a full table; those that still store are not forgotten."""
    subject = MemberQuotas()
    heavy = PeerId(bytes(32))
    for number in range(100_000):
        if number % 1000 == 0:
            subject.brought(heavy, limits.BYTES_PER_OWNER_MAX // 50, now=0.0)
        subject.wrote(PeerId(hashlib.sha256(b"%d" % number).digest()), now=0.0)

    assert len(subject) == _MEMBERS_MAX
    assert not subject.may_bring(heavy, 1, now=0.0)


def test_one_value_is_never_larger_than_the_quota() -> None:
    """Also the first one of a member."""
    assert not MemberQuotas().may_bring(PeerId(bytes(32)), limits.BYTES_PER_OWNER_MAX + 1, now=0.0)
