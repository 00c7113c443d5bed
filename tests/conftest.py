"""For all tests: the long profile of the properties, ``python3 run.py test --hypothesis-profile=long``."""

from hypothesis import HealthCheck, settings

from tests.examples import LONG_EXAMPLES

settings.register_profile(
    "long", max_examples=LONG_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
