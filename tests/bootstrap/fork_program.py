"""A program that starts fake peers, for ``test_fork_server``: ``python -m tests.bootstrap.fork_program FOLDER NAME…``.

The name of a peer says how it behaves. A peer that serves writes ``<name>.pid`` and waits for a signal.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from bootstrap.fork_server import Launch, Run, start_peers
from bootstrap.locks import FolderLock
from protocol.errors import ConfigError, StoreError
from tests.waiting import until_blocking


def main(folder: Path, names: list[str]) -> None:
    def load() -> Run:
        if "unloadable" in names:
            raise StoreError("the key is damaged", next_step="restore it")
        return run

    def run(name: str, on_started: Callable[[], None]) -> None:
        print(f"hello from {name}", flush=True)
        if name == "wrong":
            raise ConfigError("the port is taken", next_step="choose another")
        if name == "broken":
            raise RuntimeError("x" * 5000)
        if name == "vanishing":
            os._exit(3)
        if name == "late":
            until_blocking((folder / "go").exists, what="the word to go on", deadline_s=60)
        if (inherited := signal.set_wakeup_fd(-1)) != -1:
            raise RuntimeError(f"signals are written to descriptor {inherited}, whatever that is here")
        (folder / f"{name}.pid").write_text(str(os.getpid()))
        on_started()
        signal.pause()

    _, woken = os.pipe()  # a command that looks at signals while it waits (``node.cli.interrupts``)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    lock = FolderLock(folder / "up.lock", purpose="starting", next_step="wait")
    launches = [Launch(name, folder / name / "peer.log") for name in names]
    outcomes = start_peers(launches, load=load, held=[lock.fileno()], timeout_s=30)
    lock.release()
    print(msgspec.json.encode(outcomes).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
