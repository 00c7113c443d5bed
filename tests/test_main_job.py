"""The main job on real input: the time zones of the world, through a network whose leader is killed half-way."""

import http.client
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.running import Home, running_home

pytestmark = pytest.mark.processes


def zones() -> dict[str, bytes]:
    """Every zone of ``zone1970.tab``: key ``zones/NAME``, value the line as it stands."""
    table = files("tzdata").joinpath("zoneinfo/zone1970.tab").read_bytes()
    lines = [line for line in table.splitlines() if line and not line.startswith(b"#")]
    return {"zones/" + line.split(b"\t")[2].decode(): line for line in lines}


class Client:
    """A kept connection to one peer's API."""

    def __init__(self, api: str, token: str) -> None:
        parts = urlsplit(api)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=15)
        self._headers = {"Authorization": f"Bearer {token}"}

    def put(self, key: str, value: bytes) -> None:
        status, content = self._ask("PUT", key, value)
        assert status == 200, content

    def get(self, key: str) -> bytes:
        status, content = self._ask("GET", key, None)
        assert status == 200, (key, content)
        return content

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, key: str, body: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, f"/v1/kv?key={quote(key, safe='')}", body=body, headers=self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with running_home(tmp_path / "home") as home:
        yield home


def test_every_zone_survives_the_leader(home: Home) -> None:
    """All zones are put through one peer, half of them after the leader's end; all are read everywhere."""
    home.up(5)
    written = zones()
    assert len(written) > 300
    token = home.ok("token", "--level", "member").text.strip()
    names = list(home.peers())
    leader = home.wait_for_one_leader(names)
    through = next(name for name in names if name != leader)

    def client_of(name: str) -> Client:
        return Client(home.peers()[name]["api"], token)

    client = client_of(through)
    for number, (key, value) in enumerate(written.items()):
        if number == len(written) // 2:
            home.ok("kill", leader)
        client.put(key, value)
    client.close()

    survivors = [name for name in names if name != leader]
    for name in survivors:
        assert everything(client_of(name), written) == written, name
    assert home.wait_for_one_leader(survivors) != leader

    home.ok("restart", leader)
    assert everything(client_of(leader), written) == written
    listed = {row["key"] for row in home.json("keys", "zones/", "--peer", leader)}
    assert listed == set(written)


def everything(client: Client, keys: Mapping[str, bytes]) -> dict[str, bytes]:
    """Read all ``keys`` through one peer."""
    try:
        read: Callable[[str], bytes] = client.get
        return {key: read(key) for key in keys}
    finally:
        client.close()
