"""The address of this machine is the one on the way to a contact."""

import pytest

from bootstrap.own_address import is_unspecified, own_address
from protocol.statements import Address


def test_way_to_a_contact_decides() -> None:
    """A contact on this machine is reached from this machine's own address for it."""
    assert own_address([Address("127.0.0.1", 7400)]) == "127.0.0.1"
    assert own_address([Address("127.0.0.2", 7400), Address("127.0.0.1", 7400)]) in ("127.0.0.1", "127.0.0.2")


@pytest.mark.parametrize(
    ("host", "expected"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False), ("peer.example", False)]
)
def test_unspecified_address_means_all_interfaces(host: str, expected: bool) -> None:
    """It can be bound, but nobody can be told to use it."""
    assert is_unspecified(host) == expected
