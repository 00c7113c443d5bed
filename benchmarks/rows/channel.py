"""What it costs to say something to another peer: a sealed datagram, and a request over mutual TLS."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import Sample, seconds
from benchmarks.results import Outcome
from node.peer_client import PeerClient
from node.peer_port import PeerPort
from node.tls import PeerTls
from protocol import codec
from protocol.envelope import Opener, Sealer
from protocol.identity import Identity
from protocol.ids import PeerId, short_id_of
from protocol.messages import Accepted, HandoverWish, Ping, Reply, Request
from protocol.network import NetworkIdentity
from protocol.statements import Address, Descriptor

VALUE_SIZE_BYTES: Final = 1024


async def measure_channel(bench: Bench) -> Outcome:
    """Seal and open datagrams of 1 KiB, and send requests on a kept connection, both ends in this process."""
    network = NetworkIdentity(name="bench", key=bench.random.randbytes(32), admin_public_key=bench.random.randbytes(32))
    one, other = Identity(bench.random.randbytes(32)), Identity(bench.random.randbytes(32))
    datagrams = bench.size(100_000, 1000)
    sealed_s = _seal_and_open(network, one, other, datagrams, bench.random.randbytes(VALUE_SIZE_BYTES))
    whole_s = _seal_and_open(network, one, other, datagrams, codec.encode(Ping(sequence=1)), is_message=True)

    async def answer(caller: PeerId, request: Request) -> Reply:
        return Accepted()

    def tls(who: Identity) -> PeerTls:
        return PeerTls(identity=who, network=network, folder=bench.folder)

    port = PeerPort(
        tls=tls(one), bind="127.0.0.1", port=0, handle=answer, check_hello=lambda _: None, count_members=lambda: 2
    )
    await port.start()
    try:
        peer = _descriptor(one, port.port)
        client = PeerClient(tls(other))
        wish = HandoverWish(request_id=1)
        await client.request(peer, wish, 10)
        kept = await _timed(bench.size(3000, 20), lambda: client.request(peer, wish, 10))
        await client.close()

        async def connect_and_ask() -> None:
            fresh = PeerClient(tls_of_other)
            await fresh.request(peer, wish, 10)
            await fresh.close()

        tls_of_other = tls(other)
        fresh = await _timed(bench.size(200, 5), connect_and_ask)
    finally:
        await port.stop()
    return Outcome(
        measured=(
            f"1 KiB sealed and opened {sealed_s * 1e6:.1f} µs; a ping with its encoding {whole_s * 1e6:.1f} µs;"
            f" request over TLS, kept {seconds(kept.p50)} (p99 {seconds(kept.p99)}), new {seconds(fresh.p50)}"
        ),
        must=True,
        lead=kept.p50,
        notes=("both ends in one process: the times of both together; shown, nothing to reach",),
        figures={"seal_open_s": sealed_s, "ping_s": whole_s, "kept_s": kept.document(), "new_s": fresh.document()},
    )


def _seal_and_open(
    network: NetworkIdentity, one: Identity, other: Identity, count: int, plaintext: bytes, *, is_message: bool = False
) -> float:
    """Return the time of one datagram, from plaintext to plaintext, in seconds."""
    sealer = Sealer(network=network, peer_id=one.peer_id, boot=1)
    opener = Opener(network=network, peer_id=other.peer_id)
    to = short_id_of(other.peer_id)
    began = time.perf_counter()
    for _ in range(count):
        if is_message:
            codec.decode(opener.open(sealer.seal(codec.encode(Ping(sequence=1)), to)).plaintext)
        else:
            opener.open(sealer.seal(plaintext, to))
    return (time.perf_counter() - began) / count


async def _timed(count: int, act: Callable[[], Awaitable[object]]) -> Sample:
    delays = []
    for _ in range(count):
        began = time.perf_counter()
        await act()
        delays.append(time.perf_counter() - began)
    return Sample.of(delays)


def _descriptor(who: Identity, port: int) -> Descriptor:
    address = Address("127.0.0.1", port)
    return Descriptor(
        author_key=who.public_key, name="bench", address=address, api=address, boot=1, incarnation=0, version="0"
    )
