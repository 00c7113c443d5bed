"""Who comes in and who must stay out, on real processes: invites, readers, bans (DESIGN section 5)."""

import json
import random
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bootstrap.home import NetworkFolder
from node.cli import run
from node.knocking import use_invite
from protocol.doorway import Welcome
from protocol.identity import Identity
from protocol.invites import decode_invite
from tests.running import Home, kill, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("admission")]


@pytest.fixture(scope="module")
def founder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The machine of the admin, with three peers; each test leaves as many."""
    with running_home(tmp_path_factory.mktemp("founder")) as home:
        home.up(3)
        yield home


@contextmanager
def empty_home(tmp_path: Path, name: str = "newcomer") -> Iterator[Home]:
    """Another machine, on which nothing was ever started."""
    with running_home(tmp_path / name) as home:
        yield home


def invite(founder: Home, *options: str) -> dict[str, Any]:
    made: dict[str, Any] = founder.json("invite", *options)
    return made


def join(home: Home, text: str, *, name: str) -> dict[str, Any]:
    """Join by an invite; each test has a name of its own for its peer, since the members remember the others'."""
    row: dict[str, Any] = home.json("join", text, "--name", name, "--no-zeroconf", "--detach")
    return row


def view(home: Home, peer: str, what: str) -> Any:
    """What a peer says of itself, over HTTP: a hundredth of the time that a command takes; None while it does not."""
    network = NetworkFolder(home.folder / "local")
    run = network.peer(peer).run()
    assert run is not None
    try:
        bearer = {"Authorization": f"Bearer {network.tokens().read}"}
        status, _, body = home.request(run.api, "GET", f"/v1/{what}", headers=bearer)
    except OSError:
        return None
    return json.loads(body) if status == 200 else None


def states(home: Home, peer: str) -> dict[str, str]:
    return {row["name"]: row["state"] for row in view(home, peer, "members") or []}


def knows_it_is_banned(home: Home, peer: str) -> bool:
    return "banned" in (view(home, peer, "status") or {})


def bans(home: Home, peer: str) -> list[str]:
    return [entry["id"] for entry in view(home, peer, "bans") or []]


def test_one_command_takes_an_empty_machine_to_a_ready_member_once(
    founder: Home, tmp_path: Path, record_property: Any
) -> None:
    """From nothing to a ready peer; the second who comes with the same invite is refused, with the reason."""
    founder.ok("put", "greeting", "bonjour")
    made = invite(founder, "--peer", "peer-2")
    with empty_home(tmp_path) as newcomer, empty_home(tmp_path, "second") as second:
        began = time.monotonic()
        row = join(newcomer, made["invite"], name="first")
        took_s = time.monotonic() - began
        until_blocking(lambda: states(founder, "peer-1").get("first") == "alive", what="the newcomer at peer-1")
        value = newcomer.json("get", "greeting")["value"]
        no_admin = newcomer.run("--json", "ban", "peer-1").problem()
        again = second.run("--json", "join", made["invite"]).problem()
        listed = {entry["id"]: entry for entry in founder.json("invite", "list")}
        secrets = [path for path in newcomer.folder.rglob("*") if path.is_file()]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in secrets}
        kept = (founder.folder / "local" / "peer-2" / "invites.json").read_text()

    print(f"join by invite: {took_s:.2f} s")
    record_property("join_s", round(took_s, 2))
    assert (row["name"], row["state"], value) == ("first", "running", "bonjour")
    assert (again["type"], again["exit"]) == ("invite-used", 5)
    assert "pair invite" in again["next_step"]
    assert (listed[made["id"]]["state"], listed[made["id"]]["used_by"]) == ("used", [row["id"]])
    assert (no_admin["type"], no_admin["exit"]) == ("admin-key-missing", 5)
    assert modes == {0o600}
    assert {path.name for path in secrets} >= {"network.key", "tokens.json", "node.key"}
    assert '"secret": null' in kept
    assert not second.folder.exists() or not list(second.folder.rglob("network.key"))


def test_another_leader_between_invite_and_join_does_not_matter(founder: Home, tmp_path: Path) -> None:
    """The issuer is whoever was asked, and any peer can let in: leading has nothing to do with it."""
    led = founder.wait_for_one_leader(["peer-1", "peer-2", "peer-3"])
    issuer = next(name for name in ("peer-1", "peer-2", "peer-3") if name != led)
    made = invite(founder, "--peer", issuer)
    founder.json("kill", led)
    with empty_home(tmp_path) as newcomer:
        joined = join(newcomer, made["invite"], name="second")
        founder.json("restart", led)
        until_blocking(lambda: states(newcomer, "second").get(led) == "alive", what="the killed peer, restarted")

    assert joined["state"] == "running"


