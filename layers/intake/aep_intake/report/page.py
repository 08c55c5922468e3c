"""The page: what became of a day's files, what waits, what needs somebody, and where a file is.

CloudWatch shows it as a custom widget, and the operator's command in a browser. There is no script:
what can be clicked asks for another page. All values go through `fill`, which escapes them.
CloudWatch says what a widget may have in it: *Add a custom widget to a CloudWatch dashboard*.
"""

import json
import re
from collections.abc import Iterable, Sized
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol

from aep_intake.model.times import DAY_MS, HOUR_MS, day_of
from aep_intake.model.values import dataclass
from aep_intake.report.counts import NO_ROUTE, RouteCounts
from aep_intake.report.html import Html, fill, joined
from aep_intake.report.today import (
    HOURS,
    MEANS,
    NEEDS_MAX,
    ROUTES_MAX,
    WAITS_MAX,
    Day,
    File,
    Meter,
    Need,
    RouteDay,
    Version,
    batches_in_trouble,
    files_in_trouble,
    trouble,
)
from aep_intake.report.waits import Waiting

STYLE = Html(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))
THEMES = ("light", "dark", "auto")  # `auto`: as the browser says
# Whatever is between quotation marks of JSON in the page: nothing in it needs an escape.
_PLAIN = re.compile(r"[0-9A-Za-z._-]*")
_NONE = Html("")


class Ways(Protocol):
    """How one asks for another page."""

    def button(self, text: str, **given: str) -> Html:
        """What one clicks to get the page of these parameters, and of the form around it."""

    def form(self, fields: Html, submit: str, **given: str) -> Html:
        """A form with a button; its fields are parameters by their names."""


@dataclass(frozen=True, slots=True)
class InDashboard:
    """In a widget: a `cwdb-action` acts for the element right before it.

    `endpoint`: ARN of the function. CloudWatch sends it the JSON, and all fields.
    """

    endpoint: str

    def button(self, text: str, **given: str) -> Html:
        """As in `Ways`."""
        # Not decided by any document: whether CloudWatch decodes entities in the JSON.
        for value in given.values():
            if not _PLAIN.fullmatch(value):
                raise ValueError(f"cannot be in an action: {value!r}")
        return fill(
            '<button type="button" class="btn">{text}</button>'
            '<cwdb-action action="call" endpoint="{endpoint}">{given}</cwdb-action>',
            text=text,
            endpoint=self.endpoint,
            given=Html(json.dumps(given)),
        )

    def form(self, fields: Html, submit: str, **given: str) -> Html:
        """As in `Ways`."""
        # Of this method, because Enter in a field would leave the console otherwise.
        return fill(
            '<form method="dialog"><div class="row">{fields}{button}</div></form>',
            fields=fields,
            button=self.button(submit, **given),
        )


