"""An invite used on a host that has nothing: no key, no address but the one in the invite, an empty home folder."""

from pathlib import Path

import pytest

from tests.hosts.hosts import API_PORT, PEER_PORT, hosts, wait_until_united

pytestmark = pytest.mark.processes


def test_a_host_with_nothing_joins_by_invite_and_another_reads(tmp_path: Path) -> None:
    """One command on each side; the second use is refused, and the reader's host never has the key."""
    with hosts(tmp_path, ["ada", "bob", "cid"]) as (ada, bob, cid):
        ada.start("--no-zeroconf", "--api-bind", "0.0.0.0")
        made = ada.json("invite")
        assert made["addresses"] == [ada.contact]

        ports = ("--port", str(PEER_PORT), "--api-port", str(API_PORT))
        row = bob.json("join", made["invite"], "--name", "bob", "--detach", "--no-zeroconf", *ports)
        again = cid.run("--json", "join", made["invite"]).problem()
        wait_until_united([ada, bob])

        bob.ok("put", "greeting", "from bob")
        cid.ok("join", ada.json("invite", "--role", "reader")["invite"])
        read = cid.json("get", "greeting")

        assert row["address"] == bob.contact  # listens where the way to ada begins, without being told
        assert (again["type"], again["exit"]) == ("invite-used", 5)
        assert read["value"] == "from bob"
        assert [path.name for path in cid.folder.rglob("*") if path.is_file()] == ["reader.json"]


def test_an_invite_that_leads_nowhere_says_so_in_time(tmp_path: Path) -> None:
    """The inviting host is cut off: exit 4 within the time-out, and the invite is good once it is back."""
    with hosts(tmp_path, ["ada", "bob"]) as (ada, bob):
        ada.start("--no-zeroconf")
        made = ada.json("invite")
        ada.ok("stop", "ada")
        refused = bob.run("--json", "--timeout", "5", "join", made["invite"], timeout_s=20).problem()
        ada.start("--no-zeroconf")
        bob.ok("join", made["invite"], "--name", "bob", "--detach", "--no-zeroconf")

        assert (refused["type"], refused["exit"]) == ("no-peer", 4)
        assert ada.contact in refused["detail"]
