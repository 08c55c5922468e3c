"""All unfinished work at once, for people: the clock asks for what is due, shard by shard."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import batched

from aep_intake.adapters.dynamodb.claims import DynamoClaims
from aep_intake.adapters.dynamodb.due_work import KINDS, PREFIXES
from aep_intake.adapters.dynamodb.table import KEYS_MAX, REQUESTS, Item, Table
from aep_intake.adapters.dynamodb.waiting_files import DynamoFolders
from aep_intake.clock.due import DueKind
from aep_intake.delivery.delivery import Delivery
from aep_intake.model import records
from aep_intake.model.progress import Record
from aep_intake.model.windows import Window
from aep_intake.report.waits import Work

PAGES_MAX = 2  # of the index, some 7,000 keys each
# Of these, what is looked at: so many folders, and so much of the other kinds, the next to be due.
READ_MAX = 300
LISTS_AT_ONCE = 50  # of a folder, whose files are asked about together
# Requests about the files of all folders. What is not asked about counts as waiting.
ASKED_MAX = 600
_KINDS = list(DueKind)


class DynamoUnfinished:
    """Unfinished work in `table`. Raises LedgerUnavailable.

    Eight requests at most; and for each folder that is looked at, one for each of its pages of
    lists, and one for each hundred of their files, side by side.
    """

    def __init__(self, table: Table, now: Callable[[], int]) -> None:
        self._table = table
        self._folders = DynamoFolders(table, now, retention_ms=0)
        self._claims = DynamoClaims(table, now)

    def all(self) -> tuple[list[Work], bool]:
        """Unfinished work, the next to be due first; and whether it is all of it."""
        items, complete = self._table.scan("due", PAGES_MAX)
        known = [work for item in items if (work := _work(item)) is not None]
        known.sort(key=lambda work: work.due)
        folders = [work for work in known if work.kind is DueKind.FOLDERS][:READ_MAX]
        others = [work for work in known if work.kind is not DueKind.FOLDERS]
        # Windows first: of these there are few, and they wait for longest.
        others = sorted(others, key=lambda work: _KINDS.index(work.kind))[:READ_MAX]
        self._left = ASKED_MAX
        read: dict[Work, Item] = {}
        for some in batched([*folders, *others], KEYS_MAX, strict=False):
            keys = {_place(work): work for work in some}
            for item in self._table.get_many(list(keys), "record", "window", "delivery", "done"):
                read[keys[item["pk"]["S"], item["sk"]["S"]]] = item
        told: dict[Work, Work | None] = {work: _about(work, read.get(work, {})) for work in others}
        with ThreadPoolExecutor(REQUESTS) as pool:
            done = [read.get(work, {}).get("done", {"S": ""})["S"] for work in folders]
            told |= zip(folders, pool.map(self._waits, folders, done), strict=True)
        return [one for work in known if (one := told.get(work, work)) is not None], complete

    def _waits(self, folder: Work, done: str) -> Work | None:
        """A folder until the first of its lists is due of which something waits; None: nothing.

        A folder is due when its next list is, though a marker has taken what is in that.
        """
        lists = self._folders.waiting(folder.id, done, "~", at_once=LISTS_AT_ONCE)
        for some in batched(lists, LISTS_AT_ONCE, strict=False):
            files = [file for each in some for file in each.files]
            self._left -= -(-len(files) // KEYS_MAX)
            taken = self._claims.owners(files) if self._left >= 0 else {}
            for each in some:
                if each.is_marker or any(file not in taken for file in each.files):
                    return replace(folder, due=each.due, route=each.route)
        return None


def _work(item: Item) -> Work | None:
    """What an entry of the index says; None of a kind that a later release has."""
    prefix, _, name = item["pk"]["S"].partition("#")
    paused = item["due_shard"]["S"].startswith("paused#")
    kind = KINDS.get(prefix)
    return None if kind is None else Work(kind, name, int(item["due"]["N"]), paused)


def _place(work: Work) -> tuple[str, str]:
    return f"{PREFIXES[work.kind]}#{work.id}", PREFIXES[work.kind]


def _about(work: Work, item: Item) -> Work:
    subject: Record | Window | Delivery
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
        return work
    return replace(work, route=route, subject=subject)
