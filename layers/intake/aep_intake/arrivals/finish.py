"""Decides what becomes of a message whose arrivals were handled: tried again, parked, or done."""

from collections.abc import Callable, Mapping

from aep_intake.arrivals.envelopes import Received
from aep_intake.arrivals.results import Result
from aep_intake.clock.parking import About, Parking
from aep_intake.clock.retries import GIVEN_UP_MS, Message
from aep_intake.grouping.ports import RejectionAnnouncer
from aep_intake.model.errors import IntakeError, LedgerUnavailable, Rejected, TryAgain
from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import ORDER_PREFIX
from aep_intake.model.outcomes import caught
from aep_intake.model.progress import PUT_OFF_CHARACTERS, Rejection
from aep_intake.model.values import dataclass

# An arrival that comes so late may have come, and been parked, before.
LATE_MS = 600_000


@dataclass(frozen=True, slots=True)
class Finishing:
    """Finishes messages. `report`: tells of an error, by the id of what it is about."""

    parking: Callable[[], Parking]
    dead_letters: str
    announcer: RejectionAnnouncer
    now: Callable[[], int]  # epoch ms
    report: Callable[[str, Exception], None]
    # Notes why an arrival is tried again, and until when (epoch ms). Raises LedgerUnavailable.
    note: Callable[[Arrival, str, int], None]
    # Records why an arrival is given up. Raises LedgerUnavailable.
    reject: Callable[[Arrival, Rejection], None]

    def token(self, message: Message, content: Received) -> str | None:
        """Of the item that the message has if it was parked before. Raises LedgerUnavailable.

        Of new arrivals none is asked for: a try again, a redrive and a late copy are few.
        """
        late = any(self.now() - arrival.time > LATE_MS for arrival in content.arrivals)
        if content.arrivals and not (late or message.redriven or message.tries > 1):
            return None
        return self.parking().token(content.place(message.body))

    def finish(
        self,
        contents: Mapping[Message, Received],
        results: Mapping[str, Result],
        tokens: Mapping[Message, str | Exception | None],
    ) -> dict[Message, Exception]:
        """Park rejected messages, and end the items of others; the messages to retry, with errors.

        A message is parked only once no record in it is to be retried. `tokens`: as `token` gave
        them before the work began.
        """
        failed: dict[Message, Exception] = {}
        for message, content in contents.items():
            outcomes: list[Result | None] = [results[a.external_id] for a in content.arrivals]
            if content.order is not None:
                outcomes.append(results[content.order])
            if content.overdue is not None:  # no result: no file waits any more
                outcomes.append(results.get(content.overdue.external_id))
            errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
            rejected = [error for error in errors if isinstance(error, Rejected)]
            if len(rejected) == len(errors):
                left = caught(self._park_or_end, message.body, content, rejected, tokens[message])
                errors = [left] if left else []
                if left:
                    self.report(message.message_id, left)
            if errors:
                failed[message] = max(errors, key=_wait)
        self._note({m: contents[m] for m in failed if m.tries == 1}, results)
        return failed

    def _note(self, put_off: Mapping[Message, Received], results: Mapping[str, Result]) -> None:
        """Tell people who ask for a file why there is nothing of it yet, while the ledger can."""
        for message, content in put_off.items():
            until = message.first_sent_at + GIVEN_UP_MS
            for arrival in content.arrivals:
                error = results[arrival.external_id]
                if not isinstance(error, TryAgain) or isinstance(error, LedgerUnavailable):
                    continue
                if caught(self.note, arrival, str(error)[:PUT_OFF_CHARACTERS], until) is not None:
                    return  # a ledger that hangs must not take the time of the messages' delays

    def give_up(
        self,
        contents: Mapping[Message, Received],
        results: Mapping[str, Result],
        failed: Mapping[Message, Exception],
        message: Message,
        why: Rejection,
    ) -> None:
        """Park a message that failed for too long. `failed`: as `finish` gave it.

        Its arrivals are recorded first: a message that cannot be parked comes again, one that is
        parked does not. Raises LedgerUnavailable or StorageUnavailable.
        """
        content = contents[message]
        for arrival in content.arrivals:
            result = results[arrival.external_id]
            if isinstance(result, Exception) and not isinstance(result, Rejected):
                self.reject(arrival, why)  # a rejected one has its own reason there
        self._park(message.body, content, failed[message], why)

    def _park(self, body: str, content: Received, error: Exception, why: Rejection) -> None:
        place = content.place(body)
        files, route, external_id = content.arrivals, None, None
        if isinstance(error, IntakeError):
            files, route, external_id = files or tuple(error.files), error.route, error.external_id
        about = About(external_id or place[2], route, files)
        self.parking().message(self.dead_letters, place, body, about, why)

    def _park_or_end(
        self,
        body: str,
        content: Received,
        rejected: list[Rejected],
        token: str | Exception | None,
    ) -> None:
        """Park a message with something rejected; else it has no item any more."""
        malformed = content.rejection
        if malformed is not None:
            malformed.external_id = f"{ORDER_PREFIX}{digest('message', body)}"
            rejection = Rejection.of(malformed, self.now())
            self.announcer.arrival_rejected(malformed.external_id, (), rejection)
            self.report(malformed.external_id, malformed)
            rejected = [*rejected, malformed]
        for error in rejected:
            if not error.parked:
                self._park(body, content, error, Rejection.of(error, self.now()))
                return
        if isinstance(token, Exception):
            raise token
        if token is not None:
            self.parking().end(content.place(body), token)


def _wait(error: Exception) -> float:
    """Seconds until the next try; a rejected record waits for those that are retried."""
    if isinstance(error, Rejected):
        return -1
    return (error.retry_after or 0) if isinstance(error, TryAgain) else 0
