"""Asking running peers over HTTP: quicker than a command for each of many questions."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tests.running import Home
from tests.waiting import until_blocking


def ask(home: Home, peer: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send one request to a peer, as a member; return status and body."""
    token = json.loads((home.folder / "local" / "tokens.json").read_text())["member"]
    headers = {"Authorization": f"Bearer {token}"}
    status, _, content = home.request(api_of(home, peer), method, path, body=body, headers=headers)
    return status, content


def api_of(home: Home, peer: str) -> str:
    """Return the API address of a peer's present or last run."""
    api: str = json.loads((home.folder / "local" / peer / "run.json").read_text())["api"]
    return api


def pid_of(home: Home, peer: str) -> int:
    """Return the process of a peer's present or last run."""
    pid: int = json.loads((home.folder / "local" / peer / "run.json").read_text())["pid"]
    return pid


def put(home: Home, peer: str, key: str, value: bytes) -> dict[str, Any]:
    """Write a key through a peer, which must acknowledge it."""
    status, content = ask(home, peer, "PUT", _route(key), value)
    assert status == 200, (key, content, home.logs())
    receipt: dict[str, Any] = json.loads(content)
    return receipt


def get(home: Home, peer: str, key: str) -> bytes | None:
    """Read a key through a peer; None when it says that there is none."""
    status, content = ask(home, peer, "GET", _route(key))
    assert status in (200, 404), (key, content, home.logs())
    return content if status == 200 else None


def delete(home: Home, peer: str, key: str) -> None:
    """Delete a key through a peer, which must acknowledge it."""
    status, content = ask(home, peer, "DELETE", _route(key))
    assert status == 200, (key, content, home.logs())


def all_of(home: Home, peer: str, keys: Sequence[str]) -> dict[str, bytes | None]:
    """Read many keys through a peer."""
    return {key: get(home, peer, key) for key in keys}


def view(home: Home, peer: str, what: str) -> Any:
    """Return a peer's ``status``, ``members`` or ``leader``."""
    status, content = ask(home, peer, "GET", f"/v1/{what}")
    assert status == 200, content
    return json.loads(content)


def wait_for_leader(home: Home, peers: Sequence[str], *, deadline_s: float = 15.0) -> str:
    """Wait until ``peers`` all follow one of themselves, and return its name."""
    leaders: set[str] = set()

    def agreed() -> bool:
        leaders.clear()
        leaders.update(str(view(home, peer, "leader")["name"]) for peer in peers)
        return len(leaders) == 1 and leaders <= set(peers)

    until_blocking(agreed, what=f"one leader of {', '.join(peers)}", deadline_s=deadline_s)
    return leaders.pop()


def _route(key: str) -> str:
    return f"/v1/kv?key={quote(key, safe='')}"
