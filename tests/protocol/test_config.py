"""Times belong together: a configuration whose times cannot work is refused when it is made."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config import LOCAL, PROFILES, RELATIONS, ProtocolConfig

_TIMES = [field.name for field in fields(ProtocolConfig) if field.name.endswith("_s")]


@given(
    profile=st.sampled_from(list(PROFILES.values())), factor=st.floats(0.1, 100.0), relation=st.sampled_from(RELATIONS)
)
def test_profiles_keep_all_relations_and_none_can_be_broken(
    profile: ProtocolConfig, factor: float, relation: tuple[str, str, str]
) -> None:
    """A slower network is all times longer; one time alone cannot pass the one that it must stay below."""
    slower = replace(profile, **{name: factor * getattr(profile, name) for name in _TIMES})
    shorter, longer, _ = relation

    assert getattr(slower, shorter) < getattr(slower, longer)
    with pytest.raises(ValueError, match=rf"{shorter} must be below|must be below {shorter}"):
        replace(slower, **{shorter: getattr(slower, longer)})


@pytest.mark.parametrize("name", [field.name for field in fields(ProtocolConfig)])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_every_time_and_count_is_a_positive_number(name: str, value: float) -> None:
    """Nothing can be switched off by a zero that was meant otherwise."""
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        replace(LOCAL, **{name: value})


def test_longest_suspicion_is_not_below_the_shortest() -> None:
    """The factor stretches."""
    with pytest.raises(ValueError, match="suspicion_factor_max"):
        replace(LOCAL, suspicion_factor_max=0.9)
