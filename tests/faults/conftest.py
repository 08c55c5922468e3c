"""What holds for all schedules."""

import gc
from collections.abc import Iterator, Mapping
from io import BytesIO

import pytest
import requests
from aep_intake.clock import retries
from aep_intake.content import parts
from aep_intake.grouping import lists, windows
from requests.structures import CaseInsensitiveDict


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
    gc.set_threshold(100_000, *usual[1:])
    yield
    gc.set_threshold(*usual)


class Written:
    """A request, written down as it is: how `requests` does it is for the adapters' tests."""

    def __init__(
        self, method: str, url: str, *, headers: Mapping[str, str], data: bytes | None
    ) -> None:
        self._request = requests.PreparedRequest()
        self._request.method, self._request.url, self._request.body = method, url, data
        self._request.headers = CaseInsensitiveDict(headers)

    def prepare(self) -> requests.PreparedRequest:
        """As that of `requests.Request`."""
        return self._request


@pytest.fixture(autouse=True, scope="package")
def what_surrounds_them_is_quick() -> Iterator[None]:
    """Requests without the care of `requests`, files in memory: a tenth of the schedules' time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "Request", Written)
        for module in (parts, lists, windows):
            patch.setattr(module, "TemporaryFile", BytesIO)
        yield
