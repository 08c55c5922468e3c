"""What holds for all schedules."""

import gc
from collections.abc import Iterator

import pytest
from aep_intake.clock import retries


@pytest.fixture(autouse=True, scope="package")
def few_tries_are_many() -> Iterator[None]:
    """So that messages are put off, sent anew and given up within a schedule."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries, "FIRST_DELAY_S", 60)
        patch.setattr(retries, "GIVEN_UP_TRIES", 5)
        patch.setattr(retries, "GIVEN_UP_MS", 1_800_000)
        yield


@pytest.fixture(autouse=True, scope="package")
def garbage_may_wait() -> Iterator[None]:
    """Looking for it at the usual times takes a twentieth of the schedules' time."""
    usual = gc.get_threshold()
    gc.set_threshold(20_000, *usual[1:])
    yield
    gc.set_threshold(*usual)
