"""Parks work: an item of the ledger first, and then a message in the dead-letter queue.

The item says what and why, and has the message. Queues forget after 14 days; items end in three
ways only:

    success    what asked for it once more got in: whoever worked on that ends it
    redrive    the message was sent again; if that fails it is parked anew
    discard    a person wants it no more

Then the message in the dead-letter queue has no item: the next redrive or discard deletes it. So an
item is written before its message, and parking again (after a crash, or what comes twice) writes
the same item with a new token. Who ends an item names the token that it saw before it began, so
that nobody ends what was parked meanwhile.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from aep_intake.model import messages
from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import Order
from aep_intake.model.progress import Rejection
from aep_intake.model.records import Kept
from aep_intake.model.values import dataclass

ARRIVALS, DELIVERIES, UPLOADS = "arrivals", "deliveries", "uploads"

# Queue, kind and name of what is parked, such as `arrivals`, `file` and its external id.
type ParkedPlace = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Parked(Kept):
    """A parked message."""

    id: str  # of its queue and place: the same whenever it is parked
    queue: str  # to which it goes back: ARRIVALS, DELIVERIES or UPLOADS
    external_id: str  # of its order, or under which it was announced
    body: str
    why: Rejection  # and since when
    route: str | None = None
    uri: str | None = None  # of the first of its files
    files: int = 0


@dataclass(frozen=True, slots=True)
class About:
    """What a message is about, as far as it is known: its order, or what it was announced under."""

    external_id: str
    route: str | None = None
    files: Sequence[Arrival] = ()


class ParkedItems(Protocol):
    """The ledger of what is parked. Every method raises LedgerUnavailable."""

    def put(self, parked: Parked) -> bool:
        """Write an item with a new token; False, and nothing is done, if the ledger has no room."""

    def token(self, parked_id: str) -> str | None:
        """The token of an item; None if there is none (a consistent read)."""

    def end(self, parked_id: str, token: str) -> None:
        """Delete an item, unless it was parked again since it had this token."""


class SendParked(Protocol):
    """Puts messages into dead-letter queues."""

    def __call__(self, dead_letters: str, parked: Parked, /, *, has_item: bool) -> None:
        """Put one there, by URL, and say whether it has an item. Raises StorageUnavailable."""


@dataclass(frozen=True, slots=True)
class Parking:
    """Parks messages, each with its item, and ends items. Every method raises LedgerUnavailable."""

    items: ParkedItems
    send: SendParked

    def order(self, dead_letters: str, order: Order, why: Rejection) -> None:
        """Park an order with its files, which gets a batch if it is tried again."""
        name = order.external_id
        body, about = messages.of_order(name), About(name, order.route, order.files)
        self.message(dead_letters, (ARRIVALS, "order", name), body, about, why)

    def file(self, dead_letters: str, file: Arrival, route: str | None, why: Rejection) -> None:
        """Park a file as it arrived."""
        name = file.external_id
        body, about = messages.of_arrival(file), About(name, route, (file,))
        self.message(dead_letters, (ARRIVALS, "file", name), body, about, why)

    def message(
        self, dead_letters: str, place: ParkedPlace, body: str, about: About, why: Rejection
    ) -> None:
        """Park any message; may be repeated. Raises StorageUnavailable, too."""
        external_id, route, files = about.external_id, about.route, about.files
        uri = files[0].uri if files else None
        parked = Parked(digest(*place), place[0], external_id, body, why, route, uri, len(files))
        self.send(dead_letters, parked, has_item=self.items.put(parked))

    def token(self, place: ParkedPlace) -> str | None:
        """The token of what is parked there; None if nothing is."""
        return self.items.token(digest(*place))

    def end_parked_after[T](self, work: Callable[[], T], *places: ParkedPlace) -> T:
        """Do `work`, then end what was parked at `places` before it began; the result of `work`.

        If `work` fails, it stays parked.
        """
        tokens = {place: self.token(place) for place in places}
        result = work()
        for place, token in tokens.items():
            if token is not None:
                self.end(place, token)
        return result

    def end(self, place: ParkedPlace, token: str) -> None:
        """It is parked no longer, unless it was parked again since it had this token."""
        self.items.end(digest(*place), token)
