"""A disk that runs full under a peer: nothing is acknowledged that is not kept, and all goes on once there is space."""

from pathlib import Path

import pytest

from tests.faults.asking import all_of, ask, get, pid_of, put, view, wait_for_leader
from tests.faults.small_disk import home_with_small_disk
from tests.faults.words import told
from tests.running import kill
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes

SIZE_BYTES = 4 * 2**20


def test_lone_peer_refuses_writes_serves_reads_and_recovers(tmp_path: Path) -> None:
    """507 and exit 1 with the next step; what was acknowledged is readable meanwhile, and after a crash and restart."""
    with home_with_small_disk(tmp_path / "home", "peer-1", size_bytes=SIZE_BYTES) as (home, disk):
        home.up(1)
        kept = {f"full/{number}": f"value {number}".encode() * 20 for number in range(20)}
        for key, value in kept.items():
            put(home, "peer-1", key, value)
        disk.fill()

        refused = []
        for number in range(100):  # what SQLite had reserved before may take some of them
            key, value = f"late/{number}", bytes([number]) * 20_000
            status, content = ask(home, "peer-1", "PUT", f"/v1/kv?key={key}", value)
            if status == 200:
                kept[key] = value
                continue
            assert status == 507, content
            refused.append(key)
            break
        assert refused
        problem = told(home.run("--json", "put", refused[0], "x" * 20_000), exit_code=1, cause="space")
        assert problem["type"] == "disk-full" and problem["status"] == 507
        assert all_of(home, "peer-1", list(kept)) == kept
        assert get(home, "peer-1", refused[0]) is None
        assert view(home, "peer-1", "leader")["name"] == "peer-1"

        kill(pid_of(home, "peer-1"))
        told(home.run("--json", "--timeout", "60", "restart", "peer-1"), exit_code=1, cause="full")
        disk.free()
        home.ok("--timeout", "60", "restart", "peer-1")
        assert all_of(home, "peer-1", list(kept)) == kept
        assert get(home, "peer-1", refused[0]) is None
        put(home, "peer-1", refused[0], b"now")
        assert get(home, "peer-1", refused[0]) == b"now"


def test_others_keep_what_a_full_holder_cannot(tmp_path: Path) -> None:
    """A majority acknowledges, through any peer; the full one says that it does not hold it, and catches up later."""
    names = ["peer-1", "peer-2", "peer-3"]
    with home_with_small_disk(tmp_path / "home", "peer-2", size_bytes=SIZE_BYTES) as (home, disk):
        home.up(3)
        wait_for_leader(home, names)
        kept = {"before": b"value"}
        put(home, "peer-1", "before", b"value")
        disk.fill()
        full = view(home, "peer-2", "status")["id"]

        for number in range(60):
            key, value = f"late/{number}", bytes([number]) * 20_000
            receipt = put(home, names[number % 3], key, value)
            kept[key] = value
            if number >= 40:
                assert full not in receipt["holders"] and len(receipt["holders"]) == 2, receipt

        for name in names:
            assert all_of(home, name, list(kept)) == kept
        assert wait_for_leader(home, names) in names
        home.ok("--timeout", "60", "elect", "--to", "peer-2" if wait_for_leader(home, names) != "peer-2" else "peer-1")
        wait_for_leader(home, names)

        disk.free()
        receipt = put(home, "peer-2", "after", b"value")
        kept["after"] = b"value"
        assert full in receipt["holders"]
        until_blocking(
            lambda: view(home, "peer-2", "status")["keys_held"] == len(kept),
            what="every record on the peer whose disk was full",
            deadline_s=60,
        )
