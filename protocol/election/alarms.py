"""What the election tells people about, at most once in a second: terms far too high, lists that contradict."""

from typing import Final

from protocol.effects import Alarm, MachineEffect, Report
from protocol.election.station import Station
from protocol.ids import PeerId
from protocol.statements import Ballot
from protocol.throttle import Throttle

_ALARMS_PER_S: Final = 1


class Alarms:
    """Raises alarms of one peer."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._throttle = Throttle(_ALARMS_PER_S)

    def watch(self, ballot: Ballot, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Raise an alarm about a term that no honest network reaches; the caller refuses it anyway."""
        if self._station.promises.is_jump(ballot):
            self.jump(ballot, sender, now, effects)

    def jump(self, ballot: Ballot, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Tell that ``sender`` speaks of a term far above ours."""
        term = self._station.promises.top.term
        self.tell(f"refused: {sender.hex()[:12]} speaks of term {ballot.term}, far above {term}", now, effects)

    def tell(self, text: str, now: float, effects: list[MachineEffect]) -> bool:
        """Raise an alarm, unless there was one just now; return whether it was raised."""
        is_allowed = self._throttle.allows(now)
        if is_allowed:
            effects.append(Report(Alarm(text)))
        return is_allowed
