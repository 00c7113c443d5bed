"""What must hold in every run. Each checker names the rule it watches, and can fail: tests show how."""

from simulations.checkers.acknowledged import AcknowledgedIsOnDisk
from simulations.checkers.calm import Calm
from simulations.checkers.certificates import CertificatesHoldHere, CertificatesProve, NoStepBack
from simulations.checkers.checker import Audience, Checker, Context
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

__all__ = ["Audience", "Checker", "Context", "make_checkers"]


def make_checkers(context: Context) -> list[Checker]:
    """Return all checkers for one run, in the order in which a verdict lists them."""
    calm, times = Calm(context), NetworkTimes(context)
    return [
        OneVotePerTerm(context),
        LeadersVoteForNobodyElse(context),
        VotesReachTheDisk(context),
        CertificatesProve(context),
        CertificatesHoldHere(context),
        NoStepBack(context),
        OneLeaderPerGroup(context),
        LeadersHaveAMajority(context),
        *([LeasesNeverOverlap(context)] if LeasesNeverOverlap.is_promised(context) else []),
        AcknowledgedIsOnDisk(context, calm),
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
        MachinesKeepTheirInvariants(context),
        DeadAreFound(context),
        TablesAreBounded(context),
        TermsAreBounded(context),
        NothingIsOpenedTwice(context),
        NoStorm(context),
    ]
