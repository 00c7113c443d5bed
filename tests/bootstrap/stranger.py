"""A stranger on the local network who says anything it likes by multicast DNS."""

import socket

from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSService, DNSText
from zeroconf.const import _CLASS_IN, _FLAGS_AA, _FLAGS_QR_RESPONSE, _TYPE_A, _TYPE_PTR, _TYPE_SRV, _TYPE_TXT

from bootstrap.discovery import SERVICE_TYPE


def announcement(tag: bytes, *, index: int, host: str = "198.51.100.1", version: bytes = b"1") -> bytes:
    """Return the datagram in which a stranger announces an instance at ``host``, port 20,000 + ``index``."""
    name, server = f"fake-{index}.{SERVICE_TYPE}", f"fake-{index}.local."
    out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
    text = b"".join(bytes([len(part)]) + part for part in (b"v=" + version, b"net=" + tag))
    out.add_answer_at_time(DNSPointer(SERVICE_TYPE, _TYPE_PTR, _CLASS_IN, 4500, name), 0)
    out.add_answer_at_time(DNSService(name, _TYPE_SRV, _CLASS_IN, 120, 0, 0, 20_000 + index, server), 0)
    out.add_answer_at_time(DNSText(name, _TYPE_TXT, _CLASS_IN, 4500, text), 0)
    out.add_answer_at_time(DNSAddress(server, _TYPE_A, _CLASS_IN, 120, socket.inet_aton(host)), 0)
    [packet] = out.packets()
    return packet


class Stranger:
    """Sends anything it likes to the multicast group, by default on the loopback."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        # Multicast DNS answers come from port 5353 (RFC 6762, section 6).
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            self._socket.setsockopt(socket.SOL_SOCKET, option, 1)
        self._socket.bind((address, 5353))

    def send(self, datagram: bytes) -> None:
        self._socket.sendto(datagram, ("224.0.0.251", 5353))

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