@dataclass(frozen=True, slots=True)
class InBrowser:
    """At an address of its own: links, and forms that GET."""

    def button(self, text: str, **given: str) -> Html:
        """As in `Ways`."""
        query = "&".join(f"{name}={value}" for name, value in given.items())
        return fill('<a class="btn" href="?{query}">{text}</a>', query=query, text=text)

    def form(self, fields: Html, submit: str, **given: str) -> Html:
        """As in `Ways`."""
        hidden = (
            fill('<input type="hidden" name="{name}" value="{value}">', name=name, value=value)
            for name, value in given.items()
        )
        return fill(
            '<form><div class="row">{hidden}{fields}<button class="btn">{submit}</button></div>'
            "</form>",
            hidden=joined(hidden),
            fields=fields,
            submit=submit,
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a page is shown. `name`: of the stack. `theme`: one of THEMES."""

    name: str
    ways: Ways
    theme: str = "auto"

    def around(self, content: Html) -> Html:
        """The page with this content. CloudWatch's own styles are switched off by a class."""
        return fill(
            '<style>{style}</style><div class="aep cwdb-no-default-styles {theme}">{content}</div>',
            style=STYLE,
            theme=self.theme,
            content=content,
        )


def day_page(day: Day, frame: Frame) -> Html:
    """The page of a day."""
    return frame.around(
        joined(
            (
                _day_head(day, frame),
                _tiles(day),
                _needs(day),
                _routes(day),
                _waits(day),
                _meters(day.meters),
                _ask(frame, day),
            )
        )
    )


def route_page(day: Day, route: str, frame: Frame) -> Html:
    """The page of a route's day: as that of the day, and hour by hour."""
    found = next((one for one in day.routes if one.route == route), None)
    hours = _hours(found) if found else _nothing("No file of this route is known on this day.")
    only = Day(
        day.day,
        day.at,
        tuple(one for one in day.routes if one.route == route),
        tuple(need for need in day.needs if need.route == route),
        tuple(one for one in day.waits if one[0] == route),
    )
    return frame.around(
        joined(
            (
                _day_head(only, frame, route),
                _tiles(only),
                _needs(only),
                hours,
                _waits(only),
                _ask(frame, day, route=route),
            )
        )
    )


def file_page(file: File, frame: Frame) -> Html:
    """The page of a file."""
    shown = len(file.versions)
    note = _NONE
    if not file.versions:
        note = _nothing(
            "Nothing is known of it: no event came, or it was forgotten. Look whether the bucket "
            "and the key are right, then run `aep-intake doctor`."
        )
    elif file.count > shown:
        note = fill(
            '<p class="soft">The latest {shown} of {count} versions.</p>',
            shown=shown,
            count=file.count,
        )
    return frame.around(
        joined(
            (
                fill(
                    '<div class="head"><h1>Where is my file?</h1>{back}</div>'
                    '<p><bdi dir="ltr"><code>{uri}</code></bdi></p>{note}',
                    back=frame.ways.button("Today", view="today"),
                    uri=file.uri,
                    note=note,
                ),
                *(_version(version, file.at) for version in file.versions),
                _ask(frame, uri=file.uri),
            )
        )
    )


def problem_page(text: str, frame: Frame) -> Html:
    """A page that says why there is no other."""
    return frame.around(
        fill(
            '<div class="head"><h1>{name}</h1>{back}</div><p role="alert" class="bad">{text}</p>',
            name=frame.name,
            back=frame.ways.button("Today", view="today"),
            text=text,
        )
    )


def document(page: Html, title: str) -> Html:
    """A page as a document of its own, for a browser."""
    return fill(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
        'content="light dark"><style>html,body{{margin:0;height:100%}}</style>{page}</html>',
        title=title,
        page=page,
    )


# -- Parts ---------------------------------------------------------------------------------------


def _day_head(day: Day, frame: Frame, route: str | None = None) -> Html:
    here = date.fromisoformat(day.day)
    view = {"view": "today"}
    is_today = day.day == day_of(day.at)
    ways = [frame.ways.button("Day before", **view, day=str(here - timedelta(days=1)))]
    if not is_today:
        ways.append(frame.ways.button("Day after", **view, day=str(here + timedelta(days=1))))
    ways.append(frame.ways.button("Refresh" if is_today and route is None else "Today", **view))
    return fill(
        '<div class="head"><div><h1>{title}</h1><p class="soft">{day}, all times in UTC. '
        'As of {at}.</p></div><nav class="row" aria-label="Days">{ways}</nav></div>',
        title=frame.name if route is None else f"Route {route}",
        day=f"{here:%A %-d %B %Y}",
        at=_clock(day.at, seconds=True),
        ways=joined(ways),
    )


def _tiles(day: Day) -> Html:
    hours = [hour for route in day.routes for hour in route.hours]
    tiles = (
        ("Files", sum(hour.files for hour in hours), ""),
        ("Rows", sum(hour.rows for hour in hours), ""),
        ("Batches loaded", sum(hour.loaded for hour in hours), ""),
        ("Batches failed", sum(map(batches_in_trouble, hours)), "bad"),
        ("Files rejected", sum(map(files_in_trouble, hours)), "bad"),
        ("Waiting now", sum(each.count for _, each in day.waits), ""),
        ("Need you", len(day.needs), "bad"),
    )
    return fill(
        '<dl class="tiles">{tiles}</dl>',
        tiles=joined(
            fill(
                '<div><dt>{name}</dt><dd class="{kind}">{number}</dd></div>',
                name=name,
                kind=kind if number else "",
                number=_number(number),
            )
            for name, number, kind in tiles
        ),
    )


def _needs(day: Day) -> Html:
    if not day.needs:
        return fill("<h2>Needs attention</h2>{nothing}", nothing=_nothing("Nothing."))
    return fill(
        '<h2>Needs attention</h2><table class="stack"><caption>{caption}</caption>{head}'
        "<tbody>{rows}</tbody></table>",
        caption="What does not go on by itself, whatever the day." + _more(day.needs, NEEDS_MAX),
        head=_columns("What", "How many", "Since", "What to do"),
        rows=joined(_need(need, day.at) for need in day.needs[:NEEDS_MAX]),
    )


def _need(need: Need, now: int) -> Html:
    hints = joined(fill("<p>{hint}</p>", hint=_sentence(hint)) for hint in need.hints)
    command = fill("<p><code>{it}</code></p>", it=need.command) if need.command else _NONE
    return fill(
        '<tr><th scope="row"><span class="tag bad">{code}</span> {route}</th>'
        '<td class="n">{number}</td><td class="t">{since}</td>'
        "<td>{means} <strong>{todo}</strong>{hints}{command}</td></tr>",
        code=need.code,
        route=_NONE if need.route is None else fill("<bdi>{it}</bdi>", it=_route_name(need.route)),
        number=_number(need.number) + ("+" if need.more else ""),
        since=_NONE if need.since is None else _time(need.since, now),
        means=_sentence(need.means),
        todo=_sentence(need.todo),
        hints=hints,
        command=command,
    )


def _routes(day: Day) -> Html:
    if not day.routes:
        nothing = _nothing(
            "Nothing is counted for this day. Counts are made of the journal (`JournalDays`), "
            "about a minute later."
        )
        return fill("<h2>Routes</h2>{nothing}", nothing=nothing)
    # Of many routes those with most to say, in the order of their names.
    busiest = sorted(day.routes, key=_weight, reverse=True)[:ROUTES_MAX]
    return fill(
        "<h2>Routes</h2><table><caption>{caption}</caption>{head}<tbody>{rows}</tbody></table>",
        caption="Files by hour, each route on its own scale; red: what failed or was rejected."
        + _more(day.routes, ROUTES_MAX),
        head=_columns("Route", "0 to 24 h", "Files", "Rows", "Loaded", "Trouble", "Last file"),
        rows=joined(_route(route, day.at) for route in sorted(busiest, key=lambda one: one.route)),
    )


def _weight(route: RouteDay) -> tuple[bool, int, int]:
    files = sum(hour.files for hour in route.hours)
    return route.overdue or route.paused, sum(map(trouble, route.hours)), files


def _route(route: RouteDay, now: int) -> Html:
    troubles = sum(map(trouble, route.hours))
    return fill(
        '<tr><th scope="row"><bdi>{name}</bdi>{tags}</th><td class="draw">{bars}</td>'
        '<td class="n">{files}</td><td class="n minor">{rows}</td><td class="n minor">{loaded}</td>'
        '<td class="n {bad}">{troubles}</td><td class="t minor">{last}</td></tr>',
        name=_route_name(route.route),
        tags=joined(_tags(route, now)),
        bars=_bars(route.hours),
        files=_number(sum(hour.files for hour in route.hours)),
        rows=_number(sum(hour.rows for hour in route.hours)),
        loaded=_number(sum(hour.loaded for hour in route.hours)),
        bad="bad" if troubles else "",
        troubles=_number(troubles),
        last=_NONE if route.last is None else _time(route.last, now),
    )


def _tags(route: RouteDay, now: int) -> Iterable[Html]:
    if route.paused:
        yield fill(' <span class="tag wait">paused</span>')
    if route.overdue:
        yield fill(' <span class="tag bad">overdue</span>')
    elif route.expected is not None:
        yield fill(' <span class="soft">next by {at}</span>', at=_time(route.expected, now))


# Of the drawing of a day: the width of an hour, and the height of the fullest.
_WIDE, _HIGH = 10, 24


def _bars(hours: tuple[RouteCounts, ...]) -> Html:
    """The day in bars: one path for files, one over it for trouble, to be small."""
    files, troubles = [hour.files for hour in hours], [trouble(hour) for hour in hours]
    most = max(*files, *troubles, 1)

    def path(numbers: Iterable[int]) -> str:
        return "".join(
            f"M{hour * _WIDE + 1} {_HIGH}v-{max(1, round(_HIGH * number / most))}h8V{_HIGH}z"
            for hour, number in enumerate(numbers)
            if number
        )

    busy = [hour for hour in range(HOURS) if files[hour] or troubles[hour]]
    said = "No files"
    if busy:
        said = f"{busy[0]} to {busy[-1] + 1} h, most at {files.index(max(files))} h"
    return fill(
        '<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        'aria-label="{said}"><title>{said}</title><path class="base" d="M0 {base}H{width}"/>'
        '<path class="bar" d="{files}"/><path class="trouble" d="{troubles}"/></svg>',
        width=HOURS * _WIDE,
        height=_HIGH + 1,
        base=_HIGH + 0.5,
        said=said,
        files=path(files),
        troubles=path(troubles),
    )


def _hours(route: RouteDay) -> Html:
    rows = joined(
        fill(
            '<tr><th scope="row">{at}</th><td class="n">{files}</td><td class="n minor">{rows}</td>'
            '<td class="n minor">{batches}</td><td class="n minor">{loaded}</td>'
            '<td class="n {bad}">{troubles}</td></tr>',
            at=f"{place:02}:00",
            files=_number(hour.files),
            rows=_number(hour.rows),
            batches=_number(hour.batches),
            loaded=_number(hour.loaded),
            bad="bad" if trouble(hour) else "",
            troubles=_number(trouble(hour)),
        )
        for place, hour in enumerate(route.hours)
        if hour.members()
    )
    return fill(
        "<h2>Hour by hour</h2>{bars}<table><caption>Hours in which nothing happened are left out."
        "</caption>{head}<tbody>{rows}</tbody></table>",
        bars=_bars(route.hours),
        head=_columns("Hour", "Files", "Rows", "Batches", "Loaded", "Trouble"),
        rows=rows,
    )


def _waits(day: Day) -> Html:
    if not day.waits:
        nothing = _nothing("Nothing: all that came is finished.")
        return fill("<h2>Waiting</h2>{nothing}", nothing=nothing)
    return fill(
        "<h2>Waiting</h2><table><caption>{caption}</caption>{head}<tbody>{rows}</tbody></table>",
        caption="What goes on by itself, now."
        + (" There is more than that." if day.waits_more else "")
        + _more(day.waits, WAITS_MAX),
        head=_columns("Route", "State", "How many", "Next"),
        rows=joined(_wait(*one, day.at) for one in day.waits[:WAITS_MAX]),
    )


def _wait(route: str | None, waiting: Waiting, now: int) -> Html:
    return fill(
        '<tr><th scope="row"><bdi>{route}</bdi></th><td>{state}</td><td class="n">{quantity}</td>'
        '<td class="t">{until}</td></tr>',
        route="" if route is None else _route_name(route),
        state=_state(waiting.state),
        quantity=waiting.quantity,
        until=_NONE if waiting.until is None else _time(waiting.until, now),
    )


def _meters(meters: tuple[Meter, ...]) -> Html:
    if not meters:
        return _NONE
    return fill(
        "<h2>Batches for Profile, last 24 hours</h2><table><caption>Adobe advises how many a "
        "sandbox should have.</caption>{head}<tbody>{rows}</tbody></table>",
        head=_columns("Sandbox", "Made", "Of", "Share"),
        rows=joined(map(_meter, meters)),
    )


def _meter(meter: Meter) -> Html:
    return fill(
        '<tr><th scope="row"><bdi>{sandbox}</bdi> <bdi class="soft">{organization}</bdi></th>'
        '<td class="n {bad}">{made}</td><td class="n">{limit}</td><td class="draw"><meter min="0" '
        'max="{limit_plain}" high="{high}" optimum="0" value="{value}" aria-label="{share} %">'
        "</meter></td></tr>",
        sandbox=meter.sandbox,
        organization=meter.organization,
        bad="bad" if meter.made > meter.limit else "",
        made=_number(meter.made),
        limit=_number(meter.limit),
        limit_plain=meter.limit,
        high=meter.limit * 0.8,
        value=min(meter.made, meter.limit),
        share=round(100 * meter.made / meter.limit),
    )


def _ask(frame: Frame, day: Day | None = None, *, uri: str = "", route: str = "") -> Html:
    """The form for a file, and that for a route of a day."""
    names = joined(
        fill(
            '<option value="{value}"{chosen}>{name}</option>',
            value=one.route,
            chosen=Html(" selected") if one.route == route else _NONE,
            name=_route_name(one.route),
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
    chosen = frame.ways.form(choice, "Show", view="route", day=day.day) if day and names else _NONE
    return fill(
        '<div class="ask" role="search">{file}{route}</div>',
        file=frame.ways.form(file, "Find", view="file"),
        route=chosen,
    )


def _version(version: Version, now: int) -> Html:
    facts: dict[str, object] = {"Version": version.name, "Why": version.reason}
    facts["What to do"] = version.todo and _sentence(version.todo)
    facts["Since"] = None if version.since is None else _time(version.since, now)
    facts["Next"] = None if version.until is None else _time(version.until, now)
    facts |= version.facts
    return fill(
        '<div class="version"><p><span class="tag {kind}">{state}</span> {means}</p>'
        '<dl class="facts">{facts}</dl></div>',
        kind="bad" if version.todo else "",
        state=version.state,
        means=_NONE if version.means is None else _sentence(version.means),
        facts=joined(
            fill("<dt>{name}</dt><dd><bdi>{value}</bdi></dd>", name=name, value=value)
            for name, value in facts.items()
            if value is not None
        ),
    )


def _state(state: str) -> Html:
    """A state, and what it means."""
    return fill(
        '<span class="tag">{state}</span> <span class="minor">{means}</span>',
        state=state,
        means=_sentence(MEANS[state]) if state in MEANS else _NONE,
    )


# -- Words and numbers -----------------------------------------------------------------------------


def _nothing(text: str) -> Html:
    return fill('<p class="soft">{text}</p>', text=_sentence(text))


# How a column is set, by its heading: numbers, times, drawings; `minor` where there is little room.
_SET = {
    **dict.fromkeys(("Files", "Trouble", "How many", "Made", "Of"), "n"),
    **dict.fromkeys(("Rows", "Loaded", "Batches"), "n minor"),
    **dict.fromkeys(("Since", "Next"), "t"),
    "Last file": "t minor",
}


def _columns(*names: str) -> Html:
    cells = (
        fill('<th scope="col" class="{kind}">{name}</th>', kind=_SET.get(name, ""), name=name)
        for name in names
    )
    return fill("<thead><tr>{cells}</tr></thead>", cells=joined(cells))


def _more(of: Sized, shown: int) -> str:
    left = len(of) - shown
    return f" {_number(left)} more are not shown: the command shows them." if left > 0 else ""


def _route_name(route: str) -> str:
    return "(no route)" if route == NO_ROUTE else route


def _number(number: int) -> str:
    """`12 345`, with thin spaces that do not break."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _sentence(text: str) -> Html:
    """A text of ours, of which what is in backticks is code."""
    text = text[:1].upper() + text[1:]
    text += "" if text.endswith((".", "?")) else "."
    parts = text.split("`")
    return joined(
        fill("<code>{it}</code>" if place % 2 else "{it}", it=part)
        for place, part in enumerate(parts)
    )


def _clock(time: int, *, seconds: bool = False) -> str:
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"


def _time(time: int, now: int) -> Html:
    """`14:05`, or with the date where that is another day; how far it is, as a tooltip."""
    text = _clock(time)
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
