"""``pair fault`` on running peers: two sides of a cut live on, heal, and every wrong use has its exit code."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bootstrap.home import NetworkFolder
from node.cli import run
from tests.running import Home, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("faults by hand")]

MINORITY, MAJORITY = ("peer-1", "peer-2"), ("peer-3", "peer-4", "peer-5")
EVERYBODY = (*MINORITY, *MAJORITY)
FAULT = {"on", "id", "kind", "peers", "direction", "probability", "ms", "jitter_ms", "expires_in_s"}

Pair = Callable[..., Any]
"""Runs a command with --json in this process, and returns its document, or its problem."""


class Asked:
    """The APIs of a running home, asked without the cost of a command."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._apis = {name: row["api"] for name, row in home.peers().items()}
        self._headers = {"Authorization": f"Bearer {NetworkFolder(home.folder / 'local').tokens().admin}"}

    def ask(self, peer: str, path: str, *, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        status, _, content = self._home.request(
            self._apis[peer], method, path, body=body, headers=self._headers | {"Pair-Timeout": "10"}
        )
        return status, content

    def states(self, peer: str) -> dict[str, str]:
        """How ``peer`` sees everybody."""
        return {member["name"]: member["state"] for member in json.loads(self.ask(peer, "/v1/members")[1])}

    def wait_for_one_leader(self, names: tuple[str, ...]) -> str:
        """Wait until these follow one of themselves, and return whom."""

        def leaders() -> set[str]:
            return {json.loads(self.ask(name, "/v1/leader")[1])["name"] for name in names}

        until_blocking(lambda: len(found := leaders()) == 1 and found <= set(names), what=f"one leader of {names}")
        return leaders().pop()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Five peers that can be broken, used by all tests of this module."""
    with running_home(tmp_path_factory.mktemp("faults")) as home:
        home.up(5, "--faults")
        yield home


@pytest.fixture(scope="module")
def apis(home: Home) -> Asked:
    return Asked(home)


@pytest.fixture
def pair(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pair:
    return _pair(home, monkeypatch, capsys)


def _pair(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pair:
    for name in ("PAIR_PEER", "PAIR_NETWORK", "PAIR_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PAIR_HOME", str(home.folder))

    def do(*words: str) -> Any:
        code = run(["--json", *words])
        shown = capsys.readouterr()
        if code == 0:
            return json.loads(shown.out)
        problem = json.loads(shown.err.splitlines()[-1])
        assert problem["exit"] == code and shown.out == ""
        return problem

    return do


@pytest.fixture(autouse=True)
def whole(apis: Asked) -> None:
    """Each test starts with a network that is one, and without faults."""
    for name in EVERYBODY:
        assert apis.ask(name, "/v1/faults", method="DELETE")[0] == 200
    apis.wait_for_one_leader(EVERYBODY)


def test_both_sides_of_a_partition_live_on_and_heal(pair: Pair, apis: Asked) -> None:
    """DESIGN section 6, available mode: each side has a leader; after it heals there is one, and all data is read."""
    assert apis.ask("peer-1", "/v1/kv/before", method="PUT", body=b"x")[0] == 200
    rows = pair("fault", "add", "partition", ",".join(MINORITY), "--seconds", "120")
    assert [row["on"] for row in rows] == list(EVERYBODY)
    assert all(set(row) == FAULT and row["kind"] == "cut" for row in rows)
    assert [len(row["peers"]) for row in rows] == [3, 3, 2, 2, 2]

    for ours, theirs in ((MINORITY, MAJORITY), (MAJORITY, MINORITY)):
        for name in ours:
            until_blocking(
                lambda name=name, theirs=theirs: {apis.states(name)[other] for other in theirs} == {"failed"},  # type: ignore[misc]
                what=f"{name} gives {theirs} up",
            )
    assert apis.wait_for_one_leader(MINORITY) != apis.wait_for_one_leader(MAJORITY)
    assert apis.ask("peer-2", "/v1/kv/few", method="PUT", body=b"written by two")[0] == 200
    assert apis.ask("peer-4", "/v1/kv/many", method="PUT", body=b"written by three")[0] == 200
    assert [apis.ask(name, "/v1/kv/before") for name in EVERYBODY] == [(200, b"x")] * 5
    assert apis.ask("peer-1", "/v1/kv/many")[0] == apis.ask("peer-5", "/v1/kv/few")[0] == 404

    assert len(pair("fault", "clear")) == 5
    apis.wait_for_one_leader(EVERYBODY)
    for name in EVERYBODY:
        for key, value in (("few", b"written by two"), ("many", b"written by three")):
            until_blocking(
                lambda name=name, key=key, value=value: apis.ask(name, f"/v1/kv/{key}") == (200, value),  # type: ignore[misc]
                what=f"the value of the {key} at {name}",
            )
    until_blocking(lambda: set(apis.states("peer-1").values()) == {"alive"}, what="one network")


def test_a_fault_ends_by_itself(pair: Pair, apis: Asked) -> None:
    """A peer cut off from everybody by one end alone comes back without a word."""
    (row,) = pair("fault", "add", "cut", "--on", "peer-5", "--seconds", "2")
    assert (row["on"], row["peers"]) == ("peer-5", None) and row["expires_in_s"] <= 2

    until_blocking(lambda: apis.states("peer-1")["peer-5"] in ("suspect", "failed"), what="the loss of peer-5")
    until_blocking(lambda: pair("fault", "list") == [], what="the end of the fault")
    until_blocking(lambda: apis.states("peer-1")["peer-5"] == "alive", what="the return of peer-5")


def test_bad_links_are_survived(pair: Pair, apis: Asked) -> None:
    """Loss, delay, duplicates and disorder, all at once and everywhere: slower, and right."""
    for words in (["loss", "--probability", "0.1"], ["delay", "--ms", "5", "--jitter-ms", "2"],
                  ["duplicate", "--probability", "0.2"], ["reorder", "--probability", "0.2"]):  # fmt: skip
        assert len(pair("fault", "add", *words, "--on", "all")) == 5

    for number, name in enumerate(EVERYBODY):
        assert apis.ask(name, f"/v1/kv/rough-{number}", method="PUT", body=b"x" * 3000 * number)[0] == 200
    for number, name in enumerate(reversed(EVERYBODY)):
        assert apis.ask(name, f"/v1/kv/rough-{number}") == (200, b"x" * 3000 * number)
    assert len(pair("fault", "list")) == 20


def test_faults_are_listed_and_cleared_one_by_one(home: Home, pair: Pair) -> None:
    """By id, wherever it is; tables name the others."""
    (first,) = pair("fault", "add", "cut", "--to", "peer-2,peer-3", "--direction", "in", "--on", "peer-1")
    (second,) = pair("fault", "add", "loss", "--probability", "0.5", "--to", "peer-2", "--peer", "peer-4")
    assert {row["id"] for row in pair("fault", "list")} == {first["id"], second["id"]}
    assert [row["id"] for row in pair("fault", "list", "--on", "peer-4")] == [second["id"]]
    table = home.ok("fault", "list").text
    assert "peer-2, peer-3" in table and "50 %" in table and first["id"] in table

    assert [row["id"] for row in pair("fault", "clear", second["id"])] == [second["id"]]
    assert pair("fault", "clear", second["id"])["exit"] == 3
    assert [row["id"] for row in pair("fault", "list")] == [first["id"]]
    assert home.ok("fault", "clear").text == "1 fault cleared on 5 peers\n"


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (["add"], 2),
        (["add", "flood"], 2),
        (["add", "loss"], 2),
        (["add", "loss", "--probability", "2"], 2),
        (["add", "cut", "--probability", "0.5"], 2),
        (["add", "delay", "--ms", "soon"], 2),
        (["add", "cut", "--seconds", "3601"], 2),
        (["add", "cut", "peer-2"], 2),
        (["add", "cut", "--to", "peer-2", "--on", "peer-2"], 2),
        (["add", "cut", "--to", "nobody"], 3),
        (["add", "cut", "--on", "nobody"], 3),
        (["add", "partition"], 2),
        (["add", "partition", ",".join(EVERYBODY)], 2),
        (["add", "partition", "peer-1", "--to", "peer-2"], 2),
        (["clear", "00000000"], 3),
        (["clear", "../etc"], 2),
        (["list", "--on", "nobody"], 3),
        (["clear", "--on", "nobody"], 3),
        (["list", "--network", "elsewhere"], 4),
    ],
)
def test_wrong_use_has_its_exit_code_and_breaks_nothing(pair: Pair, words: list[str], exit_code: int) -> None:
    """DESIGN section 8."""
    problem = pair("fault", *words)

    assert problem["exit"] == exit_code, problem
    assert problem["detail"] and problem["next_step"]
    assert pair("fault", "list") == []


def test_a_refusal_takes_back_what_was_begun(home: Home, pair: Pair) -> None:
    """A fault on several peers is on all of them or on none."""
    home.ok("pause", "peer-4")
    try:
        problem = pair("fault", "add", "cut", "--on", "peer-1,peer-4")
    finally:
        home.ok("resume", "peer-4")

    assert problem["exit"] == 4 and "peer-4" in problem["detail"]
    assert pair("fault", "list") == []


def test_peers_without_the_flag_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 5, and what to do about it."""
    with running_home(tmp_path) as home:
        home.up(1)
        pair = _pair(home, monkeypatch, capsys)
        for words in (["add", "cut"], ["list"], ["clear"]):
            problem = pair("fault", *words)
            assert (problem["exit"], problem["type"]) == (5, "faults-disabled"), problem
            assert "--faults" in problem["next_step"]
