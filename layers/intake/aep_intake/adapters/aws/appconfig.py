"""A document that AppConfig has deployed, read through Powertools and kept parsed."""

from collections.abc import Callable
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.parameters import AppConfigProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.exceptions import ClientError

from aep_intake.model.errors import TryAgain
from aep_intake.model.values import dataclass

if TYPE_CHECKING:
    from mypy_boto3_appconfigdata import AppConfigDataClient

# How long before AppConfig is asked again: with a document in force, and without one.
FRESH_SECONDS = 30
RETRY_SECONDS = 5
# AppConfig refuses to be asked more often than a session said it would; this is the least it takes.
LEAST_POLL_SECONDS = 15

logger = Logger(child=True)


@dataclass(frozen=True, slots=True)
class DocumentKind[T]:
    """What the documents of a profile are.

    `name`, as people call one, and the `command` that publishes one. `parse` makes it of a
    document and its version, or raises ValueError. `unpublished` holds where none was ever
    published; None if nothing does.
    """

    name: str
    command: str
    parse: Callable[[bytes, str], T]
    unavailable: type[TryAgain]
    unpublished: T | None = None


class InForce[T]:
    """The document in force, for one worker.

    A good one stays until a good one takes its place: neither an AppConfig that does not answer nor
    a broken document says anything new, the last good one does. Both are logged. A worker that
    never had one cannot know, so it guesses nothing, and raises what its kind has for that. Only
    where AppConfig itself says that none was ever published, what is `unpublished` holds.

    The version is the label its publisher gave the hosted version, such as `v7`, or empty.

    `now`: epoch milliseconds. `application`, `environment` and `profile` are AppConfig's ids.
    """

    def __init__(
        self,
        client: "AppConfigDataClient",
        kind: DocumentKind[T],
        *,
        application: str,
        environment: str,
        profile: str,
        now: Callable[[], int],
    ) -> None:
        self._provider = AppConfigProvider(environment, application, boto3_client=client)
        # AppConfig answers nothing when there is nothing new, or nothing yet; Powertools then gives
        # what it gave last, and fails if that was never set.
        self._provider.last_returned_value[profile] = b""
        # Powertools hands out the document but not its label.
        client.meta.events.register("after-call.appconfigdata.GetLatestConfiguration", self._label)
        self._kind = kind
        self._profile = profile
        self._now = now
        self._lock = Lock()
        self._asking: int | None = None  # the thread, as other documents come by the same client
        self._document = b""
        self._version = ""
        self._value: T | None = None
        self._trouble = ""
        self._look_at = 0

    def current(self) -> T:
        """What is in force, at most FRESH_SECONDS old. Raises TryAgain, of its kind."""
        # The others wait while one thread asks: after an idle night, what it knows is as old.
        if self._now() >= self._look_at:
            with self._lock:
                if self._now() >= self._look_at:
                    self._look()
        if self._value is None:
            raise self._refused(self._trouble)
        return self._value

    def _look(self) -> None:
        try:
            document = self._read()
            if not document:
                self._value = self._kind.unpublished
                if self._value is None:
                    raise self._refused(f"none is deployed yet; `{self._kind.command}` does it")
            elif document != self._document:
                self._value = self._kind.parse(document, self._version)
                self._document = document
        except (TryAgain, ValueError) as error:
            self._trouble = f"{self._kind.name} cannot be used: {error}"
            logger.warning(self._trouble, extra={"in_force": self._value and self._version})
            # A session's token is good for one call and for a day, and Powertools keeps a dead one
            # for ever. Without it, the next look starts a new session.
            self._provider._next_token.clear()
        wait = FRESH_SECONDS if self._value is not None else RETRY_SECONDS
        self._look_at = self._now() + wait * 1000

    def _read(self) -> bytes:
        """The document; empty if none was ever published."""
        self._asking = get_ident()
        try:
            # Any: Powertools types the union of all that its providers and transforms may return.
            document: Any = self._provider.get(
                self._profile,
                force_fetch=True,
                max_age=0,
                RequiredMinimumPollIntervalInSeconds=LEAST_POLL_SECONDS,
            )
        except GetParameterError as error:
            if not self._document and _not_deployed(error):
                self._provider._next_token.clear()
                return b""
            raise self._refused(str(error)) from error
        finally:
            self._asking = None
        return bytes(document)

    def _refused(self, why: str) -> TryAgain:
        return self._kind.unavailable(why, retry_after=RETRY_SECONDS)

    def _label(self, parsed: dict[str, Any], **_: object) -> None:
        if self._asking == get_ident():
            self._version = parsed.get("VersionLabel", "")


def _not_deployed(error: Exception) -> bool:
    cause = error.__cause__ or error.__context__
    return (
        isinstance(cause, ClientError)
        and cause.response["Error"]["Code"] == "ResourceNotFoundException"
    )
