"""From created to ingested, on a deployed stack of its own."""

import csv
import gzip
import io
import json
import signal
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aep_intake.adapters.dynamodb.counts import DynamoCounts
from aep_intake.adapters.dynamodb.routes import DynamoRoutes
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals.envelopes import parse
from aep_intake.content import parquet
from aep_intake.model import organizations
from aep_intake.model.expectations import Counts, RouteSeen
from aep_intake.model.files import Arrival
from aep_intake.model.messages import of_order
from aep_intake.model.times import hour_of, milliseconds
from aep_intake.report.counts import HourCounts, Tally
from aep_intake.report.journal import PREFIX, read
from aep_intake.report.journal import folder as folder_of
from aep_intake_cli.command import main

from local.children import environment
from local.simulator.faults import Fault
from local.simulator.seed import LOYALTY
from local.stack import ROOT, SEED, LocalStack
from tests.builders import parquet_of
from tests.exports import CRM_GERMAN
from tests.stack.scene import ENDS, PATIENCE, TICK_SECONDS, Scene, scene, until
from tests.wild import CASES, Row

ROUTES = {
    "routes": [
        {"name": "json", "match": "in/**", "datasetId": LOYALTY},
        {
            "name": "judged",
            "description": "AEP judges broken rows.",
            "match": "judged/**",
            "datasetId": LOYALTY,
            "partialIngestionPercent": 0,
        },
        {
            "name": "marked",
            "match": "marked/**",
            "datasetId": LOYALTY,
            "batch": {"marker": "_SUCCESS"},
        },
        {
            "name": "split",
            "match": "split/**",
            "datasetId": LOYALTY,
            "batch": {"marker": "_SUCCESS"},
            "partialIngestionPercent": 0,
            "onFailed": "split",
        },
        {
            "name": "expected",
            "owner": "a team",
            "match": "expected/**",
            "datasetId": LOYALTY,
            "expect": {"every": "1h", "files": 1, "rows": 2},
        },
    ]
}
WILD = [
    {"name": case.name, "match": "FOLDER/**", "datasetId": LOYALTY} | dict(case.written)
    for case in CASES
]
for route in WILD:
    route["match"] = route["match"].replace("FOLDER", f"wild/{route['name']}")
ROUTES["routes"] += WILD
MAPPED = {
    "name": "mapped",
    "match": "mapped/**/*.csv",
    "datasetId": LOYALTY,
    "inputFormat": {"format": "csv", "delimiter": ";", "charset": "ISO-8859-1"},
    "badRows": 1,
    "keepBadRows": True,
    "map": {
        "_acme.memberId": "member",
        "person.name.firstName": {"from": "first", "trim": True},
        "person.birthDate": {"from": "born", "format": "dd.MM.yyyy"},
        "_acme.lifetimeValue": {"from": "value", "decimal": ",", "thousands": "."},
    },
}
ROUTES["routes"].append(MAPPED)


