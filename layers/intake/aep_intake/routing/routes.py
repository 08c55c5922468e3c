"""The document of routes, checked and compiled to a `RoutingTable`.

`routes.schema.json`, beside this module, describes the document; an editor, AppConfig's validator
and `parse` all read that one file. `parse` also checks rules that no schema can express.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aep_intake.model.expectations import Expectation
from aep_intake.model.files import OWN_NAME, OWN_STEM
from aep_intake.model.json_schema import dotted, faults
from aep_intake.model.orders import TAG
from aep_intake.model.times import DAY_MS, HOUR_MS, duration_ms, zone_of
from aep_intake.routing.globs import InvalidGlob, compile_glob
from aep_intake.routing.never_data import normal, signs
from aep_intake.routing.table import (
    FORMS,
    MAPPING_TAG,
    MARKER_WITHIN,
    PLACEHOLDER,
    NeedsReady,
    Route,
    RoutingTable,
    around,
    ending_of,
    format_of_map,
    has_unprintable,
    is_split,
    window_ms,
)

SCHEMA: Mapping[str, Any] = json.loads(
    Path(__file__).with_name("routes.schema.json").read_text(encoding="utf-8")
)

QUIET_MAX_MS = 6 * HOUR_MS
WAYS = ("window", "marker", "quiet")  # in which files share a batch

# Adobe keeps these for itself (Catalog, "Filter Catalog data"); ours marks the ledger's batches.
TAKEN_TAG = re.compile(rf"adobe.*|acp_.*|unifiedProfile|unifiedIdentity|{TAG}", re.DOTALL)
_OF_TARGETS = (
    "owner",
    "expect",
    "batch",
    "ready",
    "onNewVersion",
    "sameBytes",
    "onLostFile",
    "onFailed",
    "splitBatches",
    "lookInside",
    "asIs",
    "minRows",
    "badRows",
    "keepBadRows",
    "sandbox",
    "credential",
    "inputFormat",
    "tags",
    "enableErrorDiagnostics",
    "partialIngestionPercent",
    "map",
    "compiledMap",
    "lookup",
    "mapping",
)


class InvalidTable(ValueError):
    """A document that is not a routing table.

    `problem` is at the member `field`, such as `routes[2].match`, of the route named `route`.
    """

    def __init__(self, problem: str, *, field: str = "", route: str | None = None) -> None:
        place = f"{field} (route `{route}`): " if route else f"{field}: " if field else ""
        super().__init__(place + problem)
        self.problem = problem
        self.field = field
        self.route = route


def parse(document: bytes | str, version: str) -> RoutingTable:
    """The table in `document`, fully checked. Raises InvalidTable."""
    try:
        table = json.loads(document, object_pairs_hook=_without_repeats)
    except InvalidTable:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidTable(f"not JSON: {error}") from None
    for path, problem in faults(table, SCHEMA, ()):
        raise InvalidTable(problem, field=dotted(path), route=route_name(table, path))
    routes: dict[str, Route] = {}
    for index, written in enumerate(table["routes"]):
        try:
            route = _route(written)
        except InvalidTable as fault:
            where = dotted(("routes", index, fault.field))
            raise InvalidTable(fault.problem, field=where, route=written["name"]) from None
        if route.name in routes:
            where = dotted(("routes", index, "name"))
            raise InvalidTable("an earlier route has that name", field=where, route=route.name)
        routes[route.name] = route
    return RoutingTable(version, tuple(routes.values()))


def route_name(table: Any, path: Sequence[str | int]) -> str | None:
    """Name of the route that `path` leads into, as far as the document has one."""
    match path:
        case ("routes", int(index), *_) if isinstance(written := table["routes"][index], dict):
            name = written.get("name")
            return name if isinstance(name, str) else None
    return None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a member come twice, and Python keeps the last: a route must not say two things."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidTable("comes twice in one object", field=twice)
    return members


def _route(written: dict[str, Any]) -> Route:
    """Raises InvalidTable with `field` relative to the route."""
    any_case = written.get("anyCase", False)
    key = _compiled("match", written["match"], any_case=any_case)
    bucket = _compiled("bucket", written["bucket"]) if "bucket" in written else None
    if bucket and bucket.groups:
        raise InvalidTable("takes no placeholders", field="bucket")
    if "ignore" in written:
        for member in filter(written.__contains__, _OF_TARGETS):
            raise InvalidTable("has no meaning where `ignore` is set", field=member)
    elif "sandbox" in key.groupindex:
        written = {"sandbox": "{sandbox}"} | written
    marker = _marker(written, key)
    used = {name for member, text in _templates(written) for name in _names(member, text, key)}
    for name in key.groupindex.keys() - used:
        raise InvalidTable(f"{{{name}}} is used nowhere; write `*`", field="match")
    for name in written.get("tags", ()):
        if TAKEN_TAG.fullmatch(name):
            raise InvalidTable(f"the name {name!r} is taken", field="tags")
    for member, form in FORMS.items():
        text = written.get(member, "{")
        if "{" not in text and not form.fullmatch(text):
            raise InvalidTable(f"{text!r} cannot be one", field=member)
    for member in {"minRows", "badRows"} & written.keys():
        if written.get("lookInside") is False:
            raise InvalidTable("has no meaning where `lookInside` is false", field=member)
    _check_mapping(written)
    _check_map(written)
    _check_expect(written)
    _check_batch(written)
    _check_split(written)
    _check_input_format(written.get("inputFormat"))
    wanted = tuple(
        (kind, _compiled("match", part, any_case=any_case).fullmatch)
        for kind, part in signs(written["match"])
    )
    return Route(written["name"], key, marker, _ready(written), bucket, written, wanted)


def _marker(written: Mapping[str, Any], key: re.Pattern[str]) -> re.Pattern[str] | None:
    """The pattern of a route's markers, which are in the folders of its `match`."""
    name = written.get("batch", {}).get("marker")
    if name is None:
        return None
    folders = written["match"][: written["match"].rfind("/") + 1]
    anywhere = written["match"] == f"{folders}**"
    pattern = f"{folders}**/{name}" if anywhere else folders + name
    marker = _compiled("batch.marker", pattern, any_case=written.get("anyCase", False))
    for lost in key.groupindex.keys() - marker.groupindex.keys():
        raise InvalidTable(
            f"the key of a marker does not say what {{{lost}}} is: it must be a folder's",
            field="match",
        )
    return marker


