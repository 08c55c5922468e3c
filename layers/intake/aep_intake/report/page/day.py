"""The page of a day, and that of one route on it."""

from datetime import date, timedelta

from aep_intake.model.times import day_of
from aep_intake.report.counts import NO_ROUTE
from aep_intake.report.html import Html, fill, joined
from aep_intake.report.page import show
from aep_intake.report.page.frame import Frame
from aep_intake.report.page.routes import hours_table, routes_table
from aep_intake.report.today import (
    MEANS,
    NEEDS_MAX,
    WAITS_MAX,
    Day,
    Meter,
    Need,
    batches_in_trouble,
    files_in_trouble,
)
from aep_intake.report.waits import Waiting


def day_page(day: Day, frame: Frame) -> Html:
    """The page of a day."""
    return frame.around(
        joined(
            (
                _day_head(day, frame),
                _tiles(day),
                _needs(day),
                routes_table(day, frame),
                _waits(day),
                _meters(day.meters),
                show.ask(frame, day),
            )
        )
    )


def route_page(day: Day, route: str, frame: Frame) -> Html:
    """The page of a route's day: as that of the day, and hour by hour."""
    found = next((one for one in day.routes if one.route == route), None)
    nothing = "No file of this route is known on this day."
    hours = hours_table(found) if found else show.nothing(nothing)
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
                show.ask(frame, day, route=route),
            )
        )
    )


def _day_head(day: Day, frame: Frame, route: str | None = None) -> Html:
    here = date.fromisoformat(day.day)
    view = {"view": "today"} if route is None else {"view": "route", "route": route}
    is_today = day.day == day_of(day.at)
    ways = [frame.ways.button("Day before", **view, day=str(here - timedelta(days=1)))]
    if not is_today:
        ways.append(frame.ways.button("Day after", **view, day=str(here + timedelta(days=1))))
    ways.append(frame.ways.button("Refresh" if is_today else "Today", **view))
    if route is not None:
        ways.append(frame.ways.button("All routes", view="today", day=day.day))
    return fill(
        '<div class="head"><div><h1>{title}</h1><p class="soft">{day}, all times in UTC. '
        'As of {at}.</p></div><nav class="row" aria-label="Days">{ways}</nav></div>',
        title=frame.name if route is None else _title(route),
        day=f"{here:%A %-d %B %Y}",
        at=show.clock(day.at, seconds=True),
        ways=joined(ways),
    )


def _title(route: str) -> str:
    return "No route" if route == NO_ROUTE else f"Route {route}"


def _tiles(day: Day) -> Html:
    hours = [hour for route in day.routes for hour in route.hours]
    tiles = (
        ("Files", sum(hour.files for hour in hours), ""),
        ("Rows", sum(hour.rows for hour in hours), ""),
        ("Batches loaded", sum(hour.loaded for hour in hours), ""),
        ("Batches failed", sum(map(batches_in_trouble, hours)), "bad"),
        ("Files rejected", sum(map(files_in_trouble, hours)), "bad"),
        ("Waiting now", sum(each.count for _, each in day.waits), ""),
        ("Kinds that need you", len(day.needs), "bad"),
    )
    return fill(
        '<dl class="tiles">{tiles}</dl>',
        tiles=joined(
            fill(
                '<div><dt>{name}</dt><dd class="{kind}">{number}</dd></div>',
                name=name,
                kind=kind if number else "",
                number=show.number(number),
            )
            for name, number, kind in tiles
        ),
    )


def _needs(day: Day) -> Html:
    if not day.needs:
        return fill("<h2>Needs attention</h2>{nothing}", nothing=show.nothing("Nothing."))
    return fill(
        '<h2>Needs attention</h2><table class="stack needs"><caption>{caption}</caption>{head}'
        "<tbody>{rows}</tbody></table>",
        caption="What does not go on by itself, whatever the day."
        + show.more(day.needs, NEEDS_MAX),
        head=show.columns("What", "How many", "Since", "What to do"),
        rows=joined(_need(need, day.at) for need in day.needs[:NEEDS_MAX]),
    )