def test_an_issuer_that_is_down_is_told_and_its_invite_is_good_when_it_is_back(founder: Home, tmp_path: Path) -> None:
    """Only the issuer knows its invites, on its disk: while it is down nobody comes in by them."""
    made = invite(founder, "--peer", "peer-2")
    kill(founder.peers()["peer-2"]["pid"])
    with empty_home(tmp_path) as newcomer:
        refused = newcomer.run("--json", "join", made["invite"]).problem()
        founder.json("restart", "peer-2")
        admission = use_invite(decode_invite(made["invite"]), Identity(b"y" * 32), timeout_s=10)

    assert (refused["type"], refused["exit"]) == ("no-peer", 4)
    assert made["addresses"][0] in refused["detail"] and refused["next_step"]
    assert isinstance(admission.answer, Welcome)


def test_a_join_that_was_interrupted_has_spent_its_invite(founder: Home, tmp_path: Path) -> None:
    """Burned before the key leaves: whoever dies then needs a new one, and is told so."""
    made = invite(founder)
    use_invite(decode_invite(made["invite"]), Identity(b"z" * 32), timeout_s=10)  # and keeps nothing
    with empty_home(tmp_path) as newcomer:
        refused = newcomer.run("--json", "join", made["invite"]).problem()

    assert (refused["type"], refused["exit"]) == ("invite-used", 5)
    assert "interrupted" in refused["next_step"]


def test_revoked_and_expired_invites_say_so(founder: Home, tmp_path: Path) -> None:
    """Each reason has its own words."""
    revoked, short = invite(founder), invite(founder, "--expires", "1s")
    founder.ok("invite", "revoke", revoked["id"][:8])
    until_blocking(lambda: time.time() > decode_invite(short["invite"]).expires_s, what="the end of an invite")
    with empty_home(tmp_path) as newcomer:
        problems = [newcomer.run("--json", "join", made["invite"]).problem() for made in (revoked, short)]
        gone = founder.run("--json", "invite", "revoke", short["id"]).problem()

    assert [problem["type"] for problem in problems] == ["invite-revoked", "invite-expired"]
    assert [problem["exit"] for problem in problems] == [5, 5]
    assert gone["exit"] == 3


def test_what_is_here_already_wastes_no_invite(founder: Home, tmp_path: Path) -> None:
    """A member, or a machine with another network of that name, is refused before the issuer is asked."""
    made = invite(founder)
    same = founder.run("--json", "join", made["invite"]).problem()
    with empty_home(tmp_path) as other:
        NetworkFolder(other.folder / "local").found("local")
        different = other.run("--json", "join", made["invite"]).problem()
    state = {entry["id"]: entry["state"] for entry in founder.json("invite", "list")}[made["id"]]

    assert [problem["type"] for problem in (same, different)] == ["invite-already-here", "invite-wrong-network"]
    assert [problem["exit"] for problem in (same, different)] == [5, 5]
    assert state == "open"


def test_a_reader_reads_and_never_has_the_key(founder: Home, tmp_path: Path) -> None:
    """Decision 0010: a token of the read level and where it is good; nothing else ever reaches that machine."""
    founder.ok("put", "for-readers", "hello")
    made = invite(founder, "--role", "reader")
    with empty_home(tmp_path) as reader:
        became = reader.json("join", made["invite"])
        value = reader.json("get", "for-readers")["value"]
        from_peer = reader.json("--peer", "peer-3", "status")["name"]
        refused = reader.run("--json", "put", "for-readers", "mine").problem()
        files = [path.relative_to(reader.folder).as_posix() for path in reader.folder.rglob("*") if path.is_file()]
        content = (reader.folder / "local" / "reader.json").read_text()
        key = json.loads((founder.folder / "local" / "network.key").read_text())["key"]

    assert (became["role"], value, from_peer) == ("reader", "hello", "peer-3")
    assert (refused["type"], refused["exit"]) == ("level-too-low", 5)
    assert files == ["local/reader.json"]
    assert key not in content


