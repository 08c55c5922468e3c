"""All unfinished work at once, for people: the clock asks for what is due, shard by shard."""

from itertools import batched

from aep_intake.adapters.dynamodb.due_work import KINDS, PREFIXES
from aep_intake.adapters.dynamodb.table import KEYS_MAX, Item, Table
from aep_intake.clock.due import DueKind
from aep_intake.delivery.delivery import Delivery
from aep_intake.model import records
from aep_intake.model.progress import Record
from aep_intake.model.windows import Window
from aep_intake.report.waits import Work

PAGES_MAX = 2  # of the index, some 7,000 keys each
READ_MAX = 300  # of these, what is looked at: the next to be due of each kind
_KINDS = list(DueKind)


class DynamoUnfinished:
    """Unfinished work in `table`: five requests at most. Raises LedgerUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def all(self) -> tuple[list[Work], bool]:
        """Unfinished work, the next to be due first; and whether it is all of it."""
        items, complete = self._table.scan("due", PAGES_MAX)
        known = [work for item in items if (work := _work(item)) is not None]
        known.sort(key=lambda work: work.due)
        # Windows and folders first: of these there are few, and they wait for longest.
        first = sorted(known, key=lambda work: _KINDS.index(work.kind))[:READ_MAX]
        read: dict[tuple[DueKind, str], Item] = {}
        for some in batched(first, KEYS_MAX, strict=False):
            keys = [(f"{PREFIXES[work.kind]}#{work.id}", PREFIXES[work.kind]) for work in some]
            for item in self._table.get_many(keys, "record", "window", "delivery", "route"):
                prefix, _, name = item["pk"]["S"].partition("#")
                read[KINDS[prefix], name] = item
        return [_about(work, read.get((work.kind, work.id), {})) for work in known], complete


def _work(item: Item) -> Work | None:
    """What an entry of the index says; None of a kind that a later release has."""
    prefix, _, name = item["pk"]["S"].partition("#")
    paused = item["due_shard"]["S"].startswith("paused#")
    kind = KINDS.get(prefix)
    return None if kind is None else Work(kind, name, int(item["due"]["N"]), paused)


def _about(work: Work, item: Item) -> Work:
    subject: Record | Window | Delivery
    route: str | None
    if "record" in item:
        subject = records.read(Record, item["record"]["S"])
        route = subject.order.route
    elif "window" in item:
        subject = records.read(Window, item["window"]["S"])
        route = subject.order.route
    elif "delivery" in item:
        subject = records.read(Delivery, item["delivery"]["S"])
        route = subject.route
    else:
        return Work(work.kind, work.id, work.due, work.paused, item.get("route", {}).get("S"))
    return Work(work.kind, work.id, work.due, work.paused, route, subject)
