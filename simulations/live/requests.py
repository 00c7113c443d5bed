"""Requests to the API of real peers, a connection for each: one that was kept would be asked twice when it breaks."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp

from bootstrap.home import Tokens

_CONNECT_TIMEOUT_S: Final = 2.0
_SIZE_MAX_BYTES: Final = 2**24

BROKEN: Final = (aiohttp.ClientError, OSError, ValueError, TimeoutError)
"""What a request to a dying peer may raise."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        """Return the decoded JSON.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self.body)


class NotReached(Exception):
    """No connection could be made; nothing was sent."""


class Requests:
    """One client of all peers; an asynchronous context manager."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT_TIMEOUT_S),
        )
        return self

    async def __aexit__(self, *failure: object) -> None:
        assert self._session is not None, "it was opened"
        await self._session.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        level: str = "member",
    ) -> Reply:
        """Send one request and return the whole answer.

        Raises:
            NotReached: No connection was made.
            BROKEN: No whole answer came.
        """
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._open(method, url, headers=headers, body=body, level=level) as response,
            ):
                content = await response.content.read(_SIZE_MAX_BYTES)
                return Reply(response.status, response.headers, content)
        except aiohttp.ClientConnectorError as error:
            raise NotReached(str(error)) from error

    async def events(self, url: str) -> AsyncIterator[tuple[str, Any]]:
        """Yield name and body of each event of a stream until it ends.

        Raises:
            BROKEN: The stream broke off.
        """
        async with self._open("GET", url, headers={"Accept": "text/event-stream"}, body=None, level="read") as response:
            response.raise_for_status()
            kind = ""
            async for line in response.content:
                name, _, value = line.decode(errors="replace").rstrip("\r\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)

    def _open(
        self, method: str, url: str, *, headers: Mapping[str, str] | None, body: bytes | None, level: str
    ) -> Any:
        assert self._session is not None, "it was opened"
        token = getattr(self._tokens, level)
        return self._session.request(
            method, url, data=body, headers={**(headers or {}), "Authorization": f"Bearer {token}"}
        )
