"""Files of a batch: PUT, and in parts for what is too large for that.

Sources: `batch-ingestion.yaml` (statuses, 256 MB, 512000000 bytes a part, `Range`), Adobe's batch
ingestion developer guide (200 for PUT and 201 for INITIALIZE and COMPLETE, all empty), the
troubleshooting page (gaps and overlaps are found at COMPLETE, with 400). Inferred: the order of the
checks; that a file needs a batch in `loading`; that what Adobe's gateway says to a body over the
limit is nginx's 413; that a part sent again replaces the same part; that a PUT drops the parts
under the same path, and that parts never completed are no file; that an encoded slash is one; that
rows are validated by the schema as it is when they come.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from .batches import Batch
from .content import Content, Disk, Incoming
from .messages import HTML, Refused, Response, json_response
from .rows import Check, Gunzipped, Unchecked, Unpacked, check_for
from .rules import Rules
from .switches import Switches
from .visit import Visit

LONGEST_PART = 512_000_000
_RANGE = re.compile(r"bytes (\d+)-(\d+)(?:/(?:\d+|\*))?")


class Uploads:
    """Takes files for batches, and keeps them. `rules`: those of the rows of a batch, if any."""

    def __init__(self, switches: Switches, rules: Callable[[Batch], Rules | None]) -> None:
        self._switches, self._rules = switches, rules
        self._disk = Disk()

    def incoming(self, route: str, path: str, batch: Batch | None) -> Incoming:
        """Where the body of a PUT or PATCH goes meanwhile. `batch`: the one it names, if any."""
        if batch is None:
            return Incoming(self._disk, Unchecked(), 0)
        if route == "patch-file":
            return Incoming(self._disk, Unchecked(), LONGEST_PART)
        return Incoming(self._disk, self._check(batch, path), self._switches.put_limit)

    def _check(self, batch: Batch, path: str) -> Check:
        check = check_for(batch.members["inputFormat"], self._rules(batch))
        if path.lower().endswith(".gz") and self._switches.gzipped == "read":
            return Gunzipped(check)
        return Unpacked(check)

    def serve(self, route: str, visit: Visit, batch: Batch) -> Response:
        """Carry out an operation on a file of `batch`. Raises Refused."""
        wanted = visit.request.segment(6)
        if wanted != batch.dataset_id:
            detail = f"Dataset {wanted} is not of batch {batch.id}."
            code = f"SIMULATED-1009-{self._switches.wrong_dataset}"
            raise visit.refusal(code, "Wrong dataset", detail)
        path = _path(visit)
        if route == "head-file":
            return self._progress(visit, batch, path)
        if batch.status != "loading":
            detail = f"Files are not taken: batch {batch.id} is {batch.status}."
            raise visit.refusal("SIMULATED-1010-400", "Bad request", detail)
        match route:
            case "file-action":
                answer = self._act(visit, batch, path)
            case "patch-file":
                answer = self._part(visit, batch, path, self._content(visit))
            case _:
                answer = self._put(batch, path, self._content(visit))
        batch.touched = visit.now
        return answer

    def _content(self, visit: Visit) -> Content:
        headers = visit.request.headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/octet-stream":
            detail = f"{kind or 'no content type'}: it must be application/octet-stream."
            raise visit.refusal("SIMULATED-1011-415", "Unsupported media type", detail)
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        if chunked and self._switches.chunked_upload == "refused":
            raise Refused(_page(411))
        content = visit.request.content
        assert content is not None
        limit = self._switches.put_limit if visit.request.method == "PUT" else LONGEST_PART
        if content.size > limit:
            raise Refused(_page(self._switches.too_large))
        return content

    def _put(self, batch: Batch, path: str, content: Content) -> Response:
        new = path not in batch.files
        batch.unfinished.pop(path, None)
        batch.files[path] = content
        return Response(201 if new and self._switches.upload_answers == "spec" else 200)

    def _act(self, visit: Visit, batch: Batch, path: str) -> Response:
        action = (visit.request.parameter("action") or "").upper()
        if action == "INITIALIZE":
            batch.unfinished[path] = {}
            return Response(201 if self._switches.upload_answers == "docs" else 200)
        if action == "COMPLETE":
            return self._stitch(visit, batch, path)
        raise visit.refusal("SIMULATED-1005-400", "Bad request", f"Unknown action {action!r}.")

    def _part(self, visit: Visit, batch: Batch, path: str, content: Content) -> Response:
        given = _RANGE.fullmatch(visit.request.headers.get("content-range", "").strip())
        if given is None or int(given[2]) - int(given[1]) + 1 != content.size:
            detail = "Content-Range must be `bytes {first}-{last}`, and fit the body."
            raise visit.refusal("SIMULATED-1013-400", "Bad request", detail)
        parts = _parts(visit, batch, path)
        parts[int(given[1]), int(given[2])] = content
        return self._told(200, path, parts)

    def _stitch(self, visit: Visit, batch: Batch, path: str) -> Response:
        parts = _parts(visit, batch, path)
        end = 0
        for first, last in sorted(parts):
            if first != end:
                how = "overlap" if first < end else "leave a gap"
                detail = f"The parts of {path} {how} at byte {first}."
                raise visit.refusal("SIMULATED-1014-400", "Bad request", detail)
            end = last + 1
        if not end:
            raise visit.refusal("SIMULATED-1014-400", "Bad request", f"{path} has no parts.")
        whole = Incoming(self._disk, self._check(batch, path), end)
        for span in sorted(parts):
            for piece in parts[span].pieces():
                whole.write(piece)
        batch.files[path] = whole.done()
        del batch.unfinished[path]
        return self._told(201, path, parts)

    def _progress(self, visit: Visit, batch: Batch, path: str) -> Response:
        if path in batch.unfinished:
            return Response(200, _range(batch.unfinished[path]))
        answers = self._switches.head_answers
        if path not in batch.files or answers == "not-found":
            raise visit.refusal("SIMULATED-1016-404", "Not found", f"File {path} not found.")
        whole = _range({(0, batch.files[path].size - 1): batch.files[path]})
        return Response(200, whole if answers == "range" else {})

    def _told(self, status: int, path: str, parts: Mapping[tuple[int, int], Content]) -> Response:
        if self._switches.upload_answers == "docs":
            return Response(status)
        size = sum(part.size for part in parts.values())
        return json_response(200, {"name": path, "sizeInBytes": size}, _range(parts))


def _path(visit: Visit) -> str:
    segments = [unquote(segment) for segment in visit.request.path.split("/")[9:]]
    if any(segment in {"", ".", ".."} for segment in segments):
        raise visit.refusal("SIMULATED-1015-400", "Bad request", "That is not a path of a file.")
    return "/".join(segments)


def _parts(visit: Visit, batch: Batch, path: str) -> dict[tuple[int, int], Content]:
    if path not in batch.unfinished:
        detail = f"{path} was not initialized."
        raise visit.refusal("SIMULATED-1016-404", "Not found", detail)
    return batch.unfinished[path]


def _range(parts: Mapping[tuple[int, int], Content]) -> dict[str, str]:
    spans = ",".join(f"{first}-{last}" for first, last in sorted(parts) if last >= first)
    return {"Range": f"bytes={spans}"} if spans else {}


def _page(status: int) -> Response:
    # The gateway's own; it never gets as far as the service, which would speak JSON.
    return Response(status, {"Content-Type": "text/html"}, HTML.format(status=status).encode())
