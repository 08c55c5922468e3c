"""Which rule of a routing table a key hits, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aep_intake.model.errors import Rejected
from aep_intake.model.files import Arrival
from aep_intake.routing import routes


@dataclass(frozen=True)
class Explained:
    """What becomes of a key: by which rule (None: it hits none), and the placeholders it found."""

    key: str
    rule: str | None
    outcome: str
    placeholders: Mapping[str, str] = field(default_factory=dict)


def explain(table: routes.RoutingTable, keys: Iterable[str]) -> Iterator[Explained]:
    """What becomes of each key. A key may be `s3://bucket/key`."""
    for key in keys:
        arrival = arrival_of(key)
        hit = table.find(arrival.bucket, arrival.key)
        rule, found = (None, {}) if hit is None else (hit[0].rule, hit[1])
        try:
            outcome = _outcome(rule or {}, table.match(arrival), arrival)
        except Rejected as why:
            outcome = f"rejected: {why.reason}"
        yield Explained(key, None if rule is None else rule["name"], outcome, found)


def arrival_of(key: str) -> Arrival:
    """An arrival of that key, or `s3://bucket/key`; its bucket is empty if none is given."""
    bucket, key = key[5:].split("/", 1) if key.startswith("s3://") and "/" in key[5:] else ("", key)
    return Arrival(bucket, key, None, "", None, 1, 0)


def examples(route: routes.Route) -> list[str]:
    """Keys that the rule itself gives."""
    return list(route.rule.get("examples", ()))


def shape(match: routes.Match, arrival: Arrival) -> Mapping[str, Any]:
    """The input format of an object. Raises FormatUnknown."""
    told: Mapping[str, Any] | None = match.options.get("inputFormat")
    return told or routes.format_by_name(arrival.uri)


def _outcome(
    rule: Mapping[str, Any], found: routes.Match | routes.Ignored, arrival: Arrival
) -> str:
    if isinstance(found, routes.Ignored):
        return "ignored" if found.why == "route" else f"ignored: {found.why}"
    batch = rule.get("batch", {})
    what, when = "", ""
    match found.batching:
        case routes.IsMarker(folder):
            what = f"all of {folder or 'the bucket'}"
        case routes.InWindow():
            when = f", each {batch['window']}"
        case routes.WaitsForMarker():
            when = f", once {batch['marker']} comes"
    what = what or shape(found, arrival)["format"]
    dataset = found.dataset_id or repr(found.dataset_name)
    sandbox = f"sandbox {found.sandbox}" if found.sandbox else "the default sandbox"
    return f"{what} → {dataset} in {sandbox}{when}"
