"""Caps of what others may open stay together below the limit of the process."""

import resource

import pytest

from node import descriptors
from node.api.limits import ApiLimits
from node.descriptors import LEAST_MAX, caps_within, raise_limit
from node.peer_limits import PeerPortLimits
from protocol.errors import ConfigError


@pytest.mark.parametrize("limit", [LEAST_MAX, 200, 256, 512, 1024, 4096, 8192])
def test_caps_fit_together(limit: int) -> None:
    """With what waits to be accepted, and with the peer's own files (threats, descriptor exhaustion)."""
    caps = caps_within(limit)
    port = caps.peer_port

    opened = caps.api.connections_max + port.strangers + port.request_connections + port.links_max
    assert opened + max(caps.api.backlog, port.backlog) + descriptors._OWN <= limit
    assert min(caps.api.connections_max, port.strangers, port.request_connections, port.links_max) >= 2
    assert caps.api.streams_max < caps.api.connections_max


def test_usual_limit_leaves_the_caps_as_they_are() -> None:
    """Only links, which members open, are counted more closely."""
    caps = caps_within(1024)

    assert (caps.api.connections_max, caps.api.streams_max) == (ApiLimits().connections_max, ApiLimits().streams_max)
    assert caps.peer_port.strangers == PeerPortLimits().strangers
    assert caps.peer_port.request_connections == PeerPortLimits().request_connections
    assert caps.peer_port.links_max >= 2 * 100


def test_limit_is_raised_to_what_the_process_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login shell gives 1,024 though many more are allowed."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))

    assert raise_limit() == 4096
    assert asked == [(4096, 4096)]


def test_limit_that_is_too_low_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the peer fails in the middle of its work."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 64))

    with pytest.raises(ConfigError, match="only 64") as refused:
        raise_limit()
    assert refused.value.next_step == "ulimit -n 1024, then again"
