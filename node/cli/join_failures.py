"""Why an invite let nobody in, and what to do about it: each reason has its own words."""

import datetime
from typing import TYPE_CHECKING, Final

from node.cli.failures import CommandFailed, failed, no_peer, refused
from protocol.invites import Invite

if TYPE_CHECKING:
    from node.knocking import KnockError
    from protocol.doorway import Reason

_ASK_ANEW: Final = "ask for a new one: pair invite"

_WORDS: "Final[dict[Reason, tuple[str, str]]]" = {
    "used": (
        "the invite is used up",
        f"{_ASK_ANEW}; one whose join was interrupted is spent as well",
    ),
    "revoked": ("the invite was revoked", _ASK_ANEW),
    "blocked": ("the invite is blocked: somebody came with it and could not prove its secret", _ASK_ANEW),
    "wrong-proof": ("the inviting peer did not accept the proof: this is not the invite that it issued", _ASK_ANEW),
    "banned": ("the admin has banned this peer from the network", "the admin can lift it: pair ban --lift PEER"),
    "busy": ("the inviting peer has too many newcomers at once; the invite was not used", "try again in a second"),
}


def refused_invite(kind: str, detail: str, *, next_step: str) -> CommandFailed:
    """Return the failure for an invite that does not work (exit 5)."""
    return refused(detail, next_step=next_step, type=f"invite-{kind}", status=403)


def failure_of(error: "KnockError", invite: Invite, *, now_s: float) -> CommandFailed:
    """Return the failure for an invite that let nobody in at ``now_s``, by this machine's clock."""
    from node.knocking import BrokenOff, DoorClosed, NotReached, Refused

    is_over = now_s >= invite.expires_s
    if isinstance(error, NotReached):
        if is_over:
            return _expired(invite, "by this machine's clock")
        return no_peer(
            f"the inviting peer was not reached ({error}); the invite was not used",
            next_step="see that it runs, that its peer port is open to this machine, and that it is bound to more than"
            " 127.0.0.1: pair doctor there tells",
        )
    if isinstance(error, BrokenOff):
        return failed(
            f"{error}: the invite may be spent, though nobody came in",
            next_step="try it once more; if it is used up, ask for a new one: pair invite",
        )
    assert isinstance(error, (DoorClosed, Refused)), "these are all"
    reason = "unknown" if isinstance(error, DoorClosed) else error.reason
    if reason == "failed":
        return failed(
            "the inviting peer could not record the use of the invite, so it let nobody in",
            next_step="see its log and its disk, then ask for a new invite",
        )
    if reason in ("unknown", "expired"):
        if is_over:
            return _expired(invite, "by both clocks" if reason == "expired" else "by this machine's clock")
        return refused_invite(
            reason,
            f"the inviting peer knows the invite no more: by its clock it has expired, or its data was lost; by this"
            f" machine's clock it is {_clock(now_s)} and the invite is good until {_clock(invite.expires_s)}",
            next_step=f"compare the clocks of both machines, and {_ASK_ANEW}",
        )
    words, next_step = _WORDS[reason]
    return refused_invite(reason, words, next_step=next_step)


def _expired(invite: Invite, by: str) -> CommandFailed:
    return refused_invite("expired", f"the invite expired at {_clock(invite.expires_s)}, {by}", next_step=_ASK_ANEW)


def _clock(time_s: float) -> str:
    moment = datetime.datetime.fromtimestamp(int(time_s), tz=datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
