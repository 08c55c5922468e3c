"""What holds for all schedules."""

import dataclasses
import functools
import gc
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from operator import attrgetter
from typing import Any, Self

import pytest
import requests
from aep_intake.clock import retries
from aep_intake.content import parts
from aep_intake.content.recognize import recognize
from aep_intake.grouping import lists, windows
from aep_intake.model.files import Arrival
from aep_intake.routing import checks
from aep_intake.routing.table import RoutingTable


@pytest.fixture(autouse=True, scope="package")
def few_tries_are_many() -> Iterator[None]:
    """So that messages are put off, sent anew and given up within a schedule."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries, "FIRST_DELAY_S", 60)
        patch.setattr(retries, "GIVEN_UP_TRIES", 5)
        patch.setattr(retries, "GIVEN_UP_MS", 1_800_000)
        yield


@pytest.fixture(autouse=True, scope="package")
def garbage_is_new() -> Iterator[None]:
    """It is looked for often among what is new, which is quick, and never among what stays."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 5, 1_000)
    yield
    gc.set_threshold(*usual)
    gc.unfreeze()


class Written:
    """A request, written down as it is: how `requests` does it is for the adapters' tests."""

    def __init__(
        self, method: str, url: str, *, headers: Mapping[str, str], data: bytes | None
    ) -> None:
        self.method, self.url, self.headers, self.body = method, url, headers, data

    def prepare(self) -> Self:
        """As that of `requests.Request`."""
        return self


@pytest.fixture(autouse=True, scope="package")
def what_surrounds_them_is_quick() -> Iterator[None]:
    """Requests without the care of `requests`, files in memory: a tenth of the schedules' time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "Request", Written)
        patch.setattr(dataclasses, "_replace", replaced)
        patch.setattr(parts, "_Body", lambda _: BytesIO())
        for module in (lists, windows):
            patch.setattr(module, "TemporaryFile", BytesIO)
        yield


def replaced(value: Any, /, **changes: Any) -> Any:
    """As `dataclasses` replaces, which looks through all members anew each time."""
    names, members = _members(type(value))  # type: ignore[arg-type]  # hashable
    return type(value)(**dict(zip(names, members(value), strict=True)) | changes)


@functools.cache
def _members(kind: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], Any]]:
    names = tuple(member.name for member in dataclasses.fields(kind))
    return names, attrgetter(*names)


@pytest.fixture(autouse=True, scope="package")
def what_was_found_is_remembered() -> Iterator[None]:
    """What a route makes of a key, and what bytes are: the same few in all schedules of a test."""
    matches = dict[int, tuple[RoutingTable, dict[Any, Any]]]()
    contents = dict[Any, Any]()
    match = RoutingTable.match

    def matched(table: RoutingTable, arrival: Arrival) -> Any:
        _, known = matches.setdefault(id(table), (table, {}))
        about = (arrival, arrival.is_gzip)
        if about not in known:
            known[about] = match(table, arrival)
        return known[about]

    def recognized(
        first: bytes, whole: bool, wanted: Mapping[str, Any], uri: str, *, mapped: bool
    ) -> Any:
        about = (first, whole, *wanted.items(), uri, mapped)
        if about not in contents:
            contents[about] = recognize(first, whole, wanted, uri, mapped=mapped)
        return contents[about]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RoutingTable, "match", matched)
        patch.setattr(checks, "recognize", recognized)
        yield
