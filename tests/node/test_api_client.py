"""The client of the command line, against the real API and against servers that misbehave."""

import asyncio
import contextlib
import io
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from node.api_client import Answer, ApiClient, NoAnswer, NoConnection, ProblemAnswer, host_and_port
from tests.node.api.fake_peer import TOKENS, FakePeer, open_api


@contextlib.contextmanager
def _server(*answers: bytes, keep_open: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives each connection the next answer, whatever is asked; tells its URL and the requests."""
    requests: list[bytes] = []
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(15)

        def serve() -> None:
            for answer in answers:
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(15)
                        requests.append(connection.recv(2**16))
                        connection.sendall(answer)
                        if keep_open:
                            stop.wait(15)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            stop.set()
            thread.join()


def _ok(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


async def _with_api(peer: FakePeer, work: Callable[[ApiClient], object]) -> None:
    """Run ``work`` in a thread beside the real API."""
    async with open_api(peer) as server:
        client = ApiClient(f"http://127.0.0.1:{server.port}", token=TOKENS["admin"])
        try:
            await asyncio.to_thread(work, client)
        finally:
            client.close()


async def test_one_connection_carries_all_requests() -> None:
    """Writing, reading, listing, a missing key: each with its status, headers and body."""
    peer = FakePeer()

    def work(client: ApiClient) -> None:
        first = client.request("PUT", "/v1/kv/k", body=b"\x00v")
        connection = client._connection
        read = client.request("GET", "/v1/kv/k")
        with pytest.raises(ProblemAnswer) as missing:
            client.request("GET", "/v1/kv/none")
        listed = client.request("GET", "/v1/kv?prefix=")
        assert client._connection is connection
        assert read.body == b"\x00v"
        assert read.headers["etag"] == first.headers["etag"] == f'"{first.document()["version"]}"'
        assert (missing.value.status, missing.value.problem["type"]) == (404, "not-found")
        assert [entry["key"] for entry in listed.document()] == ["k"]

    await _with_api(peer, work)


async def test_a_file_is_streamed() -> None:
    """``put -`` and ``put @file`` send piece by piece."""
    peer = FakePeer()
    value = bytes(range(256)) * 3000

    def work(client: ApiClient) -> None:
        client.request("PUT", "/v1/kv/k", body=io.BytesIO(value), headers={"Content-Length": str(len(value))})

    await _with_api(peer, work)
    assert peer.records["k"].value == value


async def test_a_refused_upload_tells_why() -> None:
    """The peer answers before it has read all, and closes: its answer is read all the same."""

    def work(client: ApiClient) -> None:
        for _ in range(2):
            with pytest.raises(ProblemAnswer) as refused:
                client.request("PUT", "/v1/kv/k", body=b"x" * (2**20 + 1))
            assert (refused.value.status, refused.value.problem["type"]) == (413, "value-too-large")
        assert client.request("GET", "/v1/health").status == 200

    await _with_api(FakePeer(), work)


async def test_events_come_one_by_one_and_resume() -> None:
    """A stream over several connections: each event with kind, cursor and data."""
    peer = FakePeer()

    def work(client: ApiClient) -> None:
        for value in (b"1", b"2\n", b"3"):
            client.request("PUT", "/v1/kv/k", body=value)
        stream = client.events("/v1/kv-watch?key=k&since=0")
        events = [next(stream), next(stream)]
        stream.close()  # type: ignore[attr-defined]
        resumed = client.events("/v1/kv-watch?key=k", headers={"Last-Event-ID": events[-1].id})
        events.append(next(resumed))
        resumed.close()  # type: ignore[attr-defined]
        assert [(event.kind, event.id, event.document()["value"]) for event in events] == [
            ("put", "1", "1"),
            ("put", "2", "2\n"),
            ("put", "3", "3"),
        ]
        with pytest.raises(ProblemAnswer):
            next(client.events("/v1/kv-watch?since=%00"))

    await _with_api(peer, work)


def test_nothing_there_is_no_connection() -> None:
    """The request was never sent: it may be repeated anywhere."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    with pytest.raises(NoConnection, match="refused"):
        ApiClient(url).request("PUT", "/v1/kv/k", body=b"v")


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "a" * 5000])
def test_a_name_that_no_host_can_have_is_no_connection(host: str) -> None:
    """The standard library finds them unencodable; a person has mistyped."""
    with pytest.raises(NoConnection, match="no host can have that name"):
        ApiClient(f"http://{host}:1").request("GET", "/v1/health")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "half-head", "half-body", "half-chunk", "ssh", "headers", "line"],
)
def test_half_an_answer_is_no_answer(answer: bytes) -> None:
    """The request was sent: what it did is unknown."""
    with _server(answer) as (url, requests), pytest.raises(NoAnswer) as broken:
        ApiClient(url).request("GET", "/v1/status")

    assert requests
    assert not broken.value.timed_out


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
def test_silence_is_no_answer_in_time(answer: bytes) -> None:
    """Every wait has a deadline, in the middle of a body as well."""
    with _server(answer, keep_open=True) as (url, _):
        client = ApiClient(url)
        with pytest.raises(NoAnswer) as silent:
            client.request("GET", "/v1/status", timeout_s=0.1)
        client.close()

    assert silent.value.timed_out


