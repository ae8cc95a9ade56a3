"""What every test may ask for."""

import signal

from hypothesis import settings

pytest_plugins = ["support.cluster.fixtures"]


def pytest_configure() -> None:
    # A shell leaves it ignored in what it starts in the background, and so would all be that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # An example that a busy machine interrupts for .2 s is no failure.
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")
