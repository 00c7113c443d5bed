"""Which checks are judged on real processes: those that need nothing but what a network shows from outside."""

from typing import Final

from simulations.checkers.acknowledged import AcknowledgedIsOnDisk
from simulations.checkers.calm import Calm
from simulations.checkers.certificates import CertificatesHoldHere, CertificatesProve, NoStepBack
from simulations.checkers.checker import Checker, OutsideContext
from simulations.checkers.health import MachinesKeepTheirInvariants, NoStorm
from simulations.checkers.leaders import LeadersHaveAMajority, OneLeaderPerGroup
from simulations.checkers.leases import LeasesNeverOverlap
from simulations.checkers.members import DeadAreFound, TablesAreBounded, TermsAreBounded
from simulations.checkers.network_times import NetworkTimes
from simulations.checkers.progress import EnoughCopies, EqualTables, OneLeaderInTheEnd
from simulations.checkers.reads import CalmAnswers, CalmReadsAreFresh, ReadsAreTrue, ReadsReturnTheNewestSeen
from simulations.checkers.replays import NothingIsOpenedTwice
from simulations.checkers.votes import LeadersVoteForNobodyElse, OneVotePerTerm, VotesReachTheDisk
from simulations.checkers.writes import EverybodyAnswersAlike, GoneStaysGone, NoWriteIsLost

NOT_JUDGED: Final = tuple(
    checker.name
    for checker in (
        OneVotePerTerm,
        LeadersVoteForNobodyElse,
        VotesReachTheDisk,
        CertificatesProve,
        CertificatesHoldHere,
        NoStepBack,
        LeadersHaveAMajority,
        LeasesNeverOverlap,
        AcknowledgedIsOnDisk,
        MachinesKeepTheirInvariants,
        NothingIsOpenedTwice,
        NoStorm,
    )
)
"""Checks that look at signatures, memory, or the moment of a sync: a live run says nothing about them."""


def make_live_checkers(context: OutsideContext, calm: Calm) -> list[Checker]:
    """Return the checkers of a live run, in the order of ``simulations.checkers.make_checkers``."""
    times = NetworkTimes(context)
    return [
        OneLeaderPerGroup(context),
        NoWriteIsLost(context),
        ReadsAreTrue(context),
        ReadsReturnTheNewestSeen(context),
        CalmReadsAreFresh(context, calm),
        CalmAnswers(context, calm),
        GoneStaysGone(context, times),
        EverybodyAnswersAlike(context, times),
        OneLeaderInTheEnd(context),
        EqualTables(context),
        EnoughCopies(context),
        DeadAreFound(context),
        TablesAreBounded(context),
        TermsAreBounded(context),
    ]
