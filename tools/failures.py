"""What an operator should know when AWS says no: one line, no traceback."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
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


def in_words(error: BotoCoreError | ClientError) -> str:
    """What went wrong, and what to do about it where that is known."""
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials found: sign in, or set AWS_PROFILE"
    if isinstance(error, NoRegionError):
        return "no AWS region chosen: set AWS_REGION to the stack's"
    if not isinstance(error, ClientError):
        return f"AWS could not be asked: {error}"
    told, operation = error.response.get("Error", {}), error.operation_name
    code, message = told.get("Code", ""), told.get("Message", "")
    if code in _DENIED:
        return f"your AWS credentials may not do {_ACTIONS.get(operation, operation)}: {message}"
    if code in _EXPIRED:
        return f"your AWS credentials are not valid (any more): {message}"
    return f"{operation} failed ({code}): {message}"
