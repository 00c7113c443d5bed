"""``up`` returns when every table holds all peers and all follow one leader, and says what is missing otherwise."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bootstrap.peer_folder import PeerFolder
from node.cli.failures import CommandFailed
from node.cli.interrupts import Interrupts
from node.cli.peers import LocalPeer
from node.cli.settling import settle, settled_statuses
from node.cli.waiting import StatusLine


class Answers:
    """Stands for the peers: each question of a peer takes its next answer; the last one stays."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def ask(self, path: str, names: Iterable[str], *, timeout_s: float) -> dict[str, Any]:
        found = {}
        for name in names:
            self.asked.append(name)
            rest = self.answers[name.replace("-", "_")]
            answer = rest.pop(0) if len(rest) > 1 else rest[0]
            if answer is not None:
                found[name] = answer
        return found


def table(*alive: int, leader: int | None) -> list[dict[str, str]]:
    return [
        {"id": f"id-{number}", "state": "alive", "role": "leader" if number == leader else "follower"}
        for number in alive
    ]


def status(*, alive: int, leader: int | None) -> dict[str, Any]:
    return {"members": {"alive": alive}, "leader": f"id-{leader}" if leader is not None else None}


def two_peers(state: str) -> list[LocalPeer]:
    return [
        LocalPeer(folder=PeerFolder(Path(f"/peer-{i}")), network="local", id=f"id-{i}", run=None, state=state)  # type: ignore[arg-type]
        for i in (1, 2)
    ]


def statuses_of_two(answers: Answers, *, state: str = "running", timeout_s: float = 5.0) -> dict[str, Any]:
    with Interrupts() as interrupts:
        return settled_statuses(answers, lambda: two_peers(state), timeout_s=timeout_s, interrupts=interrupts)  # type: ignore[arg-type]


def settle_two(answers: Answers, *, state: str = "running", timeout_s: float = 5.0) -> None:
    peers = two_peers(state)
    with Interrupts() as interrupts:
        settle(answers, lambda: peers, timeout_s=timeout_s, interrupts=interrupts, line=StatusLine())  # type: ignore[arg-type]


def test_whole_network_needs_one_question_each() -> None:
    """The asking must not slow the start."""
    whole = table(1, 2, leader=1)
    answers = Answers(peer_1=[whole], peer_2=[whole])

    settle_two(answers)

    assert answers.asked == ["peer-1", "peer-2"]


def test_peers_that_are_not_there_yet_are_asked_again() -> None:
    """No answer, a table with holes, no leader: each is waited for."""
    whole = table(1, 2, leader=2)
    answers = Answers(peer_1=[None, table(1, leader=1), table(1, 2, leader=None), whole], peer_2=[whole])

    settle_two(answers)

    assert answers.asked.count("peer-1") == 4 and answers.asked.count("peer-2") == 1


def test_two_leaders_are_not_one() -> None:
    """When the leader changed meanwhile everybody is asked again."""
    answers = Answers(peer_1=[table(1, 2, leader=1), table(1, 2, leader=2)], peer_2=[table(1, 2, leader=2)])

    settle_two(answers)

    assert answers.asked == ["peer-1", "peer-2"] * 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "peer-1 does not answer"),
        (table(1, leader=1), "peer-1 knows 1 of 2 peers"),
        (table(1, 2, leader=None), "peer-1 follows no leader"),
    ],
)
def test_time_out_says_what_is_missing(answer: Any, words: str) -> None:
    """Exit 1, with the first peer that is not there."""
    with pytest.raises(CommandFailed, match=words) as failure:
        settle_two(Answers(peer_1=[answer], peer_2=[answer]), timeout_s=0.0)

    assert failure.value.exit_code == 1


def test_peer_that_ended_ends_the_waiting() -> None:
    """Nobody waits for the time-out when a process is gone."""
    with pytest.raises(CommandFailed, match="peer-1 ended while the network was forming"):
        settle_two(Answers(peer_1=[None], peer_2=[None]), state="crashed")


def test_the_last_word_is_what_all_say_at_the_same_time() -> None:
    """A peer that does not answer, has lost another or follows another leader meanwhile is asked again, with all."""
    whole = status(alive=2, leader=1)
    answers = Answers(peer_1=[whole], peer_2=[None, status(alive=1, leader=1), status(alive=2, leader=2), whole])

    statuses = statuses_of_two(answers)

    assert statuses == {"peer-1": whole, "peer-2": whole}
    assert answers.asked == ["peer-1", "peer-2"] * 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "peer-2 does not answer"),
        (status(alive=1, leader=1), "peer-2 knows 1 of 2 peers"),
        (status(alive=2, leader=None), "peer-2 follows no leader"),
        (status(alive=2, leader=2), "peer-2 follows no leader, or not the others' one"),
    ],
)
def test_network_that_cannot_be_seen_whole_is_none(answer: Any, words: str) -> None:
    """``up --detach`` exits 0 only with a whole table; else 1, and it says what is missing."""
    with pytest.raises(CommandFailed, match=words) as failure:
        statuses_of_two(Answers(peer_1=[status(alive=2, leader=1)], peer_2=[answer]), timeout_s=0.0)

    assert failure.value.exit_code == 1


def test_peer_that_ended_before_the_last_word_is_named() -> None:
    """Its silence is not waited for."""
    with pytest.raises(CommandFailed, match="peer-1 ended while the network was forming"):
        statuses_of_two(Answers(peer_1=[None], peer_2=[None]), state="crashed")
