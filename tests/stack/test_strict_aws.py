"""The local AWS is as strict as the real one, and would not be with its switches off.

Each test of a switch runs with all of them on, and off, where MiniStack does as it does by itself.
"""

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from local.aws import REGION, Aws
from local.emulator import ACCOUNT, ROOT, Emulator
from local.strict_aws.patches import WRITTEN_FOR
from local.strict_aws.switches import SWITCHES
from tests.stack.scene import until

type Versioning = Literal["Enabled", "Suspended"]

EVERYTHING_OF_S3: dict[str, object] = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
HOLD_MS = 2_000  # so that what meets a transaction under way surely meets it


@dataclass(frozen=True)
class World:
    """An emulator; `strict`: whether the switch that a test is about is on."""

    emulator: Emulator
    strict: bool

    @property
    def aws(self) -> Aws:
        return self.emulator.aws

    def bucket(self, *, versioning: Versioning | None = "Enabled", events: bool = False) -> str:
        name = f"bucket-{uuid.uuid4().hex}"
        self.aws.s3.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        if versioning:
            self.aws.s3.put_bucket_versioning(
                Bucket=name, VersioningConfiguration={"Status": versioning}
            )
        if events:
            self.aws.s3.put_bucket_notification_configuration(
                Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}}
            )
        return name

    def put(self, bucket: str, key: str = "a", body: bytes = b"0123456789", **more: Any) -> str:
        """Returns the version id, where there is one."""
        made = self.aws.s3.put_object(Bucket=bucket, Key=key, Body=body, **more)
        return made.get("VersionId", "")

    def user(self, *statements: dict[str, object]) -> Aws:
        return self.emulator.identity(f"user-{uuid.uuid4().hex}", list(statements))

    def queue(self, **settings: str) -> tuple[str, str]:
        """Its url and ARN."""
        attributes: Any = settings
        name = f"queue-{uuid.uuid4().hex}"
        url = self.aws.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def admit(self, queue: tuple[str, str], rule: str) -> None:
        url, arn = queue
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})

    def rule(self, pattern: object, **target: Any) -> str:
        """ARN of a rule on the default bus."""
        name = f"rule-{uuid.uuid4().hex}"
        arn = self.aws.events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
        self.aws.events.put_targets(Rule=name, Targets=[{"Id": "queue", **target}])  # type: ignore[list-item]
        return arn

    def listen(self, bucket: str) -> str:
        """Url of a queue that gets all events of a bucket."""
        queue = self.queue()
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
        self.admit(queue, self.rule(pattern, Arn=queue[1]))
        return queue[0]

    def messages(self, url: str, count: int) -> list[Any]:
        """So many messages of a queue, received once they are there."""
        found: list[Any] = []

        def enough() -> bool:
            answer = self.aws.sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                WaitTimeSeconds=1,
            )
            found.extend(answer.get("Messages", []))
            return len(found) >= count

        until(enough, f"{count} messages")
        return found

    def details(self, url: str, count: int) -> list[Any]:
        """Events, in S3's order where they have one; each is detail-type and detail."""
        events = [json.loads(message["Body"]) for message in self.messages(url, count)]
        told = [(event["detail-type"], event["detail"]) for event in events]
        return sorted(told, key=lambda each: each[1]["object"].get("sequencer", "~"))

    def table(self) -> str:
        name = f"table-{uuid.uuid4().hex}"
        self.aws.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        return name

    def function(self, **settings: Any) -> str:
        """A function that prints how many records it gets."""
        name = f"function-{uuid.uuid4().hex}"
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
        role = self.aws.iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [trust | {"Action": "sts:AssumeRole"}]}
            ),
        )["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("it.py", "def handler(e, _):\n    print(len(e['Records']))\n")
        self.aws.functions.create_function(
            **{
                "FunctionName": name,
                "Role": role,
                "Runtime": "python3.13",
                "Handler": "it.handler",
                "Code": {"ZipFile": code.getvalue()},
                "Timeout": 5,
                **settings,
            }
        )
        return name

    def printed(self, function: str) -> list[str]:
        try:
            pages = self.aws.logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{function}"
            )
            return [each["message"].strip() for page in pages for each in page["events"]]
        except self.aws.logs.exceptions.ResourceNotFoundException:
            return []


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., World]]:
    with ExitStack() as started:

        @cache
        def world(strict: bool, hold_ms: float | None) -> World:
            directory = tmp_path_factory.mktemp("emulator")
            emulator = Emulator(directory, lenient=() if strict else SWITCHES, hold_ms=hold_ms)
            return World(started.enter_context(emulator), strict)

        yield world


