"""The problems of a routing table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

from aep_intake.content.csv_dialect import readable
from aep_intake.content.rows import is_csv
from aep_intake.model.errors import Rejected, TargetNotAllowed
from aep_intake.model.files import ready_name
from aep_intake.model.json_schema import dotted, faults
from aep_intake.model.times import DAY_MS, day_around
from aep_intake.routing import globs, routes
from aep_intake.routing.table import Ignored, InWindow, IsMarker, IsReady, Route, RoutingTable
from aep_intake.routing.targets import credential_arn

from aep_intake_cli.documents import DocumentProblem
from aep_intake_cli.routing.explain import arrival_of, examples, input_format
from aep_intake_cli.routing.maps import map_problems

if TYPE_CHECKING:
    from aep_intake.model.organizations import Organizations

# A character that no pattern names: a route that matches it matches any other there, too.
FILLER = "\U0010fffd"
AEP_READS = ("US-ASCII", "UTF-8", "ISO-8859-1")  # the charsets of CSV that Adobe documents
WINTER_MS, SUMMER_MS = 1_800_000_000_000, 1_815_000_000_000  # January and July of 2027


def lint(
    document: bytes, organizations: Organizations | None = None, *, delivers: bool = True
) -> list[DocumentProblem]:
    """All problems of `document`; none: it may go live.

    `organizations`: those of the stack; None: not known, so not checked. `delivers`: whether
    the stack fills the batches itself.
    """
    try:
        table = routes.parse(document, "draft")
    except routes.InvalidTable as fault:
        # `parse` names the first problem; the schema finds all of its own.
        return list(_schema_problems(document)) or [
            DocumentProblem(fault.route, fault.field, fault.problem)
        ]
    problems = [*_stray_examples(table), *_shadowed_routes(table), *_hidden_markers(table)]
    problems += map_problems(table)
    for index, route in enumerate(table.routes):
        if text := _unreadable(route.written.get("inputFormat")):
            problems.append(DocumentProblem(route.name, f"routes[{index}].inputFormat", text))
        if not delivers:
            for member, text in _needs_delivery(route.written):
                problems.append(DocumentProblem(route.name, f"routes[{index}].{member}", text))
        if organizations is None:
            continue
        try:
            name = route.written.get("credential")
            arn = credential_arn(name, organizations.credentials)
        except TargetNotAllowed as why:
            problems.append(DocumentProblem(route.name, f"routes[{index}].credential", str(why)))
            continue
        sandbox, allowed = route.written.get("sandbox", "{"), organizations.of(arn).sandboxes
        if "{" not in sandbox and sandbox not in allowed:
            text = f"the stack does not allow sandbox {sandbox!r}, only {', '.join(allowed)}"
            problems.append(DocumentProblem(route.name, f"routes[{index}].sandbox", text))
    return problems


def _unreadable(input_format: object) -> str:
    """Why nobody here can tell the rows of a CSV apart; empty if somebody can.

    Then its files would go up unseen, as they are, whatever their charset.
    """
    if not isinstance(input_format, dict) or not is_csv(input_format):
        return ""
    written = {name: value for name, value in input_format.items() if name != "charset"}
    if readable(written):
        return ""
    return (
        "its rows cannot be told apart: `quote` and `escape` are one character of ASCII, or empty, "
        'and neither is in `delimiter`; none of them ends a line. A tab is "\\t" in JSON'
    )


def _needs_delivery(written: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The members of a route that need a stack which fills the batches itself, and why."""
    others = "another application fills the batches (DeliverBatches=false)"
    if written.get("onFailed") == "split":
        yield "onFailed", f"{others}, and judges them"
    if "map" in written:
        yield "map", f"{others}, and it does not map files"
    if "rows" in written.get("expect", {}):
        yield "expect.rows", f"{others}, and its rows are not counted"
    input_format = written.get("inputFormat")
    charset = input_format.get("charset") if isinstance(input_format, dict) else None
    if charset is not None and charset not in AEP_READS:
        read = ", ".join(AEP_READS)
        yield "inputFormat.charset", f"{others}, and it does not convert files: AEP reads {read}"


def warnings(table: RoutingTable) -> Iterator[DocumentProblem]:
    """What may go live, but is perhaps a mistake."""
    for index, route in enumerate(table.routes):
        for name, end in _open_ended(route.written["match"]):
            text = (
                f"{{{name}}} ends at the first {end!r}, which a value may contain: "
                f"{_first_value(table, route, name)}give it a folder of its own, or write after it "
                "a text that no value contains"
            )
            yield DocumentProblem(route.name, f"routes[{index}].match", text)
    yield from _all_at_once(table)


def _all_at_once(table: RoutingTable) -> Iterator[DocumentProblem]:
    """Windows of a day that all close in the same minute, in winter and in summer."""
    daily = [
        (index, route.name, window)
        for index, route in enumerate(table.routes)
        if isinstance(window := route.batching(""), InWindow) and window.length_ms == DAY_MS
    ]
    ends = {
        tuple(
            day_around(moment, window.at or "00:00", window.timezone)[1]
            for moment in (WINTER_MS, SUMMER_MS)
        )
        for _, _, window in daily
    }
    if len(daily) > 1 and len(ends) == 1:
        index, name, window = daily[-1]
        text = (
            f"all {len(daily)} windows of a day close in the same minute ({window.at or '00:00'} "
            f"in {window.timezone}), and Adobe takes up their batches one after the other: give "
            'each its own time, such as "at": "01:30"'
        )
        yield DocumentProblem(name, f"routes[{index}].batch", text)


