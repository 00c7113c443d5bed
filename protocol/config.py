"""Times and counts of the protocol, with presets for one machine, a LAN and a WAN.

All durations are seconds. Presets change only what differs.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Final, Literal, TypeAlias

Profile: TypeAlias = Literal["local", "lan", "wan"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolConfig:
    """Every knob of membership, election and joining."""

    probe_interval_s: float = 0.5
    """Time between two probes that a peer starts. Lower finds silent peers faster and costs more datagrams."""

    probe_timeout_s: float = 0.15
    """Time until a direct probe is tried through others; more than a usual round trip, under the interval."""

    indirect_probes: int = 3
    """Peers asked to probe on our behalf (SWIM 2002, k). More survive more loss."""

    suspicion_min_s: float = 0.8
    """Shortest time a suspect has to refute, once enough peers accuse it."""

    suspicion_factor_max: float = 4.0
    """Longest suspicion, as a multiple of the shortest (Lifeguard 2017, beta)."""

    suspicion_confirmations: int = 3
    """Independent accusers after which the suspicion time is shortest (Lifeguard 2017, K)."""

    local_health_max: int = 8
    """Saturation of the local health multiplier (Lifeguard 2017, S)."""

    stall_s: float = 0.25
    """A wake-up later than this means that this process did not run: its open probes prove nothing."""

    gossip_interval_s: float = 0.1
    """Time between two rounds of pure gossip while there is news; also the batch time of verdicts."""

    gossip_fanout: int = 3
    """Peers told per round of gossip."""

    retransmit_factor: int = 4
    """Each piece of news is sent ``retransmit_factor * ceil(log10(members + 1))`` times (SWIM 2002, lambda)."""

    sync_interval_s: float = 5.0
    """Time between two anti-entropy exchanges with a random member."""

    refused_retry_s: float = 0.02
    """Pause between connection attempts of a lone observer; three refusals in a row are a verdict."""

    dead_retry_s: float = 2.0
    """Time between two pings to a random remembered dead member, so that islands meet."""

    dead_kept_s: float = 86_400.0
    """How long a failed or left member is remembered."""

    join_retry_s: float = 0.1
    """First pause before contacts are asked again; doubles up to ``join_retry_max_s``."""

    join_retry_max_s: float = 5.0

    ready_timeout_s: float = 3.0
    """A peer that has met nobody by then is a network of one; remembered members count as suspects until then."""

    heartbeat_interval_s: float = 0.1
    """Time between two heartbeats of the leader to its council."""

    election_timeout_s: float = 0.3
    """Silence of the leader after which a council member stands; each waits up to as long again, at random."""

    lease_s: float = 0.25
    """How long a majority's acks carry a leader, counted from the sending of the heartbeat."""

    candidate_stagger_s: float = 0.02
    """Head start of each council member over the next, when all saw the leader die at once."""

    vote_timeout_s: float = 0.15
    """Time a candidate waits for answers before it gives up this round."""

    change_pause_s: float = 5.0
    """At most one change between living leaders in this time, whatever cuts and bridges do."""

    view_settle_s: float = 0.2
    """Quiet time of the member table before a leader renews its certificate for a changed council."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 < getattr(self, field.name) < math.inf:
                raise ValueError(f"{field.name} must be positive and finite")
        for shorter, longer, why in RELATIONS:
            if not getattr(self, shorter) < getattr(self, longer):
                raise ValueError(f"{shorter} must be below {longer}: {why}")
        if self.suspicion_factor_max < 1:
            raise ValueError("suspicion_factor_max is at least 1")


RELATIONS: Final = (
    ("probe_timeout_s", "probe_interval_s", "others need the rest of the interval to probe for us"),
    ("refused_retry_s", "probe_timeout_s", "a crash is to be known before silence would tell"),
    ("stall_s", "probe_interval_s", "a probe that this process slept through must not count"),
    ("gossip_interval_s", "probe_interval_s", "news travels between two probes"),
    ("probe_interval_s", "suspicion_min_s", "a suspect is probed once more before it is given up"),
    ("gossip_interval_s", "sync_interval_s", "what gossip tells needs no exchange of tables"),
    ("dead_retry_s", "dead_kept_s", "whoever is remembered is asked for"),
    ("join_retry_s", "join_retry_max_s", "pauses grow"),
    ("heartbeat_interval_s", "lease_s", "acks must renew the lease before it ends"),
    ("vote_timeout_s", "lease_s", "the lease counts from the request: votes that come in time must leave some of it"),
    ("lease_s", "election_timeout_s", "nobody stands while the old lease lasts"),
    ("candidate_stagger_s", "vote_timeout_s", "the next in rank waits less than for a whole round"),
    ("election_timeout_s", "change_pause_s", "a silent leader is replaced sooner than a living one"),
)
"""Pairs of times of which the first is shorter than the second, and why."""

LOCAL: Final = ProtocolConfig()
"""Many peers on one machine."""

LAN: Final = replace(
    LOCAL,
    probe_interval_s=1.0,
    probe_timeout_s=0.3,
    suspicion_min_s=2.0,
    heartbeat_interval_s=0.2,
    lease_s=0.6,
    election_timeout_s=0.8,
    vote_timeout_s=0.4,
)

WAN: Final = replace(
    LAN,
    probe_interval_s=2.0,
    probe_timeout_s=1.0,
    suspicion_min_s=6.0,
    stall_s=0.5,
    heartbeat_interval_s=0.8,
    lease_s=2.5,
    election_timeout_s=3.0,
    vote_timeout_s=1.5,
    join_retry_s=0.5,
)

PROFILES: Final[dict[Profile, ProtocolConfig]] = {"local": LOCAL, "lan": LAN, "wan": WAN}
