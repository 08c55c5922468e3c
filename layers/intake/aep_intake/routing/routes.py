"""The routing table: rules, as data, that give each arrival its target and format.

`routes.schema.json`, beside this module, describes the document; an editor, AppConfig's validator
and `parse` all read that one file. `parse` also checks rules that no schema can express.

Values from a key are hostile. The result of `match` is safe in a header (sandbox) or a URL path
(dataset id); a dataset *name* may hold any printable text, such as the `,` and leading `!` that
Catalog's filters take for operators.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Any

from aep_intake.model.errors import FormatUnknown, NoRoute, TargetNotAllowed
from aep_intake.model.expectations import Expectation
from aep_intake.model.files import ENDING, OWN_NAME, OWN_STEM, Arrival
from aep_intake.model.json_schema import dotted, faults
from aep_intake.model.orders import TAG, Demands
from aep_intake.model.times import DAY_MS, HOUR_MS, zone_of
from aep_intake.model.values import dataclass
from aep_intake.routing.globs import InvalidGlob, compile_glob
from aep_intake.routing.never_data import is_never_data, normal, signs

SCHEMA: Mapping[str, Any] = json.loads(
    Path(__file__).with_name("routes.schema.json").read_text(encoding="utf-8")
)

_SANDBOX = re.compile(r"[a-z0-9][a-z0-9-]{0,255}")
_DATASET_ID = re.compile(r"[0-9A-Za-z_-]{1,256}")
MARKER_WITHIN = "24h"
QUIET_MAX_MS = 6 * HOUR_MS
WAYS = ("window", "marker", "quiet")  # in which files share a batch
SPLIT_BATCHES = 12
NOT_COMPILED = ""  # in place of the name of a compiled map: nobody has published the table
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PLACEHOLDER = re.compile(r"\{([A-Za-z][0-9A-Za-z_]*)\}")
_ENDING = re.compile(r"\.(json|jsonl|ndjson|csv|parquet)(\.gz(ip)?)?\Z", re.IGNORECASE)
# Adobe keeps these for itself (Catalog, "Filter Catalog data"); ours marks the ledger's batches.
# By it a batch names a mapping set of Data Prep: Adobe's client aepp (`ingestion.py`) does.
MAPPING_TAG = "aep_sip_mapper"
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

    `problem` is at the member `field`, such as `routes[2].match`, of the rule named `rule`.
    """

    def __init__(self, problem: str, *, field: str = "", rule: str | None = None) -> None:
        place = f"{field} (rule `{rule}`): " if rule else f"{field}: " if field else ""
        super().__init__(place + problem)
        self.problem = problem
        self.field = field
        self.rule = rule


class OnNewVersion(StrEnum):
    """The effect of a new version of an object or a marker."""

    APPEND = "append"
    REPLACE = "replace"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class OneBatch:
    """The object gets a batch of its own."""


@dataclass(frozen=True, slots=True)
class InWindow:
    """The object shares its batch with others of the same `length_ms`.

    `at`: the local time in `timezone` at which a window of a day begins; None: midnight in UTC.
    """

    length_ms: int
    at: str | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class InQuietWindow:
    """The object shares its batch with others of its folder, until none came for `quiet_ms`."""

    quiet_ms: int


@dataclass(frozen=True, slots=True)
class WaitsForMarker:
    """The object needs a marker of that name, and is rejected if none comes `within_ms`."""

    within_ms: int
    marker: str


@dataclass(frozen=True, slots=True)
class IsMarker:
    """The object is a marker: it says that `folder`, a prefix of keys, is complete.

    It is worked on `grace_ms` after its own time.
    """

    folder: str
    grace_ms: int = 0


@dataclass(frozen=True, slots=True)
class IsReady:
    """The object is a ready file: it says that the object with the key `file` is complete."""

    file: str


type Batching = OneBatch | InWindow | InQuietWindow | WaitsForMarker | IsMarker | IsReady


@dataclass(frozen=True, slots=True)
class NeedsReady:
    """The object needs a ready file, and is rejected if none comes `within_ms`.

    `names`: those that it may have, each with `{file}` or `{stem}`; see `files.ready_name`.
    """

    names: tuple[str, ...]
    within_ms: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """The object is not for us: its route says so, or it is never data."""

    route: str | None
    version: str
    why: str = "route"  # or `not-data`


