"""For all tests: how properties run, usually and with ``python3 run.py test --hypothesis-profile=long``."""

import signal

from hypothesis import HealthCheck, settings

from tests.examples import LONG_EXAMPLES

# How long an example takes says how busy the machine is: one pause of 200 ms, and a property that holds would fail.
settings.register_profile("usual", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("usual")
settings.register_profile(
    "long", max_examples=LONG_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)

# A shell that starts this in the background lets it ignore Ctrl-C, and what ignores it passes that on to every program
# that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
