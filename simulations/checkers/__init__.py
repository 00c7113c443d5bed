"""What must hold in every run. Each checker names the rule it watches, and can fail: tests show how."""

from simulations.checkers.calm import Calm
from simulations.checkers.certificates import CertificatesProve, NoStepBack
from simulations.checkers.checker import Checker, Context
from simulations.checkers.health import MachinesKeepTheirInvariants, NoStorm, TablesAreBounded
from simulations.checkers.leaders import OneLeaderPerGroup
from simulations.checkers.network_times import NetworkTimes
from simulations.checkers.progress import EnoughCopies, EqualTables, OneLeaderInTheEnd
from simulations.checkers.reads import CalmAnswers, CalmReadsAreFresh, ReadsAreTrue
from simulations.checkers.votes import OneVotePerTerm, VotesReachTheDisk
from simulations.checkers.writes import EverybodyAnswersAlike, GoneStaysGone, NoWriteIsLost

__all__ = ["Checker", "Context", "make_checkers"]


def make_checkers(context: Context) -> list[Checker]:
    """Return all checkers for one run, in the order in which a verdict lists them."""
    calm, times = Calm(context), NetworkTimes(context)
    return [
        OneVotePerTerm(context),
        VotesReachTheDisk(context),
        CertificatesProve(context),
        NoStepBack(context),
        OneLeaderPerGroup(context),
        NoWriteIsLost(context),
        ReadsAreTrue(context),
        CalmReadsAreFresh(context, calm),
        CalmAnswers(context, calm),
        GoneStaysGone(context, times),
        EverybodyAnswersAlike(context, times),
        OneLeaderInTheEnd(context),
        EqualTables(context),
        EnoughCopies(context),
        MachinesKeepTheirInvariants(context),
        TablesAreBounded(context),
        NoStorm(context),
    ]