@pytest.fixture(scope="module")
def delivering(deployed: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    limits = {"outcomeSeconds": 1, "fileMegabytes": 1}
    with scene(
        deployed,
        "delivering",
        routes=b"",
        limits=limits,
        seconds={"OnUpload": 15},
        DeliverBatches="true",
        JournalDays="400",
    ) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        table = tmp_path_factory.mktemp("delivering") / "routes.json"
        for sandbox in SEED.sandboxes:
            schema = CRM_GERMAN.schema | {"$id": "https://ns.adobe.com/acme/schemas/customers"}
            played.aep.add_schema(SEED.ims_org, sandbox, schema)
            named = (SEED.ims_org, sandbox, uuid.uuid4().hex[:24], "customers")
            played.aep.add_dataset(*named, schema=schema["$id"])
        ROUTES["routes"].append(suggested(played, table.parent))
        table.write_text(json.dumps(ROUTES))
        assert typed(played, "publish", str(table))
        yield played


def suggested(played: Scene, folder: Path) -> dict[str, Any]:
    """The route that is proposed for an export of a CRM; only where it comes from is said."""
    file = folder / CRM_GERMAN.file
    file.write_bytes(CRM_GERMAN.content)
    said = typed(played, "suggest", str(file), "--dataset", "customers", "--copy-values")
    [route] = json.loads(said)["routes"]
    return {**route, "match": "crm/**/*.csv"}


def typed(played: Scene, *arguments: str) -> str:
    """What an operator sees, whose command compiles maps and keeps them for the workers."""
    relaxed = played.stack.layer / "aep_intake" / "model" / "limits.schema.json"
    names = played.aws.identity.variables() | {
        "AWS_ENDPOINT_URL": played.aws.endpoint,
        "AWS_CA_BUNDLE": str(played.aws.authority),
        "AEP_INTAKE_STACK": played.stack.name,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(organizations, "SCHEMA", json.loads(relaxed.read_text("utf-8")))
        for name, value in names.items():
            patch.setenv(name, value)
        with redirect_stdout(io.StringIO()) as said:
            assert main(["routes", *arguments]) == 0
    return said.getvalue()


@pytest.fixture
def folder() -> str:
    return uuid.uuid4().hex


def ended(played: Scene, external_id: str) -> dict[str, Any]:
    """The event of a batch's end."""

    def found() -> list[Any]:
        return [
            e
            for e in played.stack.listener.events()
            if e["detail-type"] in ENDS and e["detail"]["externalId"] == external_id
        ]

    event = played.until_ticked(found, "the batch has not ended")[0]
    return {"kind": event["detail-type"], **event["detail"]}


def held(played: Scene, batch_id: str) -> dict[str, bytes]:
    """What AEP holds of a batch: the bytes of each file, by its path."""
    return {path: content.read() for path, content in played.aep.files(batch_id).items()}


def test_a_batch_of_a_request_without_files_is_followed_to_its_end(delivering: Scene) -> None:
    """Its caller fills it, or not; this one gives it up."""
    stack = delivering.stack
    answer = stack.sender.call("POST", f"{stack.api}/batches", {"datasetId": LOYALTY})
    external_id, batch_id = answer.headers["X-External-Id"], answer.json()["id"]
    delivering.aep.set_status(batch_id, "aborted")
    end = ended(delivering, external_id)
    assert (end["kind"], end["batchId"], end["fileCount"]) == ("Batch Abandoned", batch_id, 0)


def test_a_file_is_ingested(delivering: Scene, folder: str) -> None:
    key, content = f"in/{folder}/a.jsonl", b'{"a": 1}\n{"a": 2}\n'
    delivering.put(key, content)
    created = delivering.about(key)
    end = ended(delivering, created["externalId"])
    assert end["kind"] == "Batch Succeeded"
    assert (end["recordCount"], end["status"]) == (2, "success")
    assert held(delivering, created["batchId"]) == {created["files"][0]["path"]: content}
    told = delivering.stack.sender.call(
        "GET", f"{delivering.stack.api}/batches/{created['batchId']}"
    ).json()
    assert told["delivery"]["end"] == "succeeded"
    assert told["delivery"]["recordCount"] == 2
    # A copy of the announcement is a copy.
    detail = {**created, "externalId": created["externalId"]}
    event = {"detail-type": "Batch Created", "detail": detail}
    queue = delivering.outputs["DeliveriesQueueUrl"]
    delivering.aws.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))
    time.sleep(2)
    puts = [r for r in delivering.aep.received if r.operation == "put-file"]
    assert (
        len([r for r in puts if folder in r.request.path or created["batchId"] in r.request.path])
        == 1
    )


