"""Fills batches: Batch Ingestion takes files, COMPLETE and ABORT; Data Access returns bad rows.

Facts: Adobe's batch ingestion guide and `batch-ingestion.yaml`; for diagnostics the page
"Retrieving data ingestion error diagnostics" and `data-access.yaml`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any
from urllib.parse import quote, urlencode

from aep_intake.adapters.adobe.gateway import AdobeAnswer, Gateway
from aep_intake.adapters.adobe.http import Stream
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.content.gzip import Readable
from aep_intake.delivery.delivery import Delivery
from aep_intake.model.batches import Batch
from aep_intake.model.errors import IntakeError, PlatformUnavailable, UploadRefused

_IMPORT = "/data/foundation/import/batches"
_EXPORT = "/data/foundation/export/batches"
_NAMED = re.compile(rb"\b([0-9a-f]{32})-[0-9A-Za-z._-]")  # see `Arrival.path`
_RANGE = re.compile(r"bytes=0-(\d+)")
# Of diagnostics of a batch; each file has a hundred bad rows, which is enough to find the cause.
_MAX_FILES = 20
_MAX_BYTES = 20_000_000

type KeepFile = Callable[[Delivery, str, bytes], None]  # name and content


class Ingestion:
    """AEP for deliveries. `seconds`: the longest time of one upload.

    `keep` stores a file of diagnostics of a delivery; raises StorageUnavailable.
    """

    def __init__(self, adobe: Adobe, keep: KeepFile, seconds: int) -> None:
        self._adobe = adobe
        self._gateway: Gateway = adobe.gateway
        self._keep = keep
        self._timeouts = (3.05, float(seconds))

    def upload(
        self, delivery: Delivery, path: str, body: Readable, size: int, seconds: float = inf
    ) -> None:
        """PUT one file, in at most `seconds`; the same path again overwrites it.

        Raises UploadRefused or TryAgain.
        """
        connect_seconds, upload_seconds = self._timeouts
        answer = self._gateway.call_repeatable(
            "PUT",
            _file_path(delivery, path),
            delivery.target,
            delivery.external_id,
            (connect_seconds, min(upload_seconds, seconds)),
            body=Stream(body, size),
        )
        if not answer.ok:
            raise self._error_of(answer, delivery)

    def uploaded_bytes(self, delivery: Delivery, path: str) -> int:
        """How many bytes of a file the batch has; 1 if AEP does not say. Raises TryAgain.

        Adobe documents `Range` for files that were sent in parts, but not for others.
        """
        file = _file_path(delivery, path)
        answer = self._gateway.call_repeatable("HEAD", file, delivery.target, delivery.external_id)
        if answer.ok:
            sent = _RANGE.fullmatch(answer.http.headers.get("range", ""))
            return int(sent[1]) + 1 if sent else 1
        error = self._error_of(answer, delivery)
        if isinstance(error, UploadRefused):
            return 0
        raise error

    def complete(self, delivery: Delivery) -> None:
        """Send COMPLETE: all files are there; may be repeated. Raises UploadRefused or TryAgain."""
        # 200 means accepted, not ingested, and has no defined body.
        path = f"{_batch_path(delivery)}?action=COMPLETE"
        answer = self._gateway.call_repeatable("POST", path, delivery.target, delivery.external_id)
        if not answer.ok:
            raise self._error_of(answer, delivery)

    def abort(self, delivery: Delivery) -> None:
        """Abort the batch if it is still loading. Raises TryAgain."""
        self._adobe.abort_batch(delivery.target, delivery.batch_id, delivery.external_id)

    def fetch_batch(self, delivery: Delivery) -> Batch | None:
        """The batch in Catalog; None if Catalog does not show it. Raises TryAgain."""
        return self._adobe.batch(delivery.target, delivery.batch_id)

    def diagnostics(self, delivery: Delivery) -> int:
        """Store AEP's details of bad rows; the number of files. Raises TryAgain.

        AEP has them for 30 days, and only if the batch was made with error diagnostics. They are
        whole rows: of what is more than 20 files or 20 MB, nothing is kept.
        """
        kept, left = 0, _MAX_BYTES
        for name, content in self._row_errors(delivery):
            left -= len(content)
            if left < 0:
                break
            safe = re.sub(r"[^0-9A-Za-z._-]+", "_", name)[-100:]
            self._keep(delivery, f"row_errors/{safe}", content)
            kept += 1
        return kept

    def named(self, delivery: Delivery) -> frozenset[str]:
        """The `path_digest` of each file that AEP's details of bad rows name. Raises TryAgain.

        Adobe documents no member for that: a name that we gave to an upload counts anywhere.
        """
        contents = (content for _, content in self._row_errors(delivery))
        return frozenset(name.decode() for text in contents for name in _NAMED.findall(text))

    def _row_errors(self, delivery: Delivery) -> Iterator[tuple[str, bytes]]:
        for name in self._list_row_errors(delivery):
            answer = self._read_meta(delivery, f"row_errors/{name}")
            if answer.ok:
                yield name, answer.http.body

    def _list_row_errors(self, delivery: Delivery) -> list[str]:
        answer = self._read_meta(delivery, "row_errors")
        listed: Any = answer.http.json() if answer.ok else None
        found = listed.get("data") if isinstance(listed, dict) else None
        names = [
            one["name"].rpartition("/")[2]
            for one in (found if isinstance(found, list) else ())
            if isinstance(one, dict) and isinstance(one.get("name"), str) and _fits(one)
        ]
        return [name for name in names if name][:_MAX_FILES]

    def _read_meta(self, delivery: Delivery, path: str) -> AdobeAnswer:
        batch = f"{_EXPORT}/{quote(delivery.batch_id, safe='')}/meta"
        answer = self._gateway.call_repeatable(
            "GET",
            f"{batch}?{urlencode({'path': path})}",
            delivery.target,
            delivery.external_id,
            max_bytes=_MAX_BYTES,
        )
        error = None if answer.ok or answer.not_found else self._gateway.error_of(answer)
        if isinstance(error, PlatformUnavailable):
            raise error
        return answer

    def _error_of(self, answer: AdobeAnswer, delivery: Delivery) -> IntakeError:
        # A service's 400 or 404 is about the file or the batch; others are about us, or temporary.
        if 400 <= answer.status < 500 and answer.status not in (401, 403, 408, 429):
            return UploadRefused(
                str(answer), status=answer.status, external_id=delivery.external_id
            )
        return self._gateway.retryable_error(answer, delivery.external_id)


def _fits(listed: Mapping[str, Any]) -> bool:
    """Whether a file is small enough; Adobe gives its length as text."""
    length = str(listed.get("length"))[:20]
    return not length.isdecimal() or int(length) <= _MAX_BYTES


def _file_path(delivery: Delivery, path: str) -> str:
    dataset = quote(delivery.target.dataset_id, safe="")
    return f"{_batch_path(delivery)}/datasets/{dataset}/files/{quote(path, safe='')}"


def _batch_path(delivery: Delivery) -> str:
    return f"{_IMPORT}/{quote(delivery.batch_id, safe='')}"
