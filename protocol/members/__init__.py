"""The membership machine: who is here, who is silent, who is gone.

SWIM (Das et al. 2002) with Lifeguard's local health and dynamic suspicion (Dadgar et al. 2017), over signed
evidence: peers repeat each other's statements, never each other's verdicts, and every table is derived from
the same evidence. ``membership.Membership`` is the door; the other modules are its parts.
"""

from protocol.members.membership import Membership
from protocol.members.table import Member, MemberTable

__all__ = ["Member", "MemberTable", "Membership"]
