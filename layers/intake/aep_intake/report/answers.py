"""What on_request answers to who asks about a batch, an object, or batches by route and day."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from aep_intake.arrivals import batch_requests
from aep_intake.model.files import Arrival
from aep_intake.model.orders import LedgerIdentity
from aep_intake.model.outcomes import caught
from aep_intake.model.progress import Record
from aep_intake.model.times import iso
from aep_intake.model.values import dataclass
from aep_intake.report import listing, status
from aep_intake.report.problems import problem
from aep_intake.report.status import JsonObject
from aep_intake.routing.table import Ignored, RoutingTable

UNKNOWN = "no order has this external id, or this batch"


@dataclass(frozen=True, slots=True)
class StatusAnswers:
    """Answers API Gateway's events, by status and body, which may be a problem.

    Every method raises LedgerUnavailable, or as what it asks.
    """

    ports: status.StatusPorts
    buckets: tuple[str, ...]
    table: Callable[[], RoutingTable]
    identity: Callable[[], LedgerIdentity]
    now: Callable[[], int]  # epoch ms
    listing: Callable[[], listing.ListingPorts] | None  # None: there is no journal to list from

    def order(self, event: Mapping[str, Any]) -> Record | None:
        """The order whose external id, or batch id, is in the path."""
        return status.known(_wanted(event), self.ports.ledger)

    def to(self, event: Mapping[str, Any]) -> tuple[int, JsonObject]:
        """The answer to a GET. Raises MalformedRequest, too."""
        match event["resource"]:
            case "/batches":
                return self._batches(event.get("queryStringParameters") or {})
            case "/objects":
                return self._object(*batch_requests.place(event))
        return self._told(status.of_batch(_wanted(event), self.ports), lambda: UNKNOWN)

    def _batches(self, asked: Mapping[str, str]) -> tuple[int, JsonObject]:
        if self.listing is None:
            detail = "this stack has no journal (parameter JournalDays), so it lists no batches"
            return 404, problem(404, "not-found", detail)
        wanted = listing.read(asked, self.now())
        return 200, listing.batches(wanted, self.now(), self.listing())

    def _object(self, bucket: str, key: str) -> tuple[int, JsonObject]:
        if bucket not in self.buckets:
            detail = f"{bucket} is not a bucket of this stack: see its parameter SourceBucketNames"
            return 404, problem(404, "not-found", detail)
        found = status.of_object(bucket, key, self.ports)
        return self._told(found, lambda: self._why_unknown(bucket, key))

    def _why_unknown(self, bucket: str, key: str) -> str:
        """Why the ledger knows nothing of an object: what no route takes leaves no trace there."""
        found = caught(lambda: self.table().match(Arrival(bucket, key, None, "", None, 1, 0)))
        if not isinstance(found, Ignored):
            return (
                "no event of this object has come, or it came longer ago than the ledger remembers"
            )
        if found.why == "not-data":
            return status.NEVER_DATA
        return f"route `{found.route}` leaves it out"

    def _told(self, found: JsonObject | None, unknown: Callable[[], str]) -> tuple[int, JsonObject]:
        restored = self._restored()
        if found is None:
            forgotten = (
                f"; or the ledger, which was restored ({restored}), has forgotten it: send the "
                "events of that time again, and the intake finds their batches in AEP"
            )
            detail = unknown() + (forgotten if restored else "")
            return 404, problem(404, "not-found", detail)
        return 200, found | ({"ledgerRestoredAt": restored} if restored else {})

    def _restored(self) -> str | None:
        """When somebody restored the ledger, as long as it may lack what people ask for."""
        identity = self.identity()
        return iso(identity.restored_at) if self.now() < identity.look_first_until else None


def _wanted(event: Mapping[str, Any]) -> str:
    """The id in the path; a caller's may have slashes, which API Gateway leaves encoded."""
    return unquote((event.get("pathParameters") or {}).get("id") or "")
