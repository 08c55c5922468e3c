"""What the ledger knows of objects: claims of their versions, and notes; see `ledger` for keys."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from aep_intake.adapters.dynamodb.items import aside, aside_in, file_of, owned_by
from aep_intake.adapters.dynamodb.table import (
    ABSENT,
    ConditionFailed,
    Item,
    Table,
    deleting,
    expiry,
    putting,
)
from aep_intake.model import records
from aep_intake.model.files import Arrival, digest
from aep_intake.model.history import (
    DISCARDED,
    NOBODY,
    RETRYING,
    SUPERSEDED,
    WAITING,
    CountedVersion,
    Seen,
)
from aep_intake.model.orders import Claim, claims
from aep_intake.model.progress import Rejection
from aep_intake.model.times import DAY_MS

# How long a folder is known by its newest marker: much longer than its files.
MARKED_MS = 400 * DAY_MS


class DynamoObjects:
    """The versions of objects in `table`. `retention_ms`: how long notes and claims are stored.

    Every method raises LedgerUnavailable if DynamoDB does not answer, throttles or reports a
    conflict of transactions; whether a write then happened is not known.
    """

    def __init__(self, table: Table, now: Callable[[], int], retention_ms: int) -> None:
        self._table = table
        self._now = now
        self._retention_ms = retention_ms

    def claimant(self, arrival: Arrival) -> str | None:
        """The id of the order or window that claims this arrival."""
        now = self._now() // 1000
        slots = {
            item["sk"]["S"]: item
            for item in self._of_object(arrival.object_id)
            if int(item["expires"]["N"]) >= now
        }
        for claim in claims(replace(arrival, copy_of=None)):
            item = slots.get(claim.slot)
            if item is not None and (claim.exclusive or "requested" in item):
                return str(item["external_id"]["S"])
        return None

    def claimants(self, files: Sequence[Arrival]) -> dict[Arrival, str]:
        """The order or window that claims each of many files, if one does."""
        # Seldom needed: of what is older than the ledger remembers, or waits too long.
        from aep_intake.adapters.dynamodb.claims import DynamoClaims  # noqa: PLC0415

        return DynamoClaims(self._table, self._now).owners(files, consistent=True)

    def seen(self, object_id: str) -> list[Seen]:
        """All that the ledger knows of an object, except traces (a consistent read)."""
        return _seen(self._of_object(object_id))

    def counted_versions(self, object_id: str) -> list[CountedVersion]:
        """The versions of an object that are claimed, and count in their batch (one query)."""
        return self._counted(list(self._of_object(object_id)))

    def seen_and_counted(self, object_id: str) -> tuple[list[Seen], list[CountedVersion]]:
        """Both, from one consistent read."""
        items = list(self._of_object(object_id))
        return _seen(items), self._counted(items)

    def _counted(self, items: list[Item]) -> list[CountedVersion]:
        # A marker's list has no sequencers, but what waited for the marker has.
        known: dict[str, Item] = {}
        for item in items:
            known[item["version"]["S"]] = known.get(item["version"]["S"], {}) | item
        now = self._now() // 1000
        claimed = {
            item["version"]["S"]: item
            for item in items
            if int(item["expires"]["N"]) >= now
            and (
                item["sk"]["S"].startswith("claim#")
                or (item["sk"]["S"].startswith("content#") and "requested" in item)
            )
        }
        held = []
        for version, item in claimed.items():
            in_batch = (item["same_as"] if "same_as" in item else item["version"])["S"]
            owner = item["external_id"]
            # A version that its batch lost has no claim, and then a copy of it says nothing.
            stands = in_batch in claimed and claimed[in_batch]["external_id"] == owner
            if stands and "superseded_by" not in item:
                held.append(CountedVersion(file_of(known[version]), owner["S"], in_batch))
        return held

    def reject(self, arrival: Arrival, rejection: Rejection, owner: str | None = None) -> None:
        """Record that an arrival was rejected before it had an order. Claims nothing."""
        self._table.put(self._rejection(arrival, rejection, owner or arrival.external_id))

    def note(self, arrival: Arrival, what: str, route: str) -> None:
        """Record the fate of an arrival that gets no order of its own. Claims nothing."""
        self._table.put(self._noted(arrival, what, route) | aside(arrival.object_id, self._now()))

    def note_waiting(self, arrival: Arrival, route: str, waits_for: str, until: int) -> None:
        """Note that an arrival waits until then (epoch ms), unless it has a note already."""
        wait: Item = {"waits_for": {"S": waits_for}, "until": {"N": str(until)}}
        with suppress(ConditionFailed):
            self._table.put(self._noted(arrival, WAITING, route) | wait, ABSENT)

    def note_retrying(self, arrival: Arrival, why: str, until: int) -> None:
        """Note why an arrival could not be taken in yet; it is tried until then (epoch ms)."""
        said: Item = {
            "noted": {"S": RETRYING},
            "trouble": {"S": why},
            "until": {"N": str(until)},
            "expires": expiry(until + DAY_MS),
        } | aside_in(RETRYING, arrival.object_id)
        self._table.put(_object_item(arrival, f"retried#{digest(arrival.version)}") | said)

    def note_superseded(self, arrival: Arrival, by: str, route: str) -> None:
        """Record that another version of its object supersedes it. Claims nothing."""
        said = {"superseded_by": {"S": by}} | aside(arrival.object_id, self._now())
        self._table.put(self._noted(arrival, SUPERSEDED, route) | said)

    def note_marker_time(self, folder: str, time: int) -> None:
        """Note when the newest marker of a folder came (epoch ms), once it was worked on."""
        item: Item = {
            "pk": {"S": f"marked#{folder}"},
            "sk": {"S": "marked"},
            "time": {"N": str(time)},
            "expires": expiry(self._now() + MARKED_MS),
        }
        newer = {
            "ConditionExpression": "attribute_not_exists(pk) OR #time < :time",
            "ExpressionAttributeNames": {"#time": "time"},
            "ExpressionAttributeValues": {":time": {"N": str(time)}},
        }
        with suppress(ConditionFailed):
            self._table.put(item, newer)

    def newest_marker_time(self, folder: str) -> int:
        """When the newest marker of a folder came (epoch ms; a consistent read); 0: unknown."""
        item = self._table.get(f"marked#{folder}", "marked")
        return 0 if item is None else int(item["time"]["N"])

    def claim_copy(self, copy: Arrival, held: CountedVersion) -> bool:
        """Claim a copy for the owner of the version that it is a copy of; False if it is claimed.

        It joins no batch.
        """
        said = {"same_as": {"S": held.in_batch}} | aside(copy.object_id, self._now())
        return self._claim(claims(copy)[0], held.owner, said)

    def discard(self, arrival: Arrival, said: str, at: int) -> bool:
        """Claim a version for nobody, so that none takes it; False if an order or window has it.

        `said`: by whom, and why; `at`: when (epoch ms).
        """
        version, *content = claims(replace(arrival, copy_of=None))
        # Without version ids, a listing shows the bytes alone: these first, if nobody has them.
        for claim in (*(replace(each, exclusive=True) for each in content), version):
            about = {DISCARDED: {"S": said}, "time": {"N": str(at)}} if claim is version else {}
            if not self._claim(claim, NOBODY, about) and claim is version:
                return self.claimant(arrival) == NOBODY
        return True

    def undo_discard(self, arrival: Arrival) -> None:
        """Nobody claims it any more; nothing is done if it is not discarded."""
        for claim in claims(replace(arrival, copy_of=None)):
            with suppress(ConditionFailed):
                place = f"object#{claim.object_id}", claim.slot
                self._table.transact(deleting(*place, owned_by(NOBODY)))

    def _claim(self, claim: Claim, owner: str, said: Item) -> bool:
        """Put one claim, with what is `said` of it; False if it is taken."""
        step = self._claiming(claim, owner)["Put"]
        condition = {name: step[name] for name in step.keys() - {"Item"}}
        with suppress(ConditionFailed):
            self._table.put(step["Item"] | said, condition)
            return True
        return False

    def _claiming(self, claim: Claim, owner: str) -> dict[str, Item]:
        """The step of a transaction that claims for an owner."""
        item = _object_item(claim.file, claim.slot) | {
            "external_id": {"S": owner},
            "expires": expiry(self._now() + self._retention_ms),
        }
        if claim.file.sequencer is None:
            item["requested"] = {"BOOL": True}
        values: Item = {":now": expiry(self._now())}
        # DynamoDB deletes what has expired within days, not at once.
        free = "attribute_not_exists(pk) OR expires < :now"
        if not claim.exclusive:
            free += " OR attribute_not_exists(requested)"
        if claim.same_as is not None:  # a refused copy has let go its own claim alone
            item["same_as"] = values[":copy"] = {"S": claim.same_as}
            values[":owner"] = {"S": owner}
            free += " OR (external_id = :owner AND same_as = :copy)"
        condition = {"ConditionExpression": free, "ExpressionAttributeValues": values}
        return putting(item, condition)

    @staticmethod
    def _noted_at(arrival: Arrival) -> tuple[str, str]:
        return f"object#{arrival.object_id}", f"noted#{digest(arrival.version)}"

    def _noted(self, arrival: Arrival, what: str, route: str) -> Item:
        return _object_item(arrival, self._noted_at(arrival)[1]) | {
            "noted": {"S": what},
            "route": {"S": route},
            "file": {"S": records.text(arrival)},
            "expires": expiry(self._now() + self._retention_ms),
        }

    def _of_object(self, object_id: str) -> Iterator[Item]:
        key = {"pk": {"S": f"object#{object_id}"}}
        return self._table.query("pk = :pk", key, ConsistentRead=True)

    def _rejection(self, arrival: Arrival, rejection: Rejection, owner: str) -> Item:
        return _object_item(arrival, f"rejected#{digest(arrival.version)}") | {
            "external_id": {"S": owner},
            "record": {"S": records.text(rejection)},
            "expires": expiry(self._now() + self._retention_ms),
        }


def _seen(items: Iterable[Item]) -> list[Seen]:
    return [
        Seen(
            item["version"]["S"],
            item["external_id"]["S"] if "external_id" in item else None,
            records.read(Rejection, item["record"]["S"]) if "record" in item else None,
            item["noted"]["S"] if "noted" in item else None,
            item["route"]["S"] if "route" in item else None,
            int(item["expires"]["N"]),
            item["superseded_by"]["S"] if "superseded_by" in item else None,
            item["same_as"]["S"] if "same_as" in item else None,
            records.read(Arrival, item["file"]["S"]) if "file" in item else None,
            int(item["time"]["N"]) if "time" in item else None,
            "lost" in item,
            item["waits_for"]["S"] if "waits_for" in item else None,
            int(item["until"]["N"]) if "until" in item else None,
            item[DISCARDED]["S"] if DISCARDED in item else None,
            item["trouble"]["S"] if "trouble" in item else None,
        )
        for item in items
        if "requested" in item or not item["sk"]["S"].startswith("content#")
    ]


def _object_item(file: Arrival, slot: str) -> Item:
    return {
        "pk": {"S": f"object#{file.object_id}"},
        "sk": {"S": slot},
        "uri": {"S": file.uri},
        "version": {"S": file.version},
        "etag": {"S": file.etag},
        "time": {"N": str(file.time)},
        **({"sequencer": {"S": file.sequencer}} if file.sequencer else {}),
    }