@dataclass(frozen=True, slots=True)
class Match:
    """The decision of a route about one arrival."""

    route: str
    version: str
    # None: the deployment's default. It must allow any other value.
    sandbox: str | None = None
    credential: str | None = None
    # Exactly one of the two is set.
    dataset_id: str | None = None
    dataset_name: str | None = None
    # Members of Adobe's create request under Adobe's own names. `inputFormat` is one of them,
    # unless the files of a marker decide it.
    options: Mapping[str, Any] = field(default_factory=dict)
    placeholders: Mapping[str, str] = field(default_factory=dict)  # with the key's values
    batching: Batching = OneBatch()
    ready: NeedsReady | None = None  # the object waits for a ready file before all else
    on_new_version: OnNewVersion = OnNewVersion.APPEND
    reads_manifest: bool = True  # a marker that is a manifest says which files count
    loads_same_bytes: bool = False  # a copy of an object onto itself is a new version, too
    demands: Demands = field(default_factory=Demands)
    as_is: bool = False  # JSON goes up in the layout that it has
    # The name of the compiled map, if the rows of files are mapped to the dataset's schema.
    compiled_map: str | None = None
    lookup: bool = False  # the dataset is a lookup (dimension) dataset
    whole: bool = False  # without one of its files the batch is worth nothing
    # How many batches may be made to find the files because of which AEP fails one; 0: none.
    split_batches: int = 0
    owner: str | None = None  # who looks after the files
    counts_rows: bool = False  # the rule expects a number of rows


