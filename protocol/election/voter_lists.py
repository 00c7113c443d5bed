"""How lists of voters spread between peers, and what a newer one changes here (*quorum* mode).

A list travels when it is needed: a newcomer and its contact tell each other what they know, and whoever hears of a
council that is not its own tells its list. The newer one is adopted, the older one answered; two that contradict each
other are both kept, nobody follows the other side's certificates, and both sides raise an alarm.
"""

from typing import Final

from protocol.effects import KeepVoters, MachineEffect, Tell
from protocol.election.alarms import Alarms
from protocol.election.station import Station
from protocol.ids import PeerId
from protocol.messages import VotersKnown
from protocol.throttle import Throttle

_TOLD_PER_S: Final = 200
_WEIGHED_PER_S: Final = 50
"""Lists told and weighed per second; a new one costs a signature to check."""


class VoterLists:
    """Tells and takes lists of voters; in a mode without them it does nothing."""

    def __init__(self, station: Station, alarms: Alarms) -> None:
        self._station = station
        self._alarms = alarms
        self._told = Throttle(_TOLD_PER_S)
        self._weighed = Throttle(_WEIGHED_PER_S)
        self._is_kept = False

    def begin(self, boot: int) -> bool:
        """Settle at the start of ``boot`` whether this voter is silenced; return whether the disk must learn of it."""
        station = self._station
        if not station.is_silenced:
            return False
        if not station.promises.lost_in:
            station.promises.lose(boot)
        self.readmit()
        return True

    def keep(self, effects: list[MachineEffect]) -> None:
        """Have the list that this peer started with kept among its own documents, once."""
        if not self._is_kept and self._station.rules.voters is not None:
            effects.append(KeepVoters(self._station.rules.voters))
        self._is_kept = True

    def tell(self, to: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Tell the known list, or that none is known."""
        if self._told.allows(now):
            effects.append(Tell(to, VotersKnown(voters=self._station.rules.voters)))

    def compare(self, named: tuple[bytes, ...], sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Tell ``sender`` the own list if the council that it named is another one."""
        if not self._station.rules.unites_sides and named != self._station.council:
            self.tell(sender, now, effects)

    def heard(self, message: VotersKnown, sender: PeerId, now: float, effects: list[MachineEffect]) -> bool:
        """Take a list that ``sender`` knows; return whether it was adopted: the council may be another one now."""
        rules = self._station.rules
        if message.voters is None:
            if rules.voters is not None:
                self.tell(sender, now, effects)
            return False
        if not self._weighed.allows(now):
            return False
        match rules.learn(message.voters):
            case "older":
                self.tell(sender, now, effects)
            case "refused":
                text = f"{sender.hex()[:12]} knows another list of voters of version {message.voters.version}"
                if self._alarms.tell(f"{text}, which contradicts ours: its leaders are not followed", now, effects):
                    self.tell(sender, now, effects)
            case "adopted":
                effects.append(KeepVoters(message.voters))
                return True
        return False

    def spread(self, leader: PeerId | None, now: float, effects: list[MachineEffect]) -> None:
        """Tell the other voters and the leader of the list just adopted; everybody else asks when it matters."""
        others = {peer: None for peer in (*self._station.council, leader) if peer not in (None, self._station.me)}
        for peer in others:
            if peer is not None:
                self.tell(peer, now, effects)

    def readmit(self) -> bool:
        """Vote again if the admin said so of this very loss; return whether it did."""
        station = self._station
        if not station.is_silenced:
            return False
        word = station.rules.readmission(station.me, station.promises.lost_in)
        if word is not None:
            station.promises.readmit(word.above_term)
        return word is not None
