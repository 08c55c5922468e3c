"""The versions of a published document: what is live, since when and by whom, and what differs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from aep_intake_cli.documents import PublishedDocument


@dataclass(frozen=True)
class Deployment:
    """A version went live. `by`: who made it so; None: an earlier release did not keep it."""

    version: int
    at: datetime
    by: str | None


def history(document: PublishedDocument, limit: int) -> Iterator[Deployment]:
    """What went live, the newest first. Raises botocore's errors."""
    for item in list(reversed(document.deployments()))[:limit]:
        by = document.description(item["DeploymentNumber"]).removeprefix("by ")
        yield Deployment(int(item["ConfigurationVersion"]), item["CompletedAt"], by or None)


def as_written(document: bytes) -> Any:
    """A document without what publishing writes into it."""
    written = json.loads(document)
    if "routes" in written:
        written["routes"] = [route_as_written(route) for route in written["routes"]]
    return written


def route_as_written(route: Mapping[str, Any]) -> dict[str, Any]:
    """A route without that."""
    added = ("compiledMap", "lookup")
    return {name: value for name, value in route.items() if name not in added}


def differences(before: bytes, after: bytes, names: tuple[str, str]) -> list[str]:
    """The lines of a unified diff; none if both say the same, however they are laid out."""
    old, new = (
        json.dumps(as_written(document), indent=2, ensure_ascii=False).splitlines()
        for document in (before, after)
    )
    return list(difflib.unified_diff(old, new, *names, lineterm=""))
