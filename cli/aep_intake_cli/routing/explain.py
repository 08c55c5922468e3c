"""Which route of a routing table a key matches, and what happens to the object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aep_intake.model.errors import Rejected
from aep_intake.model.files import Arrival, ready_name
from aep_intake.routing.table import (
    Ignored,
    InQuietWindow,
    InWindow,
    IsMarker,
    IsReady,
    Match,
    Route,
    RoutingTable,
    WaitsForMarker,
    format_by_name,
)


@dataclass(frozen=True)
class Explanation:
    """What happens to a key: its route (None: no route matches), and the values of placeholders."""

    key: str
    route: str | None
    outcome: str
    placeholders: Mapping[str, str] = field(default_factory=dict)


def explain(table: RoutingTable, keys: Iterable[str]) -> Iterator[Explanation]:
    """What happens to each key. A key may be `s3://bucket/key`."""
    for key in keys:
        arrival = arrival_of(key)
        found = table.find(arrival.bucket, arrival.key)
        written, placeholders = (None, {}) if found is None else (found[0].written, found[1])
        try:
            outcome = _outcome(written or {}, table.match(arrival), arrival)
        except Rejected as why:
            outcome = f"rejected: {why.reason}"
        yield Explanation(key, None if written is None else written["name"], outcome, placeholders)


def arrival_of(key: str) -> Arrival:
    """An arrival of that key or `s3://bucket/key`; without a bucket, its bucket is empty."""
    bucket, key = key[5:].split("/", 1) if key.startswith("s3://") and "/" in key[5:] else ("", key)
    return Arrival(bucket, key, None, "", None, 1, 0)


def examples(route: Route) -> list[str]:
    """The keys that the route gives as examples."""
    return list(route.written.get("examples", ()))


def input_format(match: Match, arrival: Arrival) -> Mapping[str, Any]:
    """The input format of an object. Raises FormatUnknown."""
    of_route: Mapping[str, Any] | None = match.options.get("inputFormat")
    return of_route or format_by_name(arrival.uri)


def _outcome(written: Mapping[str, Any], match: Match | Ignored, arrival: Arrival) -> str:
    if isinstance(match, Ignored):
        return "ignored" if match.why == "route" else f"ignored: {match.why}"
    batch = written.get("batch", {})
    content, when = "", ""
    match match.batching:
        case IsMarker(folder):
            content = f"all of {folder or 'the bucket'}"
            when = f", {batch['grace']} after its own time" if "grace" in batch else ""
        case IsReady(file):
            content = f"says that {file} is complete"
        case InWindow():
            when = f", a batch every {batch['window']}"
            if "at" in batch:
                when += f", at {batch['at']} in {batch.get('timezone', 'UTC')}"
        case InQuietWindow():
            when = f", a batch when its folder was quiet for {batch['quiet']}"
        case WaitsForMarker():
            when = f", when {batch['marker']} arrives"
    if match.ready is not None:
        folder, name = arrival.key[: arrival.key.rfind("/") + 1], arrival.key.rpartition("/")[2]
        when += f", after {folder}{ready_name(match.ready.names[0], name)} arrives"
    if expect := written.get("expect"):
        days, zone = expect.get("days"), expect.get("timezone", "UTC")
        each = f"every {expect['every']}" if "every" in expect else f"by {expect['by']} in {zone}"
        when += f", expected {each}{f' on {days}' if days else ''}"
    content = content or input_format(match, arrival)["format"]
    content += ", mapped" if match.compiled_map is not None else ""
    dataset = match.dataset_id or repr(match.dataset_name)
    sandbox = f"sandbox {match.sandbox}" if match.sandbox else "the default sandbox"
    return f"{content} → {dataset} in {sandbox}{when}"
