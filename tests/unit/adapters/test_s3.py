"""What S3 tells of objects, in those points where the local AWS does otherwise, or never does.

It does not encode the keys it lists (control characters then make no XML, and a carriage return
becomes a line feed), and never breaks off.
"""

import io
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote_plus

import boto3
import pytest
from aep_intake.adapters.aws.s3 import Objects
from aep_intake.model.errors import (
    CustomerKeyNeeded,
    MalformedRequest,
    NotReadable,
    ObjectArchived,
    ObjectGone,
    StorageUnavailable,
)
from aep_intake.model.files import Archived, Arrival
from botocore.config import Config
from botocore.response import StreamingBody
from botocore.stub import Stubber

from tests.listings import readable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ARRIVAL = Arrival("landing", "in/a", "v1", "e1", None, 10, 0)
UNVERSIONED = Arrival("landing", "in/a", None, "e1", "00ff", 10, 0)
MOMENT = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)


def objects(s3: Stubber) -> Objects:
    return Objects(lambda: cast("S3Client", s3.client))


def answers(s3: Stubber, content: bytes, length: int, **expected: str) -> io.BytesIO:
    raw = io.BytesIO(content)
    s3.add_response(
        "get_object",
        {"Body": StreamingBody(raw, length)},
        {"Bucket": "landing", "Key": "in/a", **expected},
    )
    return raw


def version(key: str, name: str = "v1", *, latest: bool = True) -> dict[str, Any]:
    return {
        "Key": key,
        "VersionId": name,
        "IsLatest": latest,
        "ETag": '"e1"',
        "Size": 10,
        "LastModified": MOMENT,
    }


# What S3 is asked for; of whoever does not ask, it does not say what is restored.
LISTING: dict[str, Any] = {
    "Bucket": "landing",
    "Prefix": "in/",
    "OptionalObjectAttributes": ["RestoreStatus"],
}
RESTORED = {"IsRestoreInProgress": False, "RestoreExpiryDate": MOMENT}


def lists(s3: Stubber, *found: dict[str, Any], **more: Any) -> None:
    s3.add_response("list_object_versions", {"Versions": list(found), **more})


@pytest.mark.parametrize(
    ("arrival", "which"),
    [(ARRIVAL, {"VersionId": "v1"}), (UNVERSIONED, {"IfMatch": '"e1"'})],
)
def test_the_very_version_is_asked_for_and_no_more_of_it(
    s3: Stubber, arrival: Arrival, which: dict[str, str]
) -> None:
    raw = answers(s3, b"0123", 4, Range="bytes=0-3", **which)
    assert objects(s3).read(arrival, 0, 4) == b"0123"
    assert raw.closed


def test_a_store_that_takes_no_ranges_is_not_read_to_its_end(s3: Stubber) -> None:
    raw = answers(s3, b"x" * 1_000_000, 1_000_000, Range="bytes=0-3", VersionId="v1")
    taken = 0
    plain = raw.read

    def counting(amount: int | None = None) -> bytes:
        nonlocal taken
        more = plain(amount)
        taken += len(more)
        return more

    raw.read = counting  # type: ignore[method-assign]
    assert objects(s3).read(ARRIVAL, 0, 4) == b"xxxx"
    assert taken == 4
    assert raw.closed


def test_an_answer_that_breaks_off_is_no_short_object(s3: Stubber) -> None:
    answers(s3, b"01", 4, Range="bytes=0-9", VersionId="v1")
    with pytest.raises(StorageUnavailable, match="'s3://landing/in/a': IncompleteReadError"):
        objects(s3).read(ARRIVAL, 0, 10)


