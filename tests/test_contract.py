"""The contract: every command, JSON shape, exit code and route of DESIGN sections 8 and 9, on a running network.

Other programs call these, so what stands here changes only with a new version of the API. Commands and routes of
later parts (files, search, topics, services, functions, simulations) join the tables when they land.
"""

import http.client
import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from bootstrap.home import list_networks
from tests.running import PAIR, Home, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("contract")]

ID = re.compile(r"[0-9a-f]{64}\Z")
ADDRESS = re.compile(r"127\.0\.0\.1:\d{1,5}\Z")
API = re.compile(r"http://127\.0\.0\.1:\d{1,5}\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")

Shape = dict[str, Any]
"""Member name → a type, a tuple of types, a compiled pattern, or a set of values; exactly these members."""

PEER: Shape = {
    "name": str,
    "id": ID,
    "network": str,
    "pid": (int, type(None)),
    "address": ADDRESS,
    "api": API,
    "state": {"running", "paused", "stopped", "crashed"},
}
SIGNALLED: Shape = {"name": str, "id": ID, "pid": (int, type(None))}
LEADER: Shape = {"id": ID, "name": str, "address": ADDRESS, "api": API, "term": int, "since": TIME}
MEMBER: Shape = {
    "id": ID,
    "name": str,
    "address": ADDRESS,
    "api": API,
    "state": {"alive", "suspect", "failed", "left"},
    "role": {"leader", "candidate", "follower"},
    "incarnation": int,
    "rtt_ms": (int, float, type(None)),
    "since": TIME,
}
STATUS: Shape = {
    "id": ID,
    "name": str,
    "network": str,
    "version": str,
    "ready": bool,
    "role": {"leader", "candidate", "follower"},
    "term": int,
    "leader": ID,
    "mode": {"available"},
    "members": dict,
    "keys_held": int,
    "uptime_s": (int, float),
    "profile": {"local"},
}
RECEIPT: Shape = {"key": str, "version": str, "holders": list, "wanted": int, "existed": bool}
VALUE: Shape = {
    "key": str,
    "value": str,
    "encoding": {"utf-8", "base64"},
    "version": str,
    "writer": ID,
    "expires": (str, type(None)),
}
KEY: Shape = {"key": str, "version": str, "size": int, "expires": (str, type(None))}
CHANGE: Shape = {
    "event": {"put", "delete"},
    "key": str,
    "value": (str, type(None)),
    "encoding": {"utf-8", "base64", None},
    "version": str,
}
FAULT: Shape = {
    "id": str,
    "kind": {"cut", "loss", "delay", "duplicate", "reorder"},
    "peers": (list, type(None)),
    "direction": {"in", "out", "both"},
    "probability": (int, float, type(None)),
    "ms": (int, float, type(None)),
    "jitter_ms": (int, float, type(None)),
    "expires_in_s": (int, float),
}
INVITE: Shape = {
    "invite": re.compile(r"pair://[a-z2-7]+-[a-z2-7]{4}\Z"),
    "id": re.compile(r"[0-9a-f]{12}\Z"),
    "role": {"member", "reader"},
    "uses": int,
    "expires": TIME,
    "issuer": ID,
    "addresses": list,
    "apis": list,
}
ISSUED: Shape = {
    "id": INVITE["id"],
    "role": {"member", "reader"},
    "state": {"open", "used", "revoked", "blocked"},
    "uses": int,
    "used_by": list,
    "expires": TIME,
    "issuer": ID,
}
BAN: Shape = {"id": ID, "name": (str, type(None)), "state": {"banned", "lifted"}, "since": TIME}
EXPLAIN: Shape = {"served_by": ID, "holders": list, "asked": list}
ASKED: Shape = {"id": ID, "name": str, "answer": str, "version": (str, type(None)), "ms": (int, float)}


