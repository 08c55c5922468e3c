"""The routes of a day, and one of them hour by hour."""

from collections.abc import Iterable
from operator import add

from aep_intake.report.counts import RouteCounts
from aep_intake.report.html import Html, fill, joined
from aep_intake.report.page import show
from aep_intake.report.page.frame import Frame
from aep_intake.report.today import HOURS, ROUTES_MAX, Day, RouteDay, trouble


def routes_table(day: Day, frame: Frame) -> Html:
    """All routes of a day: their hours in bars, and their sums."""
    if not day.routes:
        nothing = show.nothing(
            "No file of this day is counted. Files are counted a minute after their batch is made, "
            "from the journal; with `JournalDays=0` there is none."
        )
        return fill("<h2>Routes</h2>{nothing}", nothing=nothing)
    # Of many routes those with most to say, in the order of their names.
    busiest = sorted(day.routes, key=_weight, reverse=True)[:ROUTES_MAX]
    return fill(
        "<h2>Routes</h2><table><caption>{caption}</caption>{head}<tbody>{rows}</tbody></table>",
        caption="Files by hour, each route on its own scale; red: what failed or was rejected."
        + show.more(day.routes, ROUTES_MAX),
        head=show.columns("Route", "0 to 24 h", "Files", "Rows", "Loaded", "Trouble", "Last file"),
        rows=joined(
            _route(route, day, frame) for route in sorted(busiest, key=lambda one: one.route)
        ),
    )


def _weight(route: RouteDay) -> tuple[bool, int, int]:
    files = sum(hour.files for hour in route.hours)
    return route.overdue or route.paused, sum(map(trouble, route.hours)), files


def _route(route: RouteDay, day: Day, frame: Frame) -> Html:
    troubles, now = sum(map(trouble, route.hours)), day.at
    name = show.route_name(route.route)
    return fill(
        '<tr><th scope="row"><bdi>{name}</bdi>{tags}</th><td class="draw">{bars}</td>'
        '<td class="n">{files}</td><td class="n minor">{rows}</td><td class="n minor">{loaded}</td>'
        '<td class="n {bad}">{troubles}</td><td class="t minor">{last}</td></tr>',
        name=frame.ways.button(name, view="route", route=route.route, day=day.day),
        tags=joined(_tags(route, now)),
        bars=_bars(route.hours),
        files=show.number(sum(hour.files for hour in route.hours)),
        rows=show.number(sum(hour.rows for hour in route.hours)),
        loaded=show.number(sum(hour.loaded for hour in route.hours)),
        bad="bad" if troubles else "",
        troubles=show.number(troubles),
        last=show.NONE if route.last is None else show.time(route.last, now),
    )


def _tags(route: RouteDay, now: int) -> Iterable[Html]:
    if route.paused:
        yield fill(' <span class="tag wait">paused</span>')
    if route.overdue:
        yield fill(' <span class="tag bad">overdue</span>')
    elif route.expected is not None:
        how, at = "due since" if route.expected < now else "next by", show.time(route.expected, now)
        yield fill(' <span class="soft">{how} {at}</span>', how=how, at=at)


# Of the drawing of a day: the width of an hour, and the height of the fullest.
_WIDE, _HIGH = 10, 24


def _bars(hours: tuple[RouteCounts, ...]) -> Html:
    """The day in bars: one path for files, one for the trouble that stands on them, to be small."""
    files, troubles = [hour.files for hour in hours], [trouble(hour) for hour in hours]
    most = max(*map(add, files, troubles), 1)

    def high(number: int) -> int:
        return max(1, _HIGH * number // most) if number else 0

    def path(numbers: Iterable[int], on: Iterable[int]) -> str:
        return "".join(
            f"M{hour * _WIDE + 1} {_HIGH - high(below)}v-{high(number)}h8V{_HIGH - high(below)}z"
            for hour, (number, below) in enumerate(zip(numbers, on, strict=True))
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
        files=path(files, [0] * HOURS),
        troubles=path(troubles, files),
    )


def hours_table(route: RouteDay) -> Html:
    """A route's day, hour by hour."""
    rows = joined(
        fill(
            '<tr><th scope="row">{at}</th><td class="n">{files}</td><td class="n minor">{rows}</td>'
            '<td class="n minor">{batches}</td><td class="n minor">{loaded}</td>'
            '<td class="n {bad}">{troubles}</td></tr>',
            at=f"{place:02}:00",
            files=show.number(hour.files),
            rows=show.number(hour.rows),
            batches=show.number(hour.batches),
            loaded=show.number(hour.loaded),
            bad="bad" if trouble(hour) else "",
            troubles=show.number(trouble(hour)),
        )
        for place, hour in enumerate(route.hours)
        if hour.members()
    )
    return fill(
        '<h2>Hour by hour</h2>{bars}<table class="hours"><caption>Hours in which nothing happened '
        "are left out.</caption>{head}<tbody>{rows}</tbody></table>",
        bars=_bars(route.hours),
        head=show.columns("Hour", "Files", "Rows", "Batches", "Loaded", "Trouble"),
        rows=rows,
    )
