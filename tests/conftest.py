"""What some tests have to say is shown at the end, also where workers ran them."""

import os

import pytest
from hypothesis import settings

# A red build means a change: by default, all examples are the same ones every time.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

# Of the make that runs the tests: some of them run make themselves, and would be given its words.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS"):
    os.environ.pop(name, None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show every property named `says` that a passed test recorded."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "says" and report.when == "call":
                terminalreporter.write_line(str(value))