def _ready(written: Mapping[str, Any]) -> NeedsReady | None:
    """What the files of a route wait for; in any case, also in capitals or without any."""
    name = written.get("ready")
    if name is None:
        return None
    names, any_case = [name], written.get("anyCase", False)
    if OWN_STEM in name:
        ending = ending_of(written)
        if not ending or any_case:
            raise InvalidTable(
                "with `{stem}` needs a `match` that says how its files end, such as *.csv or "
                "*.csv.gz, without `anyCase`",
                field="ready",
            )
        if name == f"{OWN_STEM}{ending}":
            raise InvalidTable("is the name of the object itself", field="ready")
    elif any_case:
        before, after = around(name)
        names += [f"{case(before)}{OWN_NAME}{case(after)}" for case in (str.lower, str.upper)]
    within = duration_ms(written.get("batch", {}).get("within", MARKER_WITHIN))
    return NeedsReady(tuple(dict.fromkeys(names)), within)


def _check_split(written: Mapping[str, Any]) -> None:
    if "splitBatches" in written and not is_split(written):
        raise InvalidTable('has a meaning only with `"onFailed": "split"`', field="splitBatches")
    if not is_split(written):
        return
    if written.get("onLostFile") == "abort":
        raise InvalidTable(
            "leaves files out, but `onLostFile` says that without one of them the batch is worth "
            "nothing",
            field="onFailed",
        )
    if not any(way in written.get("batch", {}) for way in WAYS):
        raise InvalidTable("has no meaning where each object has its own batch", field="onFailed")


def _check_mapping(written: Mapping[str, Any]) -> None:
    if "mapping" not in written:
        return
    if "map" in written:
        raise InvalidTable("AEP maps the rows, or the intake by `map`: not both", field="mapping")
    if MAPPING_TAG in written.get("tags", ()):
        raise InvalidTable(f"writes the tag {MAPPING_TAG} itself", field="mapping")


def _check_expect(written: Mapping[str, Any]) -> None:
    try:
        Expectation.of(written.get("expect", {}))
    except ValueError as error:
        raise InvalidTable(str(error), field="expect") from None
    form = format_of_map(written)
    if "rows" in written.get("expect", {}) and form is not None and form["format"] == "parquet":
        raise InvalidTable("rows of Parquet are not counted", field="expect.rows")


def _check_map(written: Mapping[str, Any]) -> None:
    if "map" not in written:
        if "compiledMap" in written:
            raise InvalidTable("is the name of a compiled `map`", field="compiledMap")
        if "keepBadRows" in written:
            raise InvalidTable(
                "has a meaning only where a `map` leaves rows out", field="keepBadRows"
            )
        return
    if written.get("asIs"):
        raise InvalidTable("has no meaning where rows are mapped", field="asIs")
    if (source := format_of_map(written)) is None:
        raise InvalidTable(
            "needs files of one format: give the route an `inputFormat`, or let `match` end like "
            "its files, such as *.csv",
            field="map",
        )
    if source["format"] == "parquet":
        raise InvalidTable("is for CSV and JSON: Parquet is not mapped", field="map")
    if "{" in f"{written.get('sandbox')}{written.get('datasetId')}{written.get('datasetName')}":
        raise InvalidTable(
            "is compiled for the schema of one dataset: name sandbox and dataset without "
            "placeholders",
            field="map",
        )


