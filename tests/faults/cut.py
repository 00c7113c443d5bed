"""A network of namespaces that can be cut in two: one per peer, and one that holds two switches.

Nothing touches the machine's own network: switches and cables lie in namespaces that are deleted at the end.
"""

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import pytest

_TIMEOUT_S: Final = 20
SWITCHES: Final = ("left", "right")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=_TIMEOUT_S)


class Cables:
    """One namespace for each peer, all on the switch ``left`` at first."""

    def __init__(self, names: Sequence[str]) -> None:
        self._tag = uuid.uuid4().hex[:8]
        self._switch = f"pair-{self._tag}-switch"
        self.names: Final = tuple(names)
        self.addresses: Final = {name: f"10.77.0.{number}" for number, name in enumerate(names, start=1)}
        self._made: list[str] = []

    def make(self) -> None:
        """Make everything; ``remove`` undoes it, also when this fails half-way."""
        self._namespace(self._switch)
        for switch in SWITCHES:
            _ip("-n", self._switch, "link", "add", switch, "type", "bridge")
            _ip("-n", self._switch, "link", "set", switch, "up")
        for name in self.names:
            inside, plug = self.namespace(name), f"to-{name}"
            self._namespace(inside)
            _ip("-n", self._switch, "link", "add", plug, "type", "veth", "peer", "name", "eth0", "netns", inside)
            _ip("-n", self._switch, "link", "set", plug, "master", SWITCHES[0])
            _ip("-n", self._switch, "link", "set", plug, "up")
            self._bring_up(name)

    def namespace(self, name: str) -> str:
        """Return the namespace of a peer."""
        return f"pair-{self._tag}-{name}"

    def inside(self, name: str) -> list[str]:
        """Return what is put before a command that runs in the namespace of a peer."""
        return ["ip", "netns", "exec", self.namespace(name)]

    def cut(self, names: Iterable[str]) -> None:
        """Move ``names`` to the other switch."""
        self._plug(names, SWITCHES[1])

    def heal(self) -> None:
        """Bring all to one switch again."""
        self._plug(self.names, SWITCHES[0])

    def readdress(self, name: str, address: str) -> None:
        """Take the address of a peer's namespace away and give it another one, as a new lease of DHCP does."""
        _ip("-n", self.namespace(name), "addr", "flush", "dev", "eth0")
        self.addresses[name] = address
        self._bring_up(name)

    def remove(self) -> None:
        """Delete every namespace, and with them all that is in it."""
        for namespace in reversed(self._made):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", namespace)

    def _bring_up(self, name: str) -> None:
        inside = self.namespace(name)
        _ip("-n", inside, "addr", "add", f"{self.addresses[name]}/24", "dev", "eth0")
        _ip("-n", inside, "link", "set", "eth0", "up")
        _ip("-n", inside, "link", "set", "lo", "up")

    def _plug(self, names: Iterable[str], switch: str) -> None:
        for name in names:
            _ip("-n", self._switch, "link", "set", f"to-{name}", "master", switch)

    def _namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._made.append(name)


@contextlib.contextmanager
def cables(names: Sequence[str]) -> Iterator[Cables]:
    """Give the namespaces for ``names``; skip where the machine does not allow any."""
    if shutil.which("ip") is None:
        pytest.skip("needs the program ip (iproute2)")
    made = Cables(names)
    try:
        try:
            made.make()
        except (subprocess.CalledProcessError, OSError) as error:
            pytest.skip(f"needs the right to make network namespaces, switches and cables (root): {error}")
        yield made
    finally:
        made.remove()