@pytest.fixture
def world(request: pytest.FixtureRequest, worlds: Callable[..., World]) -> World:
    return worlds(*request.param)


def switch(name: str, *, hold_ms: float | None = None) -> pytest.MarkDecorator:
    assert name in SWITCHES
    both = [(True, hold_ms), (False, hold_ms)]
    return pytest.mark.parametrize("world", both, indirect=True, ids=["on", "off"])


STRICT = pytest.mark.parametrize("world", [(True, None)], indirect=True, ids=["on"])


def refused(call: Any, **arguments: Any) -> tuple[int, str]:
    """Status and code of AWS's refusal; (200, "") where it does as asked."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return 200, ""


# Events of S3


@switch("version-ids")
def test_events_tell_the_version(world: World) -> None:
    bucket = world.bucket(events=True)
    queue = world.listen(bucket)
    version = world.put(bucket)
    marker = world.aws.s3.delete_object(Bucket=bucket, Key="a")["VersionId"]
    world.aws.s3.delete_object(Bucket=bucket, Key="a", VersionId=version)
    told = [detail["object"].get("version-id") for _, detail in world.details(queue, 3)]
    assert told == ([version, marker, version] if world.strict else [None] * 3)


@pytest.mark.parametrize("versioning", [None, "Suspended"])
@STRICT
def test_what_has_no_version_of_its_own_tells_none(
    world: World, versioning: Versioning | None
) -> None:
    bucket = world.bucket(versioning=versioning, events=True)
    queue = world.listen(bucket)
    world.put(bucket)
    world.aws.s3.delete_object(Bucket=bucket, Key="a")
    assert all("version-id" not in detail["object"] for _, detail in world.details(queue, 2))


@switch("event-members")
def test_events_have_the_members_of_their_kind(world: World) -> None:
    bucket = world.bucket(events=True)
    queue = world.listen(bucket)
    version = world.put(bucket)
    world.aws.s3.delete_object(Bucket=bucket, Key="a")
    world.aws.s3.delete_object(Bucket=bucket, Key="a", VersionId=version)
    members = [set(detail["object"]) for _, detail in world.details(queue, 3)]
    always = {"key", "size", "etag", "sequencer"}
    if not world.strict:
        assert members == [always] * 3
        return
    created = always | {"version-id"}
    assert members == [created, created - {"size"}, created - {"size", "etag"}]


@switch("tag-events")
def test_tags_are_events(world: World) -> None:
    bucket = world.bucket(events=True)
    queue = world.listen(bucket)
    version = world.put(bucket)
    tags: Any = {"TagSet": [{"Key": "a", "Value": "b"}]}
    world.aws.s3.put_object_tagging(Bucket=bucket, Key="a", Tagging=tags)
    world.aws.s3.delete_object_tagging(Bucket=bucket, Key="a")
    world.put(bucket, "the last one")
    told = world.details(queue, 4 if world.strict else 2)
    about_tags = [(kind, detail["object"]) for kind, detail in told if "Tags" in kind]
    assert {kind for kind, _ in about_tags} == (
        {"Object Tags Added", "Object Tags Deleted"} if world.strict else set()
    )
    for _, members in about_tags:
        assert set(members) == {"key", "etag", "version-id"}
        assert members["version-id"] == version


# Answers of S3


@switch("missing-keys")
def test_who_may_not_list_is_not_told_what_is_missing(world: World) -> None:
    bucket = world.bucket()
    gone = world.put(bucket)
    world.aws.s3.delete_object(Bucket=bucket, Key="a", VersionId=gone)
    read: dict[str, object] = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    listing = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketVersions"]}
    reader = world.user(read).s3
    lister = world.user(read, {**listing, "Resource": f"arn:aws:s3:::{bucket}"}).s3
    for named in ({}, {"VersionId": gone}):
        code = "NoSuchVersion" if named else "NoSuchKey"
        key: Any = {"Bucket": bucket, "Key": "a", **named}
        assert refused(lister.get_object, **key) == (404, code)
        assert refused(lister.head_object, **key) == (404, "404")
        assert refused(reader.get_object, **key) == (
            (403, "AccessDenied") if world.strict else (404, code)
        )
        assert refused(reader.head_object, **key) == (
            (403, "403") if world.strict else (404, "404")
        )


@switch("version-forms")
def test_a_version_that_s3_never_gave_is_a_bad_request(world: World) -> None:
    bucket = world.bucket()
    world.put(bucket)
    key: Any = {"Bucket": bucket, "Key": "a", "VersionId": "2026-11"}
    assert refused(world.aws.s3.get_object, **key) == (
        (400, "InvalidArgument") if world.strict else (404, "NoSuchVersion")
    )
    assert refused(world.aws.s3.head_object, **key)[0] == (400 if world.strict else 404)
    assert refused(world.aws.s3.get_object, **key | {"VersionId": str(uuid.uuid4())}) == (
        404,
        "NoSuchVersion",
    )


@switch("ranges")
def test_a_version_is_read_by_ranges(world: World) -> None:
    bucket = world.bucket()
    version = world.put(bucket)

    def read(span: str, **named: str) -> tuple[int, bytes, str | None]:
        answer = world.aws.s3.get_object(Bucket=bucket, Key="a", Range=span, **named)  # type: ignore[arg-type]
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        return status, answer["Body"].read(), answer.get("ContentRange")

    everything = (200, b"0123456789", None)
    parts = {
        "bytes=2-3": (206, b"23", "bytes 2-3/10"),
        "bytes=7-": (206, b"789", "bytes 7-9/10"),
        "bytes=-4": (206, b"6789", "bytes 6-9/10"),
        "bytes=8-99": (206, b"89", "bytes 8-9/10"),
        "bytes=3-2": everything,
    }
    for span, part in parts.items():
        assert read(span, VersionId=version) == (part if world.strict else everything)
    assert read("bytes=2-3") == parts["bytes=2-3"]
    beyond: Any = {"Bucket": bucket, "Key": "a", "Range": "bytes=10-", "VersionId": version}
    assert refused(world.aws.s3.get_object, **beyond) == (
        (416, "InvalidRange") if world.strict else (200, "")
    )


@switch("self-copies")
def test_a_copy_onto_itself_must_change_something(world: World) -> None:
    bucket = world.bucket()
    world.put(bucket)
    itself: Any = {"Bucket": bucket, "Key": "a", "CopySource": f"{bucket}/a"}
    copy = world.aws.s3.copy_object
    assert refused(copy, **itself) == ((400, "InvalidRequest") if world.strict else (200, ""))
    assert refused(copy, **itself, MetadataDirective="REPLACE") == (200, "")
    assert refused(copy, **itself, StorageClass="STANDARD_IA") == (200, "")
    assert refused(copy, **itself | {"Key": "b"}) == (200, "")
    rule: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    world.aws.s3.put_bucket_encryption(
        Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}
    )
    assert refused(copy, **itself) == (200, "")


@switch("kms-keys")
def test_who_cannot_use_a_key_cannot_read(world: World) -> None:
    bucket = world.bucket()
    kms = world.aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    version = world.put(bucket, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    stranger = world.user(EVERYTHING_OF_S3).s3
    holder = world.user(
        EVERYTHING_OF_S3,
        {
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": key,
            "Condition": {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}},
        },
    ).s3
    for named in ({}, {"VersionId": version}):
        file: Any = {"Bucket": bucket, "Key": "a", **named}
        assert refused(holder.get_object, **file) == (200, "")
        assert refused(stranger.get_object, **file) == (
            (403, "AccessDenied") if world.strict else (200, "")
        )
        assert refused(stranger.head_object, **file)[0] == (403 if world.strict else 200)
    kms.disable_key(KeyId=key)
    assert refused(holder.get_object, Bucket=bucket, Key="a") == (
        (400, "KMS.DisabledException") if world.strict else (200, "")
    )
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert refused(holder.get_object, Bucket=bucket, Key="a") == (
        (400, "KMS.KMSInvalidStateException") if world.strict else (200, "")
    )


@STRICT
def test_what_cannot_be_read_can_still_be_told(world: World) -> None:
    """As MiniStack has it by itself: archived objects, and those whose key only customers have."""
    bucket = world.bucket()
    archived: Any = {"Bucket": bucket, "Key": "archived"}
    archived["VersionId"] = world.put(bucket, "archived", StorageClass="GLACIER")
    assert refused(world.aws.s3.get_object, **archived) == (403, "InvalidObjectState")
    assert world.aws.s3.head_object(**archived)["StorageClass"] == "GLACIER"
    theirs: Any = {"Bucket": bucket, "Key": "theirs"}
    key: Any = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    theirs["VersionId"] = world.put(bucket, "theirs", **key)
    assert refused(world.aws.s3.get_object, **theirs) == (400, "InvalidRequest")
    assert refused(world.aws.s3.get_object, **theirs, **key) == (200, "")
    another: Any = key | {"SSECustomerKey": "x" * 32}
    assert refused(world.aws.s3.get_object, **theirs, **another)[0] == 403


@switch("restores")
def test_a_listing_tells_what_is_restored(world: World) -> None:
    bucket, s3 = world.bucket(), world.aws.s3
    for key, kind in (("a", "GLACIER"), ("b", "DEEP_ARCHIVE"), ("c", "STANDARD")):
        world.put(bucket, key, StorageClass=kind)
    world.put(bucket, "a", StorageClass="GLACIER")
    s3.restore_object(Bucket=bucket, Key="a", RestoreRequest={"Days": 1})

    def told(*attributes: Any) -> list[tuple[str, str, Any]]:
        more: dict[str, Any] = {"OptionalObjectAttributes": attributes} if attributes else {}
        page: Any = s3.list_object_versions(Bucket=bucket, **more)
        return [
            (v["Key"], v["StorageClass"], v["RestoreStatus"])
            for v in page["Versions"]
            if "RestoreStatus" in v
        ]

    assert told() == []
    under_way = [("a", "GLACIER", {"IsRestoreInProgress": True})]
    assert told("RestoreStatus") == (under_way if world.strict else [])
    if world.strict:
        until(lambda: told("RestoreStatus") != under_way)
        [(key, _, status)] = told("RestoreStatus")
        assert (key, status["IsRestoreInProgress"]) == ("a", False)
        assert status["RestoreExpiryDate"] > datetime.now(UTC)
    assert told() == []


# Transactions


def send(world: World, url: str, body: bytes, **headers: str) -> tuple[int, str]:
    """Status and code of S3's answer to a PUT of a URL; no header but these."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with requests.Session() as session:
        session.trust_env = False
        verify = str(world.aws.authority)
        answer = session.put(url, data=body, headers=named, verify=verify, timeout=60)
    code = re.search(r"<Code>(\w+)</Code>", answer.text)
    return answer.status_code, code[1] if code else ""


