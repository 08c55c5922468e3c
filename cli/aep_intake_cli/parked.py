"""What is parked: items of the ledger, and messages that have none yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import batched, chain
from typing import TYPE_CHECKING, Any

from aep_intake.adapters.dynamodb.identity import DynamoIdentity
from aep_intake.adapters.dynamodb.parked import DISCARDED, PARKED, SHARDS, DynamoParked
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals import envelopes
from aep_intake.clock.parking import ARRIVALS, Parked
from aep_intake.model.errors import MalformedEvent
from aep_intake.model.messages import AS_USUAL, Wish, of_order
from aep_intake.model.times import DAY_MS, iso
from aep_intake.report.meanings import SUM, meaning_of, named_in
from aep_intake.report.reasons import REASONS
from rich.table import Column
from rich.table import Table as Rows
from rich.text import Text

from aep_intake_cli import standing
from aep_intake_cli.clock import now
from aep_intake_cli.dead_letters import QUEUES, DeadLetters, Letter
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.output import end_of, visible

if TYPE_CHECKING:
    from aep_intake.adapters.dynamodb.ledger import DynamoLedger
    from aep_intake.arrivals.envelopes import Received
    from aep_intake.model.files import Arrival
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

    from aep_intake_cli.choice import Choice
    from aep_intake_cli.options import Access
    from aep_intake_cli.stack import Stack

# SQS limits the sum of a batch's bodies; smaller batches always fit.
BATCH_BYTES = 200_000
TODO = "what to do"
BODY_OF_NOBODY = 60_000  # characters, of six bytes each at most


@dataclass(frozen=True)
class AllParked:
    """All that is parked in a stack. `queues`: URLs of a dead-letter queue and of its own, by name.

    `files`: those that something parked is about, as far as the ledger knows. `restored_at`: when
    the ledger was restored last (epoch ms), which may have forgotten items of messages that were
    parked before. Raises LedgerUnavailable, StorageUnavailable and botocore's errors.
    """

    sqs: SQSClient
    items: DynamoParked
    queues: Mapping[str, tuple[str, str]]
    files: Callable[[Parked], Iterable[Arrival]]
    restored_at: int = 0

    @classmethod
    def of(cls, access: Access, queue: str | None) -> AllParked:
        """That of a stack, or of one of its queues. Raises CommandFailed."""
        stack = access.stack()
        there = [name for name in QUEUES if name == ARRIVALS or stack.delivers]
        urls = {name: _urls(stack, name) for name in ([queue] if queue else there)}
        table = Table(access.session.client("dynamodb"), stack.output("LedgerTable"))
        known = DynamoIdentity(table, "", now).read()
        restored_at = 0 if known is None else known.restored_at
        files = partial(files_of, ledger=standing.opened(stack, access.session))
        return cls(access.session.client("sqs"), DynamoParked(table), urls, files, restored_at)

    def _all(self, kind: str = PARKED) -> list[tuple[Parked, str]]:
        with ThreadPoolExecutor(SHARDS) as pool:
            found = self.items.listed(pool.map, kind)
        return [one for one in found if one[0].queue in self.queues]

    def listed(self, choice: Choice, kind: str = PARKED) -> list[tuple[Parked, str]]:
        """What is chosen of those with an item, each with its token; the oldest first."""
        at = now()
        return [one for one in self._all(kind) if choice.fits(one[0], at, self.files)]

    def chosen(self, choice: Choice) -> Generator[Parked]:
        """All that is chosen. Nothing is changed."""
        at, known = now(), set()
        for parked, _ in self._all():
            known.add(parked.id)
            if choice.fits(parked, at, self.files):
                yield parked
        for queue, (url, _) in self.queues.items():
            with closing(DeadLetters(self.sqs, queue, url)) as dead:
                for letter in chain.from_iterable(dead.read()):
                    parked = letter.parked
                    if self._needs_item(letter) and parked.id not in known:
                        known.add(parked.id)
                        if choice.fits(parked, at, self.files):
                            yield parked

    def discard(
        self, choice: Choice, mark: Callable[[Parked], None], kept_until: int
    ) -> Generator[Parked]:
        """`mark` what is chosen, end its items, and delete its messages.

        `kept_until`: how long (epoch ms) it can be parked again.
        """
        with self._messages_with_items():
            for parked, token in self.listed(choice):
                mark(parked)
                self.items.discard(parked, token, kept_until)
                yield parked

    def undo_discard(
        self, choice: Choice, mark: Callable[[Parked], None], *, dry_run: bool
    ) -> Generator[Parked]:
        """Park again what is chosen of what was discarded; `mark` takes back its mark."""
        for parked, _ in self.listed(choice, DISCARDED):
            if not dry_run:
                mark(parked)
                self.items.undo_discard(parked)
            yield parked

    def redrive(self, choice: Choice, wish: Wish) -> Generator[tuple[Parked, bool]]:
        """Send what is chosen back to its queue; whether SQS took it.

        A message is sent before its item ends. If that is parked anew meanwhile, it stays.
        """
        with self._messages_with_items() as whole:
            listed = self.listed(choice)
            for queue, (_, own) in self.queues.items():
                ours = [one for one in listed if one[0].queue == queue]
                for some in batched(ours, 10, strict=False):
                    bodies = [replace(p, body=whole.get(p.id, p.body)) for p, _ in some]
                    sent = self._send(own, bodies, wish)
                    for n in sent:
                        parked, token = some[n]
                        self.items.end(parked.id, token)
                    yield from ((parked, n in sent) for n, (parked, _) in enumerate(some))

    @contextmanager
    def _messages_with_items(self) -> Iterator[dict[str, str]]:
        """While it lasts, each message has an item, or had one; then those without are deleted.

        Gives the bodies, by item, of messages that are larger than an item.
        """
        whole: dict[str, str] = {}
        discarded = {parked.id: parked.why.at for parked, _ in self._all(DISCARDED)}
        with ExitStack() as stack:
            read: list[tuple[DeadLetters, dict[str, str]]] = []
            for queue, (url, _) in self.queues.items():
                dead = stack.enter_context(closing(DeadLetters(self.sqs, queue, url)))
                items: dict[str, str] = {}
                for letter in chain.from_iterable(dead.read()):
                    parked = letter.parked
                    items[letter.message_id] = parked.id
                    if len(parked.body) > BODY_OF_NOBODY and not letter.has_item:
                        whole[parked.id] = parked.body
                    # One that was discarded before it could be deleted stays discarded.
                    ended = discarded.get(parked.id, -1) >= parked.why.at
                    if self._needs_item(letter) and not ended and not self._has_item(parked):
                        self._put(parked)
                read.append((dead, items))
            try:
                yield whole
            finally:
                # A message is sent after its item was written: what is not there has ended.
                there = {parked.id for parked, _ in self._all()}
                for dead, items in read:
                    dead.delete([name for name, item in items.items() if item not in there])

    def _needs_item(self, letter: Letter) -> bool:
        """Whether a message is without an item, or the ledger was put back to before it."""
        return not letter.has_item or (
            letter.parked.why.at < self.restored_at and not self._has_item(letter.parked)
        )

    def _has_item(self, parked: Parked) -> bool:
        return self.items.token(parked.id) is not None

    def _put(self, parked: Parked) -> None:
        # What is larger than an item is no event of anybody's: a part of it shows what it is.
        if not self.items.put(parked):
            self.items.put(replace(parked, body=parked.body[:BODY_OF_NOBODY]))

    def _send(self, url: str, several: Sequence[Parked], wish: Wish) -> set[int]:
        """Send up to ten messages to a queue; the places of those that SQS took."""
        size = sum(len(parked.body.encode()) for parked in several)
        if size >= BATCH_BYTES and len(several) > 1:
            alone = [self._send(url, [parked], wish) for parked in several]
            return {n for n, sent in enumerate(alone) if sent}
        if not several:
            return set()
        answer = self.sqs.send_message_batch(
            QueueUrl=url,
            Entries=[
                {
                    "Id": str(n),
                    "MessageBody": body_of(parked, wish),
                    "MessageAttributes": _attributes(wish),
                }
                for n, parked in enumerate(several)
            ],
        )
        return {int(entry["Id"]) for entry in answer.get("Successful", ())}


def ledger_of(access: Access) -> tuple[DynamoLedger, Callable[[str], bool], int]:
    """The ledger; whether the batch of an order ended without data; until when it remembers now."""
    stack, session = access.stack(), access.session
    deliveries = standing.status_ports(stack, session).deliveries

    def without_data(external_id: str) -> bool:
        delivery = deliveries.get(external_id)
        verdict = None if delivery is None else delivery.verdict
        return verdict is not None and verdict.end != "succeeded"

    until = now() + int(stack.parameters["RetentionDays"]) * DAY_MS
    return standing.opened(stack, session), without_data, until


def files_of(parked: Parked, ledger: DynamoLedger) -> Iterator[Arrival]:
    """The files that something parked is about. Raises LedgerUnavailable or StorageUnavailable."""
    order: str | None = parked.external_id
    if parked.queue == ARRIVALS:
        try:
            content = envelopes.parse(parked.body)
        except MalformedEvent:
            return
        order = content.order
        yield from files_in(content, ledger)
    if order is not None and (record := ledger.get(order)) is not None:
        yield from ledger.files(record.order)


def files_in(content: Received, ledger: DynamoLedger) -> Iterator[Arrival]:
    """The files of a message that are in no order. Raises LedgerUnavailable."""
    yield from content.arrivals
    if (overdue := content.overdue) is not None:
        for group in ledger.folders.waiting(overdue.folder_id, overdue.after, overdue.until):
            yield from group.files


def _urls(stack: Stack, queue: str) -> tuple[str, str]:
    dead_letters, own = QUEUES[queue]
    if queue != ARRIVALS and not stack.delivers and dead_letters not in stack.outputs:
        raise CommandFailed(
            f"stack {stack.name} has no queue of {queue}: another application delivers its batches"
        )
    return stack.output(dead_letters), stack.output(own)


def body_of(parked: Parked, wish: Wish) -> str:
    """The body of a message, which stays as it is but for an order that is told more."""
    if wish == AS_USUAL or parked.queue != ARRIVALS:
        return parked.body
    try:
        order = envelopes.parse(parked.body).order
    except MalformedEvent:
        return parked.body
    return parked.body if order is None else of_order(order, wish)


def _attributes(wish: Wish) -> dict[str, MessageAttributeValueTypeDef]:
    """By which on_arrival knows that a newer version of a file may have overtaken it."""
    if wish.even_if_overtaken:
        return {}
    return {"redriven": {"DataType": "Number", "StringValue": "1"}}


def cause(parked: Parked) -> tuple[str | None, str]:
    """Adobe's first error that says what is wrong, if there is one, and what to do."""
    why = parked.why
    if why.error_code in (None, SUM):  # None: a release before did not say it by itself
        for code, meaning in named_in(why.detail):
            return code, meaning.hint
    known = None if why.error_code is None else meaning_of(why.error_code, why.detail)
    if known is not None:
        return why.error_code, known.hint
    reason = REASONS.get(why.reason)
    return why.error_code, reason.todo if reason else ""


