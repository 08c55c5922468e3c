"""Fills batches: Batch Ingestion takes files, COMPLETE and ABORT; Data Access returns bad rows.

Facts: Adobe's batch ingestion guide and `batch-ingestion.yaml`; for diagnostics the page
"Retrieving data ingestion error diagnostics" and `data-access.yaml`.
"""

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import Any
from urllib.parse import quote, urlencode

from aep_intake.adapters.adobe.gateway import AdobeAnswer, Gateway
from aep_intake.adapters.adobe.http import Stream
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.delivery.delivery import Delivery
from aep_intake.delivery.pieces import Readable
from aep_intake.model.batches import Batch
from aep_intake.model.errors import IntakeError, PlatformUnavailable, UploadRefused

_IMPORT = "/data/foundation/import/batches"
_EXPORT = "/data/foundation/export/batches"
_RANGE = re.compile(r"bytes=0-(\d+)")
_MOST_FILES = 20  # of diagnostics; a hundred bad rows of each file tell enough
_MOST_BYTES = 20_000_000

type Keep = Callable[[Delivery, str, bytes], None]  # by its name


class Ingestion:
    """AEP as deliveries need it. `seconds`: the longest that one upload may take.

    `keep` stores a file of diagnostics of a delivery; raises StorageUnavailable.
    """

    def __init__(self, adobe: Adobe, keep: Keep, seconds: int) -> None:
        self._adobe = adobe
        self._aep: Gateway = adobe.aep
        self._keep = keep
        self._timeouts = (3.05, float(seconds))

    def upload(
        self, delivery: Delivery, path: str, body: Readable, size: int, seconds: float = inf
    ) -> None:
        """PUT one file, in so many seconds at most; the same path again overwrites it.

        Raises UploadRefused or TryAgain.
        """
        connecting, sending = self._timeouts
        answer = self._aep.ask(
            "PUT",
            _file(delivery, path),
            delivery.target,
            delivery.external_id,
            (connecting, min(sending, seconds)),
            body=Stream(body, size),
        )
        if not answer.ok:
            raise self._problem(answer, delivery)

    def held(self, delivery: Delivery, path: str) -> int:
        """How many bytes of a file the batch has; 1 if AEP does not say. Raises TryAgain.

        Adobe documents `Range` for files that were sent in parts, but not for others.
        """
        answer = self._aep.ask("HEAD", _file(delivery, path), delivery.target, delivery.external_id)
        if answer.ok:
            sent = _RANGE.fullmatch(answer.answer.headers.get("range", ""))
            return int(sent[1]) + 1 if sent else 1
        problem = self._problem(answer, delivery)
        if isinstance(problem, UploadRefused):
            return 0
        raise problem

    def complete(self, delivery: Delivery) -> None:
        """Send COMPLETE: all files are there; may be repeated. Raises UploadRefused or TryAgain."""
        # 200 means accepted, not ingested, and has no defined body.
        path = f"{_batch(delivery)}?action=COMPLETE"
        answer = self._aep.ask("POST", path, delivery.target, delivery.external_id)
        if not answer.ok:
            raise self._problem(answer, delivery)

    def abort(self, delivery: Delivery) -> None:
        """Abort the batch if it is still loading. Raises TryAgain."""
        self._adobe.give_up(delivery.target, delivery.batch_id, delivery.external_id)

    def fetch_batch(self, delivery: Delivery) -> Batch | None:
        """The batch in Catalog; None if Catalog does not show it. Raises TryAgain."""
        return self._adobe.batch(delivery.target, delivery.batch_id)

    def diagnostics(self, delivery: Delivery) -> int:
        """Store AEP's details of bad rows; the number of files. Raises TryAgain.

        AEP has them for 30 days, and only if the batch was made with error diagnostics.
        """
        kept = 0
        for name in self._listed(delivery):
            answer = self._meta(delivery, f"row_errors/{name}")
            if answer.ok:
                safe = re.sub(r"[^0-9A-Za-z._-]+", "_", name)[-100:]
                self._keep(delivery, f"row_errors/{safe}", answer.answer.body)
                kept += 1
        return kept

    def _listed(self, delivery: Delivery) -> list[str]:
        answer = self._meta(delivery, "row_errors")
        listed: Any = answer.answer.json() if answer.ok else None
        found = listed.get("data") if isinstance(listed, dict) else None
        names = [
            one["name"].rpartition("/")[2]
            for one in (found if isinstance(found, list) else ())
            if isinstance(one, dict) and isinstance(one.get("name"), str) and _fits(one)
        ]
        return [name for name in names if name][:_MOST_FILES]

    def _meta(self, delivery: Delivery, path: str) -> AdobeAnswer:
        batch = f"{_EXPORT}/{quote(delivery.batch_id, safe='')}/meta"
        answer = self._aep.ask(
            "GET",
            f"{batch}?{urlencode({'path': path})}",
            delivery.target,
            delivery.external_id,
            most=_MOST_BYTES,
        )
        problem = None if answer.ok or answer.not_found else self._aep.problem(answer)
        if isinstance(problem, PlatformUnavailable):
            raise problem
        return answer

    def _problem(self, answer: AdobeAnswer, delivery: Delivery) -> IntakeError:
        # A service's 400 or 404 is about the file or the batch; others are about us, or temporary.
        if 400 <= answer.status < 500 and answer.status not in (401, 403, 408, 429):
            return UploadRefused(
                str(answer), status=answer.status, external_id=delivery.external_id
            )
        return self._aep.later(answer, delivery.external_id)


def _fits(listed: Mapping[str, Any]) -> bool:
    """Whether a file is small enough; Adobe gives its length as text."""
    length = str(listed.get("length"))[:20]
    return not length.isdecimal() or int(length) <= _MOST_BYTES


def _file(delivery: Delivery, path: str) -> str:
    dataset = quote(delivery.target.dataset_id, safe="")
    return f"{_batch(delivery)}/datasets/{dataset}/files/{quote(path, safe='')}"


def _batch(delivery: Delivery) -> str:
    return f"{_IMPORT}/{quote(delivery.batch_id, safe='')}"
