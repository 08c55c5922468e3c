"""The restore drill: a ledger of before under another name, and every file sent again."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from aep_intake_cli.command import main

from local.simulator.batches import SERVED
from local.simulator.seed import LOYALTY
from local.stack import LocalStack
from tests.stack.scene import Scene, scene

ROUTES = {
    "routes": [
        {"name": "alone", "match": "in/**", "datasetId": LOYALTY},
        {
            "name": "windowed",
            "match": "windowed/**",
            "datasetId": LOYALTY,
            "inputFormat": {"format": "json"},
            "batch": {"window": "1m"},
        },
        {
            "name": "marked",
            "match": "marked/**",
            "datasetId": LOYALTY,
            "inputFormat": {"format": "json"},
            "batch": {"marker": "_SUCCESS"},
        },
    ]
}


@pytest.fixture(scope="module")
def drilled(deployed: LocalStack) -> Iterator[Scene]:
    routes = json.dumps(ROUTES).encode()
    limits = {"outcomeSeconds": 1}
    with scene(
        deployed,
        "drilled",
        routes=routes,
        limits=limits,
        seconds={"OnUpload": 15},
        DeliverBatches="true",
    ) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        yield played


def delivered(played: Scene, *keys: str) -> None:
    """All these are in batches that have succeeded."""

    def held() -> bool:
        return all(len(holding(played, key)) == 1 for key in keys)

    played.until_ticked(held, f"not delivered: {keys}")


def holding(played: Scene, key: str) -> list[str]:
    """The batches whose data is served, and that hold a row of this object."""
    row = f'{{"key": "{key}"}}'.encode()
    return [
        batch.id
        for batch in played.aep.batches()
        if batch.status in SERVED
        for content in played.aep.files(batch.id).values()
        if row in content.read()
    ]


def told(played: Scene, key: str) -> dict[str, Any]:
    """What GET /objects answers."""
    uri = quote(f"s3://{played.bucket}/{key}", safe="")
    answer: dict[str, Any] = played.stack.sender.call(
        "GET", f"{played.stack.api}/objects?uri={uri}"
    ).json()
    return answer


def put(played: Scene, key: str) -> str:
    played.put(key, b"" if key.endswith("_SUCCESS") else f'{{"key": "{key}"}}\n'.encode())
    return key


def again(played: Scene, key: str) -> str:
    """The event of an object's one version, as S3 sent it."""
    [version] = [
        found
        for found in played.aws.s3.list_object_versions(Bucket=played.bucket, Prefix=key)[
            "Versions"
        ]
        if found["Key"] == key
    ]
    about = {
        "version-id": version["VersionId"],
        "etag": version["ETag"].strip('"'),
        "size": version["Size"],
    }
    return played.send(played.object_created(key, **about))


def test_after_a_restore_every_file_is_sent_again_and_none_is_loaded_twice(
    drilled: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, ledger = uuid.uuid4().hex, drilled.outputs["LedgerTable"]
    old = put(drilled, f"in/{folder}/old.json")
    torn = put(drilled, f"in/{folder}/torn.json")
    early = put(drilled, f"windowed/{folder}/early.json")
    delivered(drilled, old, torn)
    # The point to restore to: the emulator copies a table as it is, and not as it was.
    since, other = datetime.now(UTC), f"{ledger}-restored"
    drilled.aws.dynamodb.restore_table_to_point_in_time(
        SourceTableName=ledger, TargetTableName=other, UseLatestRestorableTime=True
    )
    # Of a transaction that was just made, DynamoDB restores a claim, perhaps, and not its order.
    for what in ("order", "delivery"):
        its = {"pk": {"S": f"{what}#{drilled.about(torn)['externalId']}"}, "sk": {"S": what}}
        drilled.aws.dynamodb.delete_item(TableName=other, Key=its)
    alone = [put(drilled, f"in/{folder}/{n}.json") for n in range(3)]
    windowed = [early, *(put(drilled, f"windowed/{folder}/{n}.json") for n in range(4))]
    marked = [put(drilled, f"marked/{folder}/part-{n}.json") for n in range(3)]
    marker = put(drilled, f"marked/{folder}/_SUCCESS")
    files = [old, torn, *alone, *windowed, *marked]
    delivered(drilled, *files)
    drilled.quiet()
    posts = len(drilled.creates())
    ends = Counter(end["externalId"] for end in drilled.details("Batch Succeeded"))

    for name, value in drilled.stack.operator().identity.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", drilled.aws.endpoint)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(drilled.aws.authority))
    asked = ["--stack", drilled.stack.name, "--table", other, "--since", since.isoformat()]
    assert main(["restored", *asked]) == 0
    drilled.stack.outputs = drilled.stack.redeploy(
        drilled.stack.name, {"ExistingLedgerTable": other}
    )
    assert drilled.outputs["LedgerTable"] == other
    # Of what it has forgotten the ledger says that; what was put back it knows.
    forgotten, put_back = told(drilled, alone[0]), told(drilled, windowed[1])
    assert forgotten["status"] == 404
    assert "has forgotten it" in forgotten["detail"]
    assert put_back["ledgerRestoredAt"]
    assert put_back["versions"][0]["window"]["stage"] in ("planned", "finished")
    # The windows of before are over, so theirs would be others by now.
    for key in (*files, marker):
        again(drilled, key)
    new = put(drilled, f"in/{folder}/new.json")
    delivered(drilled, new)

    def known() -> bool:
        """Each batch of before is announced, and ended, once more, but for the first."""
        now = Counter(end["externalId"] for end in drilled.details("Batch Succeeded"))
        first = drilled.about(old)["externalId"]
        return all(now[who] > times for who, times in ends.items() if who != first)

    drilled.until_ticked(known, "what the ledger had forgotten is not known again")
    drilled.quiet()
    assert {key: len(holding(drilled, key)) for key in (*files, new)} == dict.fromkeys(
        (*files, new), 1
    )
    assert len(drilled.creates()) == posts + 1, "only the new file has a new batch"
    assert [version["state"] for version in told(drilled, alone[0])["versions"]] == ["loaded"]
    assert drilled.stack.parked() == []
    assert drilled.details("Arrival Rejected") == []
