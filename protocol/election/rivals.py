"""Two leaders meet: who unites the sides, and when.

The larger side calls a merge election; with equal numbers the lower leader id does (DESIGN section 6). Most
meetings need no election: as soon as the views of both sides agree, the certificate of one often holds for all. So
each leader shows the other its certificate and waits until its view has settled, and calls an election only if the
other leader itself said just now that it still leads.
"""

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

from protocol.config import ProtocolConfig
from protocol.ids import PeerId
from protocol.statements import Ballot

_FORGOTTEN_S: Final = 1.0
"""A rival of whom nobody spoke for this long leads no more, or is out of reach."""

_PATIENCE_S: Final = 0.6
"""How long the smaller side waits for the larger one to call the election before it does so itself."""

SideKey: TypeAlias = tuple[int, PeerId]


@dataclass(slots=True)
class Rival:
    """The leader of another side."""

    ballot: Ballot
    followers: int
    met_at: float
    noticed_at: float
    word_at: float = -math.inf
    """When the rival itself last said that it leads."""

    shown_at: float = -math.inf
    """When we last showed it our certificate."""

    asked_again_at: float = -math.inf

    @property
    def key(self) -> SideKey:
        """Orders sides: the smaller key unites them."""
        return (-self.followers, self.ballot.peer_id)


class Rivals:
    """The strongest other side that a leader knows of; the others are united with it by the same election."""

    def __init__(self, config: ProtocolConfig) -> None:
        self._config = config
        self.rival: Rival | None = None

    def met(self, ballot: Ballot, *, followers: int, is_own_word: bool, now: float) -> bool:
        """Note another side; return whether to show its leader our certificate now.

        Args:
            is_own_word: The rival itself sent it, not one of our followers who heard of it.
        """
        known = self._fresh(now)
        if known is None or (known.ballot.peer_id != ballot.peer_id and (-followers, ballot.peer_id) < known.key):
            known = self.rival = Rival(ballot=ballot, followers=followers, met_at=now, noticed_at=now)
        elif known.ballot.peer_id != ballot.peer_id:
            return False
        known.noticed_at = now
        if is_own_word:
            known.ballot, known.followers, known.word_at = ballot, followers, now
        return self._show(known, now)

    def resolved(self, peer_id: PeerId) -> None:
        """Forget the rival if it is ``peer_id``: it follows us now, or lives no more."""
        if self.rival is not None and self.rival.ballot.peer_id == peer_id:
            self.rival = None

    def must_unite(self, own: SideKey, *, now: float) -> bool:
        """Return whether it is our turn, and the rival said just now that it still leads."""
        rival = self._fresh(now)
        return rival is not None and now >= self._due_at(rival, own) and now - rival.word_at <= self._freshness_s

    def must_ask(self, own: SideKey, *, now: float) -> bool:
        """Return whether to show our certificate again, so that the rival follows or says that it leads."""
        rival = self._fresh(now)
        if rival is None or now < max(self._due_at(rival, own), rival.asked_again_at + self._freshness_s):
            return False
        rival.asked_again_at = rival.shown_at = now
        return True

    def next_deadline(self, own: SideKey) -> float:
        """Return when ``must_unite`` or ``must_ask`` may become true."""
        if self.rival is None:
            return math.inf
        at = max(self._due_at(self.rival, own), self.rival.asked_again_at + self._freshness_s)
        return at if at <= self.rival.noticed_at + _FORGOTTEN_S else math.inf

    @property
    def _freshness_s(self) -> float:
        """About a round trip and a half, however far away peers are."""
        return self._config.vote_timeout_s / 2

    def _due_at(self, rival: Rival, own: SideKey) -> float:
        return rival.met_at + self._config.view_settle_s + (0.0 if own < rival.key else _PATIENCE_S)

    def _fresh(self, now: float) -> Rival | None:
        if self.rival is not None and now - self.rival.noticed_at > _FORGOTTEN_S:
            self.rival = None
        return self.rival

    def _show(self, rival: Rival, now: float) -> bool:
        if now - rival.shown_at < self._freshness_s:
            return False
        rival.shown_at = now
        return True
