"""Why an invite let nobody in: each reason has its own words, exit code and next step."""

import typing

import pytest

from node.cli.join_failures import failure_of
from node.knocking import BrokenOff, DoorClosed, KnockError, NotReached, Refused
from protocol.doorway import Reason
from protocol.statements import Address
from tests.protocol.test_invites import INVITE

IN_TIME = INVITE.expires_s - 60.0
TOO_LATE = INVITE.expires_s + 60.0
NOWHERE = NotReached([(Address("192.0.2.1", 7400), "no answer in time")])


def refused(reason: Reason) -> Refused:
    return Refused(reason, wall_ms=0)


@pytest.mark.parametrize(
    ("error", "now_s", "kind", "exit_code", "words"),
    [
        (NOWHERE, IN_TIME, "no-peer", 4, "192.0.2.1:7400: no answer in time"),
        (NOWHERE, TOO_LATE, "invite-expired", 5, "by this machine's clock"),
        (DoorClosed("-"), IN_TIME, "invite-unknown", 5, "by its clock it has expired"),
        (DoorClosed("-"), TOO_LATE, "invite-expired", 5, "2027-01-15 08:00:00 UTC"),
        (refused("expired"), IN_TIME, "invite-expired", 5, "by its clock it has expired"),
        (refused("expired"), TOO_LATE, "invite-expired", 5, "by both clocks"),
        (refused("unknown"), IN_TIME, "invite-unknown", 5, "knows the invite no more"),
        (refused("used"), IN_TIME, "invite-used", 5, "used up"),
        (refused("revoked"), IN_TIME, "invite-revoked", 5, "revoked"),
        (refused("blocked"), IN_TIME, "invite-blocked", 5, "blocked"),
        (refused("wrong-proof"), IN_TIME, "invite-wrong-proof", 5, "did not accept the proof"),
        (refused("banned"), IN_TIME, "invite-banned", 5, "banned"),
        (refused("busy"), IN_TIME, "invite-busy", 5, "not used"),
        (refused("failed"), IN_TIME, "failed", 1, "could not record"),
        (BrokenOff("no answer"), IN_TIME, "failed", 1, "may be spent"),
    ],
)
def test_each_reason_has_its_words(error: KnockError, now_s: float, kind: str, exit_code: int, words: str) -> None:
    """Whoever joins unattended reads the cause and the next step; clocks that differ are named, with their times."""
    failure = failure_of(error, INVITE, now_s=now_s)

    assert (failure.type, failure.exit_code) == (kind, exit_code)
    assert words in failure.detail
    assert failure.next_step


@pytest.mark.parametrize("reason", typing.get_args(Reason))
def test_no_reason_is_without_words(reason: Reason) -> None:
    """A reason that is added to the wire is added here."""
    assert failure_of(refused(reason), INVITE, now_s=IN_TIME).next_step