NEVER_GIVEN = "Invalid version id specified"
SSE_C = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be "
    "provided to retrieve the object."
)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "InvalidArgument", NEVER_GIVEN),
        (404, "NoSuchKey", ""),
        (404, "NoSuchVersion", ""),
        (405, "MethodNotAllowed", ""),
        (412, "PreconditionFailed", ""),
    ],
)
def test_what_s3_surely_says_is_gone_is_gone(
    s3: Stubber, status: int, code: str, message: str
) -> None:
    s3.add_client_error("get_object", code, message, http_status_code=status)
    with pytest.raises(ObjectGone) as raised:
        objects(s3).read(ARRIVAL, 0, 10)
    for part in ("'s3://landing/in/a'", "v:v1", "not there any more", code):
        assert part in raised.value.detail


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (403, "RequestTimeTooSkewed"),
        (403, "AllAccessDisabled"),
        (400, "KMS.DisabledException"),
        (400, "KMS.KMSInvalidStateException"),
    ],
)
def test_what_we_may_not_read_now_is_tried_again(s3: Stubber, status: int, code: str) -> None:
    """It says nothing of whether the object is there."""
    s3.add_client_error("get_object", code, http_status_code=status)
    with pytest.raises(NotReadable, match=f"'s3://landing/in/a' .* S3 answered {status} {code}"):
        objects(s3).read(ARRIVAL, 0, 10)


def test_what_must_be_restored_is_named(s3: Stubber) -> None:
    s3.add_client_error("get_object", "InvalidObjectState", http_status_code=403)
    with pytest.raises(ObjectArchived, match=r"'s3://landing/in/a' .* restore it"):
        objects(s3).read(ARRIVAL, 0, 10)


def test_what_only_its_sender_can_decrypt_is_named(s3: Stubber) -> None:
    s3.add_client_error("get_object", "InvalidRequest", SSE_C, http_status_code=400)
    with pytest.raises(CustomerKeyNeeded, match="SSE-C"):
        objects(s3).read(ARRIVAL, 0, 10)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (301, "PermanentRedirect", "The bucket you are attempting to access must be addressed …"),
        (307, "TemporaryRedirect", ""),
        (400, "AuthorizationHeaderMalformed", "the region 'eu-west-1' is wrong"),
        (400, "ExpiredToken", ""),
        (400, "InvalidArgument", "Requests specifying Server Side Encryption with Customer …"),
        (400, "InvalidRequest", "Missing required header for this request"),
        (404, "NoSuchBucket", "The specified bucket does not exist"),
        (416, "InvalidRange", ""),
    ],
)
def test_other_answers_say_nothing_of_the_object(
    s3: Stubber, status: int, code: str, message: str
) -> None:
    """Nor do they pass for sure, so the other files of its batch do not wait for it forever."""
    s3.add_client_error("get_object", code, message, http_status_code=status)
    with pytest.raises(NotReadable, match=f"S3 answered {status} {code}"):
        objects(s3).read(ARRIVAL, 0, 10)


def test_where_no_version_was_asked_for_none_was_never_given(s3: Stubber) -> None:
    s3.add_client_error("get_object", "InvalidArgument", NEVER_GIVEN, http_status_code=400)
    with pytest.raises(NotReadable):
        objects(s3).read(UNVERSIONED, 0, 10)


HEAD = {"ETag": '"e1"', "ContentLength": 10, "LastModified": MOMENT, "VersionId": "v1"}
DONE = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2026 00:00:00 GMT"'


def test_the_present_version_of_an_object_is_told(s3: Stubber) -> None:
    s3.add_response("head_object", HEAD, {"Bucket": "landing", "Key": "in/a"})
    time = int(MOMENT.timestamp() * 1000)
    expected = Arrival("landing", "in/a", "v1", "e1", None, 10, time)
    assert objects(s3).arrival("landing", "in/a") == expected


