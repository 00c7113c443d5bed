"""A banned member, in a cluster of cores: out of every table, council and conversation, until the ban is lifted."""

from protocol.effects import BanGiven
from protocol.identity import CachingVerifier
from protocol.messages import Ping
from protocol.statements import Ban
from tests.protocol import samples
from tests.protocol.cluster import Cluster, peer_id

ADMIN_KEY = samples.NETWORK.admin_public_key


class TrustingTheAdmin(CachingVerifier):
    """Nobody has the admin's key of the sample network: whatever bears its name is good here."""

    def verify(self, *, public_key: bytes, signature: bytes, message: bytes) -> bool:
        return public_key == ADMIN_KEY or super().verify(public_key=public_key, signature=signature, message=message)


def ban(number: int, *, version: int = 1, is_lifted: bool = False) -> Ban:
    return Ban(
        author_key=ADMIN_KEY, banned=peer_id(number), version=version, is_lifted=is_lifted, signature=bytes([version])
    )


def town(count: int, *, seed: int = 3, loss: float = 0.0) -> Cluster:
    cluster = Cluster(seed=seed, loss=loss)
    cluster._verifier = TrustingTheAdmin(entries_max=100_000)
    cluster.start_many(count)
    assert cluster.run_until(lambda: cluster.is_complete() and cluster.agrees(), within_s=10) is not None
    return cluster


def leader_of(cluster: Cluster, number: int) -> bytes | None:
    return cluster.processes[number].core.election.leader


def give(cluster: Cluster, at: int, word: Ban) -> None:
    cluster._handle(cluster.processes[at], BanGiven(word))


def test_a_banned_leader_is_out_of_every_table_and_another_leads() -> None:
    """Its votes do not count: it is in no council; what it sends is heard by nobody, and it is told why."""
    cluster = town(7)
    led = next(number for number in cluster.running if peer_id(number) == leader_of(cluster, 1))
    others = [number for number in cluster.running if number != led]

    give(cluster, others[0], ban(led))

    def done() -> bool:
        leaders = {leader_of(cluster, number) for number in others}
        return (
            all(cluster.state(viewer, led) == "left" for viewer in others)
            and len(leaders) == 1
            and leaders <= {peer_id(number) for number in others}
            and cluster.processes[led].core.bans.own is not None
        )

    assert cluster.run_until(done, within_s=5) is not None
    for number in others:
        core = cluster.processes[number].core
        assert peer_id(led) not in core.membership.table.council
        core.check_invariants()
    before = cluster.sent_by[led]
    cluster.run(5)
    assert cluster.sent_by[led] > before
    assert done()
    assert all(peer_id(led) not in cluster.processes[number].links for number in others)


def test_a_ban_outlives_restarts_of_both_sides_and_ends_when_it_is_lifted() -> None:
    """A new boot is the same id; who restarts without its memory learns the ban again from others."""
    cluster = town(5)
    give(cluster, 1, ban(5))
    assert cluster.run_until(lambda: all(cluster.state(n, 5) == "left" for n in (1, 2, 3, 4)), within_s=5) is not None

    cluster.kill(5, 2)
    cluster.start(5, contacts=(1, 3))
    cluster.start(2, contacts=(1,))
    cluster.run(8)

    assert cluster.processes[2].core.bans.banned == (peer_id(5),)
    assert all(cluster.state(number, 5) in ("left", None) for number in (1, 2, 3, 4))
    assert cluster.processes[5].core.bans.own is not None

    give(cluster, 3, ban(5, version=2, is_lifted=True))
    assert cluster.run_until(lambda: cluster.is_complete() and cluster.agrees(), within_s=30) is not None
    assert cluster.processes[5].core.bans.own is None


def test_every_member_hears_of_a_ban_though_a_third_of_all_datagrams_is_lost() -> None:
    """Rumours and anti-entropy: nobody is left out."""
    cluster = town(12, loss=0.0)
    cluster.loss = 0.3
    give(cluster, 4, ban(9))
    everybody = [number for number in cluster.running if number != 9]

    assert cluster.run_until(
        lambda: all(cluster.processes[n].core.bans.banned == (peer_id(9),) for n in everybody), within_s=30
    )


def test_a_network_without_bans_never_speaks_of_them() -> None:
    """Not one datagram more than before."""
    cluster = town(5)
    cluster.run(10)

    assert cluster.sent["BansKnown"] == 0
    assert cluster.sent[Ping.__name__] > 0
