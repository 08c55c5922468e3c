"""Success markers: the files of the folder that a marker such as `_SUCCESS` completes.

Spark, Glue and EMR write many files and then the marker. A file below it counts if the routing
table matches it with the marker's own route and the same placeholders. Files that are never data,
and empty files (of an empty partition) do not count.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

from aep_intake.model import strict_json
from aep_intake.model.errors import MalformedManifest, NoFiles, Rejected
from aep_intake.model.files import Archived, Arrival
from aep_intake.routing.never_data import normal
from aep_intake.routing.table import Ignored, Match, RoutingTable, WaitsForMarker

MANIFEST_BYTES_MAX = 16 * 2**20


class FolderListing(Protocol):
    """S3. Raises StorageUnavailable."""

    def folder(self, bucket: str, prefix: str, after: str = "") -> Iterator[Arrival | Archived]:
        """The present version of every object under a prefix, in their keys' order, after a key.

        A listing does not show Intelligent-Tiering's archives: only reading a file finds them.
        """

    def read(self, arrival: Arrival, start: int, end: int, /) -> bytes:
        """As `ReadFile`."""


def members(
    marker: Arrival, match: Match, table: RoutingTable, objects: FolderListing, after: str = ""
) -> Iterator[Arrival | Archived]:
    """The present files of a marker's folder, after a key. `match`: the marker's.

    They come in their keys' order, one by one: there may be a hundred thousand. Raises NoFiles or
    MalformedManifest after the last file; before, MalformedManifest, StorageUnavailable, or as
    `FolderListing.read`.
    """
    folder, names = marker.key[: marker.key.rfind("/") + 1], dict[str, str]()
    reads = is_manifest(marker, match)
    if reads:
        names = _keys(marker, folder, objects)
    forms = {normal(key): key for key in names}
    none = True
    for listed in objects.folder(marker.bucket, folder, after):
        file = listed.file if isinstance(listed, Archived) else listed
        if not _same(file, match, table):
            continue
        key = file.key if file.key in names else forms.get(normal(file.key), file.key)
        if (names.pop(key, None) is not None or not reads) and file.size:
            none = False
            yield listed
    # Of the files up to `after` nobody knows here. In another form of Unicode one sorts elsewhere.
    missing = [n for key, n in names.items() if not after or (key.isascii() and key > after)]
    if missing:
        raise MalformedManifest(
            f"{marker.uri} names {ascii(missing[0])[:200]}, which is not in its folder, or "
            "matches another route"
        )
    if none and not after:
        raise NoFiles(f"the folder of {marker.uri} holds no file that route `{match.route}` takes")


def is_manifest(marker: Arrival, match: Match) -> bool:
    """Whether a marker lists the files that count, as its name says.

    Redshift's UNLOAD calls its manifest `<prefix>manifest`, and Databricks `_committed_<id>`:
    https://docs.aws.amazon.com/redshift/latest/dg/r_UNLOAD.html
    https://docs.databricks.com/archive/legacy/dbio-commit.html
    """
    name = marker.key.rpartition("/")[2].lower()
    named = name.endswith((".json", "manifest")) or name.startswith("_committed_")
    return match.reads_manifest and marker.size > 0 and named


def _same(file: Arrival, match: Match, table: RoutingTable) -> bool:
    try:
        found = table.match(file)
    except Rejected:
        return False
    if isinstance(found, Ignored) or not isinstance(found.batching, WaitsForMarker):
        return False
    return (found.route, found.placeholders) == (match.route, match.placeholders)


def _keys(marker: Arrival, folder: str, objects: FolderListing) -> dict[str, str]:
    """The names in a manifest, by key."""
    start = re.compile(rf"s3[an]?://{re.escape(marker.bucket)}/")  # as Hadoop writes it, too
    return {
        start.sub("", name, count=1) if "://" in name else folder + name: name
        for name in _names(marker, objects)
    }


def _names(marker: Arrival, objects: FolderListing) -> list[str]:
    text = objects.read(marker, 0, MANIFEST_BYTES_MAX)
    if len(text) < marker.size:
        raise MalformedManifest(f"{marker.uri} has more than {MANIFEST_BYTES_MAX:,} bytes")
    try:
        manifest: Any = strict_json.loads(text.decode("utf-8-sig"))
    except ValueError as error:
        raise MalformedManifest(f"{marker.uri} cannot be read as JSON: {error}") from None
    match manifest:
        case {"entries": [*entries]} if all(isinstance(e, dict) for e in entries):
            names = [entry.get("url") for entry in entries]
        case {"files": [*names]} | {"added": [*names], "removed": _}:  # Databricks' has the latter
            pass
        case _:
            names = [None]
    if not all(isinstance(name, str) for name in names):
        form = json.dumps({"files": ["part-00000.json"]})
        raise MalformedManifest(
            f"{marker.uri} is not of the form {form}, nor one of Redshift's or Databricks': if "
            'it only says that the folder is complete, add "manifest": false to `batch`'
        )
    return names
