"""Files as people have them: what they drop, by which route, and what has to be in the dataset.

The names begin with those of the reports in which such files were found: R1 to R33 are public
reports of loaders that read from S3, F1 to F19 what a new user of this one met.
"""

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.stack import ROOT
from tests.builders import parquet_of

type Row = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """What is dropped into one folder, and what must become of it."""

    name: str  # also of its route and its folder
    files: Mapping[str, bytes]  # by key within the folder, in the order in which they come
    written: Mapping[str, Any] = field(default_factory=dict)  # further members of the route
    rows: list[Row] = field(default_factory=list)  # in the dataset
    rejected: Mapping[str, str] = field(default_factory=dict)  # key → reason


def _gz(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _tar() -> bytes:
    """An archive of one CSV."""
    with io.BytesIO() as out, tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("a.csv")
        member.size = len(CSV)
        archive.addfile(member, io.BytesIO(CSV))
        archive.close()
        return out.getvalue()


def _csv(**said: Any) -> dict[str, Any]:
    return {"inputFormat": {"format": "csv", **said}}


def _table(rows: list[Row], quoted: bool = False) -> bytes:
    """A CSV of them; `quoted`: with quotes around what is text."""
    lines = [",".join(rows[0])]
    for row in rows:
        cells = (f'"{v}"' if quoted and not v.isdecimal() else v for v in row.values())
        lines.append(",".join(cells))
    return "\n".join(lines).encode() + b"\n"


MEMBERS: list[Row] = [{"id": "1", "name": "Ann"}, {"id": "2", "name": "Zoë"}]
BOM = b"\xef\xbb\xbf"
TEXT = "id,name\n1,Ann\n2,Zoë\n"
CSV = TEXT.encode()
CLICKS: list[Row] = [{"n": 1}, {"n": 2}]
LINES = b'{"n": 1}\n{"n": 2}\n'
PRODUCTS: list[Row] = [{}] * 24  # which are counted, since Parquet goes up as it is
PARQUET = (ROOT / "local" / "samples" / "products.parquet").read_bytes()
MARKED = {"batch": {"marker": "_SUCCESS"}}
# More than the pieces of the stack that tests deploy: a megabyte.
INCHES: list[Row] = [
    {"id": str(n), "item": 'pipe 12" steel' if n % 50 == 7 else "plain", "note": "x" * 90}
    for n in range(12_000)
]
FEET: list[Row] = [{"id": "1", "note": 'pipe 12" steel'}]
FEET += [{"id": str(n), "note": f"multi\nline, number {n}" + "x" * 60} for n in range(12_000)]


CASES = (
    # CSV as people write it
    Case("r1a", {"items.csv": _table(INCHES)}, rows=INCHES),
    Case(
        "r1b",
        {"items.csv": _table(FEET[:1]) + _table(FEET[1:], quoted=True).split(b"\n", 1)[1]},
        rows=FEET,
    ),
    Case("r1-gzip", {"items.csv.gz": _gz(_table(INCHES))}, rows=INCHES),
    Case(
        "r1-open",
        {"a.csv": b'id,name\n1,"Ann\n2,Bob\n'},
        rejected={"a.csv": "format-mismatch"},
    ),
    Case("r25", {"a.csv": BOM + CSV}, rows=MEMBERS),
    Case("r25-gzip", {"a.csv.gz": _gz(BOM + CSV)}, rows=MEMBERS),
    Case("r25-json", {"a.json": BOM + LINES}, rows=CLICKS),
    Case("r26", {"a.csv": TEXT.encode("utf-16")}, rejected={"a.csv": "format-mismatch"}),
    Case("r26-named", {"a.csv": TEXT.encode("utf-16")}, _csv(charset="UTF-16"), MEMBERS),
    Case("f1-latin", {"a.csv": TEXT.encode("latin-1")}, rejected={"a.csv": "format-mismatch"}),
    Case(
        "f1-latin-named",
        {"a.csv": TEXT.encode("latin-1"), "b.csv.gz": _gz(TEXT.encode("latin-1"))},
        _csv(charset="ISO-8859-1"),
        MEMBERS * 2,
    ),
    Case(
        "f1-semicolons",
        {"a.csv": CSV.replace(b",", b";")},
        rejected={"a.csv": "format-mismatch"},
    ),
    Case("f1-semicolons-named", {"a.csv": CSV.replace(b",", b";")}, _csv(delimiter=";"), MEMBERS),
    Case("r32", {"a.csv": b"sep=;\r\n" + CSV.replace(b",", b";")}, _csv(delimiter=";"), MEMBERS),
    Case("ends", {"a.csv": CSV.replace(b"\n", b"\r\n"), "b.csv": CSV[:-1]}, rows=MEMBERS * 2),
    Case("ends-cr", {"a.csv": CSV.replace(b"\n", b"\r")}, rows=MEMBERS),
    # As `cat` puts files one behind the other
    Case(
        "header-again",
        {"a.csv": CSV * 2, "b.csv.gz": _gz(CSV) * 2, "c.csv": CSV + BOM + CSV},
        rejected=dict.fromkeys(("a.csv", "b.csv.gz", "c.csv"), "bad-rows"),
    ),
    Case("header-twice", {"a.csv": b"id,id\n1,2\n"}, rejected={"a.csv": "format-mismatch"}),
    # gzip, and names that say something else
    Case("r11", {"a.json.gz": _gz(LINES) + b"\r\n"}, rows=CLICKS),
    Case(
        "r11-between",
        {"a.json.gz": _gz(LINES[:9]) + b"\n" + _gz(LINES[9:]) + b"\n"},
        rows=CLICKS,
    ),
    Case("r11-damaged", {"a.csv.gz": _gz(CSV)[:-9]}, rejected={"a.csv.gz": "format-mismatch"}),
    Case(
        "r15",
        {"a.json": _gz(LINES), "b.json.gz": LINES, "c.json.gz": _gz(_gz(LINES))},
        rows=CLICKS * 2,
        rejected={"c.json.gz": "format-mismatch"},
    ),
    Case("gzip-long", {"a.csv.gzip": _gz(CSV)}, rows=MEMBERS),
    # JSON in any layout
    Case(
        "r20",
        {
            "a.json": b'{"n": 1}{"n": 2}',
            "b.json": b'[{"n": 1}, {"n": 2}]',
            "c.json": b'[\n  {\n    "n": 1\n  },\n  {\n    "n": 2\n  }\n]\n',
            "d.json.gz": _gz(b'{\n"n": 1\n}\n{\n"n": 2\n}'),
            "e.json": b'{"n": 1}\r{"n": 2}\r',
            "f.json": b'[\n{"n": 1},\n{"n": 2},\n]\n',
            "g.json": b'\x1e{"n": 1}\n\x1e{"n": 2}\n',
            "h.json": BOM + LINES[:9] + BOM + LINES[9:],
            "i.json": b'{"n": 1}{"n": 2}' * 5000,  # more than is looked at, on one line
        },
        rows=CLICKS * 5008,
    ),
    Case(
        "json-numbers",
        {"a.json": b'[{"n": 12345678901234567890.12345678901234567890}]'},
        rows=[{"n": "12345678901234567890.12345678901234567890"}],
    ),
    Case(
        "json-broken",
        {"a.json": LINES + b"oops\n", "b.json": b"[1, 2]", "c.json": b"<Error><Code>503</Code>"},
        rejected={"a.json": "bad-rows", "b.json": "format-mismatch", "c.json": "format-mismatch"},
    ),
    # Nothing in it
    Case(
        "r30",
        {"a.csv": b"id,name\n", "b.csv": b"", "c.json": b"\n", "d.json.gz": _gz(b"")},
        rejected={
            "a.csv": "too-few-rows",
            "b.csv": "empty-object",
            "c.json": "empty-object",
            "d.json.gz": "empty-object",
        },
    ),
    Case(
        "f1-ragged",
        {
            "a.csv": CSV + b"3\n",
            "b.csv": CSV + b"(2 rows)\n",
            "c.csv": b"id,name\n1,Ann,\n2,Zo\xc3\xab,\n\n\x1a",
            "d.csv": _table(INCHES[:5000]) + b'"cut, off"\n',
            "e.csv": _table(INCHES[:5000]) + b"1,\0,x\n",
        },
        rows=MEMBERS,
        rejected=dict.fromkeys(("a.csv", "b.csv", "d.csv", "e.csv"), "bad-rows"),
    ),
    Case(
        "f1-ragged-allowed",
        {"a.csv": CSV + b"3\n"},
        {"badRows": 1},
        [*MEMBERS, {"id": "3"}],
    ),
    Case("r30-parquet", {"a.parquet": parquet_of(0)}, rejected={"a.parquet": "too-few-rows"}),
    Case(
        "r4",
        {
            "part-0.json.gz": _gz(LINES),
            "part-1.json.gz": _gz(b""),
            "part-2.json": b"",
            "part-3.json": b"\n",
            "_SUCCESS": b"",
        },
        MARKED,
        CLICKS,
    ),
    Case(
        "r4-csv",
        {"part-0.csv": CSV, "part-1.csv": b"id,name\n", "_SUCCESS": b""},
        MARKED | _csv(),
        MEMBERS,
    ),
    # Something else
    Case(
        "r31",
        {
            "a.csv": b"PK\x03\x04\0\0",
            "b.csv": bz2.compress(CSV),
            "c.csv": b"\x28\xb5\x2f\xfd\0",
            "d.csv": lzma.compress(CSV),
            "e.csv": b"PK\x03\x04\0[Content_Types].xml",
            "f.csv": b"<html><body>Access denied",
            "g.csv": LINES,
            "h.json": CSV,
            "i.csv": PARQUET,
            "j.txt": CSV,
            "k.csv": _tar(),
            "l.csv.gz": _gz(_tar()),
            "m.csv": TEXT.encode("utf-32-be"),
            "n.csv": b"MIME-Version: 1.0\nContent-Type: text/html\n",
            "o.csv": b"\x1f\x9d\x90" + CSV,
            "p.csv": b"Obj\x01\x04\x14avro.codec",
            "q.csv": b"From: a@b.c\r\nSubject: members\r\n\r\nid\r\n1\r\n",
            "r.csv": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 1\n",
            "s.csv": b"--Form\r\nContent-Disposition: form-data\r\n\r\nid\r\n1\r\n--Form--\r\n",
            "t.csv": b"HTTP/1.1 200 OK\r\n\r\nid\r\n1\r\n",
            "u.csv": "id,name\n1,Ann\n2,Zoe\n".encode("cp500"),
        },
        rejected=dict.fromkeys((f"{name}.csv" for name in "abcdefgikmnopqrstu"), "format-mismatch")
        | {"l.csv.gz": "format-mismatch"}
        | {"h.json": "format-mismatch", "j.txt": "format-unknown"},
    ),
    Case(
        "r12-unnamed",
        {"part-00000": PARQUET, "a.dat": PARQUET[:-9], "b.dat": b"PAR1 is what it says\n"},
        rows=PRODUCTS,
        rejected={"a.dat": "format-mismatch", "b.dat": "format-mismatch"},
    ),
    Case("r12-broken", {"a.parquet": PARQUET[:-9]}, rejected={"a.parquet": "format-mismatch"}),
    Case(
        "r12-folder",
        {
            "part-0.parquet": PARQUET,
            "part-1.parquet": PARQUET[:-9],
            "part-2.parquet": parquet_of(0),
            "part-3.parquet": b"PK\x03\x04" + bytes(99),
            "_SUCCESS": b"",
        },
        MARKED,
        PRODUCTS,
        dict.fromkeys(("part-1.parquet", "part-3.parquet"), "format-mismatch"),
    ),
    # Folders, and what is beside the data
    Case(
        "r2",
        {
            "0000_part_00": b"1|Ann\n",
            "0001_part_00": b"2|Zo\xc3\xab\n",
            "0002_part_00": b"9|yesterday\n",
            "0003_part_00": b"",  # of a slice without rows
            "manifest": json.dumps(
                {"entries": [{"url": f"s3://BUCKET/FOLDER/000{n}_part_00"} for n in (0, 1, 3)]}
            ).encode(),
        },
        _csv(delimiter="|", header=False) | {"batch": {"marker": "manifest"}},
        [{"0": "1", "1": "Ann"}, {"0": "2", "1": "Zoë"}],
    ),
    Case(
        "r13",
        {
            "part-00000-tid-1-a.json": b'{"n": 9}\n',
            "_started_2": b"",
            "part-00000-tid-2-b.json": LINES,
            "_committed_2": b'{"added": ["part-00000-tid-2-b.json"], "removed": []}',
            "_SUCCESS": b"",
        },
        {"batch": {"marker": "_committed_*"}},
        CLICKS,
    ),
    Case(
        "r17",
        {
            "._orders.csv": b"\0\5\x16\7" + bytes(99),
            "_temporary/0/part-0.csv": CSV,
            "_delta_log/00000000000000000010.checkpoint.parquet": PARQUET,
            "orders.csv.filepart": CSV,
            "_SUCCESS": b"",
            "orders.csv": CSV,
        },
        rows=MEMBERS,
    ),
    Case(
        "r9",
        {
            "a.csv": CSV,
            "a.csv.done": b"",
            "b.csv.done": b"2\r\n",  # beside its file, and faster
            "b.csv": CSV,
            "c.csv": CSV,
            "c.csv.done": b"3",
            "d.csv": CSV,  # which is not ready
        },
        {"match": "FOLDER/*.csv", "ready": "{file}.done"},
        MEMBERS * 2,
        {"c.csv": "rows-differ"},
    ),
    Case("r29", {"IN/ORDERS.CSV": CSV}, {"match": "FOLDER/in/*.csv", "anyCase": True}, MEMBERS),
    Case(
        "f9",
        {"a.json": LINES, "b.json": b"PK\x03\x04\0", "c.json": LINES, "_SUCCESS": b""},
        MARKED,
        CLICKS * 2,
        {"b.json": "format-mismatch"},
    ),
)
