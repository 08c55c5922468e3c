"""What S3 tells of objects. Where MiniStack tells it otherwise: tests/unit/adapters/test_s3.py."""

import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import pytest
from aep_intake.adapters.aws.s3 import Objects
from aep_intake.model.errors import (
    MalformedRequest,
    NotReadable,
    ObjectArchived,
    ObjectGone,
    StorageUnavailable,
)
from aep_intake.model.files import Archived, Arrival

from local.aws import REGION
from local.stack import LocalStack
from tests.listings import readable
from tests.stack.scene import until

HOSTILE = [
    "a b",
    "a+b",
    "a%20b",
    "%",
    "a//b",
    "a&b<c>d'e\"f",
    "été/東京/📈.json",
    "e\u0301",
    "new\nline",
    "a=b?c#d;e,f:g@h!i$j(k)l*m[n]o{p}q|r\\s^t~u`v",
]


@pytest.fixture
def objects(stack: LocalStack) -> Objects:
    return Objects(lambda: stack.aws.s3)


@pytest.fixture(params=["versioned", "unversioned"])
def bucket(stack: LocalStack, request: pytest.FixtureRequest) -> str:
    """A bucket that nobody listens to: the landing bucket would make a batch of each file."""
    return made(stack, versioned=request.param == "versioned")


def made(stack: LocalStack, *, versioned: bool) -> str:
    name = f"folder-{uuid.uuid4().hex}"
    stack.aws.s3.create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    if versioned:
        stack.aws.s3.put_bucket_versioning(
            Bucket=name, VersioningConfiguration={"Status": "Enabled"}
        )
    return name


def put(stack: LocalStack, bucket: str, keys: Iterable[str], body: bytes = b"{}\n") -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: stack.aws.s3.put_object(Bucket=bucket, Key=k, Body=body), keys))