@dataclass(frozen=True, slots=True)
class Route:
    """One rule, its patterns compiled."""

    name: str
    key: re.Pattern[str]
    marker: re.Pattern[str] | None  # fits the keys of its markers
    ready: NeedsReady | None
    bucket: re.Pattern[str] | None
    rule: Mapping[str, Any]  # as written
    wanted: tuple[tuple[str, Callable[[str], object]], ...]  # what only this rule takes for data

    def never_data(self, key: str) -> bool:
        """Whether an object that this rule fits is never data; a marker's name says nothing."""
        folder = key[: key.rfind("/") + 1]
        marks = self.is_marker(key) or self.file_of(key) is not None
        return is_never_data(folder if marks else key, self.wanted)

    def is_marker(self, key: str) -> bool:
        """Whether it is the key of a marker of this rule."""
        return self.marker is not None and self.marker.fullmatch(normal(key)) is not None

    def file_of(self, key: str) -> str | None:
        """The key of the file whose ready file has this key; None if it is no ready file's key."""
        folder, slash, name = key.rpartition("/")
        for ready in self.ready.names if self.ready else ():
            before, after = _around(ready)
            end = len(name) - len(after)
            fits = name.startswith(before) and name.endswith(after) and end > len(before)
            ending = _ending(self.rule) if OWN_STEM in ready else ""
            file = f"{folder}{slash}{name[len(before) : end]}{ending}"
            if fits and self.key.fullmatch(normal(file)):
                return file
        return None

    def batching(self, key: str) -> Batching:
        """How an object of this rule gets into a batch."""
        batch = self.rule.get("batch", {})
        file = self.file_of(key)
        if file is not None:
            return IsReady(file)
        if "marker" in batch:
            if self.is_marker(key):
                grace = _milliseconds(batch["grace"]) if "grace" in batch else 0
                return IsMarker(key[: key.rfind("/") + 1], grace)
            within = _milliseconds(batch.get("within", MARKER_WITHIN))
            return WaitsForMarker(within, batch["marker"])
        if "quiet" in batch:
            return InQuietWindow(_milliseconds(batch["quiet"]))
        length = _window(self.rule)
        if length is None:
            return OneBatch()
        return InWindow(length, batch.get("at"), batch.get("timezone", "UTC"))

    def fit(self, bucket: str, key: str) -> re.Match[str] | None:
        """How this rule fits an object, or the file of a ready file, or a marker of its folders.

        Keys compare in form C.
        """
        if self.bucket is not None and not self.bucket.fullmatch(bucket):
            return None
        key = normal(self.file_of(key) or key)
        return (self.marker and self.marker.fullmatch(key)) or self.key.fullmatch(key)


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """The rules in force. `version` goes into events, so that people know which rules applied."""

    version: str
    routes: tuple[Route, ...]

    def match(self, arrival: Arrival) -> Match | Ignored:
        """The first route that fits.

        Raises NoRoute, and TargetNotAllowed (the key fills a placeholder with an impossible value).
        """
        hit = self.find(arrival.bucket, arrival.key)
        if hit is None:
            if is_never_data(arrival.key):
                return Ignored(None, self.version, "not-data")
            raise NoRoute(
                f"no rule of routing table {self.version} fits {arrival.uri!r}; "
                "add one, with `ignore` if the object is not for us"
            )
        return self._apply(hit[0], arrival, hit[1])

    def find(self, bucket: str, key: str) -> tuple[Route, dict[str, str]] | None:
        """The first route that fits, and the values of its placeholders."""
        for route in self.routes:
            found = route.fit(bucket, key)
            if found:
                return route, found.groupdict()
        return None

    def _apply(self, route: Route, arrival: Arrival, found: Mapping[str, str]) -> Match | Ignored:
        rule = route.rule
        if "ignore" in rule:
            return Ignored(route.name, self.version)
        if route.never_data(arrival.key):
            return Ignored(route.name, self.version, "not-data")

        def filled(member: str, template: str | None, form: re.Pattern[str] | None) -> str | None:
            if template is None:
                return None
            value = _fill(template, found)
            if _UNPRINTABLE.search(value) or (form and not form.fullmatch(value)):
                raise TargetNotAllowed(
                    f"rule `{route.name}`: {value!r}, from {arrival.uri!r}, cannot be a {member}"
                )
            return value

        options = {"enableErrorDiagnostics": rule.get("enableErrorDiagnostics", True)}
        input_format = rule.get("inputFormat", "auto")
        batching = route.batching(arrival.key)
        if input_format != "auto":
            options["inputFormat"] = {**input_format, "format": input_format["format"].lower()}
        # Else the files of the folder decide, or the bytes of a file whose name does not.
        elif not isinstance(batching, WaitsForMarker | IsMarker | IsReady) and (
            not isinstance(batching, OneBatch) or names_format(arrival.uri)
        ):
            options["inputFormat"] = format_by_name(arrival.uri)
        if "partialIngestionPercent" in rule:
            options["partialIngestionPercent"] = rule["partialIngestionPercent"]
        if "tags" in rule:
            options["tags"] = {
                name: [filled("tag", value, None) for value in values]
                for name, values in rule["tags"].items()
            }
        if "mapping" in rule:
            options["tags"] = options.get("tags", {}) | {MAPPING_TAG: _mapping_set(rule["mapping"])}
        return Match(
            route.name,
            self.version,
            sandbox=filled("sandbox", rule.get("sandbox"), _SANDBOX),
            dataset_id=filled("datasetId", rule.get("datasetId"), _DATASET_ID),
            dataset_name=filled("datasetName", rule.get("datasetName"), None),
            credential=rule.get("credential"),
            options=options,
            placeholders=found,
            batching=batching,
            ready=None if isinstance(batching, IsReady) else route.ready,
            on_new_version=OnNewVersion(rule.get("onNewVersion", "append")),
            reads_manifest=rule.get("batch", {}).get("manifest", True),
            loads_same_bytes=rule.get("sameBytes") == "load",
            demands=_demands(rule),
            as_is=rule.get("asIs", False),
            compiled_map=rule.get("compiledMap", NOT_COMPILED) if "map" in rule else None,
            lookup=rule.get("lookup", False),
            whole=rule.get("onLostFile") == "abort",
            split_batches=rule.get("splitBatches", SPLIT_BATCHES) if _splits(rule) else 0,
            owner=rule.get("owner"),
            counts_rows="rows" in rule.get("expect", {}),
        )


def parse(document: bytes | str, version: str) -> RoutingTable:
    """The table in `document`, fully checked. Raises InvalidTable."""
    try:
        table = json.loads(document, object_pairs_hook=_without_repeats)
    except InvalidTable:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidTable(f"not JSON: {error}") from None
    for path, problem in faults(table, SCHEMA, ()):
        raise InvalidTable(problem, field=dotted(path), rule=rule_name(table, path))
    routes: dict[str, Route] = {}
    for index, rule in enumerate(table["routes"]):
        try:
            route = _route(rule)
        except InvalidTable as fault:
            where = dotted(("routes", index, fault.field))
            raise InvalidTable(fault.problem, field=where, rule=rule["name"]) from None
        if route.name in routes:
            where = dotted(("routes", index, "name"))
            raise InvalidTable("an earlier rule has that name", field=where, rule=route.name)
        routes[route.name] = route
    return RoutingTable(version, tuple(routes.values()))


