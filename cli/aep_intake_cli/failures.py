"""What a command prints when it fails: what failed, where, and what to do."""

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
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "GetBucketInventoryConfiguration": "s3:GetInventoryConfiguration",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
}
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId")

_ADVICE: dict[type[BotoCoreError], str] = {
    NoCredentialsError: "sign in to AWS, set AWS_PROFILE, or give --profile",
    NoRegionError: "give --region, or set AWS_REGION to the stack's region",
    ProfileNotFound: "`aws configure list-profiles` lists your profiles",
    SSOError: "sign in again with `aws sso login`",
    TokenRetrievalError: "sign in again with `aws sso login`",
    EndpointConnectionError: "check the region and your network",
}


class CommandFailed(Exception):
    """The text says why the command failed, and what to do."""


def explain_error(error: Exception) -> str | None:
    """What failed, and what to do where that is known. None: nobody expects this error, a bug."""
    match error:
        case CommandFailed():
            return str(error)
        case IntakeError():
            return error.detail
        case ClientError() | BotoCoreError():
            return explain_aws_error(error)
        case OSError(filename=str(name)):
            return f"{name}: {error.strerror}"
    return None


def explain_aws_error(error: BotoCoreError | ClientError) -> str:
    """What AWS or its client reports, and what to do where that is known."""
    if isinstance(error, BotoCoreError):
        for kind, advice in _ADVICE.items():
            if isinstance(error, kind):
                return f"{str(error).rstrip('.')}: {advice}"
        return f"the call of AWS failed: {error}"
    details, operation = error.response.get("Error", {}), error.operation_name
    code, message = details.get("Code", ""), details.get("Message", "")
    if code in _DENIED:
        return f"your AWS credentials do not allow {_ACTIONS.get(operation, operation)}: {message}"
    if code in _EXPIRED:
        return f"your AWS credentials are wrong or have expired: {message}"
    return f"{operation} failed ({code}): {message}"