def test_a_file_of_a_folder_is_as_it_arrived(
    stack: LocalStack, objects: Objects, bucket: str
) -> None:
    put(stack, bucket, ["in/a", "in/b", "in", "other/in/c"])
    found = readable(objects.folder(bucket, "in/"))
    heads = [objects.arrival(bucket, key) for key in ("in/a", "in/b")]
    # S3 tells whole seconds here and there; MiniStack tells milliseconds in a list only.
    seconds = [replace(file, time=file.time // 1000 * 1000) for file in found]
    assert seconds == heads
    assert [objects.read(file, 0, 99) for file in found] == [b"{}\n"] * 2
    assert list(objects.folder(bucket, "none/")) == []


def test_the_landing_bucket_tells_the_version_that_arrived(
    stack: LocalStack, objects: Objects
) -> None:
    landing = stack.outputs["LandingBucketName"]
    folder = (
        f"landing/loyalty/_temporary/{uuid.uuid4().hex}/"  # not for us, so no batch comes of it
    )
    versions = [stack.put(f"{folder}a.json", b"%d" % n) for n in range(2)]
    [found] = readable(objects.folder(landing, folder))
    assert found.version_id == versions[1]
    assert objects.read(found, 0, 1) == b"1"


def test_only_the_present_version_is_in_a_folder(stack: LocalStack, objects: Objects) -> None:
    bucket = made(stack, versioned=True)
    for body in (b"1", b"22", b"333"):
        put(stack, bucket, ["in/a", "in/b", "in/c"], body)
    stack.aws.s3.delete_object(Bucket=bucket, Key="in/b")
    stack.aws.s3.delete_object(Bucket=bucket, Key="in/c")
    put(stack, bucket, ["in/c"], b"4444")
    assert [(file.key, file.size) for file in readable(objects.folder(bucket, "in/"))] == [
        ("in/a", 3),
        ("in/c", 4),
    ]


def test_a_deleted_object_is_not_in_a_folder(
    stack: LocalStack, objects: Objects, bucket: str
) -> None:
    put(stack, bucket, ["in/a", "in/b"])
    stack.aws.s3.delete_object(Bucket=bucket, Key="in/a")
    assert [file.key for file in readable(objects.folder(bucket, "in/"))] == ["in/b"]


def test_what_lies_in_an_archive_is_told_until_it_is_restored(
    stack: LocalStack, objects: Objects, bucket: str
) -> None:
    """S3 reads such an object only once it is restored; then it is a file like any other."""
    stack.aws.s3.put_object(Bucket=bucket, Key="in/a", Body=b"{}\n", StorageClass="GLACIER")
    [archived] = objects.folder(bucket, "in/")
    assert isinstance(archived, Archived)
    with pytest.raises(ObjectArchived):
        objects.read(archived.file, 0, 3)
    stack.aws.s3.restore_object(Bucket=bucket, Key="in/a", RestoreRequest={"Days": 1})
    assert list(objects.folder(bucket, "in/")) == [archived], "it takes hours, there"

    def restored() -> list[Arrival]:
        return [one for one in objects.folder(bucket, "in/") if isinstance(one, Arrival)]

    [file] = until(restored)
    assert file == archived.file
    assert objects.read(file, 0, 3) == b"{}\n"


def test_objects_from_before_a_bucket_was_versioned_have_no_version(
    stack: LocalStack, objects: Objects
) -> None:
    bucket = made(stack, versioned=False)
    put(stack, bucket, ["in/a", "in/b"], b"before")
    stack.aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(stack, bucket, ["in/b"], b"after")
    old, new = readable(objects.folder(bucket, "in/"))
    assert (old.version_id, objects.read(old, 0, 9)) == (None, b"before")
    assert new.version_id is not None
    assert objects.read(new, 0, 9) == b"after"


@pytest.mark.parametrize("most", [1, 4, 10, 11, 10_000])
def test_at_most_so_much_is_read(
    stack: LocalStack, objects: Objects, bucket: str, most: int
) -> None:
    put(stack, bucket, ["a"], b"0123456789")
    assert objects.read(objects.arrival(bucket, "a"), 0, most) == b"0123456789"[:most]


def test_an_older_version_is_read_as_it_was(stack: LocalStack, objects: Objects) -> None:
    bucket = made(stack, versioned=True)
    put(stack, bucket, ["a"], b"old")
    arrival = objects.arrival(bucket, "a")
    put(stack, bucket, ["a"], b"new")
    assert objects.read(arrival, 0, 99) == b"old"
    stack.aws.s3.delete_object(Bucket=bucket, Key="a")
    assert objects.read(arrival, 0, 99) == b"old"
    assert arrival.version_id is not None
    stack.aws.s3.delete_object(Bucket=bucket, Key="a", VersionId=arrival.version_id)
    with pytest.raises(ObjectGone, match=f"v:{arrival.version_id}.* 404 NoSuchVersion"):
        objects.read(arrival, 0, 99)


def test_what_was_overwritten_in_an_unversioned_bucket_is_gone(
    stack: LocalStack, objects: Objects
) -> None:
    bucket = made(stack, versioned=False)
    put(stack, bucket, ["a"], b"old")
    arrival = objects.arrival(bucket, "a")
    put(stack, bucket, ["a"], b"new")
    with pytest.raises(ObjectGone, match="412 PreconditionFailed"):
        objects.read(arrival, 0, 99)
    put(stack, bucket, ["a"], b"old")
    assert objects.read(arrival, 0, 99) == b"old"
    stack.aws.s3.delete_object(Bucket=bucket, Key="a")
    with pytest.raises(ObjectGone, match="404 NoSuchKey"):
        objects.read(arrival, 0, 99)


def test_a_delete_marker_is_nothing_to_read(stack: LocalStack, objects: Objects) -> None:
    bucket = made(stack, versioned=True)
    put(stack, bucket, ["a"])
    arrival = objects.arrival(bucket, "a")
    marker = stack.aws.s3.delete_object(Bucket=bucket, Key="a")["VersionId"]
    with pytest.raises(ObjectGone, match="405 MethodNotAllowed"):
        objects.read(replace(arrival, version_id=marker), 0, 99)


def test_a_folder_of_1200_objects_comes_page_by_page(stack: LocalStack) -> None:
    bucket = made(stack, versioned=True)
    keys = [f"in/{n:05}.json" for n in range(1200)]
    put(stack, bucket, [*keys, *keys[900:1100]])
    asked = 0

    def count(**_: object) -> None:
        nonlocal asked
        asked += 1

    client = stack.aws.s3
    client.meta.events.register("before-call.s3.ListObjectVersions", count, unique_id="count")
    try:
        found = Objects(lambda: client).folder(bucket, "in/")
        assert asked == 0
        assert [file.key for file in readable(islice(found, 1))] == keys[:1]
        assert asked == 1
        assert [file.key for file in readable(found)] == keys[1:]
        assert asked == 2
    finally:
        client.meta.events.unregister("before-call.s3.ListObjectVersions", unique_id="count")


def test_hostile_keys_are_told_as_they_are(
    stack: LocalStack, objects: Objects, bucket: str
) -> None:
    keys = {f"in put+%2B/{key}" for key in (*HOSTILE, "x" * 1013, "é" * 506)}
    assert max(len(key.encode()) for key in keys) == 1024
    put(stack, bucket, keys)
    found = readable(objects.folder(bucket, "in put+%2B/"))
    assert {file.key for file in found} == keys
    assert all(objects.read(file, 0, 9) == b"{}\n" for file in found)


def test_what_the_function_may_not_do_is_said(stack: LocalStack, bucket: str) -> None:
    stranger = stack.identity(f"nobody-{bucket}", [allowed("s3:ListAllMyBuckets", "*")]).s3
    nobody = Objects(lambda: stranger)
    put(stack, bucket, ["in/a"])
    with pytest.raises(StorageUnavailable, match=r"s3:ListBucketVersions") as raised:
        list(nobody.folder(bucket, "in/"))
    assert f"'s3://{bucket}/in/' cannot be listed" in raised.value.detail
    assert "403 AccessDenied" in raised.value.detail
    with pytest.raises(NotReadable, match="403 AccessDenied"):
        nobody.arrival(bucket, "in/a")
    [file] = readable(Objects(lambda: stack.aws.s3).folder(bucket, "in/"))
    with pytest.raises(NotReadable, match=r"cannot be read now; S3 answered 403 AccessDenied"):
        nobody.read(file, 0, 9)


def test_these_rights_are_enough(stack: LocalStack, bucket: str) -> None:
    arn = f"arn:aws:s3:::{bucket}"
    statements = [
        allowed("s3:ListBucketVersions", arn),
        allowed("s3:GetObject", f"{arn}/*"),
        allowed("s3:GetObjectVersion", f"{arn}/*"),
    ]
    put(stack, bucket, ["in/a"])
    reader = stack.identity(f"reader-{bucket}", statements).s3
    objects = Objects(lambda: reader)
    found = readable(objects.folder(bucket, "in/"))
    assert [objects.read(file, 0, 9) for file in found] == [b"{}\n"]


def test_an_object_that_does_not_exist_is_said(
    stack: LocalStack, objects: Objects, bucket: str
) -> None:
    with pytest.raises(MalformedRequest, match="does not exist"):
        objects.arrival(bucket, "none")


def allowed(action: str, resource: str) -> dict[str, object]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def test_a_bucket_that_is_not_there_is_told(objects: Objects) -> None:
    name = f"none-{uuid.uuid4().hex}"
    with pytest.raises(StorageUnavailable, match="404 NoSuchBucket"):
        list(objects.folder(name, ""))
    with pytest.raises(StorageUnavailable, match="404 NoSuchBucket"):
        objects.read(Arrival(name, "a", None, "e", None, 1, 0), 0, 1)
