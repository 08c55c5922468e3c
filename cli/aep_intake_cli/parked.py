"""What is parked: items of the ledger, and messages that have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import batched
from typing import TYPE_CHECKING, Any

from aep_intake.adapters.dynamodb.identity import DynamoIdentity
from aep_intake.adapters.dynamodb.parked import DISCARDED, SHARDS, DynamoParked
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals import envelopes
from aep_intake.clock.parking import ARRIVALS, Parked
from aep_intake.model.errors import MalformedEvent
from aep_intake.model.files import digest
from aep_intake.model.messages import AS_USUAL, Wish, of_order
from aep_intake.model.times import DAY_MS, iso
from aep_intake.report.meanings import meaning_of, named_in
from aep_intake.report.reasons import REASONS
from rich.table import Column
from rich.table import Table as Rows
from rich.text import Text

from aep_intake_cli.clock import now
from aep_intake_cli.dead_letters import QUEUES, DeadLetters, Letter
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.output import visible

if TYPE_CHECKING:
    from aep_intake.adapters.dynamodb.ledger import DynamoLedger
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

    from aep_intake_cli.choice import Choice
    from aep_intake_cli.options import Access
    from aep_intake_cli.stack import Stack

# SQS limits the sum of a batch's bodies; smaller batches always fit.
BATCH_BYTES = 200_000


@dataclass(frozen=True)
class AllParked:
    """All that is parked in a stack. `queues`: URLs of a dead-letter queue and of its own, by name.

    `restored_at`: when the ledger was restored last (epoch ms), which may have forgotten items of
    messages that were parked before. Raises LedgerUnavailable and botocore's errors.
    """

    sqs: SQSClient
    items: DynamoParked
    queues: Mapping[str, tuple[str, str]]
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
        return cls(access.session.client("sqs"), DynamoParked(table), urls, restored_at)

    def listed(self, choice: Choice) -> list[tuple[Parked, str]]:
        """What is chosen of those with an item, each with its token; the oldest first."""
        at = now()
        with ThreadPoolExecutor(SHARDS) as pool:
            found = self.items.listed(pool.map)
        return [one for one in found if one[0].queue in self.queues and choice.fits(one[0], at)]

    def messages_alone(self, choice: Choice) -> Generator[Parked]:
        """What is chosen of those without an item. Nothing is changed."""
        for queue in self.queues:
            with closing(self._sweep(queue, choice, None, lambda _: ())) as letters:
                yield from (letter.parked for letter, _ in letters)

    def chosen(self, choice: Choice) -> Generator[Parked]:
        """All that is chosen. Nothing is changed."""
        yield from (parked for parked, _ in self.listed(choice))
        yield from self.messages_alone(choice)

    def discard(
        self, choice: Choice, mark: Callable[[Parked], None], kept_until: int
    ) -> Generator[Parked]:
        """`mark` what is chosen, end its items, and delete its messages.

        `kept_until`: how long (epoch ms) it can be parked again.
        """
        for parked, token in self.listed(choice):
            mark(parked)
            self.items.discard(parked, token, kept_until)
            yield parked
        for queue in self.queues:

            def drop(letters: Sequence[Letter]) -> Sequence[Letter]:
                for letter in letters:
                    mark(letter.parked)
                    self._keep(letter.parked, kept_until)
                return letters

            with closing(self._sweep(queue, choice, self._there(), drop)) as letters:
                yield from (letter.parked for letter, _ in letters)

    def _keep(self, parked: Parked, until: int) -> None:
        """Keep a message that had no item among what is discarded."""
        parked = replace(parked, id=digest(parked.queue, "message", parked.body))
        if self.items.put(parked):
            self.items.discard(parked, self.items.token(parked.id) or "", until)

    def undo_discard(
        self, choice: Choice, mark: Callable[[Parked], None], *, dry_run: bool
    ) -> Generator[Parked]:
        """Park again what is chosen of what was discarded; `mark` takes back its mark."""
        at = now()
        with ThreadPoolExecutor(SHARDS) as pool:
            found = self.items.listed(pool.map, DISCARDED)
        for parked, _ in found:
            if parked.queue in self.queues and choice.fits(parked, at):
                if not dry_run:
                    mark(parked)
                    self.items.undo_discard(parked)
                yield parked

    def redrive(self, choice: Choice, wish: Wish) -> Generator[tuple[Parked, bool]]:
        """Send what is chosen back to its queue; whether SQS took it.

        A message is sent before its item ends. If that is parked anew meanwhile, it stays.
        """
        listed = self.listed(choice)
        for queue, (_, own) in self.queues.items():
            ours = [one for one in listed if one[0].queue == queue]
            for some in batched(ours, 10, strict=False):
                sent = self._send(own, [parked for parked, _ in some], wish)
                for n, (parked, token) in enumerate(some):
                    if n in sent:
                        self.items.end(parked.id, token)
                    yield parked, n in sent
        for queue, (_, own) in self.queues.items():

            def send(letters: Sequence[Letter], own: str = own) -> Iterable[Letter]:
                sent = self._send(own, [letter.parked for letter in letters], wish)
                return [letters[n] for n in sent]

            with closing(self._sweep(queue, choice, self._there(), send)) as letters:
                yield from ((letter.parked, done) for letter, done in letters)

    def _there(self) -> frozenset[str]:
        """Ids of the items that there are."""
        with ThreadPoolExecutor(SHARDS) as pool:
            return frozenset(parked.id for parked, _ in self.items.listed(pool.map))

    def _sweep(
        self,
        queue: str,
        choice: Choice,
        there: frozenset[str] | None,
        act: Callable[[Sequence[Letter]], Iterable[Letter]],
    ) -> Generator[tuple[Letter, bool]]:
        """The chosen messages without an item; `act` says which of some are done with.

        These are deleted, and those whose item has ended. `there`: items that surely have not.
        None: nothing is deleted.
        """
        at = now()
        with closing(DeadLetters(self.sqs, queue, self.queues[queue][0])) as dead:
            for letters in dead.read():
                alone = [each for each in letters if each.item is None]
                ended = [each for each in letters if self._ended(each, there)]
                # The item of these did not end, perhaps: the ledger was put back to before it.
                alone += [each for each in ended if each.parked.why.at < self.restored_at]
                chosen = [each for each in alone if choice.fits(each.parked, at)]
                done = list(act(chosen))
                if there is not None:
                    dead.delete([*done, *(each for each in ended if each not in alone)])
                yield from ((letter, letter in done) for letter in chosen)

    def _ended(self, letter: Letter, there: frozenset[str] | None) -> bool:
        """Whether a message has no item any more: that was written before it."""
        item = letter.item
        if item is None or item in (there or ()):
            return False
        return (there is not None or self.restored_at > 0) and self.items.token(item) is None

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
    from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries
    from aep_intake.adapters.dynamodb.ledger import DynamoLedger

    stack, client = access.stack(), access.session.client("dynamodb")
    table, retention = stack.output("LedgerTable"), int(stack.parameters["RetentionDays"]) * DAY_MS
    deliveries = DynamoDeliveries(Table(client, table), now, retention=retention)

    def without_data(external_id: str) -> bool:
        delivery = deliveries.get(external_id)
        verdict = None if delivery is None else delivery.verdict
        return verdict is not None and verdict.end != "succeeded"

    return DynamoLedger(client, table, now, retention), without_data, now() + retention


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
    """Adobe's first error, if there is one, and what to do."""
    why = parked.why
    if why.error_code is None:  # a release before did not say it by itself
        for code, meaning in named_in(why.detail):
            return code, meaning.hint
    elif (known := meaning_of(why.error_code, why.detail)) is not None:
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


