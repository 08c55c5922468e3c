"""What an operator is told when a command cannot go on: what, where, and what to do."""

from __future__ import annotations

from aep_intake.model.errors import IntakeError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

# Where IAM's action is not called like the operation.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_ACTIONS = {
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "HeadBucket": "s3:ListBucket",
}
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId")

_ADVICE: dict[type[BotoCoreError], str] = {
    NoCredentialsError: "sign in to AWS, set AWS_PROFILE, or give --profile",
    NoRegionError: "give --region, or set AWS_REGION to the stack's",
    ProfileNotFound: "`aws configure list-profiles` names those you have",
    SSOError: "sign in again with `aws sso login`",
    TokenRetrievalError: "sign in again with `aws sso login`",
    EndpointConnectionError: "is the region right, and the network there?",
}


class CannotGoOn(Exception):
    """Why a command cannot do what was asked, in words for people."""


def in_words(error: Exception) -> str | None:
    """What went wrong, and what to do about it where that is known. None: it is a bug."""
    match error:
        case CannotGoOn():
            return str(error)
        case IntakeError():
            return error.detail
        case ClientError() | BotoCoreError():
            return of_aws(error)
        case OSError(filename=str(name)):
            return f"{name}: {error.strerror}"
    return None


def of_aws(error: BotoCoreError | ClientError) -> str:
    """As `in_words`, of what AWS or its client says."""
    if isinstance(error, BotoCoreError):
        for kind, advice in _ADVICE.items():
            if isinstance(error, kind):
                return f"{str(error).rstrip('.')}: {advice}"
        return f"AWS could not be asked: {error}"
    told, operation = error.response.get("Error", {}), error.operation_name
    code, message = told.get("Code", ""), told.get("Message", "")
    if code in _DENIED:
        return f"your AWS credentials may not do {_ACTIONS.get(operation, operation)}: {message}"
    if code in _EXPIRED:
        return f"your AWS credentials are not valid (any more): {message}"
    return f"{operation} failed ({code}): {message}"
