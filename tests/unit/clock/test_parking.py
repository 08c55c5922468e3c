"""What is parked has an item of the ledger, which is there before the message is."""

import pytest
from aep_intake.clock.parking import ARRIVALS, About, Parked, Parking
from aep_intake.model.errors import StorageUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.progress import Rejection

from tests.builders import order
from tests.memory_ledger import MemoryParked

FILE = Arrival("landing", "in/a.csv", "v1", "e1", "0061", 10, 0)
WHY = Rejection("batch-failed", "batch 01A is failed (X-1)", 1_790_000_000_000, error_code="X-1")


class Queue:
    """A dead-letter queue. `down`: SQS takes nothing."""

    def __init__(self, items: MemoryParked) -> None:
        self.items = items
        self.down = False
        self.sent: list[tuple[str, Parked]] = []

    def __call__(self, url: str, parked: Parked, *, has_item: bool) -> None:
        assert has_item
        assert parked.id in self.items.items, "whoever reads the message would delete it"
        if self.down:
            raise StorageUnavailable("SQS did not take it")
        self.sent.append((url, parked))


def test_the_item_comes_first_and_says_what_and_why() -> None:
    items = MemoryParked()
    queue = Queue(items)
    parking = Parking(items, queue)
    parking.order("dead", order(FILE, FILE, route="crm"), WHY)
    [(url, parked)] = queue.sent
    assert (url, parked.queue, parked.external_id) == ("dead", "arrivals", FILE.external_id)
    assert (parked.route, parked.uri, parked.files) == ("crm", "s3://landing/in/a.csv", 2)
    assert parked.why == WHY
    queue.down = True
    with pytest.raises(StorageUnavailable):
        parking.file("dead", FILE, "crm", WHY)
    assert len(items.items) == 2, "nobody forgets it, though the queue did not take it"
    queue.down = False
    parking.file("dead", FILE, "crm", WHY)
    assert len(items.items) == 2, "it is the same one"


def test_nobody_ends_what_was_parked_after_they_began() -> None:
    items = MemoryParked()
    parking = Parking(items, Queue(items))
    place, about = (ARRIVALS, "file", FILE.external_id), About(FILE.external_id, "crm", (FILE,))

    def fails_again() -> str:
        parking.message("dead", place, "{}", about, WHY)
        return "slow"

    parking.message("dead", place, "{}", about, WHY)
    assert parking.end_parked_after(fails_again, place) == "slow"
    assert len(items.items) == 1
    assert parking.end_parked_after(lambda: "done", place, (ARRIVALS, "order", "none")) == "done"
    assert items.items == {}
