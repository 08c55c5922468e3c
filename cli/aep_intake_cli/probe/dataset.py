"""The dataset that is probed: the calls that questions make, and the batches they leave."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from aep_intake.adapters.adobe.http import NoAnswer, NotSent, Stream
from aep_intake.model.errors import PlatformUnavailable

from aep_intake_cli.failures import CommandFailed

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.gateway import AdobeAnswer
    from aep_intake.adapters.adobe.platform import Adobe
    from aep_intake.model.batches import Batch, Target

    from aep_intake_cli.probe.rows import Rows

# Of every batch that the probe makes, and of no other: by it they are found after a crash.
TAG = "aep_intake_probe"

_IMPORT = "/data/foundation/import/batches"
_CATALOG = "/data/foundation/catalog/batches"
_EXPORT = "/data/foundation/export/batches"
_PAGE = 100
_TRIES = 6  # of a call that AEP does not serve, with growing waits
_END_SECONDS = 3600.0  # until a batch that was completed must have ended

# The steps of something that has to wait for AEP: each `yield` is a moment for the others.
type Steps[T] = Generator[None, None, T]


class NoAnswerFound(CommandFailed):
    """AEP did something with which the question cannot be answered; the text says what."""


@dataclass(frozen=True)
class Loaded:
    """What became of a batch. `batch` as it ended; None: AEP did not take it, and says `why`."""

    batch: Batch | None
    why: str = ""

    @property
    def served(self) -> bool:
        """Whether its rows are in the dataset."""
        return self.batch is not None and self.batch.holds_data

    def __str__(self) -> str:
        if self.batch is None:
            return self.why
        codes = [str(error.get("code")) for error in self.batch.errors]
        return " ".join([self.batch.status, *([f"({', '.join(codes)})"] if codes else [])])


@dataclass
class ProbedDataset:
    """A dataset, and AEP in front of it.

    `run` names this run in tags and external ids. `now` tells epoch milliseconds, `wait` takes
    seconds. `made`: batches of this run, by id: for which question.
    """

    adobe: Adobe
    target: Target
    rows: Rows
    run: str
    now: Callable[[], int]
    wait: Callable[[float], None]
    made: dict[str, str] = field(default_factory=dict)

    def call(
        self, method: str, path: str, *, data: bytes | None = None, chunked: bool = False
    ) -> AdobeAnswer:
        """AEP's answer to a call that may be repeated. `data`: the bytes of a file.

        `chunked`: without Content-Length. Raises TryAgain: AEP does not serve it, after all tries.
        """
        gateway = self.adobe.gateway

        def ask() -> AdobeAnswer:
            # What has no length is sent in chunks.
            body = None if data is None else Stream(BytesIO(data), 0 if chunked else len(data))
            answer = gateway.call_repeatable(method, path, self.target, None, body=body)
            error = None if answer.ok else gateway.error_of(answer)
            if isinstance(error, PlatformUnavailable):
                raise error
            return answer

        return self._served(ask)

    def _served[T](self, ask: Callable[[], T]) -> T:
        """The answer to `ask`, which is asked again while AEP does not serve it."""
        for attempt in range(_TRIES - 1):
            try:
                return ask()
            except PlatformUnavailable as error:
                self.wait(error.retry_after or 2.0**attempt)
        return ask()

    def create(self, question: str, **members: Any) -> AdobeAnswer:
        """POST a batch for a question. `members`: more of Adobe's, or others.

        Raises NoAnswerFound: no answer came, so that a batch may be there; the tag finds it.
        """
        name = f"probe-{self.run}-{question}-{len(self.made)}"
        tags = {TAG: [f"{self.run} {question}"], **members.pop("tags", {})}
        body = {
            "datasetId": self.target.dataset_id,
            "inputFormat": self.rows.input_format,
            "externalId": name,
            "tags": tags,
            "enableErrorDiagnostics": True,
            **members,
        }
        content = json.dumps(body).encode()

        def post() -> AdobeAnswer:
            gateway = self.adobe.gateway
            try:
                answer = gateway.call("POST", _IMPORT, self.target, body=content)
            except NotSent as error:
                raise PlatformUnavailable(f"the POST was not sent: {error}") from error
            except NoAnswer as error:
                raise NoAnswerFound(f"no answer to the POST of a batch: {error}") from error
            if not (answer.ok or answer.outcome_unknown):
                failure = gateway.error_of(answer)
                if isinstance(failure, PlatformUnavailable):  # nothing was made
                    raise failure
            return answer

        answer = self._served(post)
        if answer.ok and (batch_id := batch_id_of(answer)) is not None:
            self.made[batch_id] = question
        return answer

    def new_batch(self, question: str, **members: Any) -> str:
        """The id of a batch made for a question. Raises NoAnswerFound: AEP makes none."""
        answer = self.create(question, **members)
        batch_id = batch_id_of(answer) if answer.ok else None
        if batch_id is None:
            raise NoAnswerFound(f"no batch was made: {answer}")
        return batch_id

    def put(
        self, batch_id: str, name: str, data: bytes | None = None, *, chunked: bool = False
    ) -> AdobeAnswer:
        """AEP's answer to a file; by default one of one row."""
        content = self.rows.file if data is None else data
        return self.call("PUT", self._file(batch_id, name), data=content, chunked=chunked)

    def head(self, batch_id: str, name: str) -> AdobeAnswer:
        """What AEP says that it has of a file."""
        return self.call("HEAD", self._file(batch_id, name))

    def act(self, batch_id: str, action: str) -> AdobeAnswer:
        """AEP's answer to `ABORT`, `COMPLETE` or `REVERT`."""
        return self.call("POST", f"{_IMPORT}/{quote(batch_id, safe='')}?action={action}")

    def look(self, batch_id: str) -> Batch | None:
        """The batch in Catalog; None if Catalog does not show it."""
        return self._served(lambda: self.adobe.batch(self.target, batch_id))

    def listed(self, **query: str) -> dict[str, dict[str, Any]]:
        """The dataset's batches in Catalog, by id. Raises NoAnswerFound: Catalog refuses."""
        found: dict[str, dict[str, Any]] = {}
        while True:
            given = {"dataSet": self.target.dataset_id, **query, "orderBy": "asc:created"}
            given |= {"limit": str(_PAGE), "start": str(len(found))}
            answer = self.call("GET", f"{_CATALOG}?{urlencode(given)}")
            if answer.not_found:
                return found
            page = answer.http.json()
            known = isinstance(page, dict) and all(isinstance(one, dict) for one in page.values())
            if not answer.ok or not known:
                raise NoAnswerFound(f"Catalog does not list batches: {answer}")
            new = page.keys() - found.keys()
            found |= page
            if len(page) < _PAGE or not new:
                return found

    def meta(self, batch_id: str, path: str) -> AdobeAnswer:
        """What Data Access has of a batch: `row_errors`, or a file in it."""
        query = urlencode({"path": path})
        return self.call("GET", f"{_EXPORT}/{quote(batch_id, safe='')}/meta?{query}")

    def until[T](self, look: Callable[[], T | None], seconds: float) -> Steps[T | None]:
        """Look again and again; what was found, or None after `seconds`."""
        began = self.now()
        while True:
            found, passed = look(), self.now() - began
            if found is not None or passed > 1000 * seconds:
                return found
            again = self.now() + max(1000, passed // 20)
            while self.now() < again:
                yield

    def end_of(self, batch_id: str) -> Steps[Batch]:
        """The batch once it has ended. Raises NoAnswerFound: it has not, after an hour."""

        def ended() -> Batch | None:
            batch = self.look(batch_id)
            over = batch is not None and (batch.holds_data or batch.holds_none or batch.reverted)
            return batch if over else None

        found = yield from self.until(ended, _END_SECONDS)
        if found is None:
            batch = self.look(batch_id)
            raise NoAnswerFound(
                f"after an hour its batch is {batch.status if batch else 'nowhere'}"
            )
        return found

    def load(self, question: str, files: Mapping[str, bytes], **members: Any) -> Steps[Loaded]:
        """Make a batch with these files, complete it, and wait for its end."""
        created = self.create(question, **members)
        batch_id = batch_id_of(created) if created.ok else None
        if batch_id is None:
            return Loaded(None, f"no batch was made: {created}")
        for name, data in files.items():
            answer = self.put(batch_id, name, data)
            if not answer.ok:
                return Loaded(None, f"the file was refused: {answer}")
        completed = self.act(batch_id, "COMPLETE")
        if not completed.ok:
            return Loaded(None, f"COMPLETE was refused: {completed}")
        return Loaded((yield from self.end_of(batch_id)))

    def _file(self, batch_id: str, name: str) -> str:
        batch, dataset = quote(batch_id, safe=""), quote(self.target.dataset_id, safe="")
        return f"{_IMPORT}/{batch}/datasets/{dataset}/files/{quote(name, safe='')}"


def all_of[T](
    several: Mapping[str, Steps[T]], wait: Callable[[float], None]
) -> Iterator[tuple[str, T]]:
    """Go through the steps of several at once; each by its name, as soon as it is through."""
    running = dict(several)
    while running:
        for name, steps in list(running.items()):
            try:
                next(steps)
            except StopIteration as through:
                del running[name]
                yield name, through.value
        if running:
            wait(0.5)


def own(raw: Mapping[str, Any]) -> str | None:
    """For which run and question a batch of Catalog's was made; None: the probe did not make it."""
    tags = raw.get("tags")
    tag = tags.get(TAG) if isinstance(tags, dict) else None
    values = tag if isinstance(tag, list) else [tag]  # Adobe shows scalars here and there
    return next((one for one in values if isinstance(one, str)), None)


def batch_id_of(answer: AdobeAnswer) -> str | None:
    """The id of the batch that an answer names; None if it names none."""
    made = answer.http.json()
    found = made.get("id") if isinstance(made, dict) else None
    return found if isinstance(found, str) and found else None
