"""A check that cannot fail is a defect: for each that a verdict lists, a test makes it fail."""

import inspect
from collections.abc import Callable
from typing import Any, Final

import pytest

from simulations.catalogue import scenario_of
from simulations.simulation import Simulation
from tests.simulations import test_simulation as runs
from tests.simulations.checkers import test_elections as elections
from tests.simulations.checkers import test_leases as leases
from tests.simulations.checkers import test_members as members
from tests.simulations.checkers import test_records as records

MADE_TO_FAIL: Final[dict[str, Callable[..., Any]]] = {
    "the run came to its end": runs.test_a_run_that_ends_early_says_why_and_when,
    "no error escaped": runs.test_an_error_that_nobody_takes_is_told,
    "no peer ended by itself": runs.test_a_peer_that_ends_by_itself_is_told,
    "all is well again": runs.test_a_network_that_does_not_recover_in_time_fails,
    "as the scenario expects": runs.test_what_the_scenario_expects_is_checked,
    "one vote per term": elections.test_two_candidates_in_one_term_are_a_double_vote,
    "no leader votes for another": elections.test_a_leader_that_votes_for_another_and_leads_on_is_found,
    "votes reach the disk": elections.test_a_vote_that_never_reached_the_disk_is_found,
    "certificates prove a majority": elections.test_a_certificate_that_proves_nothing_is_found,
    "certificates hold where they are followed": (
        elections.test_a_certificate_of_another_council_than_the_followers_is_found
    ),
    "no peer follows an earlier leader again": elections.test_following_an_earlier_leader_is_found,
    "one leader per group": elections.test_two_leaders_of_a_whole_group_are_found_after_two_seconds,
    "leaders reach a majority": elections.test_a_leader_that_reaches_no_majority_for_long_is_found,
    "leases never overlap": leases.test_two_leases_at_one_moment_of_true_time_are_found,
    "acknowledged means synced": records.test_a_receipt_that_is_not_true_is_found,
    "no acknowledged write is lost": records.test_a_lost_write_is_found_unless_all_its_disks_were_destroyed,
    "reads return what was written": records.test_a_value_that_nobody_wrote_is_found,
    "reads return the newest version seen": records.test_less_than_the_newest_version_seen_is_found,
    "reads on a quiet network are fresh": records.test_an_old_answer_of_a_quiet_network_is_found,
    "a quiet network answers": (
        records.test_a_failure_on_a_quiet_network_is_found_and_so_is_a_nameless_one_anywhere
    ),
    "deleted and expired keys stay away": records.test_a_key_that_returns_is_found,
    "every peer answers alike": records.test_peers_that_answer_differently_are_found,
    "one leader in the end": members.test_no_one_leader_in_the_end_is_found,
    "equal member tables in the end": members.test_tables_that_differ_are_found,
    "k copies of everything in the end": records.test_a_missing_copy_is_found,
    "machines keep their invariants": members.test_a_broken_invariant_is_found,
    "the dead are found": members.test_a_dead_peer_that_is_taken_for_living_is_found,
    "member tables name only who exists": members.test_an_invented_member_is_found_and_a_guest_is_not,
    "terms stay near each other": members.test_a_term_that_no_election_explains_is_found,
    "no datagram is opened twice": members.test_a_datagram_that_is_opened_twice_is_found,
    "no storm of datagrams": members.test_a_storm_is_found,
}


def test_no_check_is_missing() -> None:
    """A network with fixed voters has every check."""
    verdict = Simulation(scenario_of("fixed-voters", seed=1, nodes=3, duration_s=2.0), seed=1).run()

    assert [check.name for check in verdict.checks] == list(MADE_TO_FAIL)


@pytest.mark.parametrize("name", MADE_TO_FAIL)
def test_its_test_expects_the_check_to_fail(name: str) -> None:
    """Each test says so in one of the ways that there are."""
    text = inspect.getsource(MADE_TO_FAIL[name])

    assert any(word in text for word in ("fails(", "failed(", "assert not found.ok"))
