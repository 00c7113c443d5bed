"""The address of this machine is the one on the way to a contact."""

import pytest

from bootstrap import own_address as own_address_module
from bootstrap.own_address import is_unspecified, own_address, present_address
from protocol.errors import ConfigError
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


def test_an_address_that_this_machine_has_is_kept_whatever_the_way() -> None:
    """A second way, such as that of a VPN, is no reason to be found elsewhere."""
    assert present_address("127.0.0.1", [Address("127.0.0.2", 7400)]) == "127.0.0.1"


def test_an_address_that_is_gone_is_replaced_by_the_one_on_the_way_to_the_contacts() -> None:
    """A laptop that was carried elsewhere still knows whom it wants to reach."""
    assert present_address("203.0.113.9", [Address("127.0.0.1", 7400)]) == "127.0.0.1"


def test_without_any_way_the_address_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two networks there is nothing to tell, and nobody to tell it to."""
    monkeypatch.setattr(own_address_module, "_ANYWHERE", ())

    assert present_address("203.0.113.9", []) == "203.0.113.9"


@pytest.mark.parametrize(
    ("addresses", "chosen"),
    [
        (["127.0.0.1", "::1", "10.1.2.3", "fe80::1"], "10.1.2.3"),
        (["127.0.0.1"], None),
        (["10.1.2.3", "10.9.9.9"], None),
    ],
)
def test_without_a_route_the_only_address_is_the_one(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], chosen: str | None
) -> None:
    """Machines on a network without a router have one address and no route to anywhere; of two nobody can tell."""
    monkeypatch.setattr(own_address_module, "_ANYWHERE", ())
    monkeypatch.setattr(own_address_module, "machine_addresses", lambda: addresses)

    if chosen is not None:
        assert own_address([]) == chosen
    else:
        with pytest.raises(ConfigError) as refused:
            own_address([])
        assert "--advertise" in refused.value.next_step
