"""Switching EventBridge on: whatever a bucket's configuration held is still there afterwards."""

import copy
from typing import TYPE_CHECKING, Any, cast

import pytest
from aep_intake_cli.command import main
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.notifications import CREATED, EVENTBRIDGE, QUEUES, connect, queue_for, same
from aep_intake_cli.stack import Stack
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

names = st.text("abcdefXYZ-", min_size=1, max_size=12)
event = st.sampled_from(["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"])
keys = st.lists(
    st.builds(lambda name, value: {"Name": name, "Value": value}, st.just("Prefix"), names),
    max_size=1,
)


def entries(goal: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    entry = st.fixed_dictionaries(
        {"Id": names, goal: names, "Events": st.lists(event, min_size=1, unique=True)},
        optional={"Filter": keys.map(lambda rules: {"Key": {"FilterRules": rules}})},
    )
    return st.lists(entry, min_size=1, max_size=3)


configurations = st.fixed_dictionaries(
    {},
    optional={
        "QueueConfigurations": entries("QueueArn"),
        "TopicConfigurations": entries("TopicArn"),
        "LambdaFunctionConfigurations": entries("LambdaFunctionArn"),
        EVENTBRIDGE: st.just(dict[str, Any]()),
        "SomethingNewOfAws": st.fixed_dictionaries({"Setting": names}),
    },
)


class Bucket:
    """S3 as far as it matters here: writing replaces everything. `meddling`: put in by others."""

    def __init__(self, configuration: dict[str, Any], meddling: dict[str, Any] | None = None):
        self.configuration = configuration
        self.meddling = meddling
        self.writes: list[dict[str, Any]] = []

    def get_bucket_notification_configuration(self, **_: str) -> dict[str, Any]:
        return {"ResponseMetadata": {"HTTPStatusCode": 200}, **copy.deepcopy(self.configuration)}

    def put_bucket_notification_configuration(self, **given: Any) -> None:
        self.writes.append(given)
        self.configuration = given["NotificationConfiguration"]
        if self.meddling is not None:
            self.configuration = self.meddling

    @property
    def client(self) -> "S3Client":
        return cast("S3Client", self)


@given(configurations)
def test_all_that_was_there_is_there_after(before: dict[str, Any]) -> None:
    bucket = Bucket(copy.deepcopy(before))
    changed = connect(bucket.client, "b", "111122223333", Console(quiet=True))
    assert bucket.configuration == {**before, EVENTBRIDGE: {}}
    assert changed == (EVENTBRIDGE not in before)
    assert len(bucket.writes) == changed, "on already: nothing is written"


@given(configurations)
def test_the_queue_is_added_to_all_that_was_there(before: dict[str, Any]) -> None:
    bucket, queue = Bucket(copy.deepcopy(before)), "arn:aws:sqs:eu-west-1:111122223333:arrivals"
    assert connect(bucket.client, "b", "111122223333", Console(quiet=True), queue)
    *there, added = bucket.configuration[QUEUES]
    assert there == before.get(QUEUES, [])
    assert (added["QueueArn"], added["Events"]) == (queue, [CREATED])
    assert {**bucket.configuration, QUEUES: None} == {**before, QUEUES: None}
    assert not connect(bucket.client, "b", "111122223333", Console(quiet=True), queue)
    assert len(bucket.writes) == 1, "connected already: nothing is written"


def test_a_bucket_that_the_queue_would_not_admit_is_not_connected_to_it() -> None:
    """S3 would be told so by the queue, and drop what it was to send."""
    outputs = {"SourceBuckets": "one,two", "ArrivalsQueueArn": "arn:q"}
    stack = Stack("aep-intake", outputs, {})
    assert queue_for(stack, "two") == "arn:q"
    with pytest.raises(CommandFailed, match="SourceBucketNames"):
        queue_for(stack, "three")


@given(configurations, st.randoms())
def test_order_means_nothing_and_everything_else_does(before: dict[str, Any], random: Any) -> None:
    mixed = copy.deepcopy(before)
    for entries in mixed.values():
        if isinstance(entries, list):
            random.shuffle(entries)
            for entry in entries:
                random.shuffle(entry["Events"])
    assert same(before, mixed)
    assert not same(before, {**mixed, "QueueConfigurations": [{"Id": "new", "QueueArn": "q"}]})


def test_the_owner_is_asserted_and_other_destinations_are_not_tested() -> None:
    bucket = Bucket({})
    connect(bucket.client, "b", "111122223333", Console(quiet=True))
    (written,) = bucket.writes
    assert written["ExpectedBucketOwner"] == "111122223333"
    assert written["SkipDestinationValidation"] is True


def test_somebody_elses_write_in_between_is_told() -> None:
    theirs = {"QueueConfigurations": [{"Id": "x", "QueueArn": "q", "Events": ["s3:TestEvent"]}]}
    with pytest.raises(CommandFailed, match="another program changed"):
        connect(Bucket({}, theirs).client, "b", "111122223333", Console(quiet=True))


@pytest.mark.parametrize("name", ["s3://landing/in/", "", "s3://"])
def test_what_is_no_bucket_is_wrong_use(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connect", name]) == 2
    assert "is not the name of a bucket" in capsys.readouterr().err