def _open_ended(pattern: str) -> Iterator[tuple[str, str]]:
    """The placeholders with another wildcard behind them in their segment; the text between."""
    for segment in pattern.split("/"):
        tokens = list(globs.TOKEN.finditer(segment))
        wild = [at for at, token in enumerate(tokens) if token["star"] or token["name"]]
        for at, following in pairwise(wild):
            if tokens[at]["name"]:
                between = "".join(token[0] for token in tokens[at + 1 : following])
                yield tokens[at]["name"], between


def _first_value(table: RoutingTable, route: Route, name: str) -> str:
    """What a placeholder is in the first of the route's examples."""
    for example in examples(route)[:1]:
        arrival = arrival_of(example)
        hit = table.find(arrival.bucket, arrival.key)
        if hit is not None and hit[0] is route and name in hit[1]:
            return f"in {example!r} it is {hit[1][name]!r}; "
    return ""


def _schema_problems(document: bytes) -> Iterator[DocumentProblem]:
    try:
        table = json.loads(document)
    except (ValueError, RecursionError):
        return
    for path, text in faults(table, routes.SCHEMA, ()):
        yield DocumentProblem(routes.route_name(table, path), dotted(path), text)


def _stray_examples(table: RoutingTable) -> Iterator[DocumentProblem]:
    """Examples that another route matches, or that would be rejected."""
    for index, route in enumerate(table.routes):
        for position, example in enumerate(route.written.get("examples", ())):
            text = _example_problem(table, route, example)
            if text:
                where = f"routes[{index}].examples[{position}]"
                yield DocumentProblem(route.name, where, f"{example!r} {text}")


def _example_problem(table: RoutingTable, route: Route, example: str) -> str | None:
    arrival = arrival_of(example)
    if route.bucket and not arrival.bucket:
        return "must have the form s3://bucket/key, since the route has `bucket`"
    hit = table.find(arrival.bucket, arrival.key)
    if hit is None:
        return "matches no route"
    if hit[0] is not route:
        return f"matches route `{hit[0].name}`"
    try:
        match = table.match(arrival)
        if isinstance(match, Ignored):
            return None if match.why == "route" else "is never data, so no route takes it"
        if not isinstance(match.batching, IsMarker | IsReady):
            input_format(match, arrival)
    except Rejected as why:
        return f"would be rejected: {why.reason}"
    return None


def _shadowed_routes(table: RoutingTable) -> Iterator[DocumentProblem]:
    """Routes whose keys all match an earlier route, as far as sample keys show."""
    for index, route in enumerate(table.routes):
        hits = [hit[0] for bucket, key in _matching_keys(route) if (hit := table.find(bucket, key))]
        if hits and route not in hits:
            text = f"route `{hits[0].name}` takes all its keys first: move it up, or add an example"
            yield DocumentProblem(route.name, f"routes[{index}].match", text)


def _hidden_markers(table: RoutingTable) -> Iterator[DocumentProblem]:
    """Routes whose markers another route takes, as far as sample keys show: files wait for ever."""
    for index, route in enumerate(table.routes):
        member, what = ("batch.marker", "markers") if route.marker else ("ready", "ready files")
        hits = [hit[0] for b, key in _sample_markers(route) if (hit := table.find(b, key))]
        if hits and route not in hits:
            text = f"route `{hits[0].name}` comes first and takes the {what}: files wait for ever"
            yield DocumentProblem(route.name, f"routes[{index}].{member}", text)


def _sample_markers(route: Route) -> Iterator[tuple[str, str]]:
    """Buckets and keys of markers, or ready files, that a route waits for."""
    for bucket, key in _matching_keys(route):
        folder, slash, name = key.rpartition("/")
        if route.marker is not None:
            marker = f"{folder}{slash}{route.written['batch']['marker']}"
            if route.marker.fullmatch(marker):
                yield bucket, marker
        elif route.ready is not None:
            yield bucket, f"{folder}{slash}{ready_name(route.ready.names[0], name)}"


def _matching_keys(route: Route) -> list[tuple[str, str]]:
    """Buckets and keys that a route matches: its examples, and samples."""
    return [
        *((arrival.bucket, arrival.key) for arrival in map(arrival_of, examples(route))),
        *product(
            _sample_texts(route.written.get("bucket", "*")), _sample_texts(route.written["match"])
        ),
    ]


def _sample_texts(pattern: str) -> Iterator[str]:
    """Texts that the pattern matches, with short and long fillings of its wildcards."""
    matches = globs.compile_glob(pattern).fullmatch
    for folders, filling in product((0, 1, 3), (FILLER, FILLER * 3)):

        def fill(token: re.Match[str], filling: str = filling) -> str:
            if token["star"] or token["name"]:
                return filling
            if token["set"] and not token["not"]:
                return token["set"][0]
            return token["text"] or FILLER

        segments: list[str] = []
        for segment in pattern.split("/"):
            segments += [FILLER] * folders if segment == "**" else [globs.TOKEN.sub(fill, segment)]
        sample = "/".join(segments)
        if matches(sample):
            yield sample
