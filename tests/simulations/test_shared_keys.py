"""Keys that simulated peers share."""

from typing import Any

import pytest

from protocol.ids import ShortId
from protocol.network import NetworkIdentity
from simulations import shared_keys
from simulations.shared_keys import SharedNetwork

FIELDS: dict[str, Any] = {"name": "sim", "key": bytes(32), "admin_public_key": bytes(32)}


def test_a_shared_key_is_the_one_that_each_peer_would_derive(monkeypatch: pytest.MonkeyPatch) -> None:
    """First and later, for each sender and boot, also when old ones had to go."""
    monkeypatch.setattr(shared_keys, "KEYS_MAX", 5)
    alone, shared = NetworkIdentity(**FIELDS), SharedNetwork(**FIELDS, derived={})
    names = [(ShortId(bytes([number]) * 16), boot) for number in range(4) for boot in (1, 2)]

    for sender, boot in (*names, *names, *reversed(names)):
        assert shared.datagram_key(sender, boot) == alone.datagram_key(sender, boot)

    assert len(shared.derived) == 5
    assert shared.network_id == alone.network_id
