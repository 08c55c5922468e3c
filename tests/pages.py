"""A ledger for the page, with all that a page can show, and much of it hostile."""

import json
import random
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser

from aep_intake.clock.due import DueKind
from aep_intake.clock.parking import ARRIVALS, Parked
from aep_intake.model.errors import NoRoute
from aep_intake.model.expectations import RouteSeen, RouteStanding
from aep_intake.model.files import Arrival
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Rejection
from aep_intake.model.times import day_of
from aep_intake.report.counts import NO_ROUTE, HourCounts, RouteCounts
from aep_intake.report.status import StatusPorts
from aep_intake.report.today import Meter, PagePorts
from aep_intake.report.waits import Work

from tests.memory_ledger import MemoryLedger

NOW = 1_795_900_000_000  # 2026-11-28T21:06:40Z
DAY = day_of(NOW)
MINUTE, HOUR = 60_000, 3_600_000
BUCKET = "acme-landing"
ARN = "arn:aws:lambda:eu-west-1:111122223333:function:aep-intake-OnWidget-1A2B3C4D5E6F"
LONG_ROUTE = "nightly-orders-of-all-shops-in-all-countries_0123456789.abcdefg"
EVERY = json.dumps({"every": "2h"})
SEEN = [
    RouteSeen("crm", NOW - 5 * HOUR, standing=RouteStanding(EVERY, NOW - 9 * HOUR, NOW - 3 * HOUR)),
    RouteSeen("route-001", NOW - MINUTE, standing=RouteStanding(EVERY, NOW - 9 * HOUR)),
    RouteSeen(LONG_ROUTE, NOW - 30 * HOUR),
    RouteSeen("quiet", NOW - 900 * HOUR),
]
# Keys that try to be something else than text.
HOSTILE = {
    "script": "in/<script>alert(document.domain)</script>.csv",
    "attribute": 'in/" onmouseover="alert(1)" x=\'"><img src=x onerror=alert(1)>.csv',
    "entity": "in/&lt;b&gt;&amp;&#x3c;.csv",
    "template": "in/{name}{}%s${x}.csv",
    "right to left": "in/\u202eexe.vsc\u2066\u05d0\u05d1\u05d2 \u0627\u0644\u0639\u0631.csv",
    "controls": "in/a\x00b\x1b[31m\r\nc\u2028d\ufeff.csv",
    "emoji": "in/👩‍👩‍👧‍👦 Übersicht 50% + größer//été & 東京.csv",
    "long": "in/" + "k" * 1021,
    "long in bytes": "in/" + "東" * 340,
    "spaces": "in/  a  ",
}
# All of it in one, of as many bytes as a key may have.
WORST = "in/" + "".join(HOSTILE[it][3:] for it in ("script", "attribute", "right to left", "emoji"))
HOSTILE["all"] = WORST + "k" * (1024 - len(WORST.encode()))


def arrival(key: str, version: str = "v1") -> Arrival:
    return Arrival(BUCKET, key, version, "e", "0061", 10, NOW)


def known_files() -> MemoryLedger:
    """A ledger that has something to say of every hostile key."""
    ledger = MemoryLedger()
    for key in HOSTILE.values():
        why = Rejection.of(NoRoute("<b>not for the page</b> arn:aws:s3:::secret"), NOW - HOUR)
        ledger.reject(arrival(key), why)
    return ledger


def counted(routes: int, seed: int = 3) -> list[HourCounts]:
    """The counts of a day of so many routes, until the present hour."""
    chance = random.Random(seed)
    names = [NO_ROUTE, "crm", LONG_ROUTE, *(f"route-{n:03}" for n in range(routes))][: routes or 0]
    hours = []
    for hour in range(22):
        found = {}
        for place, name in enumerate(names):
            files = int(10 ** (place % 5) * chance.random() ** 3)
            found[name] = RouteCounts(
                files=files,
                rows=files * chance.randint(10, 2000),
                batches=files,
                loaded=files,
                failed=int(name == "crm" and hour == 9),
                rejected={"no-route": 2} if name == NO_ROUTE and hour == 11 else {},
            )
        hours.append(HourCounts(f"{DAY}T{hour:02}", 1, found))
    return hours


def parked(number: int = 3) -> Iterator[Parked]:
    """What is parked: of several reasons, with a detail that is not ours to show."""
    for n in range(number):
        reason = ("no-route", "batch-failed", "bad-rows", "<i>unknown</i>")[n % 4]
        detail = "Adobe says: jane.doe@example.com (INGEST-1401-400, OTHER-1) arn:aws:iam::1:role/x"
        why = Rejection(reason, detail, NOW - n * HOUR)
        route = None if reason == "no-route" else f"route-{n % 7:03}"
        yield Parked(f"{n:032x}", ARRIVALS, f"order-{n}", "body", why, route, "s3://b/k", 1)


def ports(
    *,
    routes: int = 8,
    needs: int = 4,
    waits: Iterable[Work] | None = None,
    ledger: MemoryLedger | None = None,
) -> PagePorts:
    """The ports of a page on which something is everywhere."""
    by = "arn:aws:iam::111122223333:user/jane"
    paused = Pause(f"route#{LONG_ROUTE}", NOW - 2 * HOUR, by, "<script>jane</script>")
    some = [
        *(Work(DueKind.WINDOWS, f"w{n}", NOW + 15 * MINUTE, route="route-001") for n in range(124)),
        *(Work(DueKind.DELIVERIES, f"d{n}", NOW + MINUTE, route=LONG_ROUTE) for n in range(3)),
        Work(DueKind.ORDERS, "o", NOW - HOUR, paused=True, route=LONG_ROUTE),
        *(Work(DueKind.FOLDERS, f"f{n}", NOW + 30 * HOUR) for n in range(40)),
    ]
    kept = known_files() if ledger is None else ledger
    return PagePorts(
        now=lambda: NOW,
        counts=lambda day: counted(routes) if day == DAY else [],
        parked=lambda: (parked(needs), needs > 100),
        pauses=lambda: [paused] if routes else [],
        routes_seen=lambda: SEEN if routes else [],
        waits=lambda: (some if waits is None else waits, needs <= 100),
        meters=lambda: [
            Meter("8C6E4F60613F0AE70A49420F@AdobeOrg", "prod", 37, 90),
            Meter("8C6E4F60613F0AE70A49420F@AdobeOrg", "dev", 95, 90),
            Meter("8C6E4F60613F0AE70A49420F@AdobeOrg", "prod", 5, 4, "5c8c3c555033b814b69f947f"),
        ],
        status=StatusPorts(
            kept, kept.windows, {}, lambda records: [{}] * len(records), map, lambda: {}
        ),
    )


VOID = {"meta", "input", "path"}


class Read(HTMLParser):
    """What a browser finds in a page: elements with attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.actions: list[tuple[str, str]] = []  # the element right before each, and its JSON
        self.text = ""
        self.unclosed: list[str] = []
        self._before = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "cwdb-action":
            self.actions.append((self._before, ""))
        if tag not in VOID:
            self.unclosed.append(tag)
        self._before = ""

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.unclosed.pop() == tag
        self._before = tag

    def handle_data(self, data: str) -> None:
        inside = self.unclosed[-1] if self.unclosed else ""
        if inside == "cwdb-action":
            self.actions[-1] = (self.actions[-1][0], data)
        elif inside != "style":
            self.text += data
        self._before = self._before if not data.strip() else ""