def test_a_hundred_mutated_invites_are_wrong_use(
    founder: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever happens to an invite on its way: exit 2 with one line and a next step, and nobody is asked."""
    text = invite(founder)["invite"]
    monkeypatch.setenv("PAIR_HOME", str(tmp_path / "nothing"))
    randomness = random.Random(6)
    for _ in range(100):
        where = randomness.randrange(len(text))
        mutated = text[:where] + randomness.choice(["", "a", "7", "-", "\x1b", "é"]) + text[where + 1 :]
        code = run(["--json", "join", mutated]) if mutated != text else 2
        captured = capsys.readouterr()
        assert code == 2 and captured.out == ""
        if mutated != text:
            assert json.loads(captured.err)["next_step"]
    assert not (tmp_path / "nothing").exists()


def test_a_banned_peer_is_left_out_told_why_and_comes_back_only_when_the_admin_says_so(
    founder: Home, tmp_path: Path
) -> None:
    """``pair ban``: out of every table, also after a restart of both sides; it hears the reason; ``--lift`` ends it."""
    with empty_home(tmp_path) as banned:
        row = join(banned, invite(founder)["invite"], name="mallory")
        until_blocking(lambda: states(founder, "peer-3").get("mallory") == "alive", what="mallory at peer-3")
        assert founder.json("ban", "mallory")["id"] == row["id"]

        for peer in ("peer-1", "peer-2", "peer-3"):
            until_blocking(
                lambda peer=peer: states(founder, peer)["mallory"] == "left" and bans(founder, peer) == [row["id"]],
                what=f"the ban at {peer}",
            )
        until_blocking(lambda: knows_it_is_banned(banned, "mallory"), what="that mallory knows")
        refused = banned.run("--json", "put", "a", "b").problem()
        assert (refused["type"], refused["exit"]) == ("banned", 5)
        assert "banned" in (banned.folder / "local" / "mallory" / "peer.log").read_text()

        founder.json("restart", "peer-1")
        banned.ok("stop", "mallory")
        assert banned.run("restart", "mallory", "--timeout", "4").code == 1  # it runs, and is never ready
        until_blocking(lambda: knows_it_is_banned(banned, "mallory"), what="that mallory still knows")
        assert states(founder, "peer-1").get("mallory") in (None, "left")
        assert bans(founder, "peer-1") == [row["id"]]

        founder.json("ban", "--lift", row["id"])
        until_blocking(lambda: states(founder, "peer-2").get("mallory") == "alive", what="mallory again")
        until_blocking(lambda: (view(banned, "mallory", "status") or {}).get("ready"), what="that mallory is ready")


def test_a_peer_does_not_ban_itself_nor_whom_nobody_knows(founder: Home) -> None:
    """Each refusal has its own words."""
    itself = founder.run("--json", "ban", "peer-1", "--peer", "peer-1").problem()
    unknown = founder.run("--json", "ban", "nobody").problem()

    assert (itself["exit"], unknown["exit"]) == (5, 3)


def test_a_qr_code_fits_a_terminal(founder: Home) -> None:
    """An invite can be read from a screen: at most 24 lines."""
    lines = founder.ok("invite", "--qr").text.splitlines()

    assert lines[0].startswith("pair://")
    assert 15 < len(lines) - 1 <= 24


@pytest.mark.parametrize("level", ["read", "member", "admin"])
def test_every_command_needs_the_level_of_its_routes(
    founder: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    """A token of a lower level is refused with exit 5, whatever the command would have done."""
    monkeypatch.setenv("PAIR_HOME", str(tmp_path / "nothing"))
    token = tmp_path / "token"
    token.write_bytes(founder.ok("token", "--level", level).stdout)
    token.chmod(0o600)
    api = founder.peers()["peer-1"]["api"]
    ranks = {"read": 0, "member": 1, "admin": 2}

    outcomes = {
        " ".join(command): (needed, run(["--json", "--peer", api, "--token-file", str(token), *command]))
        for needed, commands in COMMANDS.items()
        for command in commands
    }

    capsys.readouterr()
    refused = {command for command, (_, code) in outcomes.items() if code == 5}
    assert refused == {command for command, (needed, _) in outcomes.items() if ranks[needed] > ranks[level]}, outcomes


COMMANDS = {
    "read": (("status",), ("members",), ("leader",), ("keys",), ("get", "nothing-there"), ("ban", "--list")),
    "member": (("put", "level", "x"), ("delete", "level")),
    "admin": (
        ("elect",), ("invite",), ("invite", "list"), ("invite", "revoke", "00"), ("ban", "nobody"),
        ("ban", "--lift", "nobody"),
    ),
}  # fmt: skip
"""What asks a peer, by the level that it needs; ``watch`` is a stream of the read level and never ends."""
