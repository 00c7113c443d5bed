"""The council: the few peers that vote, and when two views of it are close enough.

In the *available* mode the council are the lowest ids alive (DESIGN section 6). Each peer computes it from its own
member table, so views differ for moments while members come and go; the rules here say what such views may still
agree on. The *quorum* mode has a fixed list of voters instead (``protocol.election.quorum``).
"""

import itertools
from collections.abc import Sequence

from protocol.ids import PeerId
from protocol.limits import COUNCIL_SIZE_MAX
from protocol.statements import Certificate, majority_of


def council_of(living: Sequence[PeerId]) -> tuple[PeerId, ...]:
    """Return the council among ``living``, which is ascending by id."""
    return tuple(living[:COUNCIL_SIZE_MAX])


def is_well_formed(council: tuple[bytes, ...]) -> bool:
    """Return whether ids ascend strictly, so that nobody counts twice."""
    return all(left < right for left, right in itertools.pairwise(council))


def share_majority(left: tuple[bytes, ...], right: tuple[bytes, ...]) -> bool:
    """Return whether the common members of two councils are a majority of both.

    Then any certificate of one and any of the other have a voter in common, or nearly so: enough for the
    available mode, where a certificate must also hold in the view of each follower.
    """
    common = sum(member in right for member in left)
    return common >= majority_of(len(left)) and common >= majority_of(len(right))


def holds_in(certificate: Certificate, council: tuple[PeerId, ...]) -> bool:
    """Return whether the certificate's signers are a majority of ``council``, one peer's view of it."""
    return sum(signer in council for signer in certificate.signers) >= majority_of(len(council))
