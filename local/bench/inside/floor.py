"""The least that a function like ours can load: what cold starts are measured against.

The clients that the handler next to it makes, from one shared session, and the libraries that it
uses with them; nothing of ours.
"""

import os

import boto3
from aws_lambda_powertools import Logger, Metrics
from botocore.config import Config

logger = Logger()
metrics = Metrics()
session = boto3.Session()
config = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
)
clients = {
    name: session.client(name, config=config)  # type: ignore[call-overload]
    for name in os.environ["FLOOR_CLIENTS"].split(",")
}
if "appconfigdata" in clients:
    from aws_lambda_powertools.utilities.parameters import AppConfigProvider

    routes = AppConfigProvider("environment", "application", boto3_client=clients["appconfigdata"])

if "secretsmanager" in clients:  # it calls Adobe
    import requests

    https = requests.Session()


def handler(event: object, context: object) -> None:
    """Nothing is done here."""