def check(document: Any, shape: Shape) -> None:
    """Assert that ``document`` has exactly the members of ``shape``, of these kinds."""
    assert set(document) == set(shape), document
    for name, kind in shape.items():
        value = document[name]
        if isinstance(kind, re.Pattern):
            assert isinstance(value, str) and kind.match(value), (name, value)
        elif isinstance(kind, set):
            assert value in kind, (name, value)
        else:
            assert isinstance(value, kind), (name, value)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Three peers, used by all tests of this module."""
    with running_home(tmp_path_factory.mktemp("contract")) as home:
        home.up(3, "--faults")
        yield home
        done = home.ok("down")
        assert "Traceback" not in done.stderr


@pytest.fixture(autouse=True)
def whole(home: Home) -> None:
    """Each test starts with three running peers, whatever the one before did."""
    if any(peer.state() != "running" for network in list_networks(home.folder) for peer in network.peers()):
        home.up(3)


def api_of(home: Home, name: str) -> str:
    api = home.peers()[name]["api"]
    assert isinstance(api, str)
    return api


def bearer(home: Home, level: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {home.ok('token', '--level', level).text.strip()}"}


# Section 8: commands


def test_up_is_a_target_and_answers_with_the_rows_of_ps(home: Home) -> None:
    """``up N`` starts what does not run, stops none and exits 0."""
    again = home.up(3)
    smaller = home.up(2)

    for row in again:
        check(row, PEER)
    assert [row["name"] for row in again] == ["peer-1", "peer-2", "peer-3"]
    assert {row["state"] for row in again} == {"running"}
    assert {row["pid"] for row in smaller} <= {row["pid"] for row in again}
    assert home.json("ps") == again


def test_contradicting_options_are_wrong_use(home: Home) -> None:
    """Options that contradict the running network → 2."""
    problem = home.run("--json", "up", "3", "--detach", "--base-port", "1").problem()

    assert problem["exit"] == 2
    assert problem["next_step"]


def test_status_members_and_leader_are_the_asked_peers_own_view(home: Home) -> None:
    """Shapes of ``status``, ``members`` and ``leader``."""
    for name in ("peer-1", "peer-2", "peer-3"):
        status = home.json("--peer", name, "status")
        members = home.json("members", "--peer", name)
        leader = home.json("leader", "--peer", name)

        check(status, STATUS)
        assert set(status["members"]) == {"alive", "suspect", "failed", "left"}
        assert status["name"] == name and status["ready"]
        for member in members:
            check(member, MEMBER)
        assert {member["name"] for member in members} >= {"peer-1", "peer-2", "peer-3"}
        check(leader, LEADER)
        assert [member["id"] for member in members if member["role"] == "leader"] == [leader["id"]]


def test_a_peer_is_chosen_by_name_id_prefix_and_url(home: Home) -> None:
    """``--peer NAME|ID|URL`` and ``PAIR_PEER``; before or after the command."""
    row = home.peers()["peer-2"]
    chosen = [
        home.json("--peer", "peer-2", "status"),
        home.json("status", "--peer", row["id"]),
        home.json("status", "--peer", row["id"][:10]),
        home.json("status", "--peer", row["api"]),
        home.run("--json", "status", environment={"PAIR_PEER": "peer-2"}).document(),
    ]

    assert {status["name"] for status in chosen} == {"peer-2"}


def test_values_go_in_and_out_byte_for_byte(home: Home) -> None:
    """Shapes of ``put``, ``get``, ``keys`` and ``delete``; the exact bytes to a pipe."""
    binary = bytes(range(256))
    receipt = home.run("--json", "put", "contract/binary", "-", stdin=binary).document()
    check(receipt, RECEIPT)
    assert receipt["wanted"] == 3 and len(receipt["holders"]) == 3 and not receipt["existed"]
    assert home.ok("get", "contract/binary").stdout == binary

    document = home.json("get", "contract/binary", "--peer", "peer-3")
    check(document, VALUE)
    assert (document["encoding"], document["version"]) == ("base64", receipt["version"])

    listed = home.json("keys", "contract/")
    for row in listed:
        check(row, KEY)
    assert "contract/binary" in [row["key"] for row in listed]

    deleted = home.json("delete", "contract/binary")
    check(deleted, RECEIPT)
    assert deleted["existed"]
    assert not home.json("delete", "contract/binary")["existed"]
    assert home.run("--json", "get", "contract/binary").problem()["exit"] == 3


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (["--", "-x"], b"-x"),
        (["-5"], b"-5"),
        (["@@at"], b"@at"),
        ([""], b""),
        (["grüß dich"], "grüß dich".encode()),
    ],
)
def test_a_value_may_look_like_an_option_or_a_file(home: Home, given: list[str], stored: bytes) -> None:
    """``--`` ends options; a value may start with ``-``; ``@@x`` is ``@x``; an empty value is legal."""
    home.ok("put", "contract/odd", *given)

    assert home.ok("get", "contract/odd").stdout == stored


def test_a_value_comes_from_a_file_and_goes_to_one(home: Home, tmp_path: Path) -> None:
    """``put KEY @FILE`` and ``get KEY -o FILE``, up to 1 MiB; one byte more is refused before anything is stored."""
    content = bytes(i * 7 % 251 for i in range(2**20))
    (tmp_path / "in").write_bytes(content)
    home.ok("put", "contract/large", f"@{tmp_path / 'in'}")
    home.ok("get", "contract/large", "-o", str(tmp_path / "out"), "--peer", "peer-2")
    assert (tmp_path / "out").read_bytes() == content

    (tmp_path / "in").write_bytes(content + b"x")
    problem = home.run("--json", "put", "contract/larger", f"@{tmp_path / 'in'}").problem()
    assert (problem["exit"], problem["type"]) == (5, "value-too-large")
    assert home.run("get", "contract/larger").code == 3


def test_conditions_and_expiry(home: Home) -> None:
    """``--if-version V|none`` → 5 on a mismatch; ``--ttl`` ends a value."""
    version = home.json("put", "contract/if", "1")["version"]
    assert home.run("--json", "put", "contract/if", "2", "--if-version", "none").problem()["exit"] == 5
    problem = home.run("--json", "put", "contract/if", "2", "--if-version", "0-0").problem()
    assert (problem["exit"], problem["current_version"]) == (5, version)
    home.ok("put", "contract/if", "2", "--if-version", version)

    home.ok("put", "contract/lasting", "x", "--ttl", "600")
    assert TIME.match(home.json("keys", "contract/lasting")[0]["expires"])
    home.ok("put", "contract/short", "x", "--ttl", "0.5")
    until_blocking(lambda: home.run("get", "contract/short").code == 3, what="expiry")


def test_watch_prints_each_change_as_one_line(home: Home) -> None:
    """Shape of ``watch``: one document a line."""
    watch = subprocess.Popen(
        [str(PAIR), "--json", "watch", "watched/"], env=home.environment, stdout=subprocess.PIPE, text=True
    )
    assert watch.stdout is not None
    lines: list[str] = []
    try:
        reader = threading.Thread(target=lambda out: lines.extend(iter(out.readline, "")), args=(watch.stdout,))
        reader.start()

        def written() -> bool:
            home.ok("put", "watched/key", "seen", "--peer", "peer-2")
            return bool(lines)

        until_blocking(written, what="the first change")
        home.ok("delete", "watched/key", "--peer", "peer-3")
        until_blocking(lambda: any('"delete"' in line for line in lines), what="the delete")
    finally:
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 130
        reader.join(10)
        watch.stdout.close()
    for line in lines:
        check(json.loads(line), CHANGE)
    assert {json.loads(line)["value"] for line in lines} == {"seen", None}


def test_explain_says_who_was_asked(home: Home) -> None:
    """With ``--explain`` a document gains ``explain``."""
    receipt = home.json("put", "contract/why", "x", "--explain")
    value = home.json("get", "contract/why", "--explain")

    for document in (receipt, value):
        check(document["explain"], EXPLAIN)
        for asked in document["explain"]["asked"]:
            check(asked, ASKED)
    assert len(receipt["explain"]["asked"]) >= 2


def test_peers_are_paused_resumed_killed_and_restarted(home: Home) -> None:
    """``kill restart pause resume`` → ``{name, id, pid}``; ``ps`` shows each state."""
    paused = home.json("pause", "peer-3")
    check(paused, SIGNALLED)
    assert home.peers()["peer-3"]["state"] == "paused"
    check(home.json("resume", "peer-3"), SIGNALLED)
    assert home.peers()["peer-3"]["state"] == "running"

    killed = home.json("kill", "leader")
    check(killed, SIGNALLED)
    row = home.peers()[killed["name"]]
    assert (row["state"], row["pid"]) == ("crashed", None)
    survivors = [name for name in home.peers() if name != killed["name"]]
    home.wait_for_one_leader(survivors)

    restarted = home.json("restart", killed["name"])
    check(restarted, SIGNALLED)
    assert (restarted["id"], home.peers()[killed["name"]]["pid"]) == (killed["id"], restarted["pid"])


def test_stop_ends_one_peer_in_good_order(home: Home) -> None:
    """``stop NAME``; the others see it as left, and ``up`` starts it again with the same id and ports."""
    before = home.peers()["peer-2"]
    home.ok("stop", "peer-2")

    assert home.peers()["peer-2"]["state"] == "stopped"
    states = {member["name"]: member["state"] for member in home.json("members", "--peer", "peer-1")}
    assert states["peer-2"] == "left"
    home.up(3)
    after = home.peers()["peer-2"]
    assert (after["id"], after["address"], after["api"]) == (before["id"], before["address"], before["api"])


def test_elect_hands_the_leadership_over(home: Home) -> None:
    """``elect --to NAME``, and without a name to any other; the document is the new leader's."""
    old = home.wait_for_one_leader(["peer-1", "peer-2", "peer-3"])
    heir = next(name for name in ("peer-1", "peer-2", "peer-3") if name != old)

    leader = home.json("elect", "--to", heir)
    check(leader, LEADER)
    assert leader["name"] == heir
    assert home.wait_for_one_leader(["peer-1", "peer-2", "peer-3"]) == heir
    assert home.json("elect")["name"] != heir
    assert home.run("--json", "elect", "--to", "nobody").problem()["exit"] == 3


