"""Asks real peers for the clients, over their HTTP API."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from node.errors import PROBLEM_TYPES, OperationError
from node.shapes import Explain, WriteReceipt
from simulations.clients import OPERATION_TIMEOUT_S, Unanswered
from simulations.history import Operation
from simulations.live.network import LiveNetwork
from simulations.live.requests import BROKEN, NotReached, Reply

_METHODS: Final = {"get": "GET", "put": "PUT", "delete": "DELETE"}
_GRACE_S: Final = 1.0
"""How much longer than the peer the client waits, so that the peer's own words about a time-out arrive."""


class HttpAnswerers:
    """Implements ``simulations.clients.Answerers`` on real peers."""

    def __init__(self, network: LiveNetwork) -> None:
        self._network = network

    def now_s(self) -> float:
        """Return the true time."""
        return self._network.now_s()

    def answering(self) -> Sequence[str]:
        """Return the names of the peers that serve."""
        return self._network.answering()

    def is_answering(self, name: str) -> bool:
        """Return whether a peer serves."""
        return self._network.named[name].is_answering

    async def ask(self, name: str, operation: Operation) -> None:
        """Let a peer do what ``operation`` says; see ``Answerers``."""
        headers = {"Pair-Timeout": f"{OPERATION_TIMEOUT_S:g}", "Pair-Explain": "1"}
        if operation.ttl_s is not None:
            headers["Pair-TTL"] = f"{operation.ttl_s:g}"
        try:
            reply = await self._network.requests.send(
                _METHODS[operation.kind],
                f"{self._network.named[name].api}/v1/kv/{quote(operation.key, safe='')}",
                timeout_s=OPERATION_TIMEOUT_S + _GRACE_S,
                headers=headers,
                body=operation.value if operation.kind == "put" else None,
            )
        except NotReached as error:
            raise Unanswered("not reached", was_asked=False) from error
        except BROKEN as error:
            raise Unanswered("no answer", was_asked=True) from error
        _take(operation, reply)


def _take(operation: Operation, reply: Reply) -> None:
    """Note in ``operation`` what was answered.

    Raises:
        OperationError: A problem was.
        Exception: Nonsense was, which no peer may answer.
    """
    if operation.kind == "get" and reply.status == 404:
        return
    if reply.status >= 300:
        problem = reply.document()
        known = problem["type"] if problem["type"] in PROBLEM_TYPES else "internal"
        raise OperationError(known, str(problem.get("detail", "")))
    if operation.kind == "get":
        operation.value, operation.version = reply.body, reply.headers["ETag"].strip('"')
        explained = msgspec.json.decode(reply.headers["Pair-Explain"], type=Explain)
        operation.seen = tuple(asked.version for asked in explained.asked if asked.version is not None)
        return
    receipt = msgspec.json.decode(reply.body, type=WriteReceipt)
    operation.version, operation.wanted = receipt.version, receipt.wanted
    operation.holders = tuple(receipt.holders)
