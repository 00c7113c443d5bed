"""What the doctor concludes from what it heard of an address: each outcome names a cause and a fix of its own."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bootstrap.home import NetworkFolder
from node import __version__
from node.cli.check_reach import member_finding, seed_finding
from node.cli.sounding import Sounding, TcpAnswer
from protocol.statements import Descriptor
from tests.protocol.samples import descriptor

NETWORK = NetworkFolder(Path("local"))
BOB = msgspec.structs.replace(descriptor(2), version=__version__)
OLD = msgspec.structs.replace(BOB, version="0.0.9")
OTHER = descriptor(3)


def row(state: str) -> dict[str, Any]:
    return {"id": BOB.peer_id.hex(), "name": "bob", "address": "192.0.2.2:7400", "state": state}


@pytest.mark.parametrize(
    ("udp", "tcp", "state", "words"),
    [
        (BOB, "this network", "ok", "answers by UDP and TCP"),
        (OLD, "this network", "warning", "version 0.0.9"),
        (BOB, "silent", "broken", "TCP port 7402 is filtered"),
        (BOB, "refused", "broken", "TCP port 7402 is closed"),
        (None, "this network", "broken", "not by UDP"),
        (None, "another network", "broken", "another network key"),
        (None, "no peer", "broken", "another program"),
        (None, "refused", "warning", "nobody listens"),
        (None, "silent", "broken", "no answer by UDP or TCP"),
    ],
)
def test_a_seed(udp: Descriptor | None, tcp: TcpAnswer, state: str, words: str) -> None:
    """A person wrote it down, so that it should answer."""
    found = seed_finding(NETWORK, "192.0.2.2:7400", Sounding(udp, tcp))

    assert found.name == "local: seed 192.0.2.2:7400"
    assert found.state == state and words in found.detail
    assert bool(found.next_step) == (state != "ok")


@pytest.mark.parametrize(
    ("udp", "tcp", "seen", "state", "words"),
    [
        (BOB, "this network", "alive", "ok", "answers by UDP and TCP"),
        (OLD, "this network", "alive", "warning", "version 0.0.9"),
        (BOB, "silent", "alive", "broken", "filtered"),
        (OTHER, "this network", "failed", "broken", "peer-3 answers"),
        (None, "this network", "failed", "broken", "not by UDP"),
        (None, "another network", "failed", "warning", "somebody else"),
        (None, "no peer", "failed", "warning", "somebody else"),
        (None, "refused", "failed", "warning", "its process ended"),
        (None, "silent", "alive", "broken", "takes no new connection"),
        (None, "silent", "failed", "warning", "the machine is off"),
    ],
)
def test_a_member(udp: Descriptor | None, tcp: TcpAnswer, seen: str, state: str, words: str) -> None:
    """A member that is down is no fault of this machine; one that is up and cannot be reached is somebody's."""
    found = member_finding(NETWORK, row(seen), Sounding(udp, tcp))

    assert found.name == "local: member bob"
    assert found.state == state and words in found.detail
    assert bool(found.next_step) == (state != "ok")