def signed(world: World, body: bytes) -> tuple[str, dict[str, str]]:
    """A URL for these bytes, at a key that is free, and the headers that are signed with it."""
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    s3 = boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=world.aws.endpoint,
        aws_access_key_id=world.aws.identity.access_key,
        aws_secret_access_key=world.aws.identity.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    url = s3.generate_presigned_url(
        "put_object",
        Params={
            "Bucket": world.bucket(),
            "Key": "a",
            "ContentLength": len(body),
            "ChecksumSHA256": checksum,
            "IfNoneMatch": "*",
        },
    )
    assert "content-length%3Bhost%3Bif-none-match%3Bx-amz-checksum-sha256" in url
    return url, {"x-amz-checksum-sha256": checksum, "if-none-match": "*"}


@STRICT
def test_a_url_takes_the_bytes_it_was_signed_for_once(world: World) -> None:
    """What MiniStack does by itself; `unsigned-headers` is what it does not."""
    body = b"0123456789"
    url, headers = signed(world, body)
    another = signed(world, b"9876543210")[1]
    for bytes_, told, why in (
        (body + b"x", headers, (403, "SignatureDoesNotMatch")),
        (body[1:], headers, (403, "SignatureDoesNotMatch")),
        (b"9876543210", headers, (400, "BadDigest")),
        (b"9876543210", another, (403, "SignatureDoesNotMatch")),
        (body, {"if-none-match": "*"}, (403, "SignatureDoesNotMatch")),
        (body, headers | {"if-none-match": '"e"'}, (403, "SignatureDoesNotMatch")),
    ):
        assert send(world, url, bytes_, **told) == why, (bytes_, told)
    assert send(world, url.replace("/a?", "/b?"), body, **headers) == (403, "SignatureDoesNotMatch")
    assert send(world, url, body, **headers) == (200, "")
    assert send(world, url, body, **headers) == (412, "PreconditionFailed")


