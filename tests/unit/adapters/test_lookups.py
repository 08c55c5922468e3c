"""Adobe is asked once for what many want; one organization that is broken holds up no other."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from aep_intake.adapters.adobe.lookups import REST_MAX_MS, REST_MS, Breakers, Lookups
from aep_intake.model.errors import CredentialUnusable, PlatformUnavailable, TryAgain

START = 1_790_000_000_000


class Clock:
    def __init__(self) -> None:
        self.ms = START

    def __call__(self) -> int:
        return self.ms


class Catalog:
    """What is asked, by whom; and how an organization fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: dict[str, TryAgain] = {}
        self.clock = Clock()
        self.lookups = Lookups[str, str](
            self.clock, Breakers(self.clock), lambda found: 600_000 if found else 10_000, 100
        )

    def ask(self, org: str, what: str) -> str:
        def question() -> str:
            self.asked.append(org)
            if org in self.broken:
                raise self.broken[org]
            return f"{org}/{what}"

        return self.lookups.ask(f"{org}/{what}", org, question)

    def fails(self, org: str, what: str) -> TryAgain:
        with pytest.raises(TryAgain) as caught:
            self.ask(org, what)
        return caught.value


def test_a_broken_organization_is_left_alone_and_the_others_are_not() -> None:
    catalog = Catalog()
    catalog.broken["bad"] = PlatformUnavailable("503")
    for n in range(50):
        error = catalog.fails("bad", f"dataset-{n}")
        assert isinstance(error, PlatformUnavailable)
        assert catalog.ask("good", f"dataset-{n}") == f"good/dataset-{n}"
    assert catalog.asked.count("bad") == 1
    assert error.retry_after == REST_MS / 1000
    assert error.detail == "503"


def test_it_is_asked_more_and_more_seldom_and_again_once_it_works() -> None:
    catalog, rests = Catalog(), []
    catalog.broken["bad"] = PlatformUnavailable("503")
    for _ in range(9):
        catalog.fails("bad", "d")
        rest = catalog.fails("bad", "other").retry_after or 0
        rests.append(int(1000 * rest))
        catalog.clock.ms += rests[-1]
    assert rests[:4] == [REST_MS, 2 * REST_MS, 4 * REST_MS, 8 * REST_MS]
    assert rests[-1] == rests[-2] == REST_MAX_MS
    assert len(catalog.asked) == 9
    del catalog.broken["bad"]
    assert catalog.ask("bad", "d") == "bad/d"
    catalog.broken["bad"] = PlatformUnavailable("503")
    assert catalog.fails("bad", "new").retry_after is None, "asked, and so not yet known again"
    assert catalog.fails("bad", "new").retry_after == REST_MS / 1000


def test_retry_after_is_obeyed() -> None:
    catalog = Catalog()
    catalog.broken["bad"] = PlatformUnavailable("429", retry_after=900)
    catalog.fails("bad", "d")
    catalog.clock.ms += 899_999
    catalog.fails("bad", "e")
    assert catalog.asked == ["bad"]
    catalog.clock.ms += 1
    catalog.fails("bad", "e")
    assert catalog.asked == ["bad", "bad"]


def test_what_a_person_mends_is_tried_again_soon() -> None:
    catalog = Catalog()
    catalog.broken["bad"] = CredentialUnusable("no permission")
    for _ in range(9):
        catalog.fails("bad", "d")
        catalog.clock.ms += REST_MS
    assert len(catalog.asked) == 9


def test_what_is_kept_is_told_while_its_organization_is_broken() -> None:
    catalog = Catalog()
    catalog.ask("org", "d")
    catalog.broken["org"] = PlatformUnavailable("503")
    catalog.fails("org", "e")
    assert catalog.ask("org", "d") == "org/d"
    catalog.clock.ms += 600_000
    catalog.fails("org", "d")
    assert catalog.lookups.last("org/d") == "org/d"


def side_by_side(work: Callable[[], object], times: int = 10) -> None:
    with ThreadPoolExecutor(times) as pool:
        list(pool.map(lambda _: work(), range(times)))


def test_ten_that_want_the_same_ask_once() -> None:
    asked, entered = [], threading.Barrier(10)
    clock = Clock()
    lookups = Lookups[str, str](clock, Breakers(clock), lambda _: 600_000, 100)

    def question() -> str:
        asked.append(1)
        return "found"

    def work() -> None:
        entered.wait()
        assert lookups.ask("d", "org", question) == "found"

    side_by_side(work)
    assert len(asked) == 1


def test_ten_that_fail_side_by_side_are_one_failure() -> None:
    clock, entered = Clock(), threading.Barrier(10)
    breakers = Breakers(clock, failures=3)
    for _ in range(2):
        breakers.failed("org", PlatformUnavailable("silence"), clock.ms)
        breakers.check("org")  # not known to be broken yet
    breakers.worked("org")

    def work() -> None:
        began = clock.ms
        entered.wait()
        time.sleep(0)
        breakers.failed("org", PlatformUnavailable("silence"), began - 1)

    side_by_side(work)
    with pytest.raises(PlatformUnavailable) as caught:
        breakers.check("org")
    assert caught.value.retry_after == REST_MS / 1000
    clock.ms += REST_MS
    breakers.check("org")
    breakers.failed("org", PlatformUnavailable("silence"), clock.ms)
    with pytest.raises(PlatformUnavailable) as caught:
        breakers.check("org")
    assert caught.value.retry_after == 2 * REST_MS / 1000
