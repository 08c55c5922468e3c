"""The routing table in force: the first route that fits an arrival decides about it.

Values from a key are hostile. The result of `match` is safe in a header (sandbox) or a URL path
(dataset id); a dataset *name* may hold any printable text, such as the `,` and leading `!` that
Catalog's filters take for operators.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any

from aep_intake.model.errors import FormatUnknown, NoRoute, TargetNotAllowed
from aep_intake.model.files import ENDING, OWN_NAME, OWN_STEM, Arrival
from aep_intake.model.orders import Demands
from aep_intake.model.times import duration_ms
from aep_intake.model.values import dataclass
from aep_intake.routing.never_data import is_never_data, normal

FORMS = {
    "sandbox": re.compile(r"[a-z0-9][a-z0-9-]{0,255}"),
    "datasetId": re.compile(r"[0-9A-Za-z_-]{1,256}"),
}
PLACEHOLDER = re.compile(r"\{([A-Za-z][0-9A-Za-z_]*)\}")
_ENDING = re.compile(r"\.(json|jsonl|ndjson|csv|parquet)(\.gz(ip)?)?\Z", re.IGNORECASE)
# By it a batch names a mapping set of Data Prep: Adobe's client aepp (`ingestion.py`) does.
MAPPING_TAG = "aep_sip_mapper"
MARKER_WITHIN = "24h"
SPLIT_BATCHES = 12
NOT_COMPILED = ""  # in place of the name of a compiled map: nobody has published the table


def has_unprintable(text: str) -> bool:
    """Whether it holds a control character or half a surrogate."""
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


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
    # None: the stack's default. It must allow any other value.
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
    # The dataset is a lookup (dimension) dataset; or it is if it has one of these ids.
    lookup: bool | Sequence[str] = False
    whole: bool = False  # without one of its files the batch is worth nothing
    # How many batches may be made to find the files because of which AEP fails one; 0: none.
    split_batches: int = 0
    owner: str | None = None  # who looks after the files
    counts_rows: bool = False  # the route expects a number of rows
    of_request: bool = False  # a request names the object, and no route says anything

    def is_lookup(self, dataset_id: str) -> bool:
        """Whether a dataset, which is this one's, is a lookup dataset, as far as that is known."""
        return self.lookup if isinstance(self.lookup, bool) else dataset_id in self.lookup


@dataclass(frozen=True, slots=True)
class Route:
    """One route, its patterns compiled."""

    name: str
    key: re.Pattern[str]
    marker: re.Pattern[str] | None  # fits the keys of its markers
    ready: NeedsReady | None
    bucket: re.Pattern[str] | None
    written: Mapping[str, Any]  # its JSON
    wanted: tuple[tuple[str, Callable[[str], object]], ...]  # what only this route takes for data

    def never_data(self, key: str) -> bool:
        """Whether an object that this route fits is never data; a marker's name says nothing."""
        folder = key[: key.rfind("/") + 1]
        marks = self.is_marker(key) or self.file_of(key) is not None
        return is_never_data(folder if marks else key, self.wanted)

    def is_marker(self, key: str) -> bool:
        """Whether it is the key of a marker of this route."""
        return self.marker is not None and self.marker.fullmatch(normal(key)) is not None

    def file_of(self, key: str) -> str | None:
        """The key of the file whose ready file has this key; None if it is no ready file's key."""
        folder, slash, name = key.rpartition("/")
        for ready in self.ready.names if self.ready else ():
            before, after = around(ready)
            end = len(name) - len(after)
            fits = name.startswith(before) and name.endswith(after) and end > len(before)
            ending = ending_of(self.written) if OWN_STEM in ready else ""
            file = f"{folder}{slash}{name[len(before) : end]}{ending}"
            if fits and self.key.fullmatch(normal(file)):
                return file
        return None

    def batching(self, key: str) -> Batching:
        """How an object of this route gets into a batch."""
        batch = self.written.get("batch", {})
        file = self.file_of(key)
        if file is not None:
            return IsReady(file)
        if "marker" in batch:
            if self.is_marker(key):
                grace = duration_ms(batch["grace"]) if "grace" in batch else 0
                return IsMarker(key[: key.rfind("/") + 1], grace)
            within = duration_ms(batch.get("within", MARKER_WITHIN))
            return WaitsForMarker(within, batch["marker"])
        if "quiet" in batch:
            return InQuietWindow(duration_ms(batch["quiet"]))
        length = window_ms(self.written)
        if length is None:
            return OneBatch()
        return InWindow(length, batch.get("at"), batch.get("timezone", "UTC"))

    def fit(self, bucket: str, key: str) -> re.Match[str] | None:
        """How this route fits an object, or the file of a ready file, or a marker of its folders.

        Keys compare in form C.
        """
        if self.bucket is not None and not self.bucket.fullmatch(bucket):
            return None
        key = normal(self.file_of(key) or key)
        return (self.marker and self.marker.fullmatch(key)) or self.key.fullmatch(key)


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """The routes in force. `version` goes into events, so that people know which routes applied."""

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
                f"no route of routing table {self.version} fits {arrival.uri!r}; "
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
        written = route.written
        if "ignore" in written:
            return Ignored(route.name, self.version)
        if route.never_data(arrival.key):
            return Ignored(route.name, self.version, "not-data")

        def fill(member: str, template: str) -> str:
            value = PLACEHOLDER.sub(lambda placeholder: found[placeholder[1]], template)
            form = FORMS.get(member)
            if has_unprintable(value) or (form and not form.fullmatch(value)):
                raise TargetNotAllowed(
                    f"route `{route.name}`: {value!r}, from {arrival.uri!r}, cannot be a {member}"
                )
            return value

        batching = route.batching(arrival.key)
        options = _options(written, arrival, batching, fill)
        sandbox, dataset_id, dataset_name = (
            fill(member, written[member]) if member in written else None
            for member in ("sandbox", "datasetId", "datasetName")
        )
        return Match(
            route.name,
            self.version,
            sandbox=sandbox,
            dataset_id=dataset_id,
            dataset_name=dataset_name,
            credential=written.get("credential"),
            options=options,
            placeholders=found,
            batching=batching,
            ready=None if isinstance(batching, IsReady) else route.ready,
            on_new_version=OnNewVersion(written.get("onNewVersion", "append")),
            reads_manifest=written.get("batch", {}).get("manifest", True),
            loads_same_bytes=written.get("sameBytes") == "load",
            demands=_demands(written),
            as_is=written.get("asIs", False),
            compiled_map=written.get("compiledMap", NOT_COMPILED) if "map" in written else None,
            lookup=written.get("lookup", False),
            whole=written.get("onLostFile") == "abort",
            split_batches=written.get("splitBatches", SPLIT_BATCHES) if is_split(written) else 0,
            owner=written.get("owner"),
            counts_rows="rows" in written.get("expect", {}),
        )


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


