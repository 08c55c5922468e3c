"""The command that makes a restored ledger fit to go on, as far as it asks AWS."""

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from aep_intake_cli import restored_ledger
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.options import Time
from botocore.stub import Stubber

SINCE = datetime(2026, 11, 28, 0, 2, tzinfo=UTC)
TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table"


def client(service: Any) -> Any:
    return boto3.client(
        service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


def source(summary: dict[str, Any]) -> str:
    with Stubber(client("dynamodb")) as table:
        answer = {"Table": {"RestoreSummary": summary} if summary else {}}
        table.add_response("describe_table", answer, {"TableName": "ledger-restored"})
        dynamodb: Any = table.client
        return restored_ledger._source_table(dynamodb, "ledger-restored")


def test_a_ledger_without_an_id_is_the_table_it_was_restored_from() -> None:
    summary = {
        "SourceTableArn": f"{TABLE}/aep-intake-Ledger-1",
        "RestoreDateTime": SINCE,
        "RestoreInProgress": False,
    }
    assert source(summary) == "aep-intake-Ledger-1"
    with pytest.raises(CommandFailed, match="name the ledger's first table with --first-table"):
        source({})


def test_lists_of_windows_that_were_sealed_since_are_found() -> None:
    """By when they were written: a window that was sealed before midnight is of the day before."""
    times = {
        "windows/2026-11-27/window-a.jsonl": SINCE - timedelta(hours=2),
        "windows/2026-11-27/window-b.jsonl": SINCE - timedelta(minutes=4),
        "windows/2026-11-28/window-c.jsonl": SINCE + timedelta(hours=9),
    }
    listed = [{"Key": key, "LastModified": when} for key, when in times.items()]
    with Stubber(client("s3")) as s3:
        asked = {"Bucket": "state", "Prefix": "windows/", "StartAfter": "windows/2026-11-27"}
        s3.add_response("list_objects_v2", {"IsTruncated": False, "Contents": listed}, asked)
        stubbed: Any = s3.client
        found = list(restored_ledger._list_keys(stubbed, "state", SINCE))
    assert [key[-7] for key in found] == ["b", "c"]


@pytest.mark.parametrize(
    "text", ["2026-11-28T00:02:00Z", "2026-11-28T00:02", "2026-11-28T01:02+01:00"]
)
def test_a_time_is_in_utc_unless_it_says_otherwise(text: str) -> None:
    assert Time().convert(text, None, None) == SINCE
