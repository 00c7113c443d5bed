"""Bearer tokens and the levels they give: none < read < member < admin."""

import hmac
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from node.errors import OperationError
from protocol.errors import ConfigError

Level: TypeAlias = Literal["none", "read", "member", "admin"]

LEVELS: Final[tuple[Level, ...]] = ("none", "read", "member", "admin")
"""Ascending: each level may do all that those before it may."""

_RANK: Final[dict[str, int]] = {level: rank for rank, level in enumerate(LEVELS)}


class TokenTable:
    """The tokens of one network."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """Take the token of each level; a level without a token is open to nobody.

        Raises:
            ConfigError: A level is unknown or a token is empty.
        """
        for level, token in tokens.items():
            if level not in LEVELS[1:] or not token:
                raise ConfigError(
                    f"the token of level {level!r} is empty or of no known level",
                    next_step="set tokens.json aside and start again: the peer writes a new one",
                )
        self._held: tuple[tuple[Level, bytes], ...] = tuple(
            (level, tokens[level].encode()) for level in reversed(LEVELS) if level in tokens
        )

    def demand(self, level: Level, authorization: str | None) -> None:
        """Let the bearer of ``authorization`` (the header's value, or None) pass if it allows ``level``.

        Raises:
            OperationError: ``token-missing``, ``token-unknown`` or ``level-too-low``.
        """
        if level == "none":
            return
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _refusal("token-missing", f"this route needs the {level} level", level)
        held = self._level_of(token.strip())
        if held is None:
            raise _refusal("token-unknown", "no level of this network has that token", level)
        if _RANK[held] < _RANK[level]:
            raise _refusal("level-too-low", f"this route needs the {level} level and the token gives {held}", level)

    def _level_of(self, token: str) -> Level | None:
        presented = token.encode(errors="surrogateescape")
        found: Level | None = None
        # Every token is compared, in constant time each, so that the time taken tells nothing.
        for level, held in self._held:
            if hmac.compare_digest(presented, held) and found is None:
                found = level
        return found


def _refusal(type: str, detail: str, level: Level) -> OperationError:
    next_step = f"send `Authorization: Bearer TOKEN`; `pair token --level {level}` prints one"
    return OperationError(type, detail, next_step=next_step)
