"""Failures that a user of the API or of the command line sees; one table maps them to status and exit code."""

from typing import Final

from protocol.errors import PairError

PROBLEM_TYPES: Final[dict[str, tuple[int, str]]] = {
    "bad-request": (400, "The request cannot be understood"),
    "key-invalid": (400, "The key is empty, too long or not UTF-8"),
    "token-missing": (401, "A token is needed"),
    "token-unknown": (401, "The token is not one of this network"),
    "level-too-low": (403, "The token does not allow this"),
    "banned": (403, "The admin banned this peer from the network"),
    "admin-key-missing": (409, "This needs the admin's key, which is not on the peer's machine"),
    "key-owned": (403, "The key belongs to another peer"),
    "host-not-allowed": (403, "The Host or Origin header is not allowed"),
    "faults-disabled": (403, "The peer was started without --faults"),
    "loopback-only": (403, "Only programs on the peer's own machine may do this"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "conflict": (409, "Another operation is in the way"),
    "version-mismatch": (412, "The stored version is another"),
    "value-too-large": (413, "The value is too large"),
    "encoding-refused": (415, "The content encoding is not supported"),
    "media-type-refused": (415, "The content type is not supported"),
    "quota-exceeded": (429, "A limit is reached"),
    "too-many-requests": (429, "Too many requests at once"),
    "request-timeout": (408, "The request took too long to arrive"),
    "internal": (500, "The peer failed; its log says why"),
    "not-enough-holders": (503, "Too few peers confirmed"),
    "outcome-unknown": (503, "No answer in time: it may take effect later"),
    "not-ready": (503, "The peer has not joined yet"),
    "no-leader": (503, "There is no leader just now"),
    "disk-full": (507, "The disk is full"),
}
"""Problem type → (HTTP status, title)."""

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_NO_PEER: Final = 4
EXIT_REFUSED: Final = 5

_EXIT_OF_STATUS: Final[dict[int, int]] = {
    400: EXIT_USAGE,
    404: EXIT_NOT_FOUND,
    401: EXIT_REFUSED,
    403: EXIT_REFUSED,
    409: EXIT_REFUSED,
    412: EXIT_REFUSED,
    413: EXIT_REFUSED,
    429: EXIT_REFUSED,
}


def exit_code_of(status: int) -> int:
    """Return the exit code for an HTTP status of 400 or more."""
    return _EXIT_OF_STATUS.get(status, EXIT_FAILED)


class OperationError(PairError):
    """An operation ended without success; becomes a problem document or an error line.

    Attributes:
        type: A key of ``PROBLEM_TYPES``.
        detail: What happened, with the facts of this case.
        next_step: What the user can do about it.
        current_version: The stored version, for ``version-mismatch``.
    """

    def __init__(self, type: str, detail: str, *, next_step: str = "", current_version: str | None = None) -> None:
        assert type in PROBLEM_TYPES, type
        super().__init__(detail)
        self.type = type
        self.detail = detail
        self.next_step = next_step
        self.current_version = current_version

    @property
    def status(self) -> int:
        """The HTTP status."""
        return PROBLEM_TYPES[self.type][0]

    @property
    def title(self) -> str:
        """The short text of this kind of problem."""
        return PROBLEM_TYPES[self.type][1]
