"""Filling a batch: Batch Ingestion for files and the end of a batch, Data Access for what failed.

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
        said = self._aep.ask(
            "PUT",
            _file(delivery, path),
            delivery.target,
            delivery.external_id,
            (connecting, min(sending, seconds)),
            body=Stream(body, size),
        )
        if not said.ok:
            raise self._problem(said, delivery)

    def held(self, delivery: Delivery, path: str) -> int:
        """How many bytes of a file the batch has; 1 where AEP does not tell. Raises TryAgain.

        Adobe documents `Range` for files that were sent in parts, and says nothing of others.
        """
        said = self._aep.ask("HEAD", _file(delivery, path), delivery.target, delivery.external_id)
        if said.ok:
            told = _RANGE.fullmatch(said.answer.headers.get("range", ""))
            return int(told[1]) + 1 if told else 1
        problem = self._problem(said, delivery)
        if isinstance(problem, UploadRefused):
            return 0
        raise problem

    def complete(self, delivery: Delivery) -> None:
        """Say that all files are there; may be repeated. Raises UploadRefused or TryAgain."""
        # 200 means accepted, not ingested, and has no defined body.
        path = f"{_batch(delivery)}?action=COMPLETE"
        said = self._aep.ask("POST", path, delivery.target, delivery.external_id)
        if not said.ok:
            raise self._problem(said, delivery)

    def abort(self, delivery: Delivery) -> None:
        """Make a batch that is still loading go away. Raises TryAgain."""
        self._adobe.give_up(delivery.target, delivery.batch_id, delivery.external_id)

    def fetch_batch(self, delivery: Delivery) -> Batch | None:
        """What Catalog knows of the batch. Raises TryAgain."""
        return self._adobe.batch(delivery.target, delivery.batch_id)

    def diagnostics(self, delivery: Delivery) -> int:
        """Keep what AEP tells of bad rows; how many files that were. Raises TryAgain.

        AEP keeps them for 30 days, and only where they were asked for when the batch was made.
        """
        kept = 0
        for name in self._listed(delivery):
            said = self._meta(delivery, f"row_errors/{name}")
            if said.ok:
                safe = re.sub(r"[^0-9A-Za-z._-]+", "_", name)[-100:]
                self._keep(delivery, f"row_errors/{safe}", said.answer.body)
                kept += 1
        return kept

    def _listed(self, delivery: Delivery) -> list[str]:
        said = self._meta(delivery, "row_errors")
        listed: Any = said.answer.json() if said.ok else None
        found = listed.get("data") if isinstance(listed, dict) else None
        names = [
            one["name"].rpartition("/")[2]
            for one in (found if isinstance(found, list) else ())
            if isinstance(one, dict) and isinstance(one.get("name"), str) and _fits(one)
        ]
        return [name for name in names if name][:_MOST_FILES]

    def _meta(self, delivery: Delivery, path: str) -> AdobeAnswer:
        batch = f"{_EXPORT}/{quote(delivery.batch_id, safe='')}/meta"
        said = self._aep.ask(
            "GET",
            f"{batch}?{urlencode({'path': path})}",
            delivery.target,
            delivery.external_id,
            most=_MOST_BYTES,
        )
        problem = None if said.ok or said.not_found else self._aep.problem(said)
        if isinstance(problem, PlatformUnavailable):
            raise problem
        return said

    def _problem(self, said: AdobeAnswer, delivery: Delivery) -> IntakeError:
        # A service's 400 or 404 is about the file or the batch; the rest is about us, or later.
        if 400 <= said.status < 500 and said.status not in (401, 403, 408, 429):
            return UploadRefused(str(said), status=said.status, external_id=delivery.external_id)
        return self._aep.later(said, delivery.external_id)


def _fits(listed: Mapping[str, Any]) -> bool:
    """Whether a file can be read; Adobe tells its length as text."""
    length = str(listed.get("length"))[:20]
    return not length.isdecimal() or int(length) <= _MOST_BYTES


def _file(delivery: Delivery, path: str) -> str:
    dataset = quote(delivery.target.dataset_id, safe="")
    return f"{_batch(delivery)}/datasets/{dataset}/files/{quote(path, safe='')}"


def _batch(delivery: Delivery) -> str:
    return f"{_IMPORT}/{quote(delivery.batch_id, safe='')}"
