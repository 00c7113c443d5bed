"""Ports: the block that was asked for or kept, else the first free one."""

import socket
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from bootstrap.ports import PortTaken, assign_port, assign_ports, is_free, ports_locked
from protocol.errors import ConfigError


def assign(
    *,
    count: int = 2,
    base: int | None = None,
    kept: Mapping[int, int] | None = None,
    running: Collection[int] = (),
    taken: Collection[int] = (),
    avoid: Collection[int] = (),
) -> dict[int, int]:
    return assign_ports(
        count=count,
        base=base,
        first_base=7400,
        kept=kept or {},
        running=running,
        free=lambda port: port not in taken,
        avoid=avoid,
        option="--base-port",
    )


def test_new_network_takes_the_first_free_block() -> None:
    """A block with one port that is taken, or kept for another network, is passed over whole."""
    assert assign() == {1: 7401, 2: 7402}
    assert assign(taken=[7402], avoid=[7501]) == {1: 7601, 2: 7602}
    assert assign(count=150, taken=[7402])[150] == 7600 + 150


def test_ports_are_kept() -> None:
    """The same ports as before; further peers go on in the same block."""
    assert assign(count=3, kept={1: 7501, 2: 9000}) == {1: 7501, 2: 9000, 3: 7503}
    assert assign(kept={2: 7602}, running=[2], taken=[7602]) == {1: 7601, 2: 7602}


def test_stopped_network_moves_when_its_block_is_lost() -> None:
    """Nobody knows its ports by heart; a running one cannot move."""
    assert assign(kept={1: 7401}, taken=[7401]) == {1: 7501, 2: 7502}
    with pytest.raises(PortTaken, match="port 7402 is taken") as failure:
        assign(kept={1: 7401}, running=[1], taken=[7401, 7402])
    assert failure.value.next_step == "end that program"


def test_asked_base_is_taken_or_refused() -> None:
    """An explicit block is never exchanged in silence, and the error names one that would do."""
    assert assign(base=9000, kept={1: 7401}) == {1: 9001, 2: 9002}
    with pytest.raises(PortTaken) as failure:
        assign(base=9000, taken=[9002, 7401])
    assert failure.value.port == 9002
    assert failure.value.next_step.endswith("--base-port 7500")


@pytest.mark.parametrize("base", [-1, 65_534, 70_000])
def test_base_without_room_is_refused(base: int) -> None:
    """Ports end at 65,535."""
    with pytest.raises(ConfigError, match="leaves no room"):
        assign(base=base)


def test_base_cannot_contradict_a_running_peer() -> None:
    """Options that contradict the running network are wrong use."""
    assert assign(base=7400, kept={1: 7401}, running=[1]) == {1: 7401, 2: 7402}
    with pytest.raises(ConfigError, match="contradicts peer-1, which runs at port 7401"):
        assign(base=7500, kept={1: 7401}, running=[1])


@pytest.mark.parametrize(
    ("taken", "own", "expected"),
    [
        ([], [], 7400),
        ([7401, 7402, 7404], [], 7414),
        ([7401, 7402, 7404], [7401, 7402, 7403, 7404], 7400),
        ([7400, 7401], [7400, 7401], 7402),
        ([], [7400], 7401),
        ([7409], [7400], 7419),
    ],
)
def test_single_port_keeps_away_from_those_of_other_networks(
    taken: list[int], own: list[int], expected: int
) -> None:
    """A free port beside one of another network may be that of its peer that is down: in a gap, or the last one."""
    port = assign_port(first=7400, free=lambda port: port not in taken, own=own, option="--port")

    assert port == expected


def test_single_port_that_cannot_be_had_is_explained() -> None:
    """The machine is full; a person may know better."""
    with pytest.raises(ConfigError, match="no port from 7400") as failure:
        assign_port(first=7400, free=lambda port: False, own=[], option="--port")

    assert "--port" in failure.value.next_step


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_free_means_that_it_could_be_bound(kind: socket.SocketKind) -> None:
    """A UDP port counts only where UDP is asked for."""
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        port = holder.getsockname()[1]
        assert not is_free("127.0.0.1", port, udp=True)
        assert is_free("127.0.0.1", port, udp=False) == (kind == socket.SOCK_DGRAM)


def test_networks_that_start_at_once_look_for_ports_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right to look is one lock of this user; it is a help, so nobody waits for it in vain."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with ports_locked(timeout_s=0.0) as first, ports_locked(timeout_s=0.0) as second:
        assert len(first) == 1 and second == []
    with ports_locked(timeout_s=0.0) as third:
        assert len(third) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with ports_locked(timeout_s=0.0) as fourth:
        assert fourth == []