def credential_arn(name: str | None, arns: Sequence[str]) -> str:
    """The ARN of the deployment's secret called `name`; the first if None.

    A secret's name is its ARN after `:secret:` without the six characters Secrets Manager adds.
    Raises TargetNotAllowed unless exactly one has that name.
    """
    if name is None:
        found = arns[:1]
    else:
        ending = re.compile(rf":secret:{re.escape(name)}(-[0-9A-Za-z]{{6}})?\Z")
        found = [arn for arn in arns if ending.search(arn)]
    if len(found) != 1:
        raise TargetNotAllowed(f"the deployment has {len(found)} credentials named {name!r}, not 1")
    return found[0]


def rule_name(table: Any, path: Sequence[str | int]) -> str | None:
    """Name of the rule that `path` leads into, as far as the document has one."""
    match path:
        case ("routes", int(index), *_) if isinstance(rule := table["routes"][index], dict):
            name = rule.get("name")
            return name if isinstance(name, str) else None
    return None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a member come twice, and Python keeps the last: a rule must not say two things."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidTable("comes twice in one object", field=twice)
    return members


def _route(rule: dict[str, Any]) -> Route:
    """Raises InvalidTable with `field` relative to the rule."""
    any_case = rule.get("anyCase", False)
    key = _compiled("match", rule["match"], any_case=any_case)
    bucket = _compiled("bucket", rule["bucket"]) if "bucket" in rule else None
    if bucket and bucket.groups:
        raise InvalidTable("takes no placeholders", field="bucket")
    if "ignore" in rule:
        for member in filter(rule.__contains__, _OF_TARGETS):
            raise InvalidTable("has no meaning where `ignore` is set", field=member)
    elif "sandbox" in key.groupindex:
        rule = {"sandbox": "{sandbox}"} | rule
    marker = _marker(rule, key)
    used = {name for member, text in _templates(rule) for name in _names(member, text, key)}
    for name in key.groupindex.keys() - used:
        raise InvalidTable(f"{{{name}}} is used nowhere; write `*`", field="match")
    for name in rule.get("tags", ()):
        if TAKEN_TAG.fullmatch(name):
            raise InvalidTable(f"the name {name!r} is taken", field="tags")
    for member, form in (("sandbox", _SANDBOX), ("datasetId", _DATASET_ID)):
        text = rule.get(member, "{")
        if "{" not in text and not form.fullmatch(text):
            raise InvalidTable(f"{text!r} cannot be one", field=member)
    for member in {"minRows", "badRows"} & rule.keys():
        if rule.get("lookInside") is False:
            raise InvalidTable("has no meaning where `lookInside` is false", field=member)
    _check_mapping(rule)
    _check_map(rule)
    _check_expect(rule)
    _check_batch(rule)
    _check_split(rule)
    _check_input_format(rule.get("inputFormat"))
    wanted = tuple(
        (kind, _compiled("match", part, any_case=any_case).fullmatch)
        for kind, part in signs(rule["match"])
    )
    return Route(rule["name"], key, marker, _ready(rule), bucket, rule, wanted)


def _marker(rule: Mapping[str, Any], key: re.Pattern[str]) -> re.Pattern[str] | None:
    """The pattern of a rule's markers, which are in the folders of its `match`."""
    name = rule.get("batch", {}).get("marker")
    if name is None:
        return None
    folders = rule["match"][: rule["match"].rfind("/") + 1]
    anywhere = rule["match"] == f"{folders}**"
    pattern = f"{folders}**/{name}" if anywhere else folders + name
    marker = _compiled("batch.marker", pattern, any_case=rule.get("anyCase", False))
    for lost in key.groupindex.keys() - marker.groupindex.keys():
        raise InvalidTable(
            f"the key of a marker does not say what {{{lost}}} is: it must be a folder's",
            field="match",
        )
    return marker


def _ready(rule: Mapping[str, Any]) -> NeedsReady | None:
    """What the files of a rule wait for; in any case, also in capitals or without any."""
    name = rule.get("ready")
    if name is None:
        return None
    names, any_case = [name], rule.get("anyCase", False)
    if OWN_STEM in name:
        ending = _ending(rule)
        if not ending or any_case:
            raise InvalidTable(
                "with `{stem}` needs a `match` that says how its files end, such as *.csv or "
                "*.csv.gz, without `anyCase`",
                field="ready",
            )
        if name == f"{OWN_STEM}{ending}":
            raise InvalidTable("is the name of the object itself", field="ready")
    elif any_case:
        before, after = _around(name)
        names += [f"{case(before)}{OWN_NAME}{case(after)}" for case in (str.lower, str.upper)]
    within = _milliseconds(rule.get("batch", {}).get("within", MARKER_WITHIN))
    return NeedsReady(tuple(dict.fromkeys(names)), within)


