"""What hypercorn starts: MiniStack's own application, after all that is replaced in it."""

from local.strict_aws.patches import check_version

check_version()

from ministack.app import app as ministack  # noqa: E402

from local.strict_aws import (  # noqa: E402, F401
    appconfig,
    dynamodb,
    eventbridge,
    functions,
    s3_answers,
    s3_events,
    speed,
)
from local.strict_aws.injection import controlled  # noqa: E402 - the last, so that it comes first

app = controlled(ministack)
