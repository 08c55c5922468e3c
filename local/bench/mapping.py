"""The part of `make bench` about maps: how fast columns become XDM, on one core."""

import csv
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from io import StringIO
from statistics import median
from typing import Any

from aep_intake.content.compile_map import compile_map
from aep_intake.content.csv import CsvReader
from aep_intake.content.mapping import RowMap
from aep_intake.content.xdm import Schema

from local.bench.figures import Figure, Section

CHUNK = 2**20  # bytes that are read at a time
ROWS = 40_000
# Of the processor time of Python's csv and json, which are written in C, for the same rows.
LONGEST = 2.5
MOST_MB = 300  # of memory
LEAST_MB = 10  # a second; AEP takes 5.6 of an organization
CSV = {"format": "csv", "delimiter": ";"}
_TEXT = {"type": "string"}


def _object(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members}


SCHEMA = {
    "$id": "https://ns.adobe.com/acme/schemas/bench",
    "version": "1.0",
    "type": "object",
    "required": ["_id", "personalEmail"],
    "properties": {
        "_id": {"type": "string", "format": "uri-reference"},
        "_acme": _object(
            tier={"type": "string", "enum": ["gold", "silver", "bronze", "none"]},
            spent={"type": "number", "minimum": 0},
            store=_TEXT,
            note={"type": "string", "maxLength": 200},
            lastSeen={"type": "string", "format": "date-time"},
            segment=_TEXT,
            agent=_TEXT,
        ),
        "person": _object(
            name=_object(firstName=_TEXT, lastName=_TEXT, middleName=_TEXT, courtesyTitle=_TEXT),
            birthDate={"type": "string", "format": "date"},
        ),
        "personalEmail": {
            **_object(address={"type": "string", "format": "email"}),
            "required": ["address"],
        },
        "mobilePhone": _object(number=_TEXT),
        "homeAddress": _object(
            street1=_TEXT, city=_TEXT, postalCode=_TEXT, country=_TEXT, stateProvince=_TEXT
        ),
    },
}
MAP: dict[str, Any] = {
    "_id": "id",
    "person.name.firstName": "first",
    "person.name.lastName": {"from": "last", "trim": True},
    "person.name.middleName": "middle",
    "person.name.courtesyTitle": "title",
    "person.birthDate": {"from": "born", "format": "dd.MM.yyyy"},
    "personalEmail.address": {"from": "email", "trim": True, "lower": True},
    "mobilePhone.number": "phone",
    "homeAddress.street1": "street",
    "homeAddress.city": "city",
    "homeAddress.postalCode": "zip",
    "homeAddress.country": "country",
    "homeAddress.stateProvince": "state",
    "_acme.tier": {
        "from": "tier",
        "values": {"G": "gold", "S": "silver", "B": "bronze"},
        "default": "none",
    },
    "_acme.spent": {"from": "spent", "decimal": ",", "thousands": "."},
    "_acme.store": "store",
    "_acme.note": "note",
    "_acme.lastSeen": {
        "from": "seen",
        "format": "dd.MM.yyyy HH:mm:ss",
        "timezone": "Europe/Berlin",
    },
    "_acme.segment": "segment",
    "_acme.agent": "agent",
}
HEADER = [entry if isinstance(entry, str) else entry["from"] for entry in MAP.values()]
ALWAYS = {"id", "email"}


