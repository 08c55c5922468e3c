"""Batches: how they are made, what may be done to them, and what becomes of them.

Sources: Adobe's page "Create a batch" (the request and the exact answer), `batch-ingestion.yaml`,
the batch ingestion overview and troubleshooting pages (states).
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .content import Content

FORMATS = frozenset({"csv", "parquet", "json", "avro"})
# The pattern of `xdm:customerIngestionId`, under which notifications give the externalId back.
EXTERNAL_ID = re.compile(r"[0-9A-Za-z._/@-]+")
RESERVED_TAGS = frozenset({"unifiedProfile", "unifiedIdentity"})
# In these its rows are in the dataset; Adobe uses the two names interchangeably.
SERVED = frozenset({"success", "active"})
TERMINAL = SERVED | frozenset(
    [
        "failed",
        "failure",
        "aborted",
        "abandoned",
        "inactive",
        "deleted",
        "archived",
        "retained",
    ]
)
# action → the states it is allowed in, the state it leads to
ACTIONS: Mapping[str, tuple[frozenset[str], str]] = {
    "ABORT": (frozenset({"loading"}), "aborted"),
    "COMPLETE": (frozenset({"loading"}), "loaded"),
    "FAIL": (frozenset({"loading"}), "failed"),
    "REVERT": (SERVED, "inactive"),
}
# COMPLETE may be repeated: a repeat after success still answers success, and changes nothing.
COMPLETED = SERVED | frozenset(
    ["loaded", "queued", "staging", "processing", "staged", "retrying", "stalled"]
)


class BadRequest(Exception):
    """The request to make a batch is not one Adobe takes; the text says why."""


@dataclass(slots=True)
class Batch:
    """A batch. `members`: Catalog's object, which is keyed by the id and does not hold it.

    `visible_from`: epoch ms from which Catalog shows it. `touched`: last use, epoch ms. `files`:
    what was uploaded, by path. `unfinished`: large files on their way, path → (first byte, last
    byte) → part. `replay_form`: as the switch. `unknown_mapping_set`: its tag
    names a mapping set that is not there. `to_blame`: the paths of files because of which a mishap
    befell it.
    """

    id: str
    org: str
    sandbox: str
    members: dict[str, Any]
    visible_from: int
    touched: int
    files: dict[str, Content] = field(default_factory=dict)
    unfinished: dict[str, dict[tuple[int, int], Content]] = field(default_factory=dict)
    replay_form: str = ""
    unknown_mapping_set: bool = False
    to_blame: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """Its state, an open set."""
        return str(self.members["status"])

    @property
    def dataset_id(self) -> str:
        """The dataset it belongs to."""
        return str(self.members["relatedObjects"][0]["id"])

    def become(self, status: str, now: int) -> None:
        """Change state; every change counts the version's last part up."""
        major, minor, patch = self.members["version"].split(".")
        self.members |= {
            "status": status,
            "updated": now,
            "version": f"{major}.{minor}.{int(patch) + 1}",
        }
        if status in TERMINAL:
            self.members.setdefault("completed", now)
        self.touched = now


def read_body(body: bytes, *, format_required: bool) -> dict[str, Any]:
    """The members of a create request that matter. Raises BadRequest."""
    try:
        given = json.loads(body)
    except ValueError:
        raise BadRequest("The body is not JSON.") from None
    if not isinstance(given, dict):
        raise BadRequest("The body is not a JSON object.")
    dataset = given.get("datasetId")
    if not isinstance(dataset, str) or not dataset:
        raise BadRequest("datasetId is required.")
    read: dict[str, Any] = {"datasetId": dataset, "tags": _tags(given)}
    if "inputFormat" in given:
        read["inputFormat"] = _input_format(given["inputFormat"])
    elif format_required:
        raise BadRequest("inputFormat is required.")
    else:
        read["inputFormat"] = {"format": "parquet"}
    if "externalId" in given:
        read["externalId"] = given["externalId"]
        if not isinstance(read["externalId"], str) or not EXTERNAL_ID.fullmatch(
            given["externalId"]
        ):
            raise BadRequest("externalId has characters that are not allowed.")
    if "replay" in given:
        read["replay"], read["replayForm"] = _replay(given["replay"])
    return read


def _input_format(given: object) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("format"), str):
        raise BadRequest("inputFormat must be an object with a format.")
    # Adobe's own sources write `json` here and `JSON` there.
    name = given["format"].lower()
    if name not in FORMATS:
        raise BadRequest(f"inputFormat.format must be one of {', '.join(sorted(FORMATS))}.")
    if not isinstance(given.get("isMultiLineJson", False), bool):
        raise BadRequest("inputFormat.isMultiLineJson must be a boolean.")
    return {**given, "format": name}


