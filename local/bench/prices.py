"""Public prices of us-east-1 as noted in November 2026, and what DynamoDB charges for a write."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

# Dollars for a million, without free tiers.
EVENT = 1.00  # of EventBridge: S3's own (opt-in) events and custom ones; 64 KB each
QUEUE_REQUEST = 0.40  # SQS
INVOCATION = 0.20  # Lambda
WRITE_UNIT = 0.625  # DynamoDB, on demand
READ_UNIT = 0.125
OBJECT = 5.00  # S3's PUT
OBJECT_READ = 0.40  # S3's GET
TRACE = 5.00  # X-Ray
GIGABYTE_SECOND = 13.3334  # Lambda on arm64
DISK_GIGABYTE_SECOND = 0.0309  # of its /tmp
# Dollars for one.
LOG_GIGABYTE = 0.50  # CloudWatch Logs, taken in
STORED_GIGABYTE = 0.023  # S3, a month

# Lambda gives a function of 1,769 MB one processor, and others their share.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
PROCESSOR_MB = 1769
DISK_MB = 512  # of /tmp, for nothing
AWS_MS = 10  # that AWS lets a call wait
INVOCATION_MS = 20  # to start and to end one
PLATFORM_LOG = 600  # bytes of a delivery: Lambda's own lines, platform.start and platform.report

DAY = 86_400_000
KILOBYTE = 1024
INDEXES = {"due": ("due_shard", "due"), "batch": ("batch_id",)}  # keys alone are projected


def seconds(cpu_ms: float, waiting_ms: float, memory_mb: int) -> float:
    """Of an invocation that takes so long on a whole processor, and waits so long for others."""
    return (cpu_ms * max(1, PROCESSOR_MB / memory_mb) + waiting_ms + INVOCATION_MS) / 1000


def invocation(duration_s: float, memory_mb: int, disk_mb: int = DISK_MB) -> float:
    """A million invocations."""
    memory, disk = memory_mb / 1024, (disk_mb - DISK_MB) / 1024
    return INVOCATION + duration_s * (memory * GIGABYTE_SECOND + disk * DISK_GIGABYTE_SECOND)


class Meter:
    """Counts write units of the ledger's table, from the requests that reach DynamoDB.

    A kilobyte of an item is a unit, two in a transaction, where a condition that is checked counts
    as if it were written; an overwritten item counts by the larger of the two. An index entry that
    comes or goes is a unit.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Mapping[str, Any]] = {}

    def units(self, written: Iterable[tuple[str, str]]) -> int:
        """Units of these requests (operation, JSON), in their order."""
        return sum(self._request(name, json.loads(body)) for name, body in written)

    def bytes(self, pk: str) -> int:
        """Of all items with that partition key."""
        return sum(size(item) for (key, _), item in self._items.items() if key == pk)

    def _request(self, name: str, body: Mapping[str, Any]) -> int:
        if name == "PutItem":
            return self._put(body["Item"], 1)
        if name == "UpdateItem":  # of counters: the request has all that such an item holds
            return _kilobytes({**body["Key"], **body["ExpressionAttributeValues"]})
        if name != "TransactWriteItems":
            raise ValueError(f"{name} is not weighed here")
        return sum(self._step(*pair) for step in body["TransactItems"] for pair in step.items())

    def _step(self, kind: str, action: Mapping[str, Any]) -> int:
        if kind == "Put":
            return self._put(action["Item"], 2)
        if kind == "ConditionCheck":
            return 2 * max(1, _kilobytes(self._items.get(_key(action["Key"]), {})))
        raise ValueError(f"{kind} is not weighed here")

    def _put(self, item: Mapping[str, Any], each: int) -> int:
        before = self._items.get(_key(item), {})
        self._items[_key(item)] = item
        units = each * max(_kilobytes(item), _kilobytes(before))
        for names in INDEXES.values():
            old, new = ([some.get(name) for name in names] for some in (before, item))
            if old != new:
                units += sum(all(entry) for entry in (old, new))
        return units


def size(item: Mapping[str, Any]) -> int:
    """Bytes of an item as DynamoDB counts them: names and values; two digits in a byte."""
    return sum(len(name.encode()) + _value(**value) for name, value in item.items())


def _value(S: str = "", N: str | None = None, BOOL: bool | None = None) -> int:
    if N is not None:
        return math.ceil(len(N.lstrip("-")) / 2) + 1
    return len(S.encode()) if BOOL is None else 1


def _kilobytes(item: Mapping[str, Any]) -> int:
    return math.ceil(size(item) / KILOBYTE)


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]
