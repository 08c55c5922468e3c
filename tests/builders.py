"""An order, its record and its batch, as tests need them: plain, and like no other."""

import uuid
from dataclasses import replace
from typing import Any

from aep_intake.model.batches import Batch, Target
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.progress import Lease, Record

TARGET = Target("arn:aws:secretsmanager:eu-west-1:1:secret:a-AbCdEf", "O@AdobeOrg", "prod", "d")
JSON = {"inputFormat": {"format": "json"}}


def order(*files: Arrival, **changes: Any) -> Order:
    """Of some files; without any, a caller's."""
    external_id = files[0].external_id if files else f"caller-{uuid.uuid4().hex}"
    plain = Order(external_id, TARGET, JSON, files, route="r", routes_version="7")
    return replace(plain, **changes)


def parquet_of(rows: int, padding: int = 0) -> bytes:
    """A Parquet file without a row group, whose footer says how many rows it has (63 at most)."""
    schema = b"\x19\x2c\x48\x06schema\x15\x02\0" + b"\x15\x02\x25\0\x18\x01a\0"
    footer = b"\x15\x02" + schema + b"\x16" + bytes([2 * rows]) + b"\x19\x0c\0"
    return b"PAR1" + bytes(padding) + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def lease(until: int) -> Lease:
    return Lease(f"token-{uuid.uuid4().hex}", until)


def opened(now: int, *files: Arrival, **changes: Any) -> Record:
    """The record of an order that somebody has begun, and has for another millisecond."""
    return Record.opened(order(*files, **changes), lease(now + 1), now)


def batch(now: int, batch_id: str | None = None, **raw: Any) -> Batch:
    """One that is loading."""
    batch_id = batch_id or uuid.uuid4().hex
    return Batch(batch_id, "loading", now, None, ("d",), {}, {"id": batch_id, **raw})