def content() -> bytes:
    """Rows of about 230 bytes, a third of whose cells are empty; always the same ones."""
    by = random.Random(11)
    rows = [HEADER]
    for number in range(ROWS):
        spent = f"{by.randrange(1, 99)}.{by.randrange(1000):03},{by.randrange(100):02}"
        day, month = by.randrange(1, 29), by.randrange(1, 13)
        seen = (
            f"{day:02}.{month:02}.2026 {by.randrange(24):02}:{by.randrange(60):02}:{number % 60:02}"
        )
        values = {
            "id": f"c-{number:09}-{by.randrange(16**12):012x}",
            "first": by.choice(["Jane", "Søren", "Maria Luisa", "Jo"]),
            "last": by.choice(["Doe", "Kierkegaard ", "Garcia Marquez", "O'Neill"]),
            "middle": by.choice(["Ann", "Elisabeth", "X."]),
            "title": by.choice(["Dr", "Prof"]),
            "born": f"{by.randrange(1, 29):02}.{by.randrange(1, 13):02}.{by.randrange(1930, 2010)}",
            "email": f"Some.Customer{number}@example-company.com",
            "phone": f"+49 30 {by.randrange(10**8):08}",
            "street": f"Long Boulevard of the Republic {by.randrange(300)}",
            "city": by.choice(["Berlin", "København", "San Francisco"]),
            "zip": f"{by.randrange(100_000):05}",
            "country": "DE",
            "state": by.choice(["BE", "California"]),
            "tier": by.choice("GSBX"),
            "spent": spent,
            "store": f"store-{by.randrange(500)}, ground floor",
            "note": by.choices(
                ["call back on Monday, not before noon", 'said "yes"; or no'], [9, 1]
            )[0],
            "seen": seen,
            "segment": by.choice(["families with children", "early birds of the city"]),
            "agent": f"agent {by.randrange(90)} of the second team",
        }
        rows.append(
            [values[name] if name in ALWAYS or by.random() < 0.63 else "" for name in HEADER]
        )
    out = StringIO()
    csv.writer(out, delimiter=";", lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def mapped(runs: int) -> Section:
    """Ours beside Python's csv and json, in turns, of the same bytes; medians of `runs`."""
    text = content()
    compiled = compile_map(MAP, Schema(SCHEMA), CSV)
    assert not compiled.problems, compiled.problems

    def by_us() -> int:
        reader, rows = CsvReader(CSV), RowMap(compiled.document, "", "bench")
        written = 0
        for start in range(0, len(text) + CHUNK, CHUNK):
            before, at = reader.rows, reader.at
            chunk = text[start : start + CHUNK]
            block = reader.feed(chunk) if chunk else reader.end()
            if not start:
                rows.begin(reader.values(reader.header)[0])
            found = rows.of_csv(reader.values(block.text), before, at, block.broken)
            written += found.text.count(b"\n")
        return written

    ours, theirs = [], []
    for _ in range(runs):
        ours.append(_seconds(by_us))
        theirs.append(_seconds(lambda: _by_python(text)))
    ratio = median(mine / other for mine, other in zip(ours, theirs, strict=True))
    rate, other = (len(text) / 10**6 / median(times) for times in (ours, theirs))
    tracemalloc.start()
    by_us()
    peak = tracemalloc.get_traced_memory()[1] / 10**6
    tracemalloc.stop()
    size = len(text) / ROWS
    return Section(
        f"Maps: 20 columns, rows of {size:.0f} bytes, processor time, medians of {runs}",
        (
            Figure("read, checked and mapped", f"{rate:.1f} MB/s"),
            Figure("Python's csv and json, which check nothing", f"{other:.1f} MB/s"),
            Figure("time of 10 MB/s ÷ ours", f"{LEAST_MB / rate:.2f}", LEAST_MB / rate, 1.0),
            Figure("time of ours ÷ Python's csv and json", f"{ratio:.2f}", ratio, LONGEST),
            Figure("memory, of Python's objects", f"{peak:.0f} MB", peak, MOST_MB),
        ),
    )


def _seconds(work: Callable[[], int]) -> float:
    began = time.thread_time()
    found = work()
    took = time.thread_time() - began
    assert found == ROWS, f"{found:,} rows of {ROWS:,}"
    return took


def _by_python(text: bytes) -> int:
    reader = csv.reader(StringIO(text.decode(), newline=""), delimiter=";")
    header = next(reader)
    lines = [json.dumps(dict(zip(header, row, strict=True))) for row in reader]
    return "\n".join(lines).count("\n") + 1