def _tags(given: Mapping[str, Any]) -> dict[str, Any]:
    tags = given.get("tags", {})
    if not isinstance(tags, dict) or not all(_strings(values) for values in tags.values()):
        raise BadRequest("tags must map names to lists of strings.")
    if RESERVED_TAGS & tags.keys():
        raise BadRequest(f"{', '.join(sorted(RESERVED_TAGS))} are reserved tags.")
    tags = dict(tags)
    # These two come back among the tags, and not as lists.
    if "enableErrorDiagnostics" in given:
        if not isinstance(given["enableErrorDiagnostics"], bool):
            raise BadRequest("enableErrorDiagnostics must be a boolean.")
        tags["acp_enableErrorDiagnostics"] = given["enableErrorDiagnostics"]
    if "partialIngestionPercent" in given:
        percent = given["partialIngestionPercent"]
        if isinstance(percent, bool) or not isinstance(percent, int | float):
            raise BadRequest("partialIngestionPercent must be a number.")
        if not 0 <= percent <= 100:
            raise BadRequest("partialIngestionPercent must be between 0 and 100.")
        tags["acp_partialIngestionPercent"] = percent
    return tags


def _replay(given: object) -> tuple[dict[str, Any], str]:
    """As Adobe's answers show it, and the form in which it came."""
    if not isinstance(given, dict):
        raise BadRequest("replay must be an object.")
    read, form = dict(given), ""
    for name in ("predecessors", "predecessorsByExternalId"):
        if name in read:
            if not _strings(read[name]):
                raise BadRequest(f"replay.{name} must be a list of strings.")
            form = "$" * all(one.startswith("$") for one in read[name]) + name
            # Adobe's samples write `${id}` or `$id`, and answer without.
            read[name] = [one.removeprefix("$").strip("{}") for one in read[name]]
    return read, form


def _strings(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


class Batches:
    """All batches, and the ways to find them.

    `abandon_after`: ms without use after which a loading batch is abandoned, or None; asked anew
    each time. A batch is abandoned when somebody looks, at the time it was due.
    """

    def __init__(self, abandon_after: Callable[[], int | None]) -> None:
        self._abandon_after = abandon_after
        self._by_id: dict[str, Batch] = {}
        # externalId is expected to be unique within the organization, not the sandbox.
        self._by_external_id: defaultdict[tuple[str, str], list[Batch]] = defaultdict(list)
        self._by_dataset: defaultdict[tuple[str, str, str], list[Batch]] = defaultdict(list)
        self._by_sandbox: defaultdict[tuple[str, str], list[Batch]] = defaultdict(list)

    def add(self, batch: Batch) -> None:
        """Keep a new batch."""
        self._by_id[batch.id] = batch
        self._by_external_id[batch.org, batch.members["externalId"]].append(batch)
        self._by_dataset[batch.org, batch.sandbox, batch.dataset_id].append(batch)
        self._by_sandbox[batch.org, batch.sandbox].append(batch)

    def get(self, batch_id: str, now: int) -> Batch | None:
        """A batch by its id, wherever it is."""
        batch = self._by_id.get(batch_id)
        return None if batch is None else self._aged(batch, now)

    def all(self, now: int) -> list[Batch]:
        """Every batch, oldest first."""
        return [self._aged(batch, now) for batch in self._by_id.values()]

    def by_external_id(self, org: str, external_id: str, now: int) -> list[Batch]:
        """An organization's batches of that externalId, oldest first."""
        found = self._by_external_id.get((org, external_id), ())
        return [self._aged(batch, now) for batch in found]

    def candidates(
        self, org: str, sandbox: str, parameters: Mapping[str, str], now: int
    ) -> Iterable[Batch]:
        """No fewer of a sandbox's batches than a Catalog query can mean, oldest first."""
        external_id, dataset = parameters.get("externalId", ""), parameters.get("dataSet", "")
        found: Iterable[Batch]
        if external_id and not _is_list(external_id):
            found = self._by_external_id.get((org, external_id), ())
            found = (batch for batch in found if batch.sandbox == sandbox)
        elif dataset and not _is_list(dataset):
            found = self._by_dataset.get((org, sandbox, dataset), ())
        else:
            found = self._by_sandbox.get((org, sandbox), ())
        return (self._aged(batch, now) for batch in found)

    def _aged(self, batch: Batch, now: int) -> Batch:
        idle = self._abandon_after()
        if batch.status == "loading" and idle is not None and now >= batch.touched + idle:
            batch.become("abandoned", batch.touched + idle)
        return batch


def _is_list(value: str) -> bool:
    return value.startswith("!") or "," in value