def test_faults_are_added_listed_and_cleared(home: Home) -> None:
    """``fault add|list|clear``: the faults of each peer, and whose they are."""
    ids = {row["id"] for row in home.json("members")}
    added = home.json("fault", "add", "partition", "peer-1", "--seconds", "20")
    listed = home.json("fault", "list")
    cleared = home.json("fault", "clear")

    for row in [*added, *listed, *cleared]:
        check(row, {"on": {"peer-1", "peer-2", "peer-3"}, **FAULT})
        assert set(row["peers"]) < ids and row["expires_in_s"] <= 20
    assert {row["id"] for row in added} == {row["id"] for row in listed} == {row["id"] for row in cleared}
    assert home.json("fault", "list") == []
    home.wait_for_one_leader(["peer-1", "peer-2", "peer-3"])


def test_invites_let_another_machine_in_once(home: Home, tmp_path: Path) -> None:
    """``invite``, ``invite list|revoke`` and ``join``: from an empty home to a ready peer, or to a reader."""
    made, reading, unused = (home.json("invite", *options) for options in ([], ["--role", "reader"], ["--uses", "2"]))
    listed = home.json("invite", "list")
    revoked = home.json("invite", "revoke", unused["id"])
    with running_home(tmp_path / "member") as member, running_home(tmp_path / "reader") as reader:
        joined = member.json("join", made["invite"], "--name", "joiner", "--detach", "--no-zeroconf")
        read = reader.json("join", reading["invite"])
        member.ok("down")

    check(made, INVITE)
    for row in [*listed, revoked]:
        check(row, ISSUED)
    assert {made["id"], reading["id"], unused["id"]} <= {row["id"] for row in listed}
    assert revoked["state"] == "revoked"
    check(joined, PEER)
    check(read, {"network": str, "id": ID, "role": {"reader"}, "apis": list})
    assert all(API.match(api) for api in read["apis"])