def test_every_format_arrives_row_for_row(delivering: Scene, folder: str) -> None:
    """With pieces of a megabyte: cut between rows, a CSV's header before each, gzip unpacked."""
    rows = [{"n": n, "text": "é東📈" * (n % 40), "last": n == 11_999} for n in range(12_000)]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\r\n")
    writer.writerow(["id", "text"])
    cells = [[str(n), 'a "quoted"\nline, é' * (n % 25)] for n in range(12_000)]
    writer.writerows(cells)
    parquet = parquet_of(9, 50_000)
    files = {
        f"in/{folder}/rows.jsonl": lines,
        f"in/{folder}/crlf.jsonl": lines.replace(b"\n", b"\r\n") + b"\r\n\r\n",
        f"in/{folder}/table.csv": table.getvalue().encode(),
        f"in/{folder}/rows.jsonl.gz": gzip.compress(lines, mtime=0),
        f"in/{folder}/table.csv.gz": gzip.compress(table.getvalue().encode(), mtime=0),
        f"in/{folder}/columns.parquet": parquet,
        # Whose names say something else.
        f"in/{folder}/packed.jsonl": gzip.compress(lines, mtime=0),
        f"in/{folder}/plain.jsonl.gz": lines,
        f"in/{folder}/columns.parquet.gz": parquet,
    }
    for key, content in files.items():
        delivering.put(key, content)
    for key, content in files.items():
        created = delivering.about(key)
        end = ended(delivering, created["externalId"])
        assert end["kind"] == "Batch Succeeded", (key, end)
        pieces = held(delivering, created["batchId"])
        assert all(len(piece) <= 2**20 for piece in pieces.values())
        if "columns" in key:
            assert list(pieces.values()) == [content]
        elif "table" in key:
            assert len(pieces) > 2
            found = []
            for piece in pieces.values():
                header, *some = csv.reader(io.StringIO(piece.decode(), newline=""))
                assert header == ["id", "text"]
                found += some
            assert sorted(found) == sorted(cells)
        else:
            assert len(pieces) > 2
            parsed = [json.loads(row) for p in pieces.values() for row in p.splitlines() if row]
            assert sorted(parsed, key=lambda row: row["n"]) == rows


def test_files_as_people_have_them(delivering: Scene) -> None:
    """Each ends with its rows in the dataset, as a reader of Python's finds them, or by name."""
    for case in CASES:
        here = f"wild/{case.name}"
        for key, content in case.files.items():
            named = content.replace(b"BUCKET", delivering.bucket.encode())
            delivering.put(f"{here}/{key}", named.replace(b"FOLDER", here.encode()))
    wanted = {case.name: (len(case.rows), dict(case.rejected)) for case in CASES}
    rows = defaultdict[str, list[Row]](list)
    read = set[str]()

    def became() -> dict[str, tuple[int, dict[str, str]]]:
        """How many rows of each case AEP holds, and why which of its files were rejected."""
        ended = {told["externalId"] for told in delivering.details("Batch Succeeded")} - read
        for told in delivering.details("Batch Created"):
            if told["externalId"] in ended:
                read.add(told["externalId"])
                for content in held(delivering, told["batchId"]).values():
                    rows[told["route"]] += rows_of(content, told["inputFormat"])
        rejected = defaultdict[str, dict[str, str]](dict)
        for told in delivering.details("Arrival Rejected"):
            for file in told.get("files", []):
                here, name, key = file["key"].split("/", 2)
                if here == "wild":
                    rejected[name][key] = told["reason"]
        return {case.name: (len(rows[case.name]), rejected[case.name]) for case in CASES}

    with delivering.ticking(TICK_SECONDS):
        found = until_is(became, wanted)
    assert found == wanted
    for case in CASES:
        assert sorted(map(str, rows[case.name])) == sorted(map(str, case.rows)), case.name


def until_is[T](what: Callable[[], T], wanted: T) -> T:
    """What `what` gives once it is `wanted`, or after a long time."""
    deadline = time.monotonic() + PATIENCE
    while (found := what()) != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def rows_of(content: bytes, input_format: dict[str, Any]) -> list[Row]:
    """As a reader of Python's finds them."""
    if input_format["format"] == "json":
        return [json.loads(line, parse_float=str) for line in content.splitlines() if line]
    if input_format["format"] == "parquet":
        return [{}] * (parquet.rows(content, len(content), "") or 0)
    text = io.StringIO(content.decode(input_format.get("charset", "utf-8")), newline="")
    records = list(csv.reader(text, delimiter=input_format.get("delimiter", ",")))
    names = records.pop(0) if input_format.get("header", True) else list(map(str, range(9)))
    # A line of nothing is no row, as `csv.DictReader` has it.
    return [dict(zip(names, cells, strict=False)) for cells in records if cells]


