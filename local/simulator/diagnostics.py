"""Data Access: what was wrong with the rows of a batch, and which files came of it.

Sources: Adobe's error diagnostics page (`input_files`, `row_errors`, their shapes and the 30
days), its page on failed batches (`_SUCCESS`, `part-…`), `data-access.yaml` (paging, 404, the
members of a data set file, `row_errors_sample.json`). Inferred: that all of it is there once the
batch has ended, and `row_errors` only where diagnostics were asked for; that `failed` needs
rejected rows; that each uploaded file came out as one file.
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from .batches import SERVED, Batch
from .messages import Refused, Response, catalog_error, json_response
from .rules import Level
from .switches import Switches
from .verdict import code_of, diagnosed
from .visit import Visit

# With the port, as Adobe's samples have it.
HOST = "https://platform.adobe.io:443"
Files = Mapping[str, bytes]
PARSING, CONVERSION = "parsing_errors_0.json", "conversion_errors_0.json"
VALIDATION = "validation_errors_0.json"


class Diagnostics:
    """Answers what Data Access is asked of a batch."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def serve(self, route: str, visit: Visit, batch: Batch) -> Response:
        """Carry out a request for `batch`. Raises Refused."""
        if route == "list-files":
            return _page(visit, _data_set_files(batch))
        rejected = _rejected(batch, self._switches)
        files = _failed(batch, rejected) if route == "list-failed" else _meta(batch, rejected)
        return _directory(visit, files if self._kept(visit, batch) else {})

    def file(self, visit: Visit, batch: Batch, number: str) -> Response:
        """One of the files that came of a batch. Raises Refused: it has no such file.

        That it is in a directory of its own, under the name it was uploaded by, is inferred.
        """
        files = list(batch.files.items()) if batch.status in SERVED else []
        if not number.isdecimal() or int(number) >= len(files):
            raise Refused(catalog_error(404, f"Object {visit.request.path} not found"))
        path, content = files[int(number)]
        return _directory(visit, {path.rpartition("/")[2]: content.read()})

    def _kept(self, visit: Visit, batch: Batch) -> bool:
        ended = batch.members.get("completed")
        return ended is not None and visit.now < ended + self._switches.diagnostics_kept_ms


def _rejected(batch: Batch, switches: Switches) -> dict[str, list[dict[str, object]]]:
    """The rows that were refused, by the file that they are in; of each file uploaded the first.

    How many is our own bound. That rows without a required field, and those that break a
    constraint, have a file of their own is inferred.
    """
    message = "Row is corrupted and cannot be read, please fix and resend."
    found: dict[str, list[dict[str, object]]] = {}
    names = switches.diagnostics_name == "uploads"
    for path, file in batch.files.items():
        uploaded = {"_filename": path} if names else {}
        for row in file.findings.corrupt:
            errors = [{"code": "1401", "message": message}]
            told: dict[str, object] = {"_corrupt_record": row, "_errors": errors, **uploaded}
            found.setdefault(PARSING, []).append(told)
        for row, violation in file.findings.unfit:
            name = CONVERSION if violation.level <= Level.CONVERSION else VALIDATION
            code, words = code_of(violation.level, switches)
            number = re.sub(r"^INGEST-(\d+)-\d+$", r"\1", code)
            why = {"code": number, "message": f"{words} {violation.path}: {violation.words}"}
            found.setdefault(name, []).append({**json.loads(row), "_errors": [why], **uploaded})
        if path in batch.to_blame and names:
            found.setdefault(PARSING, []).append({"_errors": batch.members["errors"], **uploaded})
    return found


def _meta(batch: Batch, rejected: Mapping[str, Sequence[Mapping[str, object]]]) -> Files:
    files = {"input_files/fileMetaData1.json": _lines([{"path": path} for path in batch.files])}
    if diagnosed(batch) and rejected:
        # In Adobe's sample `_filename` is the name of this file, not of the one uploaded.
        named = {
            name: [{"_filename": name, **row} for row in rows] for name, rows in rejected.items()
        }
        files |= {f"row_errors/{name}": _lines(rows) for name, rows in named.items()}
        files["row_errors_sample.json"] = _lines([row for rows in named.values() for row in rows])
    return files


def _failed(batch: Batch, rejected: Mapping[str, Sequence[Mapping[str, object]]]) -> Files:
    if not rejected:
        return {}
    part = f"part-00000-{uuid.uuid5(uuid.NAMESPACE_OID, batch.id)}-c000.json"
    return {"_SUCCESS": b"", part: _lines([row for rows in rejected.values() for row in rows])}


def _lines(rows: Sequence[Mapping[str, object]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _directory(visit: Visit, files: Files) -> Response:
    """A file, or the list of those in a directory, as the parameter `path` says."""
    path = (visit.request.parameter("path") or "").strip("/")
    if path in files:
        return Response(200, {"Content-Type": "application/json"}, files[path])
    inside = f"{path}/" if path else ""
    found = {name: body for name, body in files.items() if name.startswith(inside)}
    if not found:
        raise Refused(catalog_error(404, f"Object {path or visit.request.path} not found"))
    href = f"{HOST}{visit.request.path}?path="
    return _page(
        visit,
        [
            {
                "name": name.removeprefix(inside),
                "length": str(len(body)),
                "_links": {"self": {"href": f"{href}{quote(name, safe='')}"}},
            }
            for name, body in found.items()
        ],
    )


def _data_set_files(batch: Batch) -> list[dict[str, object]]:
    if batch.status not in SERVED:
        return []
    found = []
    for number, file in enumerate(batch.files.values()):
        identity = f"{batch.id}-{number}"
        href = f"{HOST}/data/foundation/export/files/{identity}"
        records = file.findings.rows
        found.append(
            {
                "dataSetFileId": identity,
                "dataSetViewId": batch.dataset_id,
                "version": "1.0.0",
                "created": str(batch.members["completed"]),
                "updated": str(batch.members["completed"]),
                "size": str(file.size),
                "isValid": True,
                "_links": {"self": {"href": href}},
            }
            | ({} if records is None else {"records": str(records - file.findings.bad)})
        )
    return found


def _page(visit: Visit, items: Sequence[Mapping[str, object]]) -> Response:
    limit, start = _number(visit, "limit", 100), _number(visit, "start", 0)
    if not 1 <= limit <= 100 or start < 0:
        raise Refused(catalog_error(400, "limit must be between 1 and 100, and start not below 0"))
    page = items[start : start + limit]
    body: dict[str, object] = {"data": page, "_page": {"limit": limit, "count": len(page)}}
    if len(items) > start + limit:
        path = visit.request.parameter("path")
        query = f"start={start + limit}&limit={limit}"
        query += f"&path={quote(path, safe='')}" if path else ""
        body["_links"] = {"next": {"href": f"{HOST}{visit.request.path}?{query}"}}
    return json_response(200, body)


def _number(visit: Visit, name: str, default: int) -> int:
    try:
        return int(visit.request.parameter(name) or default)
    except ValueError:
        raise Refused(catalog_error(400, f"{name} must be a whole number")) from None