@pytest.mark.parametrize(
    "about",
    [
        {"StorageClass": "GLACIER"},
        {"StorageClass": "DEEP_ARCHIVE", "Restore": 'ongoing-request="true"'},
        {"StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "ARCHIVE_ACCESS"},
    ],
)
def test_an_archived_object_is_known_before_it_is_read(s3: Stubber, about: dict[str, str]) -> None:
    s3.add_response("head_object", HEAD | about)
    with pytest.raises(ObjectArchived, match=r"s3://landing/in/a .* restore it"):
        objects(s3).arrival("landing", "in/a")


@pytest.mark.parametrize(
    "about",
    [
        {"StorageClass": "GLACIER", "Restore": DONE},
        {"StorageClass": "GLACIER_IR"},
        {"StorageClass": "INTELLIGENT_TIERING"},
    ],
)
def test_what_can_be_read_at_once_is_not_archived(s3: Stubber, about: dict[str, str]) -> None:
    s3.add_response("head_object", HEAD | about)
    assert objects(s3).arrival("landing", "in/a").version_id == "v1"


def refused(s3: Stubber, status: int) -> None:
    """A HEAD has no body, so botocore knows no code but the status."""
    s3.add_client_error("head_object", str(status), http_status_code=status)


def test_what_does_not_exist_is_said(s3: Stubber) -> None:
    refused(s3, 404)
    with pytest.raises(MalformedRequest, match="s3://landing/in/a does not exist"):
        objects(s3).arrival("landing", "in/a")


@pytest.mark.parametrize(
    ("status", "code", "message", "raised"),
    [
        (403, "AccessDenied", "", NotReadable),
        (403, "InvalidObjectState", "", ObjectArchived),
        (400, "InvalidRequest", SSE_C, CustomerKeyNeeded),
        (400, "KMS.DisabledException", "", NotReadable),
        (404, "NoSuchKey", "", MalformedRequest),
    ],
)
def test_why_a_head_was_refused_one_byte_tells(
    s3: Stubber, status: int, code: str, message: str, raised: type[Exception]
) -> None:
    refused(s3, 400 if status == 400 else 403)
    s3.add_client_error(
        "get_object",
        code,
        message,
        http_status_code=status,
        expected_params={"Bucket": "landing", "Key": "in/a", "Range": "bytes=0-0"},
    )
    with pytest.raises(raised):
        objects(s3).arrival("landing", "in/a")


def test_a_refusal_that_has_passed_is_tried_again(s3: Stubber) -> None:
    refused(s3, 403)
    answers(s3, b"0", 1, Range="bytes=0-0")
    with pytest.raises(StorageUnavailable, match="403"):
        objects(s3).arrival("landing", "in/a")


def test_a_head_that_s3_cannot_answer_is_tried_again(s3: Stubber) -> None:
    refused(s3, 503)
    with pytest.raises(StorageUnavailable, match="503"):
        objects(s3).arrival("landing", "in/a")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "KMS.ThrottlingException"),
        (400, "RequestTimeout"),
        (409, "OperationAborted"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "SlowDown"),
    ],
)
def test_what_passes_is_tried_again(s3: Stubber, status: int, code: str) -> None:
    s3.add_client_error("get_object", code, http_status_code=status)
    with pytest.raises(StorageUnavailable, match=f"S3 answered {status} {code}") as raised:
        objects(s3).read(ARRIVAL, 0, 10)
    assert not isinstance(raised.value, NotReadable)
    s3.add_client_error("list_object_versions", code, http_status_code=status)
    with pytest.raises(StorageUnavailable, match=f"S3 answered {status} {code}$"):
        list(objects(s3).folder("landing", "in/"))


