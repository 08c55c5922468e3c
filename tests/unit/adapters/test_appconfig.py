"""The table a worker goes by, while AppConfig has none, a new one, a broken one, or is away."""

import io
import json
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from typing import Any

import boto3
import pytest
from aep_intake.adapters.aws import appconfig
from aep_intake.adapters.aws.appconfig import FRESH_SECONDS, RETRY_SECONDS, DocumentKind, InForce
from aep_intake.model.errors import LimitsUnavailable, RoutesUnavailable
from aep_intake.wiring.request import ROUTING_TABLE
from botocore.response import StreamingBody
from botocore.stub import Stubber


def document(name: str) -> bytes:
    return json.dumps({"routes": [{"name": name, "match": "**", "ignore": True}]}).encode()


class Worker:
    """One worker whose clock and AppConfig a test moves. Each look must be answered just once."""

    def __init__(self) -> None:
        client = boto3.client(
            "appconfigdata",
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.appconfig = Stubber(client)
        self.appconfig.activate()
        self.time = 1_795_000_000_000
        self.token = 0
        self.client = client
        self.numbers: InForce[int]
        self.tables = self.following(ROUTING_TABLE)

    def following[T](self, kind: DocumentKind[T]) -> InForce[T]:
        return InForce(
            self.client,
            kind,
            application="app",
            environment="env",
            profile="prof",
            now=lambda: self.time,
        )

    def expect_session(self) -> None:
        self.token += 1
        asked = {
            "ConfigurationProfileIdentifier": "prof",
            "ApplicationIdentifier": "app",
            "EnvironmentIdentifier": "env",
            "RequiredMinimumPollIntervalInSeconds": 15,
        }
        answer = {"InitialConfigurationToken": f"token-{self.token}"}
        self.appconfig.add_response("start_configuration_session", answer, asked)

    def expect_look(self, content: bytes, label: str | None = None) -> None:
        asked = {"ConfigurationToken": f"token-{self.token}"}
        self.token += 1
        answer: dict[str, Any] = {
            "Configuration": StreamingBody(io.BytesIO(content), len(content)),
            "NextPollConfigurationToken": f"token-{self.token}",
        }
        if label:
            answer["VersionLabel"] = label
        self.appconfig.add_response("get_latest_configuration", answer, asked)

    def expect_failure(self) -> None:
        asked = {"ConfigurationToken": f"token-{self.token}"}
        self.appconfig.add_client_error(
            "get_latest_configuration", "BadRequestException", "expired", 400, expected_params=asked
        )

    def after(self, seconds: float) -> str:
        """Name of the one route and version of the table, `seconds` later."""
        self.time += round(seconds * 1000)
        table = self.tables.current()
        self.appconfig.assert_no_pending_responses()
        return f"{table.routes[0].name} {table.version}"


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def settled(worker: Worker) -> Worker:
    worker.expect_session()
    worker.expect_look(document("old"), "v1")
    assert worker.after(0) == "old v1"
    return worker


def test_a_table_is_kept_and_asked_for_again_only_when_it_is_stale(settled: Worker) -> None:
    assert settled.after(FRESH_SECONDS - 0.001) == "old v1"
    settled.expect_look(b"")  # AppConfig's way to say that nothing is new, without a label
    assert settled.after(0.001) == "old v1"
    settled.expect_look(document("new"), "v2")
    assert settled.after(FRESH_SECONDS) == "new v2"


def test_no_thread_goes_by_a_stale_table_while_another_one_asks(
    settled: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was idle for an hour works on ten messages side by side."""
    asked, ends, read = Event(), Event(), settled.tables._read

    def slowly() -> bytes:
        asked.set()
        assert ends.wait(9)
        return read()

    monkeypatch.setattr(settled.tables, "_read", slowly)
    settled.expect_look(document("new"), "v2")
    settled.time += 3_600_000
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(settled.tables.current)
        assert asked.wait(9)
        second = threads.submit(settled.tables.current)
        done, _ = wait([second], timeout=0.1)
        assert not done
        ends.set()
        assert [each.result().version for each in (first, second)] == ["v2", "v2"]


def test_without_a_table_nothing_is_guessed_and_the_next_look_is_soon(worker: Worker) -> None:
    worker.expect_session()
    worker.expect_look(b"")
    for _ in range(3):
        with pytest.raises(RoutesUnavailable, match="aep-intake routes publish") as error:
            worker.after(0)
        assert error.value.retry_after == RETRY_SECONDS
    worker.expect_session()
    worker.expect_look(document("first"), "v1")
    assert worker.after(RETRY_SECONDS) == "first v1"


@pytest.mark.parametrize("broken", [b"{", b'{"routes": [{"name": "x"}]}', b"\xff"])
def test_a_broken_table_is_no_table(worker: Worker, broken: bytes) -> None:
    worker.expect_session()
    worker.expect_look(broken, "v1")
    with pytest.raises(RoutesUnavailable):
        worker.after(0)


def test_a_broken_table_does_not_replace_a_good_one(
    settled: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(appconfig.logger, "warning", lambda text, **_: said.append(text))
    settled.expect_look(b'{"routes": []}', "v2")
    assert settled.after(FRESH_SECONDS) == "old v1"
    assert said == ["the routing table cannot be used: routes: is empty"]
    settled.expect_session()
    settled.expect_look(document("mended"), "v3")
    assert settled.after(FRESH_SECONDS) == "mended v3"


def test_a_good_table_outlives_an_appconfig_that_is_away(settled: Worker) -> None:
    settled.expect_failure()
    assert settled.after(FRESH_SECONDS) == "old v1"
    assert settled.after(FRESH_SECONDS - 1) == "old v1"  # and is not asked for all the time
    settled.expect_session()  # the old session's token may be dead
    settled.expect_look(document("new"), "v2")
    assert settled.after(1) == "new v2"


def test_a_worker_without_a_table_recovers_with_appconfig(worker: Worker) -> None:
    worker.expect_session()
    worker.expect_failure()
    with pytest.raises(RoutesUnavailable, match="expired"):
        worker.after(0)
    worker.expect_session()
    worker.expect_look(document("first"), "v1")
    assert worker.after(RETRY_SECONDS) == "first v1"


def test_a_table_without_a_label_goes_by_its_hash(worker: Worker) -> None:
    worker.expect_session()
    worker.expect_look(document("mine"))
    first = worker.after(0)
    worker.expect_look(document("other"))
    assert worker.after(FRESH_SECONDS).split()[1] != first.split()[1]
    worker.expect_look(document("mine"))
    assert worker.after(FRESH_SECONDS) == first


# -- What holds where nothing was ever published

NUMBER = DocumentKind(
    "the number", "make it", lambda document, _: int(document), LimitsUnavailable, 7
)


def numbered(worker: Worker, seconds: float = 0) -> int:
    worker.time += round(seconds * 1000)
    number = worker.numbers.current()
    worker.appconfig.assert_no_pending_responses()
    return number


@pytest.fixture
def counting(worker: Worker) -> Worker:
    worker.numbers = worker.following(NUMBER)
    return worker


def test_where_none_was_published_the_deployment_s_own_holds_until_one_is(counting: Worker) -> None:
    counting.expect_session()
    counting.expect_look(b"")
    assert numbered(counting) == 7
    assert numbered(counting, FRESH_SECONDS - 0.001) == 7
    counting.expect_look(b"3")
    assert numbered(counting, 0.001) == 3
    counting.expect_look(b"")  # nothing new
    assert numbered(counting, FRESH_SECONDS) == 3


def test_that_nothing_is_deployed_appconfig_may_also_say_by_not_finding_it(
    counting: Worker,
) -> None:
    counting.appconfig.add_client_error(
        "start_configuration_session", "ResourceNotFoundException", "no deployment", 404
    )
    assert numbered(counting) == 7
    counting.expect_session()
    counting.expect_look(b"3")
    assert numbered(counting, FRESH_SECONDS) == 3


def test_what_cannot_be_read_is_not_unpublished(counting: Worker) -> None:
    """It may well have been published, and be more careful than the stack's own."""
    counting.expect_session()
    counting.expect_failure()
    with pytest.raises(LimitsUnavailable, match=r"the number cannot be used: .*expired"):
        numbered(counting)
    counting.expect_session()
    counting.expect_look(b"many")
    with pytest.raises(LimitsUnavailable, match="invalid literal"):
        numbered(counting, RETRY_SECONDS)


def test_two_documents_by_one_client_keep_their_labels_apart(worker: Worker) -> None:
    others = worker.following(ROUTING_TABLE)
    worker.expect_session()
    worker.expect_look(document("one"), "v1")
    assert worker.after(0) == "one v1"
    worker.expect_session()
    worker.expect_look(document("other"), "v9")
    assert others.current().version == "v9"
    worker.token = 2
    worker.expect_look(document("new"))  # without a label
    assert worker.after(FRESH_SECONDS) != "new v9"