def age(parked: Parked) -> str:
    """How long it has been parked: `3 d 4 h`, `12 m`."""
    minutes = max(0, now() - parked.why.at) // 60_000
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} m" if hours else f"{minutes} m"


def name_of(parked: Parked) -> str:
    """Its first file, and how many more there are; or its order."""
    if parked.uri is None:
        return parked.external_id
    return visible(parked.uri) + (f" +{parked.files - 1:,}" if parked.files > 1 else "")


def table(several: Sequence[Parked], width: int) -> Rows:
    """A line for each, in so many columns: of a long key the end is shown.

    What to do is in it if there is room for all of it, else see `advice`.
    """
    heads = ["file or order", "route", "reason", "error", "age"]
    lines = []
    for parked in several:
        code, _ = cause(parked)
        lines.append(
            [name_of(parked), parked.route or "-", parked.why.reason, code or "", age(parked)]
        )
    error = heads.index("error")
    if not any(line[error] for line in lines):
        for line in (heads, *lines):
            del line[error]
    others = sum(max(map(len, column)) for column in list(zip(heads, *lines, strict=True))[1:])
    room = max(12, width - others - 3 * len(heads) - 1)
    told = [cause(parked)[1] for parked in several]
    rows = Rows(*(Column(head, no_wrap=True) for head in heads))
    longest = max(len(line[0]) for line in (heads, *lines))
    if room - longest - 3 >= max(map(len, told)):
        rows.add_column(TODO, no_wrap=True)
    for line, todo in zip(lines, told, strict=True):
        line[0] = end_of(line[0], min(room, longest))
        rows.add_row(*map(Text, [*line, todo][: len(rows.columns)]))
    return rows


