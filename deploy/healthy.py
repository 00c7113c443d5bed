"""The health check of a container: exit 0 when the peer in it is ready. It runs often, so it imports little."""

import http.client
import sys

API_PORT = 8400
TIMEOUT_S = 2.0


def main(port: int) -> int:
    """Ask the peer whose API has this port on this host; print what is wrong, if something is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/v1/health")
        answer = connection.getresponse()
        if answer.status == http.client.OK:
            return 0
        print(answer.read(1024).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer from port {port}: {error}")
    finally:
        connection.close()
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else API_PORT))