def test_a_connection_that_ended_while_idle_is_replaced() -> None:
    """A peer that restarted between two commands is no failure."""
    with _server(_ok(b"1"), _ok(b"2")) as (url, requests):
        client = ApiClient(url)
        bodies = [client.request("GET", "/").body for _ in range(2)]
        client.close()

    assert bodies == [b"1", b"2"]
    assert len(requests) == 2


@contextlib.contextmanager
def _server_that_restarts(answered_again: bool) -> Iterator[tuple[str, list[bytes]]]:
    """A server that ends its first connection on the second request there, unanswered; then answers, or never does."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(15)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.settimeout(15)
                requests.append(connection.recv(2**16))
                connection.sendall(_ok(b"1"))
                requests.append(connection.recv(2**16))
                if not answered_again:
                    listener.close()
            if answered_again:
                with listener.accept()[0] as connection:
                    connection.settimeout(15)
                    requests.append(connection.recv(2**16))
                    connection.sendall(_ok(b"2"))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield url, requests
        finally:
            thread.join()


def test_what_reads_is_sent_again_when_its_kept_connection_ends_unanswered() -> None:
    """The peer closed an idle connection just as the request was on its way: no check beforehand can see that."""
    with _server_that_restarts(answered_again=True) as (url, requests):
        client = ApiClient(url)
        bodies = [client.request("GET", "/").body for _ in range(2)]
        client.close()

    assert bodies == [b"1", b"2"]
    assert len(requests) == 3


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_peer_that_dies_under_a_request_gave_no_answer(method: str) -> None:
    """A write may have been done before the connection ended, and is never sent twice; a read finds nobody."""
    with _server_that_restarts(answered_again=False) as (url, requests):
        client = ApiClient(url)
        client.request("GET", "/")
        with pytest.raises(NoAnswer, match="broke off"):
            client.request(method, "/v1/kv/k", body=b"v" if method == "PUT" else None)
        client.close()

    assert len(requests) == 2


def test_what_is_no_peer_is_said() -> None:
    """Some other program answers at that port."""
    page = b"<html>"
    failure = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n" + page
    with _server(_ok(page), failure) as (url, _):
        client = ApiClient(url)
        with pytest.raises(ProblemAnswer, match="not a peer"):
            client.request("GET", "/").document()
        client.close()
        with pytest.raises(ProblemAnswer, match="Bad Gateway") as broken:
            client.request("GET", "/")
        client.close()

    assert broken.value.problem["type"] == "about:blank"


@pytest.mark.parametrize("body", [b"[" * 100_000, b"\xff", b'"\xed\xa0\x80"'])
def test_hostile_json_is_no_peers(body: bytes) -> None:
    """Whatever answers there cannot break the client."""
    with pytest.raises(ProblemAnswer):
        Answer(status=200, headers={}, body=body).document()


def test_an_event_stream_that_ends_is_no_answer() -> None:
    """The caller decides whether to come back; comments and broken lines are no events."""
    stream = b"HTTP/1.1 200 OK\r\n\r\nretry: 1\n\n: alive\n\nid: 7\nevent: put\ndata: 1\ndata: 2\n\ndata: cut"
    with _server(stream) as (url, _):
        events = ApiClient(url).events("/v1/events")
        event = next(events)
        with pytest.raises(NoAnswer):
            next(events)

    assert (event.kind, event.id, event.text) == ("put", "7", "1\n2")


def test_a_silent_event_stream_is_given_up() -> None:
    """Heartbeats come more often than that from a living peer."""
    with _server(b"HTTP/1.1 200 OK\r\n\r\n", keep_open=True) as (url, _), pytest.raises(NoAnswer) as silent:
        next(ApiClient(url).events("/v1/events", silence_max_s=0.1))

    assert silent.value.timed_out


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8400", ("127.0.0.1", 8400)),
        ("http://[::1]:8400/", ("::1", 8400)),
        ("http://host", ("host", 80)),
    ],
)
def test_addresses_are_split(url: str, expected: tuple[str, int]) -> None:
    """``http://HOST:PORT`` and nothing more."""
    assert host_and_port(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8400", "https://h:1", "http://", "http://h:1/v1", "http://u@h:1", "http://h:99999", "http://h:1?a"],
)
def test_other_addresses_are_refused(url: str) -> None:
    """The text says what is wrong."""
    with pytest.raises(ValueError, match=r"."):
        host_and_port(url)


def test_the_client_imports_nothing_heavy() -> None:
    """A command's own start stays light."""
    code = "import sys, node.api_client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"aiohttp", "asyncio", "cryptography", "kademlia", "msgspec", "rich"} & set(loaded)