def test_a_ban_is_given_listed_and_lifted(home: Home) -> None:
    """``ban PEER``, ``ban --list`` and ``ban --lift PEER``; whoever never joined is named by the whole id."""
    stranger = "ab" * 32
    given = home.json("ban", stranger)
    listed = home.json("ban", "--list")
    lifted = home.json("ban", "--lift", stranger)

    for row in [given, *listed, lifted]:
        check(row, BAN)
    assert [row["id"] for row in listed] == [stranger]
    assert (given["state"], lifted["state"], home.json("ban", "--list")) == ("banned", "lifted", [])


def test_doctor_finds_a_healthy_machine(home: Home) -> None:
    """``doctor`` exits 0 where nothing is wrong, and prints JSON on demand."""
    document = home.json("doctor")

    assert document


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["get", "contract/absent"], 3),
        (["get", ""], 2),
        (["put", "", "x"], 2),
        (["put", "k" * 513, "x"], 2),
        (["put", "k"], 2),
        (["nonsense"], 2),
        (["status", "--timeout", "never"], 2),
        (["status", "--peer", "nobody"], 3),
        (["status", "--peer", "http://127.0.0.1:1"], 4),
        (["status", "--peer", "ftp://127.0.0.1"], 2),
        (["status", "--network", "Not A Name"], 2),
        (["status", "--network", "elsewhere"], 4),
        (["kill", "nobody"], 3),
        (["up", "0"], 2),
        (["up", "many"], 2),
        (["up", "3", "--profile", "moon"], 2),
        (["put", "k", "@/no/such/file"], 2),
        (["put", "k", "v", "--ttl", "-1"], 2),
        (["token", "--level", "god"], 2),
        (["join", "nonsense"], 2),
        (["invite", "--expires", "soon"], 2),
        (["invite", "nonsense"], 2),
        (["invite", "revoke", "000000000000"], 3),
        (["ban"], 2),
        (["ban", "nobody"], 3),
        (["fault", "add", "flood"], 2),
        (["fault", "add", "loss"], 2),
        (["fault", "add", "cut", "--to", "nobody"], 3),
        (["fault", "clear", "00000000"], 3),
    ],
)
def test_each_failure_has_its_exit_code_and_a_problem_document(
    home: Home, arguments: list[str], exit_code: int
) -> None:
    """0 done; 1 failed; 2 wrong use; 3 not found; 4 no peer reachable; 5 refused."""
    problem = home.run("--json", *arguments).problem()

    assert problem["exit"] == exit_code, problem
    assert problem["detail"] and problem["title"] and problem["status"] >= 400


