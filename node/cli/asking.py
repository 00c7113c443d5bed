"""Asking many local peers the same question at once, each over a connection that stays open."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

from node.api_client import ApiClient, ApiError

_AT_ONCE: Final = 8
"""Enough to hide the wait for a busy peer, few enough not to be a load of its own."""


class Circle:
    """The peers that are asked. A thread serves each question, so nothing may fork while one is open.

    Args:
        urls: Name → API address.
        token: Of the read level.
    """

    def __init__(self, urls: Mapping[str, str], *, token: str) -> None:
        self._clients = {name: ApiClient(url, token=token) for name, url in urls.items()}
        self._threads = ThreadPoolExecutor(_AT_ONCE)

    def ask(self, path: str, names: Iterable[str], *, timeout_s: float) -> dict[str, Any]:
        """Return the document of each peer that answered in time; those that did not are missing."""

        def answer_of(name: str) -> tuple[str, Any]:
            try:
                return name, self._clients[name].request("GET", path, timeout_s=timeout_s).document()
            except ApiError:
                return name, None

        answers = self._threads.map(answer_of, [name for name in names if name in self._clients])
        return {name: document for name, document in answers if document is not None}

    def close(self) -> None:
        """End the connections; a question still open is given up."""
        self._threads.shutdown(cancel_futures=True)
        for client in self._clients.values():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