def _around(ready: str) -> tuple[str, str]:
    """What is before and behind a file's name in that of its ready file."""
    before, _, after = ready.partition(OWN_STEM if OWN_STEM in ready else OWN_NAME)
    return before, after


def _ending(rule: Mapping[str, Any]) -> str:
    """How the names of all files of a rule end; empty if that is not said, or not all of it."""
    found = ENDING.search(rule["match"])
    return "" if found is None or found[0].lower() in (".gz", ".gzip") else found[0]


def _splits(rule: Mapping[str, Any]) -> bool:
    return bool(rule.get("onFailed") == "split")


def _check_split(rule: Mapping[str, Any]) -> None:
    if "splitBatches" in rule and not _splits(rule):
        raise InvalidTable('has a meaning only with `"onFailed": "split"`', field="splitBatches")
    if not _splits(rule):
        return
    if rule.get("onLostFile") == "abort":
        raise InvalidTable(
            "leaves files out, but `onLostFile` says that without one of them the batch is worth "
            "nothing",
            field="onFailed",
        )
    if not any(way in rule.get("batch", {}) for way in WAYS):
        raise InvalidTable("has no meaning where each object has its own batch", field="onFailed")


def _mapping_set(mapping: Mapping[str, Any]) -> list[str]:
    named = {"id": mapping["set"], "version": mapping.get("version", 0)}
    return [f"mapping-set-{name}:{value}" for name, value in named.items()]


def _check_mapping(rule: Mapping[str, Any]) -> None:
    if "mapping" not in rule:
        return
    if "map" in rule:
        raise InvalidTable("AEP maps the rows, or the intake by `map`: not both", field="mapping")
    if MAPPING_TAG in rule.get("tags", ()):
        raise InvalidTable(f"writes the tag {MAPPING_TAG} itself", field="mapping")


def _check_expect(rule: Mapping[str, Any]) -> None:
    try:
        Expectation.of(rule.get("expect", {}))
    except ValueError as error:
        raise InvalidTable(str(error), field="expect") from None
    form = format_of_map(rule)
    if "rows" in rule.get("expect", {}) and form is not None and form["format"] == "parquet":
        raise InvalidTable("rows of Parquet are not counted", field="expect.rows")


def _check_map(rule: Mapping[str, Any]) -> None:
    if "map" not in rule:
        if "compiledMap" in rule:
            raise InvalidTable("is the name of a compiled `map`", field="compiledMap")
        if "keepBadRows" in rule:
            raise InvalidTable(
                "has a meaning only where a `map` leaves rows out", field="keepBadRows"
            )
        return
    if rule.get("asIs"):
        raise InvalidTable("has no meaning where rows are mapped", field="asIs")
    if (source := format_of_map(rule)) is None:
        raise InvalidTable(
            "needs files of one format: give the rule an `inputFormat`, or let `match` end like "
            "its files, such as *.csv",
            field="map",
        )
    if source["format"] == "parquet":
        raise InvalidTable("is for CSV and JSON: Parquet is not mapped", field="map")
    if "{" in f"{rule.get('sandbox')}{rule.get('datasetId')}{rule.get('datasetName')}":
        raise InvalidTable(
            "is compiled for the schema of one dataset: name sandbox and dataset without "
            "placeholders",
            field="map",
        )


