"""What every test may ask for."""

import signal

pytest_plugins = ["support.cluster.fixtures"]


def pytest_configure() -> None:
    """A shell leaves SIGINT ignored in what it starts in the background, and so would all be that a test starts and interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