def test_a_token_file_decides_what_is_allowed(home: Home, tmp_path: Path) -> None:
    """``--token-file``: a read token may not write (403 → 5), a foreign one nothing (401 → 5)."""
    read = tmp_path / "read"
    read.write_text(home.ok("token", "--level", "read").text)
    foreign = tmp_path / "foreign"
    foreign.write_text("pairt_" + "A" * 43 + "\n")

    assert home.run("status", "--token-file", str(read)).code == 0
    problem = home.run("--json", "put", "contract/no", "x", "--token-file", str(read)).problem()
    assert (problem["exit"], problem["type"]) == (5, "level-too-low")
    assert home.run("--json", "status", "--token-file", str(foreign)).problem()["type"] == "token-unknown"


# Section 9: routes


@pytest.mark.parametrize(
    ("method", "path", "level", "body"),
    [
        ("GET", "/v1/health", "none", None),
        ("GET", "/v1/status", "read", None),
        ("GET", "/v1/members", "read", None),
        ("GET", "/v1/leader", "read", None),
        ("GET", "/v1/kv?prefix=", "read", None),
        ("PUT", "/v1/kv/route", "member", b"x"),
        ("PUT", "/v1/kv?key=route", "member", b"x"),
        ("GET", "/v1/kv/route", "read", None),
        ("GET", "/v1/kv?key=route", "read", None),
        ("DELETE", "/v1/kv/route", "member", None),
        ("DELETE", "/v1/kv?key=route", "member", None),
        ("GET", "/openapi.json", "none", None),
        ("GET", "/docs", "none", None),
        ("GET", "/metrics", "read", None),
        ("GET", "/", "none", None),
        ("GET", "/v1/faults", "admin", None),
        ("DELETE", "/v1/faults", "admin", None),
    ],
)
def test_each_route_demands_its_level(home: Home, method: str, path: str, level: str, body: bytes | None) -> None:
    """Levels none, read, member, admin: at or above the route's it works, below it 401 or 403."""
    api = api_of(home, "peer-1")
    levels = ["none", "read", "member", "admin"]
    home.ok("put", "route", "x")
    for given in levels:
        headers = bearer(home, given) if given != "none" else {}
        status, _, content = home.request(api, method, path, body=body, headers=headers)
        if levels.index(given) >= levels.index(level):
            assert status in (200, 404), (given, status, content)  # deleted by the level before: still allowed
        else:
            assert status == (401 if given == "none" else 403), (given, status)
            assert json.loads(content)["status"] == status


