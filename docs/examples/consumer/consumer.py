"""Writes what became of each batch into a table.

Events come at least once, and in any order. So each has an item of its own, by external id and
detail-type: whoever gets it again writes the same item again.
"""

import json
import os
from typing import Any

import boto3

KEPT = ("batchId", "datasetId", "route", "owner", "fileCount", "ingestedRecordCount", "detail")
table = boto3.resource("dynamodb").Table(os.environ["OUTCOMES"])


def handler(event: dict[str, Any], context: object) -> None:
    """Write the event of a message; if that fails, SQS sends the message again."""
    for message in event["Records"]:
        table.put_item(Item=outcome(json.loads(message["body"])))


def outcome(event: dict[str, Any]) -> dict[str, Any]:
    """The item of an event: its key is what consumers drop repeats by."""
    detail = event["detail"]
    key = {"externalId": detail["externalId"], "kind": event["detail-type"]}
    return key | {name: detail[name] for name in KEPT if name in detail}
