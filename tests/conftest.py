"""For all tests: the long profile of the properties, ``python3 run.py test --hypothesis-profile=long``."""

import signal

from hypothesis import HealthCheck, settings

from tests.examples import LONG_EXAMPLES

settings.register_profile(
    "long", max_examples=LONG_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)

# A shell that starts this in the background lets it ignore Ctrl-C, and what ignores it passes that on to every program
# that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
