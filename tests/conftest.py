"""What some tests have to say is shown at the end, also where workers ran them."""

import os
import signal

import pytest
from hypothesis import settings
from xdist.remote import Producer

from local.stack import BUILT_FOR
from local.strict_aws.original import read_once
from tests.examples import USUAL
from tests.sharing_out import SharingOut, computes, longest_first

# A red build means a change: by default, all examples are the same ones every time.
settings.register_profile("same", derandomize=True, deadline=None, max_examples=USUAL)
# For `make quick`: a tenth of them. Where a test wants a number of its own, see `examples`.
settings.register_profile("quick", settings.get_profile("same"), max_examples=USUAL // 10)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# Hundreds of tests make clients of their own.
read_once()

os.environ[BUILT_FOR] = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
# Of the make that runs the tests: some of them run make themselves, and would be given its words.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS"):
    os.environ.pop(name, None)


# A shell that starts the tests in the background has them ignore Ctrl-C, and all that
# they start would, too: some of it ends only by that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many as there are cores, and for `auto` three more, as tests of a stack mostly wait."""
    more = 3 if config.option.numprocesses == "auto" else 0
    return (os.process_cpu_count() or 1) + more


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharingOut:
    """See `sharing_out`."""
    config.option.loadscopereorder = False
    return SharingOut(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """What computes gives way to what waits, and then has little time to answer."""
    worker = getattr(config, "workerinput", None)
    if worker is not None and computes(worker["workerid"], worker["workercount"]):
        os.nice(10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the same order wherever they run."""
    longest_first(items)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes have no part in a test's name: a gzip has the second in which a process made it."""
    return argname if isinstance(val, bytes) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show every property named `says` that a passed test recorded; and if there is no browser."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "says" and report.when == "call":
                terminalreporter.write_line(str(value))
    told = (dict(report.user_properties) for report in terminalreporter.getreports("passed"))
    if played := sum(int(one["schedules"]) for one in told if "schedules" in one):
        terminalreporter.write_line(f"{played:,} fault schedules in all")
    loud = {
        str(r.longrepr[2])
        for r in terminalreporter.getreports("skipped")
        if "NO CHROMIUM" in r.longrepr[2]
    }
    for reason in loud:
        terminalreporter.write_sep("!", reason.removeprefix("Skipped: "), red=True, bold=True)