def test_no_connection_is_tried_again() -> None:
    # Port 9 discards; nobody listens there.
    client = boto3.client(
        "s3",
        region_name="eu-west-1",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(StorageUnavailable, match="EndpointConnectionError"):
        Objects(lambda: client).read(ARRIVAL, 0, 10)
    with pytest.raises(StorageUnavailable, match=r"'s3://landing/in/' .*EndpointConnection"):
        list(Objects(lambda: client).folder("landing", "in/"))


def test_what_is_listed_becomes_an_arrival(s3: Stubber) -> None:
    lists(
        s3,
        version("in/a"),
        version("in/a", "v0", latest=False),
        version("in/b", "null"),
        version("in/c", "v0", latest=False),
        DeleteMarkers=[{"Key": "in/c", "VersionId": "v1", "IsLatest": True}],
    )
    time = int(MOMENT.timestamp() * 1000)
    assert list(objects(s3).folder("landing", "in/")) == [
        Arrival("landing", "in/a", "v1", "e1", None, 10, time),
        Arrival("landing", "in/b", None, "e1", None, 10, time),
    ]


@pytest.mark.parametrize(
    ("told", "archived"),
    [
        ({}, False),
        ({"StorageClass": "STANDARD_IA"}, False),
        ({"StorageClass": "GLACIER_IR"}, False),
        ({"StorageClass": "INTELLIGENT_TIERING"}, False),
        ({"StorageClass": "GLACIER"}, True),
        ({"StorageClass": "DEEP_ARCHIVE"}, True),
        ({"StorageClass": "GLACIER", "RestoreStatus": {"IsRestoreInProgress": True}}, True),
        ({"StorageClass": "GLACIER", "RestoreStatus": RESTORED}, False),
    ],
)
def test_what_lies_in_an_archive_is_listed_as_that(
    s3: Stubber, told: dict[str, Any], *, archived: bool
) -> None:
    lists(s3, version("in/a") | told)
    [found] = objects(s3).folder("landing", "in/")
    assert isinstance(found, Archived) is archived
    assert (found.file if isinstance(found, Archived) else found).key == "in/a"


def test_a_folder_is_listed_after_a_key(s3: Stubber) -> None:
    expected = LISTING | {"KeyMarker": "in/a"}
    answer = {"IsTruncated": False, "Versions": [version("in/b")]}
    s3.add_response("list_object_versions", answer, expected)
    [found] = readable(objects(s3).folder("landing", "in/", after="in/a"))
    assert found.key == "in/b"


def test_the_versions_before_one_are_those_of_its_key(s3: Stubber) -> None:
    now = [version("in/a") | {"VersionId": name, "ETag": f'"{name}"'} for name in ("v3", "v1")]
    null, longer = version("in/a") | {"VersionId": "null"}, version("in/a2")
    old = version("in/a") | {"VersionId": "v0"}  # of what `null` followed, nobody can say
    answer = {"IsTruncated": True, "Versions": [*now, null, old, longer]}
    expected = {"Bucket": "landing", "Prefix": "in/a", "MaxKeys": 100}
    for _ in range(3):
        s3.add_response("list_object_versions", answer, expected)
    newest = replace(ARRIVAL, version_id="v3")
    assert [file.etag for file in objects(s3).before(newest)] == ["v1"]
    assert objects(s3).before(replace(ARRIVAL, version_id="v1")) == []
    assert objects(s3).before(replace(ARRIVAL, version_id="gone")) == []
    assert objects(s3).before(UNVERSIONED) == [], "S3 is not asked"


def test_an_empty_folder_has_nothing(s3: Stubber) -> None:
    s3.add_response("list_object_versions", {"IsTruncated": False}, LISTING)
    assert list(objects(s3).folder("landing", "in/")) == []


@pytest.mark.parametrize(
    "key", ["a b+c%20d", "car\rriage\nreturn", "\x01\x1f\x7f", "\ufffe", "été/東京/📈", "a//b"]
)
def test_keys_are_asked_for_encoded_and_given_plain(s3: Stubber, key: str) -> None:
    """Also between pages, where the last key of one is where the next begins."""
    encoded = quote_plus(f"in/{key}", safe="/")
    lists(
        s3,
        version(encoded),
        EncodingType="url",
        IsTruncated=True,
        NextKeyMarker=encoded,
        NextVersionIdMarker="v1",
    )
    s3.add_response(
        "list_object_versions",
        {"Versions": [version(encoded + "2")], "EncodingType": "url"},
        LISTING | {"KeyMarker": f"in/{key}", "VersionIdMarker": "v1"},
    )
    found = [file.key for file in readable(objects(s3).folder("landing", "in/"))]
    assert found == [f"in/{key}", f"in/{key}2"]


def test_a_page_that_fails_does_not_take_back_those_before(s3: Stubber) -> None:
    lists(s3, version("in/a"), IsTruncated=True, NextKeyMarker="in/a", NextVersionIdMarker="v1")
    s3.add_client_error("list_object_versions", "SlowDown", http_status_code=503)
    found = objects(s3).folder("landing", "in/")
    assert [file.key for file in readable(islice(found, 1))] == ["in/a"]
    with pytest.raises(StorageUnavailable, match="SlowDown"):
        next(found)