def test_health_and_leader_over_http(home: Home) -> None:
    """``/v1/health`` is two booleans; ``/v1/leader`` is the document of the command."""
    api = api_of(home, "peer-1")

    assert json.loads(home.request(api, "GET", "/v1/health")[2]) == {"alive": True, "ready": True}
    leader = json.loads(home.request(api, "GET", "/v1/leader", headers=bearer(home, "read"))[2])
    check(leader, LEADER)


@pytest.mark.parametrize("key", ["a/b", "a b", "..", "../x", "%", "ключ", "a?b#c", "\x00\x1b[31m", "k" * 512])
def test_any_key_is_reached_by_path_and_by_query(home: Home, key: str) -> None:
    """One percent-encoded segment, decoded once, or ``?key=``."""
    api = api_of(home, "peer-2")
    headers = bearer(home, "member")
    encoded = quote(key.encode(), safe="")

    status, _, content = home.request(api, "PUT", f"/v1/kv?key={encoded}", body=b"value", headers=headers)
    assert status == 200, content
    check(json.loads(content), RECEIPT)
    by_path = home.request(api, "GET", f"/v1/kv/{encoded}", headers=headers)
    assert (by_path[0], by_path[2]) == (200, b"value")


def test_versions_are_entity_tags(home: Home) -> None:
    """``ETag``, ``If-Match``, ``If-None-Match: *``, ``Pair-TTL``, ``Pair-Explain``."""
    api = api_of(home, "peer-3")
    headers = bearer(home, "member")
    home.request(api, "DELETE", "/v1/kv/tagged", headers=headers)

    first = home.request(api, "PUT", "/v1/kv/tagged", body=b"1", headers={**headers, "If-None-Match": "*"})
    assert first[0] == 200
    version = json.loads(first[2])["version"]
    taken = home.request(api, "PUT", "/v1/kv/tagged", body=b"2", headers={**headers, "If-None-Match": "*"})
    assert (taken[0], json.loads(taken[2])["type"]) == (412, "version-mismatch")
    second = home.request(
        api,
        "PUT",
        "/v1/kv/tagged",
        body=b"2",
        headers={**headers, "If-Match": f'"{version}"', "Pair-TTL": "60", "Pair-Explain": "1"},
    )
    assert second[0] == 200
    check(json.loads(second[1]["pair-explain"]), EXPLAIN)
    got = home.request(api, "GET", "/v1/kv/tagged", headers=headers)
    assert got[1]["etag"] == f'"{json.loads(second[2])["version"]}"'
    assert TIME.match(got[1]["pair-expires"])


