"""A wish for another leader that cannot be fulfilled is refused at once, with the leader's reason."""

from types import SimpleNamespace
from typing import Any

import pytest

from node.errors import OperationError
from node.handover import Handovers
from protocol.effects import HandoverAsked
from protocol.ids import PeerId
from protocol.messages import Accepted, HandoverWish, Refusal, Reply, Request

LEADER, SUSPECT = PeerId(b"L" * 32), PeerId(b"S" * 32)


class Network:
    """Stands for this peer's core and for its way to the others."""

    def __init__(self, *, local: PeerId, obstacle: str) -> None:
        self.asked_core: list[HandoverAsked] = []
        self.sent: list[Request] = []
        self._reply: Reply = Refusal(reason=obstacle) if obstacle else Accepted()
        member = SimpleNamespace(
            is_living=True, peer_id=SUSPECT, descriptor=SimpleNamespace(name="peer-2", peer_id=SUSPECT)
        )
        core: Any = SimpleNamespace(
            descriptor=SimpleNamespace(peer_id=local),
            election=SimpleNamespace(leader=LEADER, handover_obstacle=lambda successor: obstacle),
            membership=SimpleNamespace(electorate=SimpleNamespace(living=(LEADER, SUSPECT)), table=[member]),
        )
        requester: Any = self
        self.handovers = Handovers(core=core, requester=requester, ask_core=self.asked_core.append)

    async def request(self, peer_id: PeerId, request: Request, *, timeout_s: float) -> Reply:
        assert peer_id == LEADER
        self.sent.append(request)
        return self._reply


@pytest.mark.parametrize("local", [LEADER, PeerId(b"F" * 32)], ids=["leader", "follower"])
async def test_suspect_is_refused_at_once_with_the_reason(local: PeerId) -> None:
    """Whichever peer is asked; nothing is waited for."""
    network = Network(local=local, obstacle="the one asked for is suspected to have failed")

    with pytest.raises(OperationError, match="suspected to have failed") as refused:
        await network.handovers.hand_over("peer-2")

    assert refused.value.type == "conflict" and network.asked_core == []


def test_leader_takes_up_what_it_can_fulfil() -> None:
    """The wish goes to the core, which decides by its own clock."""
    network = Network(local=LEADER, obstacle="")

    assert network.handovers.serve(HandoverWish(successor=SUSPECT)) == Accepted()
    assert network.asked_core == [HandoverAsked(SUSPECT)]