@switch("unsigned-headers")
def test_a_url_takes_no_header_of_s3_that_is_not_signed(world: World) -> None:
    body = b"0123456789"
    url, headers = signed(world, body)
    answer = send(world, url, body, **headers, **{"x-amz-tagging": "a=b"})
    assert answer == ((403, "AccessDenied") if world.strict else (200, ""))


def puts(table: str, *keys: str) -> Any:
    return [{"Put": {"TableName": table, "Item": {"pk": {"S": key}}}} for key in keys]


@switch("conflicts", hold_ms=HOLD_MS)
def test_what_touches_an_item_of_a_transaction_is_refused(world: World) -> None:
    dynamodb, table = world.aws.dynamodb, world.table()
    shared: Any = {"TableName": table, "Key": {"pk": {"S": "shared"}}}
    own: Any = {"TableName": table, "Key": {"pk": {"S": "own"}}}
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(dynamodb.transact_write_items, TransactItems=puts(table, "shared"))
        if world.strict:
            until(lambda: refused(dynamodb.update_item, **shared)[1])
        singles = [
            refused(dynamodb.put_item, TableName=table, Item=shared["Key"]),
            refused(dynamodb.update_item, **shared),
            refused(dynamodb.delete_item, **shared),
        ]
        conflict = (400, "TransactionConflictException") if world.strict else (200, "")
        assert singles == [conflict] * 3
        got = refused(dynamodb.transact_get_items, TransactItems=[{"Get": shared}])
        assert got == ((400, "TransactionCanceledException") if world.strict else (200, ""))
        assert reasons(dynamodb, puts(table, "own", "shared")) == (
            ["None", "TransactionConflict"] if world.strict else []
        )
        assert ("Item" in dynamodb.get_item(**own)) is not world.strict
        assert refused(dynamodb.put_item, TableName=table, Item=own["Key"]) == (200, "")
        assert not under_way.done() or not world.strict
        under_way.result()
    assert refused(dynamodb.update_item, **shared) == (200, "")


