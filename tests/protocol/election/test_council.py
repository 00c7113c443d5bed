"""Who votes, and which views of that may still agree."""

import pytest

from protocol.election.council import council_of, holds_in, is_well_formed, share_majority
from tests.protocol.election.papers import certificate
from tests.protocol.election.town import ids


@pytest.mark.parametrize(
    ("living", "council"), [(range(1), range(1)), (range(5), range(5)), (range(3, 50), range(3, 10))]
)
def test_council_is_the_seven_lowest_ids(living: range, council: range) -> None:
    """All, when there are fewer (DESIGN section 6)."""
    assert council_of(ids(living)) == ids(council)


def test_council_that_does_not_ascend_is_malformed() -> None:
    """Nobody counts twice."""
    first, second = ids([0, 1])

    assert is_well_formed((first, second))
    assert not is_well_formed((second, first))
    assert not is_well_formed((first, first))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([0, 1, 2, 3, 4], [1, 2, 3, 4], True),  # one died
        ([0, 1, 2], [2, 3, 4], False),
        ([0], [0, 1, 2], False),  # not a majority of the larger
        ([0, 1], [0, 1, 2], True),
    ],
)
def test_views_agree_when_they_share_a_majority_of_both(left: list[int], right: list[int], expected: bool) -> None:
    """Views differ for moments while members come and go."""
    assert share_majority(ids(left), ids(right)) is expected
    assert share_majority(ids(right), ids(left)) is expected


@pytest.mark.parametrize(
    ("council", "holds"), [(range(5), True), (range(1, 5), False), (range(1, 4), True), (range(5, 12), False)]
)
def test_certificate_holds_when_its_signers_are_a_majority_of_the_view(council: range, holds: bool) -> None:
    """Peers 0, 1 and 2 signed."""
    assert holds_in(certificate(0), ids(council)) is holds
