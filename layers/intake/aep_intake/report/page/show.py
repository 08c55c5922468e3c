"""What all pages are made of: words, numbers, times, heads of tables, the forms."""

from collections.abc import Sized
from datetime import UTC, datetime

from aep_intake.model.times import DAY_MS, HOUR_MS, day_of
from aep_intake.report.counts import NO_ROUTE
from aep_intake.report.html import Html, fill, joined
from aep_intake.report.page.frame import Frame
from aep_intake.report.today import Day

NONE = Html("")


def ask(frame: Frame, day: Day | None = None, *, uri: str = "", route: str = "") -> Html:
    """The form for a file, and that for a route of a day."""
    names = joined(
        fill(
            '<option value="{value}"{chosen}>{name}</option>',
            value=one.route,
            chosen=Html(" selected") if one.route == route else NONE,
            name=route_name(one.route),
        )
        for one in (day.routes if day else ())
    )
    file = fill(
        '<div class="field"><label for="aep-uri">Where is my file?</label><input id="aep-uri" '
        'name="uri" type="text" value="{uri}" placeholder="s3://bucket/key" spellcheck="false" '
        'autocomplete="off"></div>',
        uri=uri,
    )
    choice = fill(
        '<div class="field"><label for="aep-route">A route, hour by hour</label>'
        '<select id="aep-route" name="route">{names}</select></div>',
        names=names,
    )
    chosen = frame.ways.form(choice, "Show", view="route", day=day.day) if day and names else NONE
    return fill(
        '<div class="ask" role="search">{file}{route}</div>',
        file=frame.ways.form(file, "Find", view="file"),
        route=chosen,
    )


def nothing(text: str) -> Html:
    """In place of a table that would have no rows."""
    return fill('<p class="soft">{text}</p>', text=sentence(text))


# How a column is set, by its heading: numbers, times, drawings; `minor` where there is little room.
_SET = {
    **dict.fromkeys(("Files", "Trouble", "How many", "Made", "Of"), "n"),
    **dict.fromkeys(("Rows", "Loaded", "Batches"), "n minor"),
    **dict.fromkeys(("Since", "Next"), "t"),
    "Last file": "t minor",
}


def columns(*names: str) -> Html:
    """The head of a table."""
    cells = (
        fill('<th scope="col" class="{kind}">{name}</th>', kind=_SET.get(name, ""), name=name)
        for name in names
    )
    return fill("<thead><tr>{cells}</tr></thead>", cells=joined(cells))


def more(of: Sized, shown: int) -> str:
    """How many there are beyond those that are shown; empty if none."""
    left = len(of) - shown
    return f" {number(left)} more are not shown: the command shows them." if left > 0 else ""


def route_name(route: str) -> str:
    """The name of a route, or of none."""
    return "(no route)" if route == NO_ROUTE else route


def number(number: int) -> str:
    """`12 345`, with thin spaces that do not break."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def sentence(text: str) -> Html:
    """A text of ours, of which what is in backticks is code."""
    text = text[:1].upper() + text[1:]
    text += "" if text.endswith((".", "?")) else "."
    parts = text.split("`")
    return joined(
        fill("<code>{it}</code>" if place % 2 else "{it}", it=part)
        for place, part in enumerate(parts)
    )


def clock(time: int, *, seconds: bool = False) -> str:
    """`14:05`, or `14:05:07`, in UTC. `time`: epoch milliseconds."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"


def time(time: int, now: int) -> Html:
    """`14:05`, or with the date where that is another day; how far it is, as a tooltip."""
    text = clock(time)
    if day_of(time) != day_of(now):
        text = f"{datetime.fromtimestamp(time / 1000, UTC):%-d %b} {text}"
    return fill(
        '<time datetime="{iso}" title="{far}">{text}</time>',
        iso=f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}",
        far=_far(time, now),
        text=text,
    )


def _far(time: int, now: int) -> str:
    away = abs(time - now)
    for unit, length in (("day", DAY_MS), ("hour", HOUR_MS), ("minute", 60_000)):
        if away >= length:
            number = away // length
            said = f"{number} {unit}{'' if number == 1 else 's'}"
            return f"{said} ago" if time < now else f"in {said}"
    return "now"
