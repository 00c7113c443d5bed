"""Checks of votes, certificates and leaders fail where something is wrong, and only there."""

import msgspec
import pytest

from protocol.effects import LeaderChanged, Promise
from protocol.statements import Ballot, Certificate
from simulations.checkers.certificates import CertificatesHoldHere, CertificatesProve, NoStepBack
from simulations.checkers.leaders import LeadersHaveAMajority, OneLeaderPerGroup
from simulations.checkers.votes import LeadersVoteForNobodyElse, OneVotePerTerm, VotesReachTheDisk
from tests.simulations.checkers.doctored import Doctored, doctored, fails, holds

COUNCIL = bytes(16)


def test_two_candidates_in_one_term_are_a_double_vote() -> None:
    """Across boots: nothing but the signatures counts (Raft 2014, section 5.2)."""
    with doctored() as world:
        checker = world.watch(OneVotePerTerm(world.context))
        world.vote(2, Ballot(7, world.id_of(0)), COUNCIL)
        world.vote(2, Ballot(7, world.id_of(0)), COUNCIL)
        world.vote(2, Ballot(8, world.id_of(1)), COUNCIL)
        holds(checker)

        world.vote(2, Ballot(7, world.id_of(1)), COUNCIL)

        assert "peer-3 signed peer-2 in term 7 after peer-1" in fails(checker)


def test_two_councils_in_one_term_are_a_double_vote() -> None:
    """A vote names its council."""
    with doctored() as world:
        checker = world.watch(OneVotePerTerm(world.context))
        world.vote(2, Ballot(7, world.id_of(0)), COUNCIL)
        world.vote(2, Ballot(7, world.id_of(0)), bytes([1]) * 16)

        fails(checker)


def test_a_leader_that_votes_for_another_and_leads_on_is_found() -> None:
    """It may vote for itself; a follower votes for whom it likes (Raft 2014, section 5.1)."""
    with doctored() as world:
        world.run_all()
        checker = world.watch(LeadersVoteForNobodyElse(world.context))
        world.vote(0, Ballot(7, world.id_of(0)), COUNCIL)
        world.vote(2, Ballot(7, world.id_of(0)), COUNCIL)
        holds(checker)

        world.vote(0, Ballot(8, world.id_of(1)), COUNCIL)

        assert "peer-1 votes for peer-2 in term 8 and leads on" in fails(checker)


def test_a_vote_that_never_reached_the_disk_is_found() -> None:
    """The next look finds the disk behind the signature; a replaced disk is not asked."""
    with doctored() as world:
        checker, lost = world.watch(VotesReachTheDisk(world.context)), world.watch(VotesReachTheDisk(world.context))
        ballot = Ballot(7, world.id_of(0))
        world.vote(2, ballot, COUNCIL)
        disk = world.peers[2].disk
        disk.promise = Promise(voted=ballot, council_hash=COUNCIL, highest=ballot)
        world.scan(1.0)
        disk.promise = Promise(voted=Ballot(6, world.id_of(0)), council_hash=COUNCIL, highest=ballot)
        checker.scanned(2.0)

        assert "signed term 7 and its disk holds term 6" in fails(checker)
        disk.destroy()
        holds(lost)


def followed(world: Doctored, follower: int, certificate: Certificate | None) -> None:
    world.cluster.witness.reported(world.id_of(follower), LeaderChanged(certificate))


@pytest.mark.parametrize("flaw", ["minority", "twice", "stranger", "forged", "another ballot", "unsorted"])
def test_a_certificate_that_proves_nothing_is_found(flaw: str) -> None:
    """Whoever follows it was fooled."""
    with doctored() as world:
        checker = world.watch(CertificatesProve(world.context))
        good = world.certificate(term=3, candidate=0, voters=(0, 1, 2), council=(0, 1, 2, 3, 4))
        followed(world, 4, good)
        holds(checker)
        first, second, third = good.votes
        changed = {
            "minority": {"votes": (first, second)},
            "twice": {"votes": (first, first, second)},
            "stranger": {"council": tuple(sorted((world.id_of(0), world.id_of(1), world.id_of(4))))},
            "forged": {"votes": (first, second, msgspec.structs.replace(third, signature=bytes(64)))},
            "another ballot": {"ballot": Ballot(4, world.id_of(0))},
            "unsorted": {"council": good.council[::-1]},
        }[flaw]

        followed(world, 4, msgspec.structs.replace(good, **changed))

        fails(checker)


