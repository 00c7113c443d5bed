"""A peer looks every other second which address its machine has, and passes on each change once."""

from collections.abc import Sequence

from node.roaming import CONTACTS_MAX, LOOK_EVERY_S, Roaming
from protocol.statements import Address
from tests.node.dht.virtual_time import in_virtual_time, until

CONTACTS = [Address(f"192.0.2.{number}", 7400) for number in range(1, 20)]


class Laptop:
    """A machine that gets addresses; what it is asked, and what is told of it."""

    def __init__(self) -> None:
        self.present = self.told = "192.0.2.50"
        self.moves: list[str] = []
        self.asked: list[Sequence[Address]] = []
        self.roaming = Roaming(
            current=lambda: self.told, contacts=lambda: CONTACTS, look=self.look, moved=self.moved
        )

    def look(self, current: str, contacts: Sequence[Address]) -> str:
        assert current == self.told
        self.asked.append(contacts)
        return self.present

    def moved(self, host: str) -> None:
        self.moves.append(host)
        self.told = host


@in_virtual_time
async def test_each_move_is_told_once_and_soon() -> None:
    """Whoever looks for the peer at its old address waits no longer than one look."""
    laptop = Laptop()
    laptop.roaming.start()
    await until(lambda: len(laptop.asked) == 2, within_s=3 * LOOK_EVERY_S)
    assert laptop.moves == []

    laptop.present = "198.51.100.7"
    await until(lambda: bool(laptop.moves), within_s=LOOK_EVERY_S + 0.1)
    await until(lambda: len(laptop.asked) == 5, within_s=4 * LOOK_EVERY_S)

    assert laptop.moves == ["198.51.100.7"]
    assert laptop.asked[-1] == CONTACTS[:CONTACTS_MAX]
    await laptop.roaming.stop()


@in_virtual_time
async def test_nobody_looks_after_the_stop() -> None:
    """Stopping twice is stopping."""
    laptop = Laptop()
    laptop.roaming.start()

    await laptop.roaming.stop()
    await laptop.roaming.stop()

    assert laptop.asked == []
