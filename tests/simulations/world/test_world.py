"""The virtual world: time, datagrams, streams, and the ends of processes."""

import asyncio
import os
import random
import time
from typing import Any

import pytest
from aiohttp import ClientSession, web

from simulations.world.errors import Deadlock, EscapeError
from simulations.world.loop import SimLoop
from tests.simulations.world.worlds import world


class Echo(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.seen.append((asyncio.get_running_loop().time(), data))
        if not data.startswith(b"echo:"):
            self.transport.sendto(b"echo:" + data, addr)


async def bound(port: int = 7400) -> Echo:
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("0.0.0.0", port))
    assert isinstance(protocol, Echo)
    return protocol


def test_time_jumps_and_each_host_has_its_own() -> None:
    """A rate bends the steady clock and the timers of one host; an offset only its wall clock."""
    with world(2) as w:
        w.hosts[1].set_rate(1.01)
        w.hosts[1].clock.wall_offset_s = 3600.0
        clocks: dict[str, tuple[float, float]] = {}

        async def sleeper(name: str) -> None:
            await asyncio.sleep(100)
            clocks[name] = (time.monotonic(), time.time())

        async def main() -> None:
            tasks = [host.start(sleeper(host.name)) for host in w.hosts]
            await tasks[1]
            assert w.loop.true_time == pytest.approx(100 / 1.01, abs=0.01)
            await tasks[0]
            assert w.loop.true_time == pytest.approx(100, abs=0.01)

        w.run(main())
        assert clocks["host-0"][0] == pytest.approx(100, abs=0.01)
        assert clocks["host-1"][0] == pytest.approx(100, abs=0.01)
        assert clocks["host-1"][1] - clocks["host-0"][1] == pytest.approx(3600, abs=0.1)


def test_datagrams_arrive_after_the_links_delay() -> None:
    """One way costs the link's delay; there and back twice that."""
    with world(2) as w:

        async def client() -> list[tuple[float, bytes]]:
            protocol = await bound()
            protocol.transport.sendto(b"hello", (w.hosts[1].address, 7400))
            await asyncio.sleep(1)
            return protocol.seen

        async def main() -> list[tuple[float, bytes]]:
            w.hosts[1].start(bound())
            await asyncio.sleep(0.1)
            seen: list[tuple[float, bytes]] = await w.hosts[0].start(client())
            return seen

        ((when, data),) = w.run(main())
        assert data == b"echo:hello"
        assert 0.1004 <= when <= 0.11


def test_loss_duplication_and_cuts_count() -> None:
    """Each is a property of one directed link."""
    with world(3) as w:
        a, b, c = w.hosts
        w.network.links.change(a, b, loss=0.5)
        w.network.links.change(a, c, duplication=1.0)
        w.network.cut(b, c)

        async def sender(target: Any, count: int) -> None:
            protocol = await bound(port=9)
            for _ in range(count):
                protocol.transport.sendto(b"echo:x", (target.address, 7400))
            protocol.transport.close()

        async def main() -> None:
            echoes = [await host.start(bound()) for host in (b, c)]
            a.kill()
            await a.start(sender(b, 1000))
            await a_again(a, sender(c, 100))
            await asyncio.sleep(1)
            assert 400 < len(echoes[0].seen) < 600
            assert len(echoes[1].seen) == 200

        async def a_again(host: Any, program: Any) -> None:
            host.kill()
            await host.start(program)

        w.run(main())
        assert w.network.is_cut(b, c) and not w.network.is_cut(c, b)


def test_a_crash_runs_no_finally_and_frees_the_port() -> None:
    """Cancelling tasks would let the victim say goodbye: that is a shutdown, not a crash."""
    with world(1) as w:
        said: list[str] = []

        async def victim() -> None:
            await bound()
            try:
                await asyncio.sleep(1000)
            finally:
                said.append("goodbye")

        async def main() -> None:
            w.hosts[0].start(victim())
            await asyncio.sleep(1)
            w.hosts[0].kill()
            await asyncio.sleep(1)
            await w.hosts[0].start(bound())

        w.run(main())
        assert said == []


def test_a_paused_process_does_everything_when_it_resumes() -> None:
    """Timers and datagrams that came due meanwhile run at the resumption, in order."""
    with world(2) as w:
        a, b = w.hosts
        woke: list[float] = []

        async def sleeper() -> Echo:
            protocol = await bound()
            asyncio.get_running_loop().call_later(2, lambda: woke.append(w.loop.true_time))
            return protocol

        async def sender() -> None:
            protocol = await bound()
            for number in range(3):
                protocol.transport.sendto(b"echo:%d" % number, (a.address, 7400))

        async def main() -> Echo:
            protocol: Echo = await a.start(sleeper())
            a.pause()
            await b.start(sender())
            await asyncio.sleep(10)
            assert not woke and not protocol.seen
            a.resume()
            await asyncio.sleep(1)
            return protocol

        protocol = w.run(main())
        assert woke[0] >= 10
        assert len(protocol.seen) == 3


