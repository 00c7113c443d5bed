"""What ``pair fault add`` asks of whom: names, groups, and who ends up cut off from whom."""

import pytest

from node.cli.failures import CommandFailed
from node.cli.fault_orders import KnownPeers, cuts_of_partition, described, listed

A, B, C, D = (letter * 64 for letter in "abcd")
KNOWN = KnownPeers(names={A: "peer-1", B: "peer-2", C: "peer-3", D: "peer-3"}, here={"peer-1": A, "peer-2": B})


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (["peer-1"], [A]),
        (["peer-1,peer-2"], [A, B]),
        (["peer-2", "peer-1, peer-2"], [B, A]),
        (["cccccc"], [C]),
        (["CCCCCCCC"], [C]),
        (["e" * 64], ["e" * 64]),
    ],
)
def test_names_and_starts_of_ids_mean_members(wanted: list[str], ids: list[str]) -> None:
    """Each once; a whole id may also mean somebody who is not met yet."""
    assert KNOWN.ids_of(wanted) == ids


def test_of_several_members_of_one_name_the_one_here_is_meant() -> None:
    """One that was purged and started anew lives on in the tables as failed."""
    assert KnownPeers(names={A: "peer-1", B: "peer-1"}, here={"peer-1": B}).ids_of(["peer-1"]) == [B]


@pytest.mark.parametrize(
    ("wanted", "code", "words"),
    [
        ("peer-3", 2, "may be any of"),
        ("peer-9", 3, "no peer 'peer-9'"),
        ("eeeeee", 3, "no peer"),
        ("peer-1,", 2, "empty"),
    ],
)
def test_a_name_that_means_nobody_or_several_is_refused(wanted: str, code: int, words: str) -> None:
    """Exit codes of DESIGN section 8."""
    with pytest.raises(CommandFailed, match=words) as failure:
        KNOWN.ids_of([wanted])

    assert failure.value.exit_code == code
    assert failure.value.next_step


@pytest.mark.parametrize(
    ("groups", "cuts"),
    [
        ([[A, B]], {A: [C, D], B: [C, D], C: [A, B], D: [A, B]}),
        ([[A], [B]], {A: [B, C, D], B: [A, C, D], C: [A, B], D: [A, B]}),
        ([[A, B], [B, C, D]], {A: [C, D], B: [], C: [A], D: [A]}),
        ([["e" * 64]], {A: ["e" * 64], B: ["e" * 64], C: ["e" * 64], D: ["e" * 64], "e" * 64: [A, B, C, D]}),
    ],
)
def test_a_partition_cuts_those_that_share_no_group(groups: list[list[str]], cuts: dict[str, list[str]]) -> None:
    """Whoever is in no group stays with the others of that kind; whoever is in two is a bridge."""
    assert cuts_of_partition(groups, [A, B, C, D]) == cuts


def test_a_partition_that_cuts_nobody_is_wrong_use() -> None:
    """All peers in one group are a network."""
    with pytest.raises(CommandFailed, match="nobody") as failure:
        cuts_of_partition([[A, B, C, D]], [A, B, C, D])

    assert failure.value.exit_code == 2


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        ({"kind": "cut", "peers": [A, D]}, ["peer-2", "f1", "cut", "both", "peer-1, peer-3", None, "12 s"]),
        ({"kind": "cut", "peers": ["e" * 64]}, ["peer-2", "f1", "cut", "both", "eeeeeeeeeeee", None, "12 s"]),
        ({"kind": "loss", "probability": 0.2}, ["peer-2", "f1", "loss", "both", "everybody", "20 %", "12 s"]),
        ({"kind": "delay", "ms": 50.0}, ["peer-2", "f1", "delay", "both", "everybody", "50 ms", "12 s"]),
        (
            {"kind": "delay", "ms": 50.0, "jitter_ms": 2.5},
            ["peer-2", "f1", "delay", "both", "everybody", "50 ms + 2.5 ms", "12 s"],
        ),
    ],
)
def test_a_fault_is_one_row(fields: dict[str, object], row: list[object]) -> None:
    """Names instead of ids where they are known."""
    fault = {
        "on": "peer-2", "id": "f1", "peers": None, "direction": "both", "probability": None, "ms": None,
        "jitter_ms": None, "expires_in_s": 12.3, **fields,
    }  # fmt: skip

    assert described(fault, KNOWN) == row


def test_a_long_list_says_how_many_more_there_are() -> None:
    """A row stays a row in a network of fifty."""
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d and 2 more"
