"""The queries for Athena, run by DuckDB over objects that the journal wrote."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from aep_intake.report.counts import Tally
from aep_intake.report.journal import folder, line, written

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "events" / "athena"
QUERIES = sorted({file.stem for file in FOLDER.glob("*.sql")} - {"table", "view"})
TODAY = datetime.now(UTC)


def sql(name: str) -> str:
    return (FOLDER / f"{name}.sql").read_text("utf-8")


def at(minute: int, second: int = 0) -> str:
    return (
        TODAY.replace(hour=0, minute=minute, second=second).isoformat(timespec="seconds")[:19] + "Z"
    )


def event(sample: str, kind: str, **detail: Any) -> str:
    told = json.loads((ROOT / "events" / f"{sample}.json").read_text("utf-8")) | detail
    envelope = {"id": "e", "time": at(0), "detail-type": kind, "detail": told}
    return json.dumps(envelope)


FILE = {"bucket": "landing", "key": "in/members.csv", "etag": "e", "size": 70, "path": "p"}
HAPPENED = [
    event(
        "batch-created", "Batch Created", externalId="one", batchId="B1", route="crm", attempt=1,
        files=[FILE], fileCount=1, byteCount=70, createdAt=at(1),
    ),
    event(
        "batch-succeeded", "Batch Succeeded", externalId="one", batchId="B1", route="crm",
        datasetId="d1", sandbox="prod", ingestedRecordCount=9, failedRecordCount=1, fileCount=1,
        createdAt=at(1), uploadedAt=at(1, 5), endedAt=at(3),
    ),
    event(
        "batch-created", "Batch Created", externalId="two", batchId="B2", route="web", attempt=1,
        files=[FILE | {"key": "in/other.csv"}], fileCount=1, byteCount=30, createdAt=at(2),
    ),
    event(
        "batch-failed", "Batch Failed", externalId="two", batchId="B2", route="web", fileCount=1,
        detail="AEP failed it", createdAt=at(2), uploadedAt=at(2, 1), endedAt=at(2, 30),
    ),
    event(
        "arrival-rejected", "Arrival Rejected", externalId="three", reason="no-route", fileCount=0,
        detail="no route takes it", rejectedAt=at(4),
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two objects of which the second repeats some events."""
    root = tmp_path_factory.mktemp("journal")
    for happened in (HAPPENED, HAPPENED[1:3]):
        name, content = written(line(body) for body in happened)
        hour = f"{TODAY:%Y-%m-%d}T00"
        (root / folder(hour)).mkdir(parents=True, exist_ok=True)
        (root / folder(hour) / name).write_bytes(content)
    return root


@pytest.fixture
def athena(journal: Path) -> duckdb.DuckDBPyConnection:
    """Where the table and the view are, as Athena has them."""
    connection = duckdb.connect()
    [columns] = re.findall(r"`detail` (struct<.*>)\n\)", sql("table"), re.DOTALL)
    objects = f"{journal}/journal/v1/*/*/*.jsonl.gz"
    connection.execute(f"""
        CREATE VIEW intake_journal AS
        SELECT "detail-type" AS detail_type, id, time, detail, day, hour
        FROM read_json('{objects}', format='newline_delimited', hive_partitioning=true,
            hive_types={{'day': VARCHAR, 'hour': VARCHAR}},
            columns={{'detail-type': 'VARCHAR', 'id': 'VARCHAR', 'time': 'VARCHAR',
                     'detail': '{duck_type(columns)}'}})
    """)
    connection.execute(sql("view"))
    return connection


def duck_type(hive: str) -> str:
    """A type of the table, in DuckDB's words."""
    text = re.sub(r"\s+", " ", hive).replace("string", "VARCHAR")
    while (inner := re.sub(r"array<(struct\([^<>]*\))>", r"\1[]", text)) != text or (
        inner := re.sub(r"struct<([^<>]*)>", lambda m: f"struct({m[1].replace(':', '')})", text)
    ) != text:
        text = inner
    return text


def rows(athena: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    """The result of a query; DuckDB calls one function otherwise, and has its own time zone."""
    text = sql(name).replace("current_date", f"DATE '{TODAY:%Y-%m-%d}'")
    taken = r"len(list_filter(\1, lambda \2: \3)) > 0\n"
    text = re.sub(r"any_match\((.+), (\w+) -> (.+)\)\n", taken, text)
    found = athena.execute(text)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_every_query_is_tried() -> None:
    assert QUERIES == ["failures", "rows-a-day", "slowest-batches", "today", "where-is-my-file"]
    assert all(sql(name).startswith("-- ") for name in QUERIES)


def test_today_is_what_the_counts_say(athena: duckdb.DuckDBPyConnection) -> None:
    tally = Tally()
    tally.add("all", ((made.time, made.event) for made in map(line, HAPPENED)))
    counted = tally.counts("").routes
    found = {row.pop("route"): row for row in rows(athena, "today")}
    assert found == {
        route: {
            "files": counts.files,
            "bytes": counts.bytes,
            "rows_loaded": counts.rows,
            "batches": counts.batches,
            "loaded": counts.loaded,
            "failed": counts.failed,
            "rejected": sum(counts.rejected.values()),
        }
        for route, counts in counted.items()
    }
    assert found["crm"]["rows_loaded"] == 9


def test_where_a_file_is(athena: duckdb.DuckDBPyConnection) -> None:
    told = [(row["detail_type"], row["batchId"]) for row in rows(athena, "where-is-my-file")]
    assert told == [("Batch Created", "B1"), ("Batch Succeeded", "B1")]


def test_failures(athena: duckdb.DuckDBPyConnection) -> None:
    told = {
        (r["route"], r["reason"], r["files"], r["an_example"]) for r in rows(athena, "failures")
    }
    assert told == {
        ("web", "batch-failed", 1, "AEP failed it"),
        ("loyalty", "no-route", 1, "no route takes it"),
    }


def test_rows_a_day(athena: duckdb.DuckDBPyConnection) -> None:
    [row] = rows(athena, "rows-a-day")
    assert (row["datasetId"], row["rows_loaded"], row["rows_left_out"]) == ("d1", 9, 1)


def test_the_slowest_batches(athena: duckdb.DuckDBPyConnection) -> None:
    told = [
        (row["batchId"], row["seconds_to_upload"], row["seconds_to_end"])
        for row in rows(athena, "slowest-batches")
    ]
    assert told == [("B1", 5, 120), ("B2", 1, 30)]


def test_the_table_reads_where_the_journal_is() -> None:
    assert sql("table").count("s3://BUCKET/journal/v1/") == 2
    assert "day=${day}/hour=${hour}/" in sql("table")