def format_of_map(rule: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The format of all files of a rule; None if it may be more than one."""
    given = rule.get("inputFormat", "auto")
    if isinstance(given, dict):
        return {**given, "format": given["format"].lower()}
    return format_by_name(rule["match"]) if _ENDING.search(rule["match"]) else None


def _check_batch(rule: Mapping[str, Any]) -> None:
    batch = rule.get("batch", {})
    if "ready" in rule and "marker" in batch:
        raise InvalidTable(
            "a file waits for its own ready file or for the `marker` of its folder, not for both",
            field="ready",
        )
    ways = [way for way in WAYS if way in batch]
    if len(ways) > 1 or ("batch" in rule and not ways and "ready" not in rule):
        named = ", ".join(f"`{way}`" for way in WAYS)
        raise InvalidTable(f"needs exactly one of {named}", field="batch")
    if (_window(rule) or 0) > DAY_MS:
        raise InvalidTable("a window is 24 hours at most", field="batch.window")
    if _milliseconds(batch.get("quiet", "1m")) > QUIET_MAX_MS:
        raise InvalidTable("is 6 hours at most, and such a window 24 hours", field="batch.quiet")
    if {"window", "quiet"} & batch.keys() and rule.get("onNewVersion", "append") != "append":
        raise InvalidTable(
            "a window's batch holds many objects, and replacing it for the sake of one would take "
            "the others away: use a marker, or one batch for each object",
            field="onNewVersion",
        )
    if not batch.get("marker", "x").strip("*?"):
        raise InvalidTable("every object would be a marker", field="batch.marker")
    if "manifest" in batch and "marker" not in batch:
        raise InvalidTable("says whether a `marker` is read", field="batch.manifest")
    _check_times(rule, batch)


def _check_times(rule: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
    within = _milliseconds(batch.get("within", MARKER_WITHIN))
    if "grace" in batch:
        if "marker" not in batch:
            raise InvalidTable("says when a `marker` is worked on", field="batch.grace")
        if _milliseconds(batch["grace"]) >= within:
            raise InvalidTable(
                "must be shorter than `within`, after which files that still wait are rejected",
                field="batch.grace",
            )
    if "at" in batch and _window(rule) != DAY_MS:
        raise InvalidTable(
            'says when a window of a day begins: it needs `"window": "24h"`', field="batch.at"
        )
    if "timezone" in batch and "at" not in batch:
        raise InvalidTable("says where the time `at` is meant", field="batch.timezone")
    try:
        zone_of(batch.get("timezone", "UTC"))
    except ValueError as error:
        raise InvalidTable(str(error), field="batch.timezone") from None
    if "within" in batch and "marker" not in batch and "ready" not in rule:
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


def _templates(rule: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for member in ("sandbox", "datasetId", "datasetName"):
        if member in rule:
            yield member, rule[member]
    for values in rule.get("tags", {}).values():
        for value in values:
            yield "tags", value
    for path, entry in rule.get("map", {}).items():
        if isinstance(entry, dict) and isinstance(entry.get("value"), str):
            yield f"map.{path}.value", entry["value"]


def _names(member: str, text: str, key: re.Pattern[str]) -> Iterator[str]:
    """The placeholders in `text`. Raises InvalidTable if one is unknown, or a brace is stray."""
    if re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
        raise InvalidTable(f"{text!r} has a brace that is not a placeholder's", field=member)
    if _UNPRINTABLE.search(text):
        raise InvalidTable(f"{text!r} has a character that cannot be printed", field=member)
    for name in _PLACEHOLDER.findall(text):
        if name not in key.groupindex:
            raise InvalidTable(f"`match` has no placeholder {{{name}}}", field=member)
        yield name


def _fill(template: str, found: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda placeholder: found[placeholder[1]], template)


def names_format(uri: str) -> bool:
    """Whether the name of the object at `uri` shows its format."""
    return _ENDING.search(uri) is not None


def format_by_name(uri: str) -> dict[str, Any]:
    """The format that `inputFormat: auto` gives the object at `uri`. Raises FormatUnknown."""
    ending = _ENDING.search(uri)
    if ending is None:
        raise FormatUnknown(
            f"{uri!r} does not end like a format that `inputFormat: auto` knows "
            "(.json, .jsonl, .ndjson, .csv, .parquet, each also .gz or .gzip); without one, only a "
            "Parquet with a batch of its own is known, by its bytes"
        )
    # JSON Lines is what Adobe takes `json` for unless isMultiLineJson says otherwise.
    name = ending[1].lower()
    return {"format": "json" if name in ("jsonl", "ndjson") else name}


def _demands(rule: Mapping[str, Any]) -> Demands:
    mapped = "map" in rule  # rows that it does not fit are left out, so AEP cannot judge them
    keeps = rule.get("keepBadRows", False)
    if rule.get("lookInside") is False:
        return Demands(False, 0, 0 if mapped else None, keeps)
    bad_rows = None if "partialIngestionPercent" in rule and not mapped else 0
    min_rows, bad_rows = rule.get("minRows", 1), rule.get("badRows", bad_rows)
    return Demands(rule.get("lookInside"), min_rows, bad_rows, keeps)


def _window(rule: Mapping[str, Any]) -> int | None:
    text = rule.get("batch", {}).get("window")
    return None if text is None else _milliseconds(text)


def _milliseconds(text: str) -> int:
    """`16m` or `24h`."""
    return int(text[:-1]) * {"m": HOUR_MS // 60, "h": HOUR_MS}[text[-1]]
