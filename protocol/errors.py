"""What can go wrong, as a tree.

    PairError
    ├── RemoteProtocolError   bytes or behaviour of another peer are wrong: count, drop, go on
    │   └── DecodeError       bytes are not a valid message
    │       └── InviteError   a text is no whole invite: says what is wrong with it, and what to do
    ├── LocalProtocolError    we misused an interface: fix the caller
    └── EnvironmentFault      disk, network or configuration: say what to do next
        ├── StoreError        something on disk cannot be read or written
        │   └── DiskFull      there is no space left; the same works again once there is
        ├── ConfigError       an option or a file has a value that cannot work
        └── JoinError         the network cannot be reached or does not admit us

Broken invariants are ``assert``: a peer that cannot trust its memory must not vote.
"""


class PairError(Exception):
    """Base of all errors of this program."""


class RemoteProtocolError(PairError):
    """Another peer sent bytes or showed behaviour that the protocol forbids."""


class DecodeError(RemoteProtocolError):
    """Bytes are not a valid message; decoding raises this, or a kind of this, and nothing else."""


class InviteError(DecodeError):
    """A text is no whole invite of this version. A person typed or copied it: ``next_step`` tells what to do."""

    def __init__(self, cause: str, *, next_step: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.next_step = next_step


class LocalProtocolError(PairError):
    """An interface of ours was misused by our own code."""


class EnvironmentFault(PairError):
    """Disk, network or configuration do not allow it. ``next_step`` tells a person what to do."""

    def __init__(self, cause: str, *, next_step: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.next_step = next_step


class StoreError(EnvironmentFault):
    """Something on disk cannot be read or written."""


class DiskFull(StoreError):
    """There is no space left; nothing was stored, and the same works again once there is space."""


class ConfigError(EnvironmentFault):
    """An option or a file holds a value that cannot work."""


class JoinError(EnvironmentFault):
    """The network cannot be reached or does not admit this peer."""
