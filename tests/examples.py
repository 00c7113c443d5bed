"""How many examples properties and state machines run: few in every test run, many under the long profile.

    python3 run.py test --hypothesis-profile=long -o timeout=0 -k "property or machine" tests/protocol
"""

from typing import Final

from hypothesis import HealthCheck, settings

LONG_EXAMPLES: Final = 20_000
"""Of each property, under the long profile."""

_LONG_RUNS: Final = 500
_LONG_STEPS: Final = 50
"""Of each state machine."""


def examples(short: int) -> int:
    """Return how many examples of a costly property to run: ``short``, or all of the long profile."""
    return LONG_EXAMPLES if _is_long() else short


def machine_settings(*, runs: int, steps: int) -> settings:
    """Return the settings of a state machine: so many runs of at most so many steps, or those of the long profile."""
    return settings(
        max_examples=_LONG_RUNS if _is_long() else runs,
        stateful_step_count=_LONG_STEPS if _is_long() else steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def _is_long() -> bool:
    return settings().max_examples >= LONG_EXAMPLES