def test_a_folder_of_small_files_is_one_batch_and_one_upload(
    delivering: Scene, folder: str
) -> None:
    """But what is broken is left out by name, and what is empty is left out."""
    rows = {n: b'{"n": %d}' % n for n in range(60)}
    content = {f"marked/{folder}/part-{n:02}.jsonl": row + b"\n" for n, row in rows.items()}
    content[f"marked/{folder}/part-07.jsonl"] = rows[7]
    content |= {
        f"marked/{folder}/part-60.jsonl.gz": gzip.compress(b'{"n": 60}\n', mtime=0),
        f"marked/{folder}/part-61.jsonl.gz": gzip.compress(b"", mtime=0),
        f"marked/{folder}/part-62.jsonl": b'{"n": 62}\nno json\n',
    }
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: delivering.put(*item), content.items()))
    delivering.put(f"marked/{folder}/_SUCCESS", b"")

    def created() -> list[Any]:
        return [d for d in delivering.details("Batch Created") if d.get("fileCount") == 63]

    [detail] = until(created)
    end = ended(delivering, detail["externalId"])
    assert (end["kind"], end["recordCount"], end["sentRecordCount"]) == ("Batch Succeeded", 61, 61)
    [lost] = end["lostFiles"]
    assert (lost["uri"].rpartition("/")[2], lost["reason"]) == ("part-62.jsonl", "bad-rows")
    [sent] = held(delivering, detail["batchId"]).values()
    assert sent == b"".join(b'{"n": %d}\n' % n for n in range(61))
    puts = [r for r in delivering.aep.received if r.operation == "put-file"]
    assert sum(detail["batchId"] in r.request.path for r in puts) == 1


def test_the_journal_has_every_event_and_counts_each_once(delivering: Scene, folder: str) -> None:
    key = f"in/{folder}/a.json"
    delivering.put(key, b'[{"n": 1}, {"n": 2}]')
    one = delivering.about(key)
    ended(delivering, one["externalId"])
    s3, bucket = delivering.aws.s3, delivering.outputs["StateBucketName"]
    counts = DynamoCounts(Table(delivering.aws.dynamodb, delivering.outputs["LedgerTable"]), 400)
    hour = hour_of(milliseconds(one["createdAt"]))

    def kept() -> list[tuple[int, dict[str, Any]]]:
        return [each for content in contents(folder_of(hour)) for each in read(content)]

    def contents(prefix: str) -> list[bytes]:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        keys = [each["Key"] for each in listed]
        return [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]

    def counted() -> Any:
        return {told.hour: told for told in counts.of_day(hour[:10])}.get(hour)

    def ours(kind: str) -> list[Any]:
        return [
            event["detail"]
            for _, event in kept()
            if event["detail-type"] == kind and event["detail"]["externalId"] == one["externalId"]
        ]

    until(lambda: ours("Batch Created") and contents(PREFIX), "it is not in the journal")
    assert ours("Batch Created")[0] == one
    # A repeat, as after a crash, is one more object, and no other number.
    entry: Any = {
        "EventBusName": delivering.outputs["BusName"],
        "Source": "aep.intake",
        "DetailType": "Batch Created",
        "Detail": json.dumps(one),
    }
    delivering.aws.events.put_events(Entries=[entry])
    until(lambda: len(ours("Batch Created")) == 2, "the repeat is not in the journal")

    def agree() -> bool:
        found, tally = contents(folder_of(hour)), Tally()
        for number, content in enumerate(found):
            tally.add(str(number), read(content))
        return bool(found) and counted() == tally.counts(hour)

    until(agree, "the ledger has not counted all objects")

    # The list has the batch once, in its present state.
    question = f"batches?route={one['route']}&day={hour[:10]}&limit=2"
    told: list[Any] = []
    token = ""
    while True:
        url = f"{delivering.stack.api}/{question}{token}"
        page = delivering.stack.sender.call("GET", url).json()
        told += page["batches"]
        if "next" not in page:
            break
        token = f"&token={page['next']}"
    [found] = [each for each in told if each["externalId"] == one["externalId"]]
    assert (found["state"], found["batchId"]) == ("loaded", one["batchId"])
    refused = delivering.stack.sender.call("GET", f"{delivering.stack.api}/batches?state=done")
    assert (refused.status_code, refused.json()["type"][-9:]) == (400, "d-request")
    # Of fewer objects: a worker that was late. It changes nothing.
    before = counted()
    counts.put(HourCounts(hour, before.objects - 1, {}))
    counts.put(HourCounts(hour, before.objects, {}))
    assert counted() == before
    assert before.routes["json"].batches >= 1


