"""Checks what a viewer asks for, and answers with that page.

With a shared dashboard, everybody who has its link can ask for anything: each parameter is checked,
and whatever is wrong is answered by a page that says so.
"""

import re
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Any

from aep_intake.model.errors import IntakeError, MalformedRequest
from aep_intake.model.values import dataclass
from aep_intake.report import today
from aep_intake.report.html import Html
from aep_intake.report.page.day import day_page, route_page
from aep_intake.report.page.file import file_page
from aep_intake.report.page.frame import Frame, problem_page
from aep_intake.report.page.show import NONE, ask

# As S3 names buckets. Keys may have any character, and 1,024 bytes.
_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.{1,1024})", re.DOTALL)
KEY_BYTES_MAX = 1024
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# As the schema of routes has names; `-` stands for no route.
_ROUTE = re.compile(r"-|[0-9A-Za-z][0-9A-Za-z._-]{0,63}")


# What CloudWatch shows of the widget's parameters; the block in it fills the form of the console.
DESCRIPTION = """## What became of the files
Made from the ledger of aep-intake alone. Times are UTC.

Parameter | Default | What it says
---|---|---
`view` | `today` | `today`: all routes, what waits, what needs somebody; `route`; `file`
`day` | today | such as 2026-11-28
`route` | | the name of a route, for `view: route`
`uri` | | the address of a file, for `view: file`

``` yaml
view: today
```
"""


class View(StrEnum):
    """The pages there are."""

    TODAY = "today"
    ROUTE = "route"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What somebody asks for. `day`: None for today; `place`: bucket and key of a file."""

    view: View = View.TODAY
    day: str | None = None
    route: str = ""
    place: tuple[str, str] = ("", "")


def of_widget(event: Mapping[str, Any]) -> dict[str, object]:
    """The parameters in an event of CloudWatch: of what was clicked, the fields, the widget.

    Fields are sent with every event, so they never choose the view.
    """
    context = mapping(event.get("widgetContext"))
    fields = mapping(mapping(context.get("forms")).get("all"))
    told = mapping(context.get("params"))
    return {
        "view": event.get("view") or told.get("view"),
        "day": event.get("day") or told.get("day"),
        **{
            name: event.get(name) or fields.get(name) or told.get(name) for name in ("route", "uri")
        },
    }


def theme_of_widget(event: Mapping[str, Any]) -> str:
    """The theme that the console has."""
    return "dark" if mapping(event.get("widgetContext")).get("theme") == "dark" else "light"


def wanted(given: Mapping[str, object]) -> PageQuery:
    """What these parameters ask for. Raises MalformedRequest, whose words do not repeat them.

    A parameter that the view does not need is not looked at.
    """
    text = _text(given.get("view") or View.TODAY)
    if text not in [*View]:
        raise MalformedRequest(f"`view` is one of {', '.join(View)}")
    view = View(text)
    if view is View.FILE:
        return PageQuery(view, place=_place(_text(given.get("uri") or "")))
    day = _text(given.get("day") or "")
    if day and not _is_day(day):
        raise MalformedRequest("`day` is a day, such as 2026-11-28")
    if view is View.TODAY:
        return PageQuery(view, day or None)
    route = _text(given.get("route") or "")
    if not _ROUTE.fullmatch(route):
        raise MalformedRequest("`route` is the name of a route")
    return PageQuery(view, day or None, route)


def show(given: Mapping[str, object], ports: today.PagePorts, frame: Frame) -> Html:
    """The page that these parameters ask for; if it cannot be had, one that says why."""
    try:
        asked = wanted(given)
        if asked.view is View.FILE:
            return file_page(today.file(*asked.place, ports), frame)
        day = today.day(asked.day, ports)
    except MalformedRequest as error:
        return problem_page(error.detail, frame, ask(frame, uri=_written(given.get("uri"))))
    except IntakeError as error:  # its words may be somebody else's
        return problem_page(f"The ledger cannot be read now ({error.reason}).", frame, NONE)
    if asked.view is View.ROUTE:
        return route_page(day, asked.route, frame)
    return day_page(day, frame)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedRequest("parameters are texts")
    return value


def mapping(value: object) -> Mapping[str, Any]:
    """An object of JSON; an empty one in place of anything else, as anybody may send it."""
    return value if isinstance(value, dict) else {}


def _written(uri: object) -> str:
    """What is to be corrected."""
    return uri[:KEY_BYTES_MAX] if isinstance(uri, str) else ""


def _is_day(text: str) -> bool:
    try:
        # The first and the last day that there are have no day before, or after.
        return bool(_DAY.fullmatch(text)) and date.min < date.fromisoformat(text) < date.max
    except ValueError:
        return False


def _place(uri: str) -> tuple[str, str]:
    found = _URI.fullmatch(uri.lstrip().rstrip("\r\n\t"))  # a key may end with a space
    # Half a surrogate pair, which JSON can have, is in no key.
    if found is None or len(found[2].encode(errors="replace")) > KEY_BYTES_MAX:
        raise MalformedRequest("Write the address as s3://bucket/folder/file.csv")
    if any("\ud800" <= letter <= "\udfff" for letter in found[2]):
        raise MalformedRequest("The address has half a character, which no key has")
    return found[1], found[2]
