"""S3 that answers what a test says, also what no emulator does."""

from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber


@pytest.fixture
def s3() -> Iterator[Stubber]:
    client = boto3.client(
        "s3",
        region_name="eu-west-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(
            retries={"total_max_attempts": 1}, response_checksum_validation="when_required"
        ),
    )
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()
