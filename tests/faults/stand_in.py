"""A stand-in for a peer's API that says it lives, and dies in the middle of the first real request or before it."""

import socket
import threading
from types import TracebackType
from typing import Final, Self

_HEALTHY: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n" b'{"alive":true,"ready": true}'
)


class DyingApi:
    """Listens until a request arrives that is not for its health; then every socket is closed, as by ``kill -9``.

    With ``at_once`` that happens as soon as it has said that it lives.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once: Final = at_once
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url: Final = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: Final[list[bytes]] = []
        """First lines of what was asked."""

        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        self._listener.settimeout(60)
        while not self._is_dead():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed, or nobody came
            with connection:
                self._answer(connection)
        self._listener.close()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        while not self._is_dead():
            data = connection.recv(65536)
            if not data:
                return
            self.requests.append(data.split(b"\r\n", 1)[0])
            if b"/v1/health" in self.requests[-1]:
                connection.sendall(_HEALTHY)

    def _is_dead(self) -> bool:
        return bool(self.requests) and (self.at_once or b"/v1/health" not in self.requests[-1])
