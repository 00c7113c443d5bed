"""Liveness links on real sockets and both loops: they open, stay, end, and tell what the operating system says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from node.link_hello import LINK_MAGIC, frame_hello, hello_in
from node.links import LINKS_KEPT_MAX, TRIES_MAX, Links
from protocol.errors import RemoteProtocolError
from protocol.ids import PeerId
from protocol.statements import Address, Descriptor
from tests.loops import on_every_loop
from tests.node.tcp_peers import ALICE, BOB, CAROL, descriptor_of, hello_of, open_port
from tests.ports import free_ports
from tests.waiting import until


class _Observer:
    """Alice's links, and what they told her."""

    def __init__(self) -> None:
        self.lost: list[PeerId] = []
        self.refused: list[tuple[PeerId, int]] = []
        self.links = Links(
            hello_bytes=lambda peer: hello_of(ALICE),
            on_lost=self.lost.append,
            on_refused=lambda peer_id, boot: self.refused.append((peer_id, boot)),
        )


@contextlib.asynccontextmanager
async def _observer() -> AsyncIterator[_Observer]:
    observer = _Observer()
    try:
        yield observer
    finally:
        await observer.links.close()


@on_every_loop
async def test_a_link_opens_and_its_end_is_told_at_once(tmp_path: Path) -> None:
    """A process that dies ends its links; that is told once for each connection, and the link is tried again."""
    async with asyncio.timeout(30), _observer() as alice:
        async with open_port(BOB, tmp_path) as port:
            alice.links.keep((descriptor_of(BOB, port.port, boot=7),))
            await until(lambda: list(port._links.values()) == [ALICE.peer_id])
            assert alice.lost == []
        await until(lambda: alice.lost)
        assert alice.lost == [BOB.peer_id]
        await until(lambda: alice.refused)
        assert alice.refused[0] == (BOB.peer_id, 7)
        async with open_port(BOB, tmp_path, port=port.port) as again:
            await until(lambda: again._links)


@on_every_loop
async def test_exactly_the_wanted_links_are_held(tmp_path: Path) -> None:
    """What is not wanted any more ends without a word; what stays is not opened anew."""
    async with (
        asyncio.timeout(30),
        _observer() as alice,
        open_port(BOB, tmp_path) as bob,
        open_port(CAROL, tmp_path) as carol,
    ):
        both = (descriptor_of(BOB, bob.port), descriptor_of(CAROL, carol.port))
        alice.links.keep(both)
        await until(lambda: bob._links and carol._links)
        kept = next(iter(carol._links))
        alice.links.keep(both[1:])
        await until(lambda: not bob._links)
        alice.links.keep(both[1:])
        assert next(iter(carol._links)) is kept
        alice.links.keep(())
        await until(lambda: not carol._links)

    assert alice.lost == []


@on_every_loop
async def test_a_new_boot_of_a_peer_gets_a_new_link(tmp_path: Path) -> None:
    """The old process is gone whatever its connection says."""
    async with asyncio.timeout(30), _observer() as alice, open_port(BOB, tmp_path) as port:
        alice.links.keep((descriptor_of(BOB, port.port, boot=1),))
        await until(lambda: port._links)
        first = next(iter(port._links))
        alice.links.keep((descriptor_of(BOB, port.port, boot=2),))
        await until(lambda: len(port._links) == 1 and first not in port._links)

    assert alice.lost == []


@on_every_loop
async def test_a_refused_connection_names_the_boot_that_was_looked_for() -> None:
    """Refused is what makes a crash a verdict within milliseconds (DESIGN section 6)."""
    async with asyncio.timeout(30), _observer() as alice:
        port, _ = free_ports()
        alice.links.try_connection(descriptor_of(BOB, port, boot=3))
        await until(lambda: alice.refused)
        alice.links.keep((descriptor_of(CAROL, port, boot=4),))
        await until(lambda: len(alice.refused) == 3)

    assert alice.refused == [(BOB.peer_id, 3), (CAROL.peer_id, 4), (CAROL.peer_id, 4)]


@on_every_loop
async def test_a_port_that_listens_does_not_refuse(tmp_path: Path) -> None:
    """A try opens and closes one connection, and says nothing when it worked."""
    async with asyncio.timeout(30), _observer() as alice, open_port(BOB, tmp_path) as port:
        alice.links.try_connection(descriptor_of(BOB, port.port))
        await until(lambda: not alice.links._tries)

    assert alice.refused == alice.lost == []


@pytest.mark.parametrize("host", ["a..b", "x" * 255])
@on_every_loop
async def test_an_impossible_address_is_silence(host: str) -> None:
    """A member may write any host into its descriptor; that is no refusal and breaks nothing."""
    peer = msgspec.structs.replace(descriptor_of(BOB, 7400), address=Address(host, 7400))
    async with asyncio.timeout(30), _observer() as alice:
        alice.links.keep((peer,))
        alice.links.try_connection(peer)
        await until(lambda: not alice.links._tries)
        assert not alice.links._links[BOB.peer_id]._task.done()

    assert alice.refused == alice.lost == []


@on_every_loop
async def test_a_peer_that_talks_on_a_link_is_dropped() -> None:
    """A link carries nothing: its end is told like any other."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with asyncio.timeout(30), _observer() as alice:
        alice.links.keep((descriptor_of(BOB, server.sockets[0].getsockname()[1]),))
        await until(lambda: alice.lost)
    server.close()

    assert alice.lost == [BOB.peer_id]


@on_every_loop
async def test_closed_links_say_nothing_and_open_nothing(tmp_path: Path) -> None:
    """No callback after the close; closing twice is no error."""
    async with asyncio.timeout(30), _observer() as alice, open_port(BOB, tmp_path) as port:
        alice.links.keep((descriptor_of(BOB, port.port),))
        await until(lambda: port._links)
        await alice.links.close()
        await alice.links.close()
        await until(lambda: not port._links)
        alice.links.keep((descriptor_of(BOB, port.port),))
        alice.links.try_connection(descriptor_of(BOB, port.port))

    assert alice.lost == alice.refused == []
    assert not alice.links._links


@on_every_loop
async def test_tries_are_bounded() -> None:
    """A flood of accusations does not become a flood of connections."""
    async with asyncio.timeout(30), _observer() as alice:
        for number in range(TRIES_MAX + 5):
            alice.links.try_connection(_peer(number))
        tried = len(alice.links._tries)

    assert tried == TRIES_MAX
    assert LINKS_KEPT_MAX >= 3


def _peer(number: int) -> Descriptor:
    return msgspec.structs.replace(descriptor_of(BOB, 9), author_key=number.to_bytes(32, "big"))


@pytest.mark.parametrize("size", [1, 52, 1232])
def test_a_hello_is_read_once_it_is_whole(size: int) -> None:
    """Bytes come in pieces of any size."""
    sealed = bytes(size)
    frame = frame_hello(sealed)

    assert all(hello_in(frame[:length]) is None for length in range(1, len(frame)))
    assert hello_in(frame) == sealed


@pytest.mark.parametrize(
    "received", [bytes([LINK_MAGIC, 0, 0]), bytes([LINK_MAGIC, 4, 209]), frame_hello(b"x") + b"y"]
)
def test_a_malformed_hello_is_the_others_fault(received: bytes) -> None:
    """Empty, larger than a datagram, or followed by something."""
    with pytest.raises(RemoteProtocolError):
        hello_in(received)
