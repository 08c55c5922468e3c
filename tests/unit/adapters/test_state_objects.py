"""What S3 tells of a list in the state bucket, where the local AWS never does."""

import io
from typing import TYPE_CHECKING, cast

import pytest
from aep_intake.adapters.aws.state_objects import StateObjects
from aep_intake.model.errors import StorageUnavailable
from botocore.response import StreamingBody
from botocore.stub import Stubber

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def lists(s3: Stubber) -> StateObjects:
    return StateObjects(lambda: cast("S3Client", s3.client), "state")


def test_a_list_is_gone_only_if_s3_says_so_of_the_list(s3: Stubber) -> None:
    s3.add_client_error("get_object", "NoSuchKey", http_status_code=404)
    assert lists(s3).whole("windows/a") is None


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (404, "NoSuchBucket"),
        (400, "KMS.DisabledException"),
        (503, "SlowDown"),
    ],
)
def test_any_other_answer_says_nothing_of_it(s3: Stubber, status: int, code: str) -> None:
    """Otherwise another list would be written, or what is in a batch would count as lost."""
    said = f"s3://state/windows/a: .* {status}$"
    s3.add_client_error("get_object", code, http_status_code=status)
    with pytest.raises(StorageUnavailable, match=said):
        lists(s3).whole("windows/a")
    s3.add_client_error("get_object", code, http_status_code=status)
    with pytest.raises(StorageUnavailable, match=said):
        lists(s3).read("windows/a", 0, 9)


def test_a_list_that_breaks_off_is_no_shorter_list(s3: Stubber) -> None:
    s3.add_response("get_object", {"Body": StreamingBody(io.BytesIO(b"{}\n"), 30)})
    with pytest.raises(StorageUnavailable, match="IncompleteReadError"):
        lists(s3).whole("windows/a")


def test_of_two_that_write_at_once_one_tries_again(s3: Stubber) -> None:
    """S3 has not decided yet whose list stands: so the other one must not be taken for written."""
    s3.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
    with pytest.raises(StorageUnavailable, match="409"):
        lists(s3).put("windows/a", [b"{}\n"])
    s3.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
    assert lists(s3).put("windows/a", [b"{}\n"]) is False