def reasons(dynamodb: Any, items: Any) -> list[str]:
    """Why a transaction was cancelled, item by item."""
    try:
        dynamodb.transact_write_items(TransactItems=items)
    except dynamodb.exceptions.TransactionCanceledException as error:
        return [each["Code"] for each in error.response["CancellationReasons"]]
    return []


@switch("conflicts", hold_ms=HOLD_MS)
def test_a_token_whose_transaction_is_under_way_is_in_progress(world: World) -> None:
    dynamodb, table = world.aws.dynamodb, world.table()
    item: Any = {"TableName": table, "Key": {"pk": {"S": "a"}}}
    call: Any = {"TransactItems": puts(table, "a"), "ClientRequestToken": "token"}
    told: list[str] = []
    dynamodb.meta.events.register(  # boto3 asks again by itself
        "after-call.dynamodb.TransactWriteItems",
        lambda parsed, **_: told.append(parsed.get("Error", {}).get("Code", "")),
    )
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(dynamodb.transact_write_items, **call)
        if world.strict:
            until(lambda: refused(dynamodb.update_item, **item)[1])
        refused(dynamodb.transact_write_items, **call)
        assert told[0] == ("TransactionInProgressException" if world.strict else "")
        under_way.result()
    assert refused(dynamodb.transact_write_items, **call) == (200, "")


