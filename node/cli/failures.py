"""How a command fails: one cause, one next step, one exit code.

Whatever goes wrong below becomes a ``CommandFailed`` here, so that ``node.cli.main`` prints one line and a next
step, or with ``--json`` a problem document, and never a traceback.
"""

from typing import Any, Final

from bootstrap.locks import FolderInUse
from node.api_client import ApiError, NoConnection, ProblemAnswer
from node.errors import EXIT_FAILED, EXIT_NO_PEER, EXIT_NOT_FOUND, EXIT_REFUSED, EXIT_USAGE, exit_code_of
from protocol.errors import ConfigError, EnvironmentFault, PairError

_DETAIL_SIZE_MAX: Final = 600
"""Characters of a cause: it may quote what somebody typed, which must not fill a screen."""


class CommandFailed(PairError):
    """A command ends without success.

    Attributes:
        type: Problem type, as in ``node.errors.PROBLEM_TYPES``, or one of this module's.
        status: The HTTP status that says the same.
        detail: The cause, one line.
        next_step: What to do about it, one line; may be empty.
        exit_code: What the process ends with.
        facts: Further members of the problem document.
    """

    def __init__(
        self,
        detail: str,
        *,
        exit_code: int,
        type: str,
        status: int,
        title: str,
        next_step: str = "",
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.detail = _shortened(detail)
        super().__init__(self.detail)
        self.exit_code = exit_code
        self.type = type
        self.status = status
        self.title = title
        self.next_step = next_step
        self.facts = facts or {}

    def document(self) -> dict[str, Any]:
        """Return the problem document (RFC 9457) with ``exit`` added."""
        named = {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
        if self.next_step:
            named["next_step"] = self.next_step
        return {**self.facts, **named, "exit": self.exit_code}


def failed(detail: str, *, next_step: str = "") -> CommandFailed:
    """Return the failure for what did not work (exit 1)."""
    return CommandFailed(
        detail, exit_code=EXIT_FAILED, type="failed", status=500, title="It did not work", next_step=next_step
    )


def wrong_use(detail: str, *, next_step: str = "", facts: dict[str, Any] | None = None) -> CommandFailed:
    """Return the failure for a command that makes no sense (exit 2)."""
    return CommandFailed(
        detail, exit_code=EXIT_USAGE, type="usage", status=400, title="Wrong use", next_step=next_step, facts=facts
    )


def not_found(detail: str, *, next_step: str = "") -> CommandFailed:
    """Return the failure for what does not exist (exit 3)."""
    return CommandFailed(
        detail, exit_code=EXIT_NOT_FOUND, type="not-found", status=404, title="Not found", next_step=next_step
    )


def no_peer(detail: str, *, next_step: str = "") -> CommandFailed:
    """Return the failure for a peer, or all peers, out of reach (exit 4)."""
    return CommandFailed(
        detail, exit_code=EXIT_NO_PEER, type="no-peer", status=503, title="No peer reachable", next_step=next_step
    )


def refused(detail: str, *, next_step: str = "", type: str = "conflict", status: int = 409) -> CommandFailed:
    """Return the failure for what is not allowed just now (exit 5)."""
    return CommandFailed(
        detail, exit_code=EXIT_REFUSED, type=type, status=status, title="Refused", next_step=next_step
    )


def of_environment(fault: EnvironmentFault) -> CommandFailed:
    """Return the failure for a fault of disk, network or configuration; a wrong option is wrong use."""
    if isinstance(fault, FolderInUse):
        return refused(fault.cause, next_step=fault.next_step)
    if isinstance(fault, ConfigError):
        return wrong_use(fault.cause, next_step=fault.next_step)
    return failed(fault.cause, next_step=fault.next_step)


def of_api(error: ApiError, *, writing: bool) -> CommandFailed:
    """Return the failure for a request that did not succeed.

    Args:
        writing: Whether the request may have changed something although no answer came.
    """
    if isinstance(error, NoConnection):
        return no_peer(str(error), next_step="pair ps shows what runs here; pair up 5 starts a network")
    if isinstance(error, ProblemAnswer):
        return _of_problem(error)
    return CommandFailed(
        str(error),
        exit_code=EXIT_FAILED,
        type="outcome-unknown" if writing else "no-answer",
        status=503,
        title="No whole answer came",
        next_step="it may take effect later: read before you try again" if writing else "try again, or ask --peer",
    )


def _shortened(text: str) -> str:
    """Return ``text``, or its two ends when it is too long: the cause stands before or behind what it quotes."""
    if len(text) <= _DETAIL_SIZE_MAX:
        return text
    half = _DETAIL_SIZE_MAX // 2
    return f"{text[:half]} … {text[-half:]}"


def _of_problem(error: ProblemAnswer) -> CommandFailed:
    problem = error.problem
    type_name = str(problem.get("type", "about:blank")).rpartition("/")[2]
    return CommandFailed(
        str(error),
        exit_code=exit_code_of(error.status),
        type=str(problem.get("type", "about:blank")),
        status=error.status,
        title=str(problem.get("title", "")),
        next_step=str(problem.get("next_step") or _NEXT_STEPS.get(type_name, "")),
        facts={name: value for name, value in problem.items() if name != "exit"},
    )


_NEXT_STEPS = {
    "bad-request": "check what was given; pair COMMAND --help shows what is possible",
    "token-missing": "name a file with a token: --token-file F",
    "level-too-low": "use a token of a higher level: pair token --level admin prints one",
    "not-found": "pair keys lists what there is",
    "version-mismatch": "pair get --json shows the stored version",
    "value-too-large": "a value has at most 1 MiB",
    "not-enough-holders": "it may or may not survive: read it, or put it again",
    "outcome-unknown": "it may take effect later: read before you try again",
    "not-ready": "wait a moment and try again; pair status shows what the peer waits for",
    "no-leader": "wait a moment and try again; pair leader shows the next one",
}
"""For peers that give none: what helps for each type of problem."""