def _need(need: Need, now: int) -> Html:
    hints = joined(fill("<p>{hint}</p>", hint=show.sentence(hint)) for hint in need.hints)
    command = fill("<p><code>{it}</code></p>", it=need.command) if need.command else show.NONE
    route = show.NONE
    if need.route is not None:
        route = fill("<bdi>{it}</bdi>", it=show.route_name(need.route))
    return fill(
        '<tr><th scope="row"><span class="tag bad">{code}</span> {route}</th>'
        '<td class="n">{number}</td><td class="t">{since}</td>'
        "<td>{means} <strong>{todo}</strong>{hints}{command}</td></tr>",
        code=need.code,
        route=route,
        number=show.number(need.number) + ("+" if need.more else ""),
        since=show.NONE if need.since is None else show.time(need.since, now),
        means=show.sentence(need.means),
        todo=show.sentence(need.todo),
        hints=hints,
        command=command,
    )


def _waits(day: Day) -> Html:
    if not day.waits:
        nothing = show.nothing("Nothing is under way.")
        return fill("<h2>Waiting</h2>{nothing}", nothing=nothing)
    return fill(
        '<h2>Waiting</h2><table class="stack waits"><caption>{caption}</caption>{head}'
        "<tbody>{rows}</tbody></table>",
        caption="What goes on by itself, as it is now; what is paused, once it is resumed."
        + (" There is more than that." if day.waits_more else "")
        + show.more(day.waits, WAITS_MAX),
        head=show.columns("Route", "State", "How many", "Next"),
        rows=joined(_wait(*one, day.at) for one in day.waits[:WAITS_MAX]),
    )


def _wait(route: str | None, waiting: Waiting, now: int) -> Html:
    return fill(
        '<tr><th scope="row"><bdi>{route}</bdi></th><td>{state}</td><td class="n">{quantity}</td>'
        '<td class="t">{until}</td></tr>',
        route="(not looked up)" if route is None else show.route_name(route),
        state=_state(waiting.state),
        quantity=waiting.quantity,
        until=show.NONE if waiting.until is None else show.time(waiting.until, now),
    )


def _state(state: str) -> Html:
    """A state, and what it means."""
    return fill(
        '<span class="tag">{state}</span> <span class="minor">{means}</span>',
        state=state,
        means=show.sentence(MEANS[state]) if state in MEANS else show.NONE,
    )


def _meters(meters: tuple[Meter, ...]) -> Html:
    lookups = [meter for meter in meters if meter.dataset_id]
    profile = [meter for meter in meters if not meter.dataset_id]
    return joined(
        fill(
            "<h2>Batches {of}, last 24 hours</h2><table><caption>Adobe advises how many a {what} "
            "should have.</caption>{head}<tbody>{rows}</tbody></table>",
            of=of,
            what=what.lower(),
            head=show.columns(what, "Made", "Of", "Share"),
            rows=joined(map(_meter, some)),
        )
        for of, what, some in (
            ("for Profile", "Sandbox", profile),
            ("of lookup datasets", "Dataset", lookups),
        )
        if some
    )


def _meter(meter: Meter) -> Html:
    return fill(
        '<tr><th scope="row"><bdi>{name}</bdi> <bdi class="soft">{place}</bdi></th>'
        '<td class="n {bad}">{made}</td><td class="n">{limit}</td><td class="draw"><meter min="0" '
        'max="{limit_plain}" low="{low}" high="{high}" optimum="0" value="{value}" '
        'aria-label="{share} %">'
        "</meter></td></tr>",
        name=meter.dataset_id or meter.sandbox,
        place=f"{meter.sandbox} {meter.organization}" if meter.dataset_id else meter.organization,
        bad="bad" if meter.made > meter.limit else "",
        made=show.number(meter.made),
        limit=show.number(meter.limit),
        limit_plain=meter.limit,
        low=meter.limit * 0.8,
        high=meter.limit - 0.5,  # red from the limit on
        value=min(meter.made, meter.limit),
        share=round(100 * meter.made / meter.limit),
    )