def end_of(text: str, room: int) -> str:
    """As much of its end as there is room for."""
    return text if len(text) <= room else "…" + text[1 - room :]


def table(several: Sequence[Parked], width: int) -> Rows:
    """A line for each, in so many columns: of a long key the end is shown."""
    heads = ["file or order", "route", "reason", "error", "age"]
    lines = []
    for parked in several:
        code, _ = cause(parked)
        lines.append(
            [name_of(parked), parked.route or "-", parked.why.reason, code or "", age(parked)]
        )
    others = sum(max(map(len, column)) for column in list(zip(heads, *lines, strict=True))[1:])
    room = max(12, width - others - 3 * len(heads) - 1)
    told = [cause(parked)[1] for parked in several]
    rows = Rows(*(Column(head, no_wrap=True) for head in heads))
    # What to do has its place where a key of ordinary length has, too.
    longest = min(room - 45 if room > 80 else room, max(len(line[0]) for line in lines))
    if room - longest > 40:
        rows.add_column("what to do", no_wrap=True, max_width=room - longest - 3)
    for line, todo in zip(lines, told, strict=True):
        line[0] = end_of(line[0], longest)
        rows.add_row(*map(Text, [*line, todo][: len(rows.columns)]))
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
        "hasItem": bool(parked.id),
    }
