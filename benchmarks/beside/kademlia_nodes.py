"""A program: nodes of the stock ``kademlia`` library, one process each, driven over a line of JSON at a time.

``python -m benchmarks.beside.kademlia_nodes COUNT`` forks so many nodes and prints a line for each:
``{"pid", "port", "control"}``. Each answers at its control port (TCP) to ``{"do": "bootstrap" | "set" | "get"}`` and
measures its own operations, so that no protocol of ours stands between them and the clock. All end when standard
input does.
"""

import asyncio
import json
import logging
import os
import sys
import time
from typing import Any

from kademlia.network import Server


def main() -> None:
    """Fork the nodes and wait for the end of standard input."""
    count = int(sys.argv[1])
    logging.disable(logging.CRITICAL)
    for _ in range(count):
        if os.fork() == 0:
            try:
                asyncio.run(_node())
            finally:
                os._exit(0)
    sys.stdin.buffer.read()


async def _node() -> None:
    node = Server()
    await node.listen(0, "127.0.0.1")
    control = await asyncio.start_server(lambda *streams: _serve(node, *streams), "127.0.0.1", 0)
    ports = {
        "pid": os.getpid(),
        "port": node.transport.get_extra_info("sockname")[1],
        "control": control.sockets[0].getsockname()[1],
    }
    # One write of a short line is not torn apart in a pipe, whoever else writes.
    os.write(1, json.dumps(ports).encode() + b"\n")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    await ended.wait()


async def _serve(node: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(json.dumps(await _do(node, json.loads(line))).encode() + b"\n")
    writer.close()


async def _do(node: Server, order: dict[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        if order["do"] == "bootstrap":
            result: Any = len(await node.bootstrap([("127.0.0.1", order["port"])]))
        elif order["do"] == "set":
            result = await node.set(order["key"], order["value"])
        else:
            result = await node.get(order["key"])
    except Exception as error:  # what the library raises is a result: the caller counts it
        return {"error": repr(error), "s": time.perf_counter() - began}
    held = order.get("key") is not None and _holds(node, order["key"])
    return {"result": result, "s": time.perf_counter() - began, "held": held}


def _holds(node: Server, key: str) -> bool:
    from kademlia.utils import digest

    return node.storage.get(digest(key)) is not None


if __name__ == "__main__":
    main()