def advice(several: Iterable[Parked]) -> Rows:
    """What to do about each error, or each reason where Adobe named none: once, and in full."""
    rows = Rows.grid(padding=(0, 2))
    causes = ((one.why.reason, *cause(one)) for one in several)
    for name, todo in {code or reason: todo for reason, code, todo in causes}.items():
        rows.add_row(Text(name), Text(todo))
    return rows


def summary(several: Iterable[Parked], head: str) -> Rows:
    """How many of each route and reason; `head` is that of their column."""
    rows = Rows("route", "reason", Column(head, justify="right"))
    counted = Counter((parked.route or "-", parked.why.reason) for parked in several)
    for (route, reason), number in sorted(counted.items()):
        rows.add_row(Text(route), Text(reason), f"{number:,}")
    return rows


def details(parked: Parked) -> Rows:
    """All about one, a line for each member."""
    rows = Rows(show_header=False, box=None)
    for name, value in to_json(parked).items():
        if value not in (None, ""):
            rows.add_row(name, Text(visible(str(value))))
    return rows


def to_json(parked: Parked) -> dict[str, Any]:
    """For programs."""
    code, todo = cause(parked)
    return {
        "externalId": parked.external_id,
        "route": parked.route,
        "uri": parked.uri,
        "fileCount": parked.files,
        "reason": parked.why.reason,
        "detail": parked.why.detail,
        "errorCode": code,
        "hint": todo,
        "parkedAt": iso(parked.why.at),
        "queue": parked.queue,
    }