def _check_batch(written: Mapping[str, Any]) -> None:
    batch = written.get("batch", {})
    if "ready" in written and "marker" in batch:
        raise InvalidTable(
            "a file waits for its own ready file or for the `marker` of its folder, not for both",
            field="ready",
        )
    ways = [way for way in WAYS if way in batch]
    if len(ways) > 1 or ("batch" in written and not ways and "ready" not in written):
        named = ", ".join(f"`{way}`" for way in WAYS)
        raise InvalidTable(f"needs exactly one of {named}", field="batch")
    if (window_ms(written) or 0) > DAY_MS:
        raise InvalidTable("a window is 24 hours at most", field="batch.window")
    if duration_ms(batch.get("quiet", "1m")) > QUIET_MAX_MS:
        raise InvalidTable("is 6 hours at most, and such a window 24 hours", field="batch.quiet")
    if {"window", "quiet"} & batch.keys() and written.get("onNewVersion", "append") != "append":
        raise InvalidTable(
            "a window's batch holds many objects, and replacing it for the sake of one would take "
            "the others away: use a marker, or one batch for each object",
            field="onNewVersion",
        )
    if not batch.get("marker", "x").strip("*?"):
        raise InvalidTable("every object would be a marker", field="batch.marker")
    if "manifest" in batch and "marker" not in batch:
        raise InvalidTable("says whether a `marker` is read", field="batch.manifest")
    _check_times(written, batch)


def _check_times(written: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
    within = duration_ms(batch.get("within", MARKER_WITHIN))
    if "grace" in batch:
        if "marker" not in batch:
            raise InvalidTable("says when a `marker` is worked on", field="batch.grace")
        if duration_ms(batch["grace"]) >= within:
            raise InvalidTable(
                "must be shorter than `within`, after which files that still wait are rejected",
                field="batch.grace",
            )
    if "at" in batch and window_ms(written) != DAY_MS:
        raise InvalidTable(
            'says when a window of a day begins: it needs `"window": "24h"`', field="batch.at"
        )
    if "timezone" in batch and "at" not in batch:
        raise InvalidTable("says where the time `at` is meant", field="batch.timezone")
    try:
        zone_of(batch.get("timezone", "UTC"))
    except ValueError as error:
        raise InvalidTable(str(error), field="batch.timezone") from None
    if "within" in batch and "marker" not in batch and "ready" not in written:
        raise InvalidTable(
            "says how long files wait for a `marker`, or for their `ready` files",
            field="batch.within",
        )
    if within > 7 * DAY_MS:
        raise InvalidTable("a marker is expected in 7 days (168h) at most", field="batch.within")


def _check_input_format(input_format: object) -> None:
    if isinstance(input_format, dict):
        kind = input_format["format"].lower()
        for member in input_format.keys() - {"format"}:
            if kind != ("json" if member == "isMultiLineJson" else "csv"):
                raise InvalidTable(f"has no meaning for {kind}", field=f"inputFormat.{member}")


def _compiled(member: str, pattern: str, *, any_case: bool = False) -> re.Pattern[str]:
    try:
        return compile_glob(normal(pattern), any_case=any_case)
    except InvalidGlob as fault:
        raise InvalidTable(f"{pattern!r}: {fault}", field=member) from None


def _templates(written: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for member in ("sandbox", "datasetId", "datasetName"):
        if member in written:
            yield member, written[member]
    for values in written.get("tags", {}).values():
        for value in values:
            yield "tags", value
    for path, entry in written.get("map", {}).items():
        if isinstance(entry, dict) and isinstance(entry.get("value"), str):
            yield f"map.{path}.value", entry["value"]


def _names(member: str, text: str, key: re.Pattern[str]) -> Iterator[str]:
    """The placeholders in `text`. Raises InvalidTable if one is unknown, or a brace is stray."""
    if re.search(r"[{}]", PLACEHOLDER.sub("", text)):
        raise InvalidTable(f"{text!r} has a brace that is not a placeholder's", field=member)
    if has_unprintable(text):
        raise InvalidTable(f"{text!r} has a character that cannot be printed", field=member)
    for name in PLACEHOLDER.findall(text):
        if name not in key.groupindex:
            raise InvalidTable(f"`match` has no placeholder {{{name}}}", field=member)
        yield name