# EventBridge


@switch("queue-policies")
def test_a_queue_gets_what_its_policy_admits(world: World) -> None:
    admitted, closed, dlq = world.queue(), world.queue(), world.queue()
    pattern = {"source": ["here"]}
    world.admit(admitted, world.rule(pattern, Arn=admitted[1]))
    rule = world.rule(pattern, Arn=closed[1], DeadLetterConfig={"Arn": dlq[1]})
    world.admit(closed, f"{rule}-of-another")
    world.admit(dlq, rule)
    entry: Any = {"Source": "here", "DetailType": "Thing", "Detail": '{"a": 1}'}
    world.aws.events.put_events(Entries=[entry])
    [whole] = world.messages(admitted[0], 1)
    [message] = world.messages((dlq if world.strict else closed)[0], 1)
    assert json.loads(message["Body"])["detail"] == json.loads(whole["Body"])["detail"] == {"a": 1}
    attributes = message.get("MessageAttributes", {}).items()
    assert {name: each["StringValue"] for name, each in attributes} == (
        {"RULE_ARN": rule, "TARGET_ARN": closed[1], "ERROR_CODE": "NO_PERMISSIONS"}
        if world.strict
        else {}
    )
    other = (closed if world.strict else dlq)[0]
    assert "Messages" not in world.aws.sqs.receive_message(QueueUrl=other)


@switch("malformed-details")
def test_a_detail_that_is_no_object_is_refused(world: World) -> None:
    details = ['{"a": 1}', "{", "[]", '{"b": 2}']
    entries: Any = [{"Source": "here", "DetailType": "T", "Detail": each} for each in details]
    answer = world.aws.events.put_events(Entries=entries)
    told = [entry.get("ErrorCode") for entry in answer["Entries"]]
    bad = "MalformedDetail"
    assert told == ([None, bad, bad, None] if world.strict else [None] * 4)
    assert answer["FailedEntryCount"] == (2 if world.strict else 0)


@switch("event-conditions")
def test_policies_tell_events_by_source_and_detail_type(world: World) -> None:
    sender = world.user(
        {
            "Effect": "Allow",
            "Action": "events:PutEvents",
            "Resource": "*",
            "Condition": {
                "StringEquals": {"events:source": "here"},
                "ForAllValues:StringLike": {"events:detail-type": "Batch *"},
            },
        }
    ).events

    def send(source: str, *kinds: str) -> tuple[int, str]:
        entries = [{"Source": source, "DetailType": kind, "Detail": "{}"} for kind in kinds]
        return refused(sender.put_events, Entries=entries)

    denied = (403, "AccessDeniedException")
    assert send("here", "Batch Created", "Batch Failed") == ((200, "") if world.strict else denied)
    assert send("there", "Batch Created") == denied
    assert send("here", "Batch Created", "Thing") == denied


