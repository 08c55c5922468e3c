"""The routing table as AppConfig has it deployed, read through Powertools and kept parsed."""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.parameters import AppConfigProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from aep_intake import routes
from aep_intake.arrivals import digest
from aep_intake.errors import RoutesUnavailable

if TYPE_CHECKING:
    from mypy_boto3_appconfigdata import AppConfigDataClient

# How long before AppConfig is asked again: with a table in force, and without one.
FRESH_SECONDS = 30
RETRY_SECONDS = 5
# AppConfig refuses to be asked more often than a session said it would; this is the least it takes.
LEAST_POLL_SECONDS = 15

logger = Logger(child=True)


class RoutingTables:
    """The routes in force, for one worker.

    A good table stays until a good one takes its place: neither an AppConfig that does not answer
    nor a broken document says anything about where files belong, the last good table does. Both
    are logged. A worker that never had one cannot know, so it guesses nothing: RoutesUnavailable.

    The table's version is the label its publisher gave the hosted version, such as `v7`; without a
    label, the start of a hash of the document.

    `now`: epoch milliseconds. `application`, `environment` and `profile` are AppConfig's ids.
    """

    def __init__(
        self,
        client: "AppConfigDataClient",
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
        self._profile = profile
        self._now = now
        self._lock = Lock()
        self._document = b""
        self._version = ""
        self._table: routes.RoutingTable | None = None
        self._trouble = ""
        self._look_at = 0

    def current(self) -> routes.RoutingTable:
        """The routes in force, at most FRESH_SECONDS old. Raises RoutesUnavailable."""
        # While one thread asks AppConfig, the others go by the table in force.
        if self._lock.acquire(blocking=self._table is None):
            try:
                if self._now() >= self._look_at:
                    self._look()
            finally:
                self._lock.release()
        if self._table is None:
            raise RoutesUnavailable(self._trouble, retry_after=RETRY_SECONDS)
        return self._table

    def _look(self) -> None:
        try:
            document = self._read()
            if document != self._document:
                version = self._version or digest(document.decode(errors="replace"))[:8]
                self._table = routes.parse(document, version)
                self._document = document
        except (RoutesUnavailable, routes.InvalidTable) as error:
            self._trouble = f"the routing table cannot be used: {error}"
            logger.warning(self._trouble, extra={"in_force": self._table and self._table.version})
            # A session's token is good for one call and for a day, and Powertools keeps a dead one
            # for ever. Without it, the next look starts a new session.
            self._provider._next_token.clear()
        wait = FRESH_SECONDS if self._table else RETRY_SECONDS
        self._look_at = self._now() + wait * 1000

    def _read(self) -> bytes:
        try:
            # Any: Powertools types the union of all that its providers and transforms may return.
            document: Any = self._provider.get(
                self._profile,
                force_fetch=True,
                max_age=0,
                RequiredMinimumPollIntervalInSeconds=LEAST_POLL_SECONDS,
            )
        except GetParameterError as error:
            raise RoutesUnavailable(str(error)) from error
        if not document:
            raise RoutesUnavailable("none is deployed yet; `make publish-routes` does it")
        return bytes(document)

    def _label(self, parsed: dict[str, Any], **_: object) -> None:
        self._version = parsed.get("VersionLabel", "")
