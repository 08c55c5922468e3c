"""Creates AEP's batches (Batch Ingestion), and finds batches and datasets (Catalog).

Facts: Adobe's "Create a batch" page and `batch-ingestion.yaml`; `catalog.yaml` and the page
"Filter Catalog data".
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import requests

from aep_intake.adapters.adobe.gateway import AdobeAnswer, Gateway, Tokens
from aep_intake.adapters.adobe.http import NoAnswer, NotSent, clean
from aep_intake.adapters.adobe.lookups import Breakers, Lookups
from aep_intake.model.batches import Batch, Dataset, Target
from aep_intake.model.errors import (
    DatasetNotFound,
    IntakeError,
    OutcomeUnknown,
    PlatformUnavailable,
    TryAgain,
)
from aep_intake.model.orders import TAG, Order, Replaced

_IMPORT = "/data/foundation/import/batches"
_CATALOG = "/data/foundation/catalog"
_PAGE = 100  # Catalog's maximum; its default is 20
_MAX_PAGES = 50

_ID = re.compile(r"(?!\.{1,2}$)[!-~]{1,200}")  # `.` and `..` would climb the path, even encoded
_CLOCK_SKEW_MS = 300_000  # between Adobe's clock and ours
_FOUND_CACHE_MS, _NOT_FOUND_CACHE_MS = 600_000, 10_000
_MAX_CACHED = 5_000  # under a kilobyte each; S3 keys can name any number of datasets
_MAX_UNANSWERED = 3  # POSTs without an answer in a row; the next ones are not sent for a while

OPTIONAL_TIMEOUTS = (1.0, 2.0)  # seconds to connect and to answer, where the answer is optional


class Adobe:
    """One AEP with all its organizations and sandboxes: a `BatchPlatform`.

    `platform_url`: like `https://platform.adobe.io`. `ledger` gives the id of our ledger: batches
    carry a digest of it, so that two stacks never take each other's. `now` tells epoch
    milliseconds.
    `replay_by`: the member of `replay` that names a replaced batch, with a `$` if the ids want one.
    `timeouts` in seconds, to connect and to answer. `start_within`: seconds after which `create`
    no longer begins a POST, because getting a token took too long and a lease does not wait.

    May be used from several threads. It repeats only a call whose token was refused, once.
    """

    def __init__(
        self,
        session: requests.Session,
        credentials: Tokens,
        platform_url: str,
        ledger: Callable[[], str],
        now: Callable[[], int],
        *,
        timeouts: tuple[float, float] = (3.05, 10.0),
        start_within: float = 8.0,
        replay_by: Callable[[], str] = lambda: "$predecessors",
    ) -> None:
        self.gateway = Gateway(session, credentials, platform_url, now, timeouts)
        self._credentials = credentials
        self._ledger = ledger
        self._now = now
        self._timeouts = timeouts
        self._start_within_ms = int(1000 * start_within)
        self._replay_by = replay_by
        catalog = Breakers(now)
        self._posts = Breakers(now, _MAX_UNANSWERED)
        self._dataset_ids: Lookups[tuple[Target, str], str | DatasetNotFound]
        self._dataset_ids = Lookups(now, catalog, _cache_ms, _MAX_CACHED)
        self._datasets: Lookups[Target, Dataset | None]
        self._datasets = Lookups(now, catalog, _cache_ms, _MAX_CACHED)

    @property
    def create_ms(self) -> int:
        """The longest time, in milliseconds, until `create` has AEP's answer."""
        return self._start_within_ms + int(1000 * sum(self._timeouts))

    def ready(self, credential: str) -> None:
        """Raise at once, as `create` would, if no POST would be sent now."""
        self._check_breaker(credential)
        self._credentials.token(credential)

    def create(self, order: Order) -> Batch:
        """Make the batch of `order`: one POST, or two if the first one's token was refused.

        Raises OutcomeUnknown (a batch may exist), BatchRefused or TargetNotAllowed (none does, nor
        will as things stand), PlatformUnavailable or CredentialUnusable (none does, yet).
        """
        external_id, tag = order.external_id, order.tag_value(self._ledger())
        credential, started = order.target.credential, self._now()
        self._check_breaker(credential, external_id)
        body = {
            # Adobe's default; its documents disagree on whether it may be left out.
            "inputFormat": {"format": "parquet"},
            **order.options,
            "datasetId": order.target.dataset_id,
            "externalId": external_id,
            "tags": {**(order.options.get("tags") or {}), TAG: [tag]},
        }
        if order.replaces is not None:
            body["replay"] = self._replay(order.replaces)
        try:
            answer = self.gateway.call(
                "POST",
                _IMPORT,
                order.target,
                body=json.dumps(body).encode(),
                external_id=external_id,
                start_by=started + self._start_within_ms,
            )
        except NotSent as error:
            unsent = PlatformUnavailable(f"the POST was not sent: {error}", external_id=external_id)
            self._posts.failed(credential, unsent, started)
            raise unsent from error
        except NoAnswer as error:
            unknown = OutcomeUnknown(f"no answer to the POST: {error}", external_id=external_id)
            self._posts.failed(credential, unknown, started)
            raise unknown from error
        self._posts.worked(credential)
        if not answer.ok:
            if answer.outcome_unknown:
                raise OutcomeUnknown(str(answer), external_id=external_id)
            raise self.gateway.error_of(answer, external_id)
        batch = _batch_made(answer.http.json(), self._now())
        if batch is None or batch.status != "loading" or not _ours(batch, order, tag):
            raise OutcomeUnknown(f"{answer}, not with a new batch of ours", external_id=external_id)
        return batch

    def find(self, order: Order, since: int | None) -> list[Batch]:
        """The batches this ledger made for `order` after `since` (epoch ms), oldest first.

        None: at any time.

        Raises TryAgain.
        """
        query = {
            "externalId": order.external_id,
            "dataSet": order.target.dataset_id,
            "orderBy": "asc:created",
        }
        if since is not None:
            query["createdAfter"] = str(since - _CLOCK_SKEW_MS)
        batches, tag = {}, order.tag_value(self._ledger())
        for batch_id, raw in self._list(
            "batches", query, order.target, external_id=order.external_id
        ):
            batch = _batch(batch_id, raw, created=since or 0)
            # The filters are only there for speed: a value of theirs may be read as an operator.
            if TAG in batch.tags and _ours(batch, order, tag):
                batches[batch_id] = batch
        return sorted(batches.values(), key=lambda batch: (batch.created, batch.id))

    def tagged(self, target: Target, since: int, until: int) -> Iterator[Batch]:
        """The batches of a sandbox with a tag like ours, made from `since` to `until` (epoch ms).

        The target's dataset does not matter. Raises TryAgain.
        """
        query = {
            "tags": f"{TAG}:*",
            "createdAfter": str(since - 1),
            "createdBefore": str(until),
            "orderBy": "asc:created",
        }
        for batch_id, raw in self._list("batches", query, target):
            batch = _batch(batch_id, raw, created=since)
            if TAG in batch.tags:  # the filter is only there for speed
                yield batch

    def abort(self, order: Order, batch_id: str) -> None:
        """Abort a batch of that order, as `abort_batch`. Raises TryAgain."""
        self.abort_batch(order.target, batch_id, order.external_id)

    def abort_batch(self, target: Target, batch_id: str, external_id: str) -> None:
        """Abort a batch that is still loading; nothing happens if it is not. Raises TryAgain."""
        if not _ID.fullmatch(batch_id):
            return
        path = f"{_IMPORT}/{quote(batch_id, safe='')}?action=ABORT"
        answer = self.gateway.call_repeatable("POST", path, target, external_id)
        # A success has no defined body. A batch that is no longer `loading` is 400.
        gone = answer.status in (400, 404, 409, 410) and not answer.from_gateway
        if not answer.ok and not gone:
            raise self.gateway.retryable_error(answer, external_id)

    def batch(self, target: Target, batch_id: str) -> Batch | None:
        """What Catalog knows of a batch; None if nothing (yet). Raises TryAgain."""
        raw = self._get("batches", batch_id, target)
        return None if raw is None else _batch(batch_id, raw, created=0)

    def dataset(self, target: Target) -> dict[str, Any] | None:
        """Catalog's description of the target's dataset; None if there is none. Raises TryAgain."""
        return self._get("dataSets", target.dataset_id, target)

    def dataset_info(self, target: Target) -> Dataset | None:
        """The target's dataset, if Catalog answers quickly; cached for ten minutes.

        If Catalog is slow, the last answer, or None: a check before the POST must not wait for what
        the POST does not need. Raises DatasetNotFound.
        """

        def question() -> Dataset | None:
            raw = self._get("dataSets", target.dataset_id, target, OPTIONAL_TIMEOUTS)
            if raw is None:
                raise DatasetNotFound(
                    f"no dataset {target.dataset_id!r} in sandbox {target.sandbox}"
                )
            return dataset_of(raw) if raw else None

        try:
            return self._datasets.ask(target, target.credential, question)
        except TryAgain:
            return self._datasets.last(target)

    def datasets(
        self, credential: str, ims_org: str, sandbox: str
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each dataset in the sandbox: its id, and of its description `name` and `schemaRef`.

        Raises TargetNotAllowed, BatchRefused (AEP does not let us look) or TryAgain.
        """
        target = Target(credential, ims_org, sandbox, "")
        query = {"properties": "name,schemaRef"}
        return self._list("dataSets", query, target, self.gateway.error_of)

    def dataset_id(self, credential: str, ims_org: str, sandbox: str, name: str) -> str:
        """The id of the one dataset called exactly `name`. Kept for ten minutes.

        Raises DatasetNotFound (none or, as names need not be unique, several), TargetNotAllowed,
        BatchRefused (AEP does not let us look) or TryAgain.
        """
        target = Target(credential, ims_org, sandbox, "")
        find = partial(self._find_dataset_id, target, name)
        found = self._dataset_ids.ask((target, name), credential, find)
        if isinstance(found, DatasetNotFound):
            raise DatasetNotFound(found.detail)
        return found

    def _check_breaker(self, credential: str, external_id: str | None = None) -> None:
        try:
            self._posts.check(credential)
        except TryAgain as failure:
            raise PlatformUnavailable(
                f"the POST was not sent, since others got no answer: {failure.detail}",
                retry_after=failure.retry_after,
                external_id=external_id,
            ) from None

    def _find_dataset_id(self, target: Target, name: str) -> str | DatasetNotFound:
        # In `name=…` a comma means OR and a leading `!` NOT; a pattern has no such traps if every
        # character it could misread is a dot. What is really called so is decided here.
        if re.fullmatch(r"[\w .-]+", name):
            query = {"name": name}
        else:
            query = {"property": f"name~^{re.sub(r'[^0-9A-Za-z _-]', '.', name)}$"}
        query["properties"] = "name"
        listed = self._list("dataSets", query, target, self.gateway.error_of)
        hits = [key for key, raw in listed if raw.get("name") == name]
        if len(hits) != 1:
            shown = clean(name, limit=100)
            return DatasetNotFound(
                f"{len(hits) or 'no'} datasets called {shown!r} in sandbox {target.sandbox}"
            )
        return hits[0]

    def _replay(self, replaced: Replaced) -> dict[str, Any]:
        # Adobe's pages, its specification and its own client differ on the `$` before an id.
        replay_by = self._replay_by()
        member = replay_by.removeprefix("$")
        sign = "$" * replay_by.startswith("$")
        names = [
            sign + (one.batch_id if member == "predecessors" else one.external_id)
            for one in (replaced, *replaced.others)
        ]
        return {member: names, "reason": "replace"}

    def _get(
        self,
        kind: str,
        key: str,
        target: Target,
        timeouts: tuple[float, float] | None = None,
    ) -> dict[str, Any] | None:
        if not _ID.fullmatch(key):
            return None
        path = f"{_CATALOG}/{kind}/{quote(key, safe='')}"
        answer = self.gateway.call_repeatable("GET", path, target, None, timeouts)
        if answer.not_found or (answer.status == 400 and not answer.from_gateway):
            return None
        if not answer.ok:
            raise self.gateway.retryable_error(answer)
        found = answer.http.json()
        if not isinstance(found, dict):
            raise PlatformUnavailable(f"{answer}, not with JSON that Catalog documents")
        one = found.get(key)
        return one if isinstance(one, dict) else None

    def _list(
        self,
        kind: str,
        query: Mapping[str, str],
        target: Target,
        error_of: Callable[[AdobeAnswer, str | None], IntakeError] | None = None,
        external_id: str | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """All pages of a Catalog list; `error_of` makes the error to raise (default: TryAgain)."""
        for page in range(_MAX_PAGES):
            paged = {**query, "limit": str(_PAGE), "start": str(page * _PAGE)}
            path = f"{_CATALOG}/{kind}?{urlencode(paged, errors='replace')}"
            answer = self.gateway.call_repeatable("GET", path, target, external_id)
            if answer.not_found:
                return
            if not answer.ok:
                raise (error_of or self.gateway.retryable_error)(answer, external_id)
            found = answer.http.json()
            if not isinstance(found, dict) or not all(
                _ID.fullmatch(key) and isinstance(one, dict) for key, one in found.items()
            ):
                # Leaving out what we cannot read could hide a batch of ours.
                raise PlatformUnavailable(f"{answer}, not with JSON that Catalog documents")
            yield from found.items()
            if len(found) < _PAGE:
                return
        raise PlatformUnavailable(f"Catalog lists more than {_PAGE * _MAX_PAGES} {kind}")


def _ours(batch: Batch, order: Order, expected: str) -> bool:
    """Whether nothing a batch says about itself speaks against its being this order's."""
    tag = batch.tags.get(TAG, [])
    tags = tag if isinstance(tag, list) else [tag]  # Adobe shows scalars here and there
    return (
        (TAG not in batch.tags or expected in tags)
        and (not batch.dataset_ids or order.target.dataset_id in batch.dataset_ids)
        and batch.external_id in (None, order.external_id)
    )


def _cache_ms(found: object) -> int:
    return _NOT_FOUND_CACHE_MS if isinstance(found, DatasetNotFound) else _FOUND_CACHE_MS


def dataset_of(raw: Mapping[str, Any]) -> Dataset:
    """Adobe's samples write `enabled:true` with and without a blank, in a list or alone."""
    tags, about = raw.get("tags"), raw.get("classification")
    profile = (tags if isinstance(tags, dict) else {}).get("unifiedProfile")
    managed_by = about.get("managedBy") if isinstance(about, dict) else None
    return Dataset(
        profile="enabled:true" in str(profile).replace(" ", ""),
        system=str(managed_by).upper() == "SYSTEM",
    )


def _batch_made(made: Any, now: int) -> Batch | None:
    """The batch of a 2xx answer; only its id is always there."""
    if not isinstance(made, dict):
        return None
    batch_id = made.get("id")
    if not isinstance(batch_id, str) or not _ID.fullmatch(batch_id):
        return None
    return _batch(batch_id, {"status": "loading", **made}, created=now)


def _batch(batch_id: str, raw: Mapping[str, Any], *, created: int) -> Batch:
    """A batch as Adobe describes it; `created` where Adobe does not say when."""
    when, external_id, tags = raw.get("created"), raw.get("externalId"), raw.get("tags")
    related = raw.get("relatedObjects")
    return Batch(
        id=batch_id,
        status=str(raw.get("status")),
        created=when if type(when) is int else created,
        external_id=external_id if isinstance(external_id, str) else None,
        dataset_ids=tuple(
            one["id"]
            for one in (related if isinstance(related, list) else ())
            if isinstance(one, dict)
            and one.get("type") == "dataSet"
            and isinstance(one.get("id"), str)
        ),
        tags=tags if isinstance(tags, dict) else {},
        raw=raw,
    )