# Lambda


@switch("batches")
def test_a_mapping_gathers_what_comes_in_its_window(world: World) -> None:
    function, queue = world.function(), world.queue()
    for _ in range(3):
        entries: Any = [{"Id": str(n), "MessageBody": "m"} for n in range(10)]
        world.aws.sqs.send_message_batch(QueueUrl=queue[0], Entries=entries)
    world.aws.functions.create_event_source_mapping(
        FunctionName=function,
        EventSourceArn=queue[1],
        BatchSize=25,
        MaximumBatchingWindowInSeconds=3,
    )

    def counts() -> list[int]:
        return [int(line) for line in world.printed(function) if line.isdigit()]

    until(lambda: sum(counts()) == 30, "all messages")
    assert counts() == ([25, 5] if world.strict else [10, 10, 10])


@switch("mappings")
def test_a_mapping_that_lambda_would_refuse_is_refused(world: World) -> None:
    function, queue = world.function(Timeout=40), world.queue(VisibilityTimeout="39")
    create, update = (
        world.aws.functions.create_event_source_mapping,
        world.aws.functions.update_event_source_mapping,
    )
    mapping: Any = {"FunctionName": function, "EventSourceArn": queue[1], "Enabled": False}
    verdict = (400, "InvalidParameterValueException") if world.strict else (200, "")
    assert refused(create, **mapping) == verdict
    world.aws.sqs.set_queue_attributes(QueueUrl=queue[0], Attributes={"VisibilityTimeout": "40"})
    assert refused(create, **mapping, BatchSize=11) == verdict
    made = create(**mapping, BatchSize=11, MaximumBatchingWindowInSeconds=1)["UUID"]
    assert refused(update, UUID=made, MaximumBatchingWindowInSeconds=0) == verdict
    assert refused(update, UUID=made, BatchSize=10, MaximumBatchingWindowInSeconds=0) == (200, "")


@switch("environments")
def test_an_environment_of_more_than_4_kb_is_refused(world: World) -> None:
    most: Any = {"Environment": {"Variables": {"A": "x" * (4096 - len('{"A":""}'))}}}
    more: Any = {"Environment": {"Variables": {"AB": "x" * (4096 - len('{"A":""}'))}}}
    verdict = (400, "InvalidParameterValueException") if world.strict else (200, "")
    function = world.function(**most)
    assert refused(world.function, **more) == verdict
    update = world.aws.functions.update_function_configuration
    assert refused(update, FunctionName=function, **more) == verdict


# AppConfig


@switch("validators")
def test_a_configuration_that_breaks_its_schema_is_not_deployed(world: World) -> None:
    appconfig = world.aws.appconfig
    schema = {"$schema": "http://json-schema.org/draft-04/schema#", "required": ["routes"]}
    application = appconfig.create_application(Name="a")["Id"]
    environment = appconfig.create_environment(ApplicationId=application, Name="e")["Id"]
    profile = appconfig.create_configuration_profile(
        ApplicationId=application,
        Name="p",
        LocationUri="hosted",
        Validators=[{"Type": "JSON_SCHEMA", "Content": json.dumps(schema)}],
    )["Id"]

    def deploy(table: bytes) -> tuple[int, str]:
        made = appconfig.create_hosted_configuration_version(
            ApplicationId=application,
            ConfigurationProfileId=profile,
            Content=table,
            ContentType="application/json",
        )
        return refused(
            appconfig.start_deployment,
            ApplicationId=application,
            EnvironmentId=environment,
            DeploymentStrategyId="AppConfig.AllAtOnce",
            ConfigurationProfileId=profile,
            ConfigurationVersion=str(made["VersionNumber"]),
        )

    assert deploy(b"{}") == ((400, "BadRequestException") if world.strict else (200, ""))
    if world.strict:  # or the first one is still under way
        assert deploy(b'{"routes": []}') == (200, "")