def test_entropy_follows_the_process_and_repeats_with_the_seed() -> None:
    """The same seed gives the same bytes, other hosts and later runs others."""

    def drawn() -> list[bytes]:
        with world(2, seed=7) as w:

            async def draw() -> bytes:
                return os.urandom(8) + random.randbytes(8)

            async def main() -> list[bytes]:
                first = [await host.start(draw()) for host in w.hosts]
                w.hosts[0].kill()
                return [*first, await w.hosts[0].start(draw())]

            result: list[bytes] = w.run(main())
            return result

    assert drawn() == drawn()
    assert len(set(drawn())) == 3


class Counter(asyncio.Protocol):
    """Counts bytes and remembers how the connection ended."""

    def __init__(self) -> None:
        self.size = 0
        self.ended: list[BaseException | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.size += len(data)

    def connection_lost(self, error: BaseException | None) -> None:
        self.ended.append(error)


async def serving(made: list[Counter]) -> None:
    def make() -> Counter:
        made.append(Counter())
        return made[-1]

    await asyncio.get_running_loop().create_server(make, "0.0.0.0", 80)
    await asyncio.sleep(10_000)


def test_a_stream_carries_a_megabyte_in_order_under_loss() -> None:
    """Loss delays, and back-pressure reaches the writer."""
    with world(2) as w:
        a, b = w.hosts
        w.network.links.change(a, b, loss=0.1)
        made: list[Counter] = []

        async def client() -> None:
            transport, _ = await asyncio.get_running_loop().create_connection(Counter, b.address, 80)
            transport.write(bytes(2**20))
            assert transport.get_write_buffer_size() > 0
            transport.close()

        async def main() -> None:
            b.start(serving(made))
            await asyncio.sleep(0.1)
            await a.start(client())
            await asyncio.sleep(30)

        w.run(main())
        assert made[0].size == 2**20
        assert made[0].ended == [None]


@pytest.mark.parametrize(("ending", "seconds"), [("kill", 0.1), ("power", 20.0)])
def test_the_end_of_a_process_reaches_the_other_end_of_its_streams(ending: str, seconds: float) -> None:
    """A kill is heard of at once; a power cut only when the other end sends something."""
    with world(2) as w:
        a, b = w.hosts

        async def client() -> Counter:
            _, protocol = await asyncio.get_running_loop().create_connection(Counter, b.address, 80)
            return protocol

        async def main() -> None:
            b.start(serving([]))
            await asyncio.sleep(0.1)
            protocol: Counter = await a.start(client())
            if ending == "kill":
                b.kill()
            else:
                b.cut_power()
                await asyncio.sleep(60)
                assert not protocol.ended, "nobody told it"
                protocol.transport.write(b"are you there?")
            await asyncio.sleep(seconds)
            assert len(protocol.ended) == 1

        w.run(main())


def test_a_refused_connection_says_so() -> None:
    """A running machine without a listener refuses; one without power is silent."""
    with world(2) as w:
        a, b = w.hosts

        async def client() -> str:
            try:
                await asyncio.get_running_loop().create_connection(Counter, b.address, 80)
            except OSError as error:
                return type(error).__name__
            return "connected"

        async def main() -> list[str]:
            outcomes = [await a.start(client())]
            a.kill()
            b.cut_power()
            outcomes.append(await a.start(client()))
            return outcomes

        assert w.run(main()) == ["ConnectionRefusedError", "TimeoutError"]


def test_aiohttp_runs_unmodified_on_the_virtual_loop() -> None:
    """Server and client, by host name, with keep-alive."""
    with world(2) as w:
        a, b = w.hosts

        async def answer(request: web.Request) -> web.Response:
            return web.json_response({"at": time.monotonic(), "body": len(await request.read())})

        async def server() -> None:
            app = web.Application()
            app.router.add_post("/", answer)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "0.0.0.0", 8080).start()

        async def client() -> list[Any]:
            async with ClientSession() as session:
                answers = []
                for size in (0, 10, 200_000):
                    async with session.post("http://host-1:8080/", data=bytes(size)) as response:
                        answers.append((await response.json())["body"])
                return answers

        async def main() -> list[Any]:
            await b.start(server())
            result: list[Any] = await a.start(client())
            return result

        assert w.run(main()) == [0, 10, 200_000]


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    """What the whole simulator rests on."""

    def digest(seed: int) -> str:
        with world(5, seed=seed) as w:

            async def chatter() -> None:
                protocol = await bound()
                while True:
                    await asyncio.sleep(random.random())
                    protocol.transport.sendto(os.urandom(16), (random.choice(w.hosts).address, 7400))

            async def main() -> None:
                for host in w.hosts:
                    host.start(chatter())
                await asyncio.sleep(30)

            w.run(main())
            return w.network.trace.digest

    assert digest(3) == digest(3)
    assert digest(3) != digest(4)


def test_what_would_touch_the_real_world_raises() -> None:
    """And so does waiting for what never comes."""
    with world(1) as w:

        async def main() -> None:
            with pytest.raises(EscapeError):
                w.loop.add_reader(0, print)
            with pytest.raises(EscapeError):
                await w.loop.create_datagram_endpoint(Echo, local_addr=("0.0.0.0", 1))

        w.run(main())

    loop = SimLoop(seed=1)
    with pytest.raises(Deadlock):
        loop.run_until_complete(loop.create_future())
    loop.close()
