"""A test can make the local AWS fail while it runs: whom, at what, how, and for how long."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from local.aws import REGION
from local.emulator import Emulator
from local.strict_aws.faults import Fault
from tests.stack.test_strict_aws import refused

BUCKET = "faulty"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("faults"), hold_ms=0) as emulator:
        emulator.aws.s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        emulator.aws.s3.put_object(Bucket=BUCKET, Key="in/a", Body=b"a")
        yield emulator


@pytest.fixture
def emulator(started: Emulator) -> Iterator[Emulator]:
    yield started
    started.faults.clear()


def test_s3_denies_reads_until_the_fault_is_taken_back(emulator: Emulator) -> None:
    s3, file = emulator.aws.s3, {"Bucket": BUCKET, "Key": "in/a"}
    with emulator.faults.injected(Fault.denied("GetObject"), Fault.denied("Head*")) as [get, head]:
        assert refused(s3.get_object, **file) == (403, "AccessDenied")
        assert refused(s3.head_object, **file) == (403, "403")
        assert refused(s3.list_objects_v2, Bucket=BUCKET) == (200, "")
        assert refused(s3.put_object, **file, Body=b"a") == (200, "")
        assert (emulator.faults.befallen(get), emulator.faults.befallen(head)) == (1, 1)
    assert refused(s3.get_object, **file) == (200, "")


def test_a_bucket_is_filled_as_by_single_puts(emulator: Emulator) -> None:
    s3 = emulator.aws.s3
    s3.create_bucket(Bucket="filled", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="filled", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="filled", Key="in/000003.json", Body=b"{}")
    emulator.faults.fill("filled", "in/{}.json", 3, "{}")
    found = s3.list_objects_v2(Bucket="filled")["Contents"]
    assert [one["Key"] for one in found] == [f"in/00000{n}.json" for n in range(4)]
    assert len({one["ETag"] for one in found}) == 1
    versions = {s3.head_object(Bucket="filled", Key=one["Key"])["VersionId"] for one in found}
    assert len(versions) == 4


@pytest.mark.parametrize(
    "call, operation",
    [
        (lambda s3: s3.list_objects_v2(Bucket=BUCKET), "ListObjectsV2"),
        (lambda s3: s3.list_objects(Bucket=BUCKET), "ListObjects"),
        (lambda s3: s3.list_object_versions(Bucket=BUCKET), "ListObjectVersions"),
        (lambda s3: s3.put_object(Bucket=BUCKET, Key="b"), "PutObject"),
        (lambda s3: s3.delete_object(Bucket=BUCKET, Key="b"), "DeleteObject"),
        (
            lambda s3: s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "b"}]}),
            "DeleteObjects",
        ),
        (
            lambda s3: s3.copy_object(Bucket=BUCKET, Key="b", CopySource=f"{BUCKET}/in/a"),
            "CopyObject",
        ),
        (lambda s3: s3.create_multipart_upload(Bucket=BUCKET, Key="b"), "CreateMultipartUpload"),
        (lambda s3: s3.get_object_tagging(Bucket=BUCKET, Key="b"), "GetObjectTagging"),
        (lambda s3: s3.get_bucket_versioning(Bucket=BUCKET), "GetBucketVersioning"),
        (lambda s3: s3.head_bucket(Bucket=BUCKET), "HeadBucket"),
    ],
)
def test_an_operation_goes_by_its_own_name(emulator: Emulator, call: Any, operation: str) -> None:
    with emulator.faults.injected(Fault.denied(operation)) as [number]:
        assert refused(lambda: call(emulator.aws.s3))[0] == 403
        assert emulator.faults.befallen(number) == 1


def test_of_one_bucket_prefix_and_caller(emulator: Emulator) -> None:
    everything: dict[str, object] = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    victim = emulator.identity("victim", [everything]).s3
    file = {"Bucket": BUCKET, "Key": "in/a"}
    fault = Fault.denied("GetObject", resource="fault?", key_prefix="in/", caller="victim")
    with emulator.faults.injected(fault):
        assert refused(victim.get_object, **file) == (403, "AccessDenied")
        assert refused(emulator.aws.s3.get_object, **file) == (200, "")
        assert refused(victim.get_object, **file | {"Key": "out/a"}) == (404, "NoSuchKey")


def test_for_so_many_calls_and_for_so_long(emulator: Emulator) -> None:
    s3, file = emulator.aws.s3, {"Bucket": BUCKET, "Key": "in/a"}
    emulator.faults.inject(Fault.denied("GetObject", times=2))
    assert [refused(s3.get_object, **file)[0] for _ in range(3)] == [403, 403, 200]
    began = time.monotonic()
    emulator.faults.inject(Fault.denied("GetObject", seconds=2))
    while refused(s3.get_object, **file)[0] == 403:
        time.sleep(0.1)
    assert 2 <= time.monotonic() - began < 60


def test_what_is_slow_is_done(emulator: Emulator) -> None:
    s3 = emulator.aws.s3
    with emulator.faults.injected(Fault.slow("s3", "PutObject", 700)):
        before = time.monotonic()
        s3.put_object(Bucket=BUCKET, Key="late", Body=b"done")
        assert time.monotonic() - before >= 0.7
    assert s3.get_object(Bucket=BUCKET, Key="late")["Body"].read() == b"done"


def test_boto3_knows_throttling_when_it_meets_it(emulator: Emulator) -> None:
    """Asks again by itself, and in the end says it in the service's words."""
    queue = emulator.aws.sqs.create_queue(QueueName="throttled")["QueueUrl"]
    calls: list[tuple[Fault, Any, Any]] = [
        (
            Fault.throttled("dynamodb", "GetItem", resource="table"),
            emulator.aws.dynamodb.get_item,
            {"TableName": "table", "Key": {"pk": {"S": "a"}}},
        ),
        (
            Fault.throttled("sqs", "SendMessage", resource="throttled"),
            emulator.aws.sqs.send_message,
            {"QueueUrl": queue, "MessageBody": "m"},
        ),
        (
            Fault.throttled("events", "PutEvents"),
            emulator.aws.events.put_events,
            {"Entries": [{"Source": "here", "DetailType": "T", "Detail": "{}"}]},
        ),
    ]
    for fault, call, arguments in calls:
        with emulator.faults.injected(fault) as [number]:
            assert refused(call, **arguments) == (fault.status, fault.code)
            assert emulator.faults.befallen(number) == 2
