"""The command that makes a restored ledger fit to go on, as far as it asks AWS."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from aep_intake.adapters.dynamodb.restored import DynamoRestored
from aep_intake.adapters.dynamodb.table import Table, expiry
from aep_intake.model import records
from aep_intake.model.errors import NoRoute, ObjectGone
from aep_intake.model.files import Arrival
from aep_intake.model.orders import WindowPart
from aep_intake.model.progress import Rejection
from aep_intake.model.windows import Window
from aep_intake_cli import restored_ledger
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.options import Time
from botocore.stub import Stubber

from tests.builders import order
from tests.items import Items
from tests.memory_ledger import MemoryLedger

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


def test_a_time_may_be_told_by_how_long_ago_it_was() -> None:
    told = Time().convert("12h", None, None)
    since = datetime.now(UTC) - timedelta(hours=12)
    assert since - timedelta(minutes=1) < told <= since


NOW, RETENTION = 1_790_000_000_500, 60 * 86_400_000
LOST = Arrival("landing", "in/lost.json", "v1", "e1", "0061", 10, NOW - 9000)


def test_when_a_file_joined_its_window_is_known_by_the_second() -> None:
    window = Window.at(order(), 60_000, NOW)
    items: Any = Items(
        [
            {
                "pk": {"S": f"window#{window.window_id}"},
                "sk": {"S": f"files#{at}"},
                "files": {"S": records.listed((replace(LOST, key=f"{at}"),))},
                "expires": expiry(at + 2 * RETENTION + window.length),
            }
            for at in (NOW - 70_000, NOW - 1)
        ]
    )
    restored = DynamoRestored(Table(items, "ledger-restored"), RETENTION)
    assert list(restored.listed(window, NOW - 60_000)) == [
        (replace(LOST, key=f"{NOW - 1}"), NOW - 500)
    ]


def test_what_an_order_let_go_is_not_claimed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command runs once more: its redrive would be taken for what its window has."""
    ledger, window = MemoryLedger(), Window.at(order(), 60_000, NOW - 60_000)
    whole, torn, refused = (replace(LOST, key=f"in/{name}.json") for name in ("w", "t", "r"))
    files = (LOST, whole, torn, refused)
    ledger.reject(torn, Rejection.of(NoRoute("no route fits"), NOW - 20_000))  # and redriven then
    ledger.windows.open(window)
    ledger.windows.register(window, files, files)
    part = WindowPart(window.window_id, 0, len(files), 40)
    window = window.sealed(NOW).planned((part,))
    ledger.windows.kept[window.window_id] = window
    why = Rejection.of(ObjectGone("it is gone"), NOW - 5000)
    ledger.let_go(window.part(part, 0), {LOST: why, refused: why, torn: why})
    ledger.reject(torn, Rejection.of(NoRoute("no route fits"), NOW - 20_000))

    class Restored:
        def listed(self, _: Window, since: int) -> Any:
            assert since == NOW - 60_000
            return [(file, NOW - 10_000) for file in files]

        def claims(self, *_: int) -> list[Any]:
            return []

    monkeypatch.setattr(ledger, "due", lambda *_: [SimpleNamespace(id=window.window_id)])
    kept: Any = ledger
    stub: Any = Restored()
    assert restored_ledger.make_whole(kept, stub, NOW - 60_000, NOW + 60_000) == []
    ours = window.window_id
    owners = {file: ledger.claimant(file) for file in files}
    assert owners == {LOST: None, whole: ours, torn: ours, refused: None}
