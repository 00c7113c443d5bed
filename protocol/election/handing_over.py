"""Planned handover: the leader signs its lead away to a successor, who stands at once (Raft 2014 thesis, 3.10)."""

import math
from typing import Final

from protocol.effects import MachineEffect, Tell
from protocol.election.station import Station
from protocol.ids import PeerId
from protocol.messages import Handover
from protocol.statements import Ballot

_TOLD_MAX: Final = 4
"""How often the successor is asked, should the datagram or its election get lost."""


class PlannedHandover:
    """The signed release of a former leader, told to its successor until somebody else leads."""

    def __init__(self, station: Station, ballot: Ballot, successor: PeerId) -> None:
        """Sign the release of ``ballot``; whoever does this must not act on it any more."""
        self._successor = successor
        self._message = Handover(release=station.sign_release(ballot, successor))
        self._pause_s = station.config.vote_timeout_s / 8
        self._told = 0
        self._tell_at = -math.inf

    def wake(self, now: float) -> list[MachineEffect]:
        """Tell the successor, if it is time."""
        if now < self.next_deadline():
            return []
        self._told += 1
        self._tell_at = now + self._pause_s * 2**self._told
        return [Tell(self._successor, self._message)]

    def next_deadline(self) -> float:
        """Return when ``wake`` has something to do."""
        return self._tell_at if self._told < _TOLD_MAX else math.inf


def obstacle_to(station: Station, wished: PeerId | None) -> str:
    """Return why ``wished``, or anybody when it is None, cannot take over; empty when there is somebody who can."""
    if choose_successor(station, wished) is not None:
        return ""
    if wished is None:
        return "no other member that may lead is surely alive"
    if wished == station.me:
        return "it leads already"
    if wished not in station.electorate.living:
        return "the leader knows no such living member"
    if wished in station.electorate.suspects:
        return "the one asked for is suspected to have failed"
    return "the one asked for is no voter"


def choose_successor(station: Station, wished: PeerId | None) -> PeerId | None:
    """Return who should lead next: ``wished``, or the lowest id; never a suspect, for it may be dead."""
    fit = [
        peer
        for peer in station.electorate.living
        if peer != station.me
        and peer not in station.electorate.suspects
        and station.rules.may_lead(peer, station.council)
    ]
    if wished is not None:
        return wished if wished in fit else None
    return fit[0] if fit else None