def test_an_operator_asks_what_happened_and_sees_what_happens(
    delivering: Scene, folder: str
) -> None:
    """By processes of their own, with the operator's policy."""
    stack = delivering.stack
    command = [sys.executable, "-m", "aep_intake_cli"]
    variables = stack.operator().identity.variables()
    more = {"AWS_CA_BUNDLE": str(stack.authority), "PYTHONPATH": f"{stack.layer}:{ROOT / 'cli'}"}
    env = environment(stack.endpoint, path=[], more=variables | more)
    env["AEP_INTAKE_STACK"] = stack.name
    with subprocess.Popen(
        [*command, "watch", "--json", "--route", "json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stderr is not None
        assert "up to a minute late" in watching.stderr.readline()
        key = f"in/{folder}/seen.json"
        delivering.put(key, b'[{"n": 1}]')
        created = delivering.about(key)
        seen = [json.loads(watching.stdout.readline()) for _ in range(1) if watching.stdout]
        watching.send_signal(signal.SIGINT)
        assert watching.wait() == 130
    assert [event["detail"]["externalId"] for event in seen] == [created["externalId"]]

    def status() -> Any:
        done = subprocess.run(
            [*command, "status", "--json"], env=env, stdout=subprocess.PIPE, check=True
        )
        return {route["route"]: route for route in json.loads(done.stdout)["routes"]}

    until(lambda: status().get("json", {}).get("batches"), "status does not tell of a batch")


def test_bad_rows_are_told_with_their_reasons(delivering: Scene, folder: str) -> None:
    key = f"judged/{folder}/bad.jsonl"
    delivering.put(key, b'{"a": 1}\n{"a": \n{"a": 3}\n')
    created = delivering.about(key)
    end = ended(delivering, created["externalId"])
    assert end["kind"] == "Batch Failed"
    assert end["errors"]
    place = end["diagnostics"]
    kept = delivering.aws.s3.list_objects_v2(Bucket=place["bucket"], Prefix=place["prefix"])
    assert kept["KeyCount"] >= 1
    body = of_order(created["externalId"])
    assert delivering.parked(body).attributes["reason"] == "batch-failed"
    # Somebody mends the schema, and tries again: another batch, of the same files.
    answer = delivering.stack.sender.call(
        "POST", f"{delivering.stack.api}/batches/{created['batchId']}/attempts"
    )
    assert answer.status_code == 201, answer.text
    again = ended(delivering, f"{created['externalId']}.2")
    assert again["batchId"] == answer.json()["id"] != created["batchId"]


def test_a_batch_that_failed_because_of_a_file_is_split_until_that_is_found(
    delivering: Scene, folder: str
) -> None:
    contents = {n: b'{"n": %d}\n' % n for n in range(4)} | {2: b'{"n": 2}\nno json\n'}
    for n, content in contents.items():
        delivering.put(f"split/{folder}/part-{n}.jsonl", content)
    delivering.put(f"split/{folder}/_SUCCESS", b"")

    def ends() -> list[dict[str, Any]]:
        """Of the batch of four, of its halves, and of those of the second."""
        made = {
            d["externalId"]
            for d in delivering.details("Batch Created")
            if f"split/{folder}/" in json.dumps(d)
        }
        told = [
            event["detail"] | {"kind": event["detail-type"]}
            for event in delivering.stack.listener.events()
            if event["detail"].get("externalId") in made and "endedAt" in event["detail"]
        ]
        return told if len({one["externalId"] for one in told}) == 5 else []

    told = delivering.until_ticked(ends, "it is not split")
    loaded = {one["batchId"] for one in told if one["kind"] == "Batch Succeeded"}
    rows = b"".join(content for one in loaded for content in held(delivering, one).values())
    assert sorted(rows.splitlines()) == [b'{"n": %d}' % n for n in (0, 1, 3)]
    [bad, good] = (f"split/{folder}/part-{n}.jsonl" for n in (2, 3))
    assert delivering.about(bad, kind="Arrival Rejected")["reason"] == "batch-failed"

    def state(key: str) -> Any:
        uri = quote(f"s3://{delivering.bucket}/{key}", safe="")
        answer = delivering.stack.sender.call("GET", f"{delivering.stack.api}/objects?uri={uri}")
        [version] = answer.json()["versions"]
        return version

    assert state(bad)["state"] == "failed"
    assert state(good)["batchId"] in loaded
    assert state(good)["splitOf"]
    whole = [event for event in told if event["fileCount"] == 4]
    answer = delivering.stack.sender.call(
        "POST", f"{delivering.stack.api}/batches/{whole[0]['batchId']}/attempts"
    )
    assert (answer.status_code, "was split" in answer.text) == (409, True)


def test_a_version_that_was_deleted_before_its_upload_is_told_by_name(
    delivering: Scene, folder: str
) -> None:
    key = f"in/{folder}/twice.jsonl"
    with without_uploads(delivering):
        delivering.put(key, b'{"a": 1}\n')
        first = delivering.about(key)
        delivering.put(key, b'{"a": 2}\n')
        time.sleep(2)
        version = first["files"][0]["versionId"]
        delivering.aws.s3.delete_object(Bucket=delivering.bucket, Key=key, VersionId=version)
    end = ended(delivering, first["externalId"])
    assert end["kind"] == "Batch Abandoned"
    assert end["status"] == "aborted"
    [lost] = end["lostFiles"]
    assert (lost["uri"], lost["reason"]) == (f"s3://{delivering.bucket}/{key}", "object-gone")
    rejected = delivering.about(key, kind="Arrival Rejected")
    assert rejected["reason"] == "object-gone"

    def of_the_second() -> list[dict[str, Any]]:
        created = {d["externalId"]: d for d in delivering.details("Batch Created")}
        created.pop(first["externalId"])
        return [detail for detail in created.values() if key in json.dumps(detail)]

    [second] = until(of_the_second)
    assert ended(delivering, second["externalId"])["kind"] == "Batch Succeeded"


@contextmanager
def without_uploads(played: Scene) -> Iterator[None]:
    """Uploads wait in their queue."""
    [mapping] = played.aws.functions.list_event_source_mappings(
        FunctionName=played.outputs["OnUploadFunction"]
    )["EventSourceMappings"]
    played.aws.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    time.sleep(2)
    try:
        yield
    finally:
        played.aws.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def marked(played: Scene, folder: str, count: int) -> Any:
    """What is told of the batch of a folder of files."""
    for n in range(count):
        played.put(f"marked/{folder}/part-{n}.jsonl", b'{"n": %d}\n' % n)
    played.put(f"marked/{folder}/_SUCCESS", b"")

    def created() -> list[Any]:
        told = played.details("Batch Created")
        return [d for d in told if f"marked/{folder}/" in json.dumps(d)]

    [detail] = until(created)
    return detail


def test_a_lost_file_is_let_go_and_parked_as_it_arrived(delivering: Scene, folder: str) -> None:
    with without_uploads(delivering):
        created = marked(delivering, folder, 3)
        gone = created["files"][1]
        delivering.aws.s3.delete_object(
            Bucket=delivering.bucket, Key=gone["key"], VersionId=gone["versionId"]
        )
    end = ended(delivering, created["externalId"])
    assert (end["kind"], end["recordCount"], end["lostFileCount"]) == ("Batch Succeeded", 2, 1)
    told = delivering.about(gone["key"], kind="Arrival Rejected")
    assert (told["externalId"], told["reason"]) == (created["externalId"], "object-gone")

    def parked() -> list[Arrival]:
        found = [parse(message.body).arrivals for message in delivering.stack.parked()]
        return [a for some in found for a in some if a.key == gone["key"]]

    [arrival] = until(parked)
    assert (arrival.version_id, arrival.size) == (gone["versionId"], gone["size"])
    uri = quote(f"s3://{delivering.bucket}/{gone['key']}", safe="")
    answer = delivering.stack.sender.call("GET", f"{delivering.stack.api}/objects?uri={uri}")
    versions = answer.json()["versions"]
    [version] = [one for one in versions if one.get("versionId") == gone["versionId"]]
    assert (version["state"], version["reason"]) == ("lost", "object-gone")


def test_a_403_that_passes_loses_nothing(delivering: Scene, folder: str) -> None:
    """As when a policy is edited, or IAM follows a deployment after seconds."""
    before = delivering.metric("on-upload", "DeliveryPutOff")
    with delivering.without("ReadFiles", "OnUploadRole"):
        created = marked(delivering, folder, 6)

        def refused() -> bool:
            return delivering.metric("on-upload", "DeliveryPutOff") > before

        until(refused, "no upload was put off")
    end = ended(delivering, created["externalId"])
    assert (end["kind"], end["recordCount"], end["lostFileCount"]) == ("Batch Succeeded", 6, 0)


def test_uploads_that_go_wrong_are_done_all_the_same(delivering: Scene, folder: str) -> None:
    """Each once: reset in the midst, throttled, unavailable, answer lost, token revoked."""
    faults = {
        "reset": Fault("request-lost", operation="put-file", how="reset"),
        "throttled": Fault("gateway", operation="put-file", code="429050", retry_after="5"),
        "unavailable": Fault("status", operation="put-file", status=503, body="html"),
        "lost": Fault("answer-lost", operation="put-file"),
        "token": Fault("gateway", operation="put-file", code="401013"),
        "complete": Fault("answer-lost", operation="complete"),
    }
    made = {}
    for name, fault in faults.items():
        delivering.aep.faults.clear()
        delivering.aep.faults.add(fault)
        key = f"in/{folder}/{name}.jsonl"
        delivering.put(key, json.dumps({"name": name}).encode())
        made[name] = delivering.about(key)
        until(lambda: not list(delivering.aep.faults), f"{name} befell nothing")
    for name, created in made.items():
        end = ended(delivering, created["externalId"])
        assert end["kind"] == "Batch Succeeded", (name, end)
        [content] = held(delivering, created["batchId"]).values()
        assert json.loads(content) == {"name": name}
    assert not {e["externalId"] for e in delivering.details("Batch Abandoned")} & {
        created["externalId"] for created in made.values()
    }


def test_a_worker_killed_in_the_midst_of_an_upload(delivering: Scene, folder: str) -> None:
    delivering.aep.faults.add(Fault("delay", operation="put-file", delay_ms=8000))
    key, content = f"in/{folder}/killed.jsonl", b'{"a": 1}\n'
    delivering.put(key, content)
    created = delivering.about(key)

    def begun() -> bool:
        return any(
            created["batchId"] in received.request.path
            for received in list(delivering.aep.received)
            if received.operation == "put-file"
        )

    until(begun)
    assert delivering.kill("OnUploadFunction")
    end = ended(delivering, created["externalId"])
    assert end["kind"] == "Batch Succeeded"
    assert held(delivering, created["batchId"]) == {created["files"][0]["path"]: content}


def test_a_csv_with_columns_of_its_own_becomes_rows_of_the_schema(
    delivering: Scene, folder: str
) -> None:
    """The simulator validates them by the schema that the map was compiled for."""
    key = f"mapped/{folder}/a.csv"
    content = "member;first;born;value;extra\nA-1; Zoë ;28.02.1990;1.234,50;x\nA-2;Ann;soon;;\n"
    delivering.aep.switches.change(row_validation="enabled")
    try:
        delivering.put(key, content.encode("iso8859-1"))
        created = delivering.about(key)
        end = ended(delivering, created["externalId"])
    finally:
        delivering.aep.switches.change(row_validation="disabled")
    assert (end["kind"], end["ingestedRecordCount"], end["sentRecordCount"]) == (
        *("Batch Succeeded", 1),
        1,
    )
    assert (end["unmappedColumns"], end["unmappedRecordCount"]) == (["extra"], 1)
    place = end["badRows"]
    [kept] = delivering.aws.s3.list_objects_v2(Bucket=place["bucket"], Prefix=place["prefix"])[
        "Contents"
    ]
    packed = delivering.aws.s3.get_object(Bucket=place["bucket"], Key=kept["Key"])
    assert packed["ContentType"] == "application/gzip"
    assert json.loads(gzip.decompress(packed["Body"].read())) == {
        "file": f"s3://{created['files'][0]['bucket']}/{key}",
        "row": 2,
        "column": "born",
        "rule": "is not a date of the format dd.MM.yyyy",
        "content": ["A-2", "Ann", "soon", "", ""],
    }
    assert (created["inputFormat"], created["sourceFormat"]) == (
        {"format": "json"},
        MAPPED["inputFormat"],
    )
    [text] = held(delivering, created["batchId"]).values()
    assert text.decode() == (
        '{"_acme":{"memberId":"A-1","lifetimeValue":1234.50},'
        '"person":{"name":{"firstName":"Zoë"},"birthDate":"1990-02-28"}}\n'
    )


def test_an_export_of_a_crm_is_loaded_by_the_route_that_was_proposed_for_it(
    delivering: Scene, folder: str
) -> None:
    """`suggest` and `publish` were before; `try` shows what becomes of the object, too."""
    key = f"crm/{folder}/{CRM_GERMAN.file}"
    delivering.aep.switches.change(row_validation="enabled")
    try:
        delivering.put(key, CRM_GERMAN.content)
        created = delivering.about(key)
        end = ended(delivering, created["externalId"])
    finally:
        delivering.aep.switches.change(row_validation="disabled")
    assert (end["kind"], end["ingestedRecordCount"], end["failedRecordCount"]) == (
        *("Batch Succeeded", 3),
        0,
    )
    assert "unmappedColumns" not in end
    said = typed(delivering, "try", f"s3://{delivering.bucket}/{key}", "--rows", "3", "--json")
    tried = json.loads(said)
    assert (tried["rows"], tried["broken"], tried["unfit"]) == (3, 0, 0)
    [text] = held(delivering, created["batchId"]).values()
    first = json.loads(text.splitlines()[0])
    assert first["person"]["gender"] == "female"
    assert first["_acme"]["totalRevenue"] == 1234.5


def test_a_feed_that_does_not_come_is_told_and_told_again_once_it_does(delivering: Scene) -> None:
    table = Table(delivering.aws.dynamodb, delivering.outputs["LedgerTable"])
    known = DynamoRoutes(table, lambda: time.time_ns() // 10**6, retention_ms=86_400_000)

    def seen() -> RouteSeen | None:
        return next((one for one in known.all() if one.route == "expected"), None)

    expected = delivering.until_ticked(seen, "the clock has not read what is expected")
    assert expected is not None
    assert expected.standing is not None
    two_hours_ago = replace(expected.standing, since=expected.standing.since - 7_200_000)
    known.put_standing("expected", two_hours_ago)
    overdue = delivering.until_ticked(lambda: delivering.details("Route Overdue"), "nothing told")
    delivering.tick()
    delivering.put("expected/a.jsonl", b'{"a": 1}\n' * 2)
    resumed = delivering.until_ticked(lambda: delivering.details("Route Resumed"), "not resumed")
    assert {told["externalId"] for told in [*overdue, *resumed]} == {overdue[0]["externalId"]}
    assert (overdue[0]["route"], overdue[0]["owner"]) == ("expected", "a team")
    assert (overdue[0]["fileCount"], resumed[0]["recordCount"]) == (0, 2)
    last = seen()
    assert last is not None
    assert last.last > two_hours_ago.since
    assert last.counts == Counts(1, 18, 2)