def test_two_certificates_of_one_council_and_term_are_found() -> None:
    """However good each is alone."""
    with doctored() as world:
        checker = world.watch(CertificatesProve(world.context))
        followed(world, 4, world.certificate(term=3, candidate=0, voters=(0, 1, 2), council=(0, 1, 2, 3, 4)))
        followed(world, 4, world.certificate(term=3, candidate=3, voters=(2, 3, 4), council=(0, 1, 2, 3, 4)))

        assert "the same council elected peer-1" in fails(checker)


def test_a_liar_that_votes_twice_breaks_no_promise_of_others() -> None:
    """Two majorities may have nobody in common but the one that lies."""
    with doctored() as world:
        checker = world.watch(CertificatesProve(world.context))
        world.cluster.guests.append(world.id_of(2))
        followed(world, 4, world.certificate(term=3, candidate=0, voters=(0, 1, 2), council=(0, 1, 2, 3, 4)))
        followed(world, 4, world.certificate(term=3, candidate=3, voters=(2, 3, 4), council=(0, 1, 2, 3, 4)))

        holds(checker)


def test_a_certificate_of_another_council_than_the_followers_is_found() -> None:
    """Good as it may be where it was made; a leader's own is its own affair."""
    with doctored() as world:
        world.run_all()
        checker = world.watch(CertificatesHoldHere(world.context))
        alone = world.certificate(term=3, candidate=0, voters=(0,), council=(0,))
        followed(world, 4, world.certificate(term=3, candidate=0, voters=(0, 1, 2), council=(0, 1, 2)))
        followed(world, 0, alone)
        holds(checker)

        followed(world, 4, alone)

        assert "peer-5 follows peer-1, for whom 1 of its council of 5 voted" in fails(checker)


def test_following_an_earlier_leader_is_found() -> None:
    """Within a boot by what was accepted, across boots by what is on disk."""
    with doctored() as world:
        later = world.certificate(term=5, candidate=0, voters=(0, 1, 2), council=(0, 1, 2, 3, 4))
        earlier = world.certificate(term=4, candidate=1, voters=(0, 1, 2), council=(0, 1, 2, 3, 4))
        within, across = world.watch(NoStepBack(world.context)), NoStepBack(world.context)
        followed(world, 3, later)
        holds(within)
        followed(world, 3, earlier)
        fails(within)

        world.watch(across)
        promise = Promise(voted=Ballot(0, bytes(32)), council_hash=COUNCIL, highest=later.ballot)
        world.peers[4].disk.promise = promise
        followed(world, 4, earlier)
        assert "peer-5 follows peer-2 in term 4 after term 5" in fails(across)


def test_two_leaders_of_a_whole_group_are_found_after_two_seconds() -> None:
    """A cut makes two groups, and each may have its leader."""
    with doctored() as world:
        world.run_all()
        world.run(world.peers[3], role="leader")
        cut, whole = OneLeaderPerGroup(world.context), OneLeaderPerGroup(world.context)
        world.network.partition([[p.host for p in world.peers[:3]], [p.host for p in world.peers[3:]]])
        world.watch(cut)
        world.scan(1.0, 2.0, 3.0, 4.0)
        assert not holds(cut).detail.startswith("0 ")

        world.network.heal_all()
        world.checkers = [whole]
        world.scan(5.0, 6.0, 7.0)
        holds(whole)
        world.scan(8.0)
        assert "peer-1 and peer-4 lead a group of 5" in fails(whole)


@pytest.mark.parametrize("cut", ["bridge", "one way"])
def test_who_reaches_others_in_part_is_in_no_group(cut: str) -> None:
    """Two that lead are no violation there: only safety holds."""
    with doctored() as world:
        world.run_all()
        world.run(world.peers[4], role="leader")
        hosts = [peer.host for peer in world.peers]
        if cut == "bridge":
            world.network.partition([hosts[:3], hosts[2:]])
        else:
            world.network.cut(hosts[4], hosts[0])
        checker = world.watch(OneLeaderPerGroup(world.context))
        world.scan(1.0, 2.0, 3.0, 4.0)
        assert holds(checker).detail.startswith("0 ")


def test_a_leader_that_reaches_no_majority_for_long_is_found() -> None:
    """Its lease is over, whether it knows or not."""
    with doctored() as world:
        world.run_all()
        checker = world.watch(LeadersHaveAMajority(world.context))
        world.scan(1.0, 2.0)
        holds(checker)
        world.network.partition([[world.peers[0].host], [peer.host for peer in world.peers[1:]]])
        world.scan(3.0)
        holds(checker)
        world.scan(4.0)

        assert "peer-1 leads and reaches 1 of 5" in fails(checker)