# By way of CloudFormation, which goes round the API here


def stack(world: World, environment: str, visibility: int) -> str:
    """Status of a stack with a queue that feeds a function; its numbers are parameters, as text."""
    name = f"stack-{uuid.uuid4().hex}"
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Handler": "index.handler",
            "Runtime": "python3.13",
            "Role": f"arn:aws:iam::{ACCOUNT}:role/any",
            "Timeout": 30,
            "Environment": {"Variables": {"A": environment}},
            "Code": {"ZipFile": "def handler(e, _):\n    print(len(e['Records']))\n"},
        },
    }
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": visibility}}
    mapping = {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "FunctionName": {"Ref": "F"},
            "EventSourceArn": {"Fn::GetAtt": ["Q", "Arn"]},
            "BatchSize": {"Ref": "Number"},
            "ScalingConfig": {"MaximumConcurrency": {"Ref": "Number"}},
        },
    }
    template = {
        "Parameters": {"Number": {"Type": "Number", "Default": 5}},
        "Resources": {"F": function, "Q": queue, "M": mapping},
        "Outputs": {"Q": {"Value": {"Ref": "Q"}}, "F": {"Value": {"Ref": "F"}}},
    }
    formation = world.aws.cloudformation
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template))

    def ended() -> str:
        status = formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        return "" if status.endswith("IN_PROGRESS") else name

    return until(ended)


def status(world: World, name: str) -> str:
    return str(world.aws.cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])


@switch("environments")
def test_a_template_cannot_have_a_large_environment(world: World) -> None:
    made = status(world, stack(world, "x" * 4096, 30))
    assert made == ("ROLLBACK_COMPLETE" if world.strict else "CREATE_COMPLETE")


@switch("mappings")
def test_a_template_cannot_have_an_impossible_mapping(world: World) -> None:
    made = status(world, stack(world, "x", 29))
    assert made == ("ROLLBACK_COMPLETE" if world.strict else "CREATE_COMPLETE")


@STRICT
def test_a_template_s_numbers_can_be_parameters(world: World) -> None:
    name = stack(world, "x", 30)
    told = world.aws.cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in told}
    world.aws.sqs.send_message(QueueUrl=outputs["Q"], MessageBody="m")
    until(lambda: "1" in world.printed(outputs["F"]), "the message")


# Starting


@pytest.mark.parametrize(
    "change, why",
    [
        (
            "from importlib import metadata; metadata.version = lambda _: '1.5.34'",
            "MiniStack 1.5.34 is installed, and local/strict_aws is for 1.5.33",
        ),
        (
            "from ministack.services import dynamodb; del dynamodb.handle_request",
            "ministack.services.dynamodb: handle_request is missing",
        ),
        (
            "from ministack.services.cloudformation import provisioners as p;"
            "del p._RESOURCE_HANDLERS['AWS::Lambda::Function']['create']",
            "create is missing",
        ),
        (
            "import os; os.environ['STRICT_OFF'] = 'ranges,conflict'",
            "STRICT_OFF names ['conflict']; there are",
        ),
    ],
)
def test_what_cannot_be_made_strict_does_not_start(change: str, why: str) -> None:
    start = subprocess.run(
        [str(ROOT / ".venv-stack/bin/python"), "-c", f"{change}; import local.strict_aws.app"],
        cwd=ROOT,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert start.returncode
    assert why in start.stderr


def test_it_is_the_pinned_ministack_that_is_made_strict() -> None:
    [pinned] = re.findall(r"^ministack==(\S+)", (ROOT / "requirements/stack.in").read_text(), re.M)
    assert pinned == WRITTEN_FOR