def format_of_map(written: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The format of all files of a route; None if it may be more than one."""
    given = written.get("inputFormat", "auto")
    if isinstance(given, dict):
        return {**given, "format": given["format"].lower()}
    return format_by_name(written["match"]) if _ENDING.search(written["match"]) else None


def around(ready: str) -> tuple[str, str]:
    """What is before and behind a file's name in that of its ready file."""
    before, _, after = ready.partition(OWN_STEM if OWN_STEM in ready else OWN_NAME)
    return before, after


def ending_of(written: Mapping[str, Any]) -> str:
    """How the names of all files of a route end; empty if that is not said, or not all of it."""
    found = ENDING.search(written["match"])
    return "" if found is None or found[0].lower() in (".gz", ".gzip") else found[0]


def is_split(written: Mapping[str, Any]) -> bool:
    """Whether a batch that AEP fails is split, to find the files because of which it did."""
    return bool(written.get("onFailed") == "split")


def window_ms(written: Mapping[str, Any]) -> int | None:
    """The length of the windows of a route; None if it has none."""
    text = written.get("batch", {}).get("window")
    return None if text is None else duration_ms(text)


def _mapping_set(mapping: Mapping[str, Any]) -> list[str]:
    named = {"id": mapping["set"], "version": mapping.get("version", 0)}
    return [f"mapping-set-{name}:{value}" for name, value in named.items()]


def _options(
    written: Mapping[str, Any],
    arrival: Arrival,
    batching: Batching,
    fill: Callable[[str, str], str],
) -> dict[str, Any]:
    """The members of Adobe's create request that a route gives an arrival.

    `fill`: from the name of a member, and a template, the template with the values of the key.
    """
    options = {"enableErrorDiagnostics": written.get("enableErrorDiagnostics", True)}
    input_format = written.get("inputFormat", "auto")
    if input_format != "auto":
        options["inputFormat"] = {**input_format, "format": input_format["format"].lower()}
    # Else the files of the folder decide, or the bytes of a file whose name does not.
    elif not isinstance(batching, WaitsForMarker | IsMarker | IsReady) and (
        not isinstance(batching, OneBatch) or names_format(arrival.uri)
    ):
        options["inputFormat"] = format_by_name(arrival.uri)
    if "partialIngestionPercent" in written:
        options["partialIngestionPercent"] = written["partialIngestionPercent"]
    if "tags" in written:
        options["tags"] = {
            name: [fill("tag", value) for value in values]
            for name, values in written["tags"].items()
        }
    if "mapping" in written:
        options["tags"] = options.get("tags", {}) | {MAPPING_TAG: _mapping_set(written["mapping"])}
    return options


def _demands(written: Mapping[str, Any]) -> Demands:
    mapped = "map" in written  # rows that it does not fit are left out, so AEP cannot judge them
    keeps = written.get("keepBadRows", False)
    if written.get("lookInside") is False:
        return Demands(False, 0, 0 if mapped else None, keeps)
    bad_rows = None if "partialIngestionPercent" in written and not mapped else 0
    min_rows, bad_rows = written.get("minRows", 1), written.get("badRows", bad_rows)
    return Demands(written.get("lookInside"), min_rows, bad_rows, keeps)
