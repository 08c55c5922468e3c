"""The least that a function like ours can load: what cold starts are measured against.

The libraries the functions use, and clients from one shared session; nothing of ours.
"""

import os

import boto3
import requests
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.parameters import AppConfigProvider
from botocore.config import Config

logger = Logger()
metrics = Metrics()
https = requests.Session()
session = boto3.Session()
config = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
)
clients = {
    name: session.client(name, config=config)  # type: ignore[call-overload]
    for name in os.environ["FLOOR_CLIENTS"].split(",")
}
if "appconfigdata" in clients:
    routes = AppConfigProvider("environment", "application", boto3_client=clients["appconfigdata"])


def handler(event: object, context: object) -> None:
    """Nothing is done here."""