def test_handover_over_http_needs_the_admin(home: Home) -> None:
    """``POST /v1/leader/handover``."""
    api = api_of(home, "peer-1")
    old = home.wait_for_one_leader(["peer-1", "peer-2", "peer-3"])

    def ask(level: str) -> tuple[int, dict[str, str], bytes]:
        headers = {"Content-Type": "application/json"} | bearer(home, level)
        return home.request(api, "POST", "/v1/leader/handover", body=b"{}", headers=headers)

    assert ask("member")[0] == 403
    status, _, content = ask("admin")
    assert status == 200, content
    check(json.loads(content), LEADER)
    assert json.loads(content)["name"] != old


def test_a_fault_over_http_is_the_admins(home: Home) -> None:
    """``POST GET DELETE /v1/faults``, only with ``--faults``."""
    api = api_of(home, "peer-3")

    def ask(method: str, path: str, level: str, body: bytes | None = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} | bearer(home, level)
        status, _, content = home.request(api, method, path, body=body, headers=headers)
        return status, json.loads(content)

    order = b'{"kind": "delay", "ms": 1, "seconds": 20}'
    assert ask("POST", "/v1/faults", "member", order)[0] == 403
    status, fault = ask("POST", "/v1/faults", "admin", order)
    assert status == 200
    check(fault, FAULT)
    assert [row["id"] for row in ask("GET", "/v1/faults", "admin")[1]] == [fault["id"]]
    assert [row["id"] for row in ask("DELETE", f"/v1/faults?id={fault['id']}", "admin")[1]] == [fault["id"]]
    assert ask("DELETE", f"/v1/faults?id={fault['id']}", "admin")[0] == 404
    status, problem = ask("POST", "/v1/faults", "admin", b'{"kind": "delay"}')
    assert status == 400 and "`ms`" in problem["detail"]


def test_errors_are_problem_documents(home: Home) -> None:
    """RFC 9457, also for what no route knows."""
    api = api_of(home, "peer-1")
    for method, path, expected in [("GET", "/v1/nothing", 404), ("PATCH", "/v1/status", 405)]:
        status, headers, content = home.request(api, method, path, headers=bearer(home, "admin"))
        problem = json.loads(content)
        assert (status, problem["status"]) == (expected, expected)
        assert headers["content-type"].startswith("application/problem+json")
        assert problem["type"] and problem["title"] and problem["detail"]


def test_openapi_describes_every_route(home: Home) -> None:
    """``/openapi.json`` is 3.1 and names each path of section 9 that exists."""
    document = json.loads(home.request(api_of(home, "peer-1"), "GET", "/openapi.json")[2])

    assert document["openapi"].startswith("3.1")
    wanted = {"/v1/health", "/v1/status", "/v1/members", "/v1/leader", "/v1/leader/handover", "/v1/kv", "/v1/kv/{key}"}
    assert wanted | {"/v1/kv-watch", "/v1/events", "/v1/faults", "/metrics"} <= set(document["paths"])


def test_event_streams_resume_after_the_last_event_seen(home: Home) -> None:
    """``GET /v1/kv-watch`` is resumable by ``Last-Event-ID``, at another peer too."""
    first = read_events(home, "peer-1", "/v1/kv-watch?prefix=stream/", {}, write=("stream/1", "one"))
    resumed = read_events(
        home, "peer-2", "/v1/kv-watch?prefix=stream/", {"Last-Event-ID": first[0]["id"]}, write=("stream/2", "two")
    )

    assert any(json.loads(event["data"])["key"] == "stream/2" for event in resumed)


def read_events(
    home: Home, peer: str, path: str, headers: dict[str, str], *, write: tuple[str, str]
) -> list[dict[str, str]]:
    """Open a stream, write a key, and return the events up to the one about that key."""
    parts = urlsplit(api_of(home, peer))
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=15)
    try:
        connection.request("GET", path, headers={**headers, **bearer(home, "read")})
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        home.ok("put", *write)
        events: list[dict[str, str]] = []
        event: dict[str, str] = {}
        while True:
            line = response.readline().decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(":")
                event[name] = value.strip()
            elif not line and "data" in event:
                events.append(event)
                if json.loads(event["data"])["key"] == write[0]:
                    return events
                event = {}
    finally:
        connection.close()
