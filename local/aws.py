"""Typed AWS clients and signed requests for one identity at one loopback endpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from local.children import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mypy_boto3_appconfig import AppConfigClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

REGION: Final = "eu-west-1"


@dataclass(frozen=True)
class Identity:
    """An access key of the local AWS."""

    access_key: str
    secret_key: str = field(repr=False)

    def variables(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


class Aws:
    """What `identity` can do at `endpoint`, whose certificate `authority` (a PEM file) vouches for.

    Raises ValueError unless `endpoint` is on loopback.
    """

    def __init__(self, endpoint: str, authority: Path, identity: Identity) -> None:
        if not endpoint.startswith(LOOPBACK):
            raise ValueError(f"not a loopback endpoint: {endpoint!r}")
        self.endpoint = endpoint
        self.authority = authority
        self.identity = identity
        self._session = boto3.Session(identity.access_key, identity.secret_key, None, REGION)

    @cached_property
    def _arguments(self) -> dict[str, Any]:
        # Path addressing: bucket.127.0.0.1 is no host name. Many tests share one client's pool.
        config = Config(
            proxies={},
            max_pool_connections=50,
            s3={"addressing_style": "path"},
            # A function that is invoked may start on a busy machine, and run into its time-out.
            read_timeout=180,
            retries={"total_max_attempts": 2},
        )
        return {
            "endpoint_url": self.endpoint,
            "verify": str(self.authority),
            "config": config,
        }

    def client(self, service: str) -> Any:
        """A client of one of the many services that few need, without types."""
        untyped: Any = self._session
        return untyped.client(service, **self._arguments)

    @cached_property
    def appconfig(self) -> AppConfigClient:
        return self._session.client("appconfig", **self._arguments)

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        return self._session.client("cloudformation", **self._arguments)

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        return self._session.client("dynamodb", **self._arguments)

    @cached_property
    def events(self) -> EventBridgeClient:
        return self._session.client("events", **self._arguments)

    @cached_property
    def iam(self) -> IAMClient:
        return self._session.client("iam", **self._arguments)

    @cached_property
    def functions(self) -> LambdaClient:
        return self._session.client("lambda", **self._arguments)

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        return self._session.client("logs", **self._arguments)

    @cached_property
    def s3(self) -> S3Client:
        return self._session.client("s3", **self._arguments)

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        return self._session.client("secretsmanager", **self._arguments)

    @cached_property
    def sns(self) -> SNSClient:
        return self._session.client("sns", **self._arguments)

    @cached_property
    def sqs(self) -> SQSClient:
        return self._session.client("sqs", **self._arguments)

    def call(
        self, method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """A request to API Gateway, signed as AWS_IAM asks. `body`: JSON text, bytes, or data."""
        if not url.startswith(LOOPBACK):
            raise ValueError(f"not a loopback address: {url!r}")
        data = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        unsigned = AWSRequest(
            method, url, data=data, headers={"Content-Type": "application/json", **(headers or {})}
        )
        keys = Credentials(self.identity.access_key, self.identity.secret_key)
        SigV4Auth(keys, "execute-api", REGION).add_auth(unsigned)
        with requests.Session() as session:
            session.trust_env = False  # a proxy of this machine is no way to loopback
            return session.request(
                method,
                url,
                data=data,
                headers=dict(unsigned.headers),
                verify=str(self.authority),
                timeout=120,  # its function has half a minute, and may start on a busy machine
            )
