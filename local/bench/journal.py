"""The part of `make bench` about the journal: what an event costs to keep and to count."""

import json
import random
import time
import tracemalloc
from typing import Any

from aep_intake.report.counts import Tally
from aep_intake.report.journal import line, read, written

from local.bench import prices
from local.bench.figures import Figure, Section
from local.stack import ROOT

EVENTS, OBJECTS = 2600, 8
DOLLARS_MAX = 0.70  # a million events
# Of an event source mapping: bytes of an invocation, and those that SQS adds to an event.
PAYLOAD_BYTES, ENVELOPE_BYTES = 6 * 2**20, 900
MEMORY_MB = 1024
MONTHS = 400 / 30.4  # for which it is kept by default
KINDS = {"batch-created": "Batch Created", "batch-succeeded": "Batch Succeeded"}


def sent(count: int, seed: int) -> list[str]:
    """Events as EventBridge sends them to the queue: batches of one file, and their ends."""
    chance = random.Random(seed)
    texts = []
    for number in range(count):
        sample, kind = list(KINDS.items())[number % 2]
        detail: dict[str, Any] = json.loads((ROOT / f"events/{sample}.json").read_text("utf-8"))
        at = f"2026-11-23T15:{chance.randrange(60):02}:{chance.randrange(60):02}.123Z"
        name = f"{chance.getrandbits(128):032x}"
        detail |= {"externalId": f"intake-{name}", "batchId": f"{chance.getrandbits(104):026X}"}
        detail |= {"endedAt": at, "createdAt": at, "uploadedAt": at}
        for file in detail.get("files", ()):
            file |= {"key": f"landing/loyalty/2026/11/{name}.json", "etag": name}
        envelope = {
            "version": "0",
            "id": f"{chance.getrandbits(128):032x}",
            "detail-type": kind,
            "source": "aep.intake",
            "account": "111122223333",
            "time": at,
            "region": "eu-west-1",
            "resources": ["arn:aws:s3:::acme-landing"],
            "detail": detail,
        }
        texts.append(json.dumps(envelope, separators=(",", ":")))
    return texts


def kept() -> Section:
    """What an event takes of a processor, of memory and of S3; and a million, in dollars."""
    batches = [sent(EVENTS, seed) for seed in range(OBJECTS)]
    began = time.process_time()
    objects = [written(map(line, batch)) for batch in batches]
    writing = (time.process_time() - began) / (EVENTS * OBJECTS)
    tally = Tally()
    began = time.process_time()
    for name, content in objects:
        tally.add(name, read(content))
    reading = (time.process_time() - began) / (EVENTS * OBJECTS)
    tracemalloc.start()
    remembering = Tally()
    for name, content in objects:
        remembering.add(name, read(content))
    memory = tracemalloc.get_traced_memory()[0] / len(remembering)
    tracemalloc.stop()
    plain = sum(len(text) for batch in batches for text in batch) / (EVENTS * OBJECTS)
    stored = sum(len(content) for _, content in objects) / (EVENTS * OBJECTS)
    dollars = _million(plain, stored, writing + reading)
    return Section(
        f"The journal: {EVENTS * OBJECTS:,} events of {plain:,.0f} bytes",
        (
            Figure("bytes of an event in S3", f"{stored:.0f}"),
            Figure("bytes that a worker remembers of it", f"{memory:.0f}"),
            Figure(
                "µs of a processor to write it, and to count what it wrote", f"{writing * 1e6:.0f}"
            ),
            Figure("µs of a processor to read it again", f"{reading * 1e6:.0f}"),
            Figure("dollars a million", f"{dollars:.2f}", dollars, DOLLARS_MAX),
        ),
    )


def _million(plain: float, stored: float, processor_s: float) -> float:
    """As docs/cost.md has it: many at once, each read again by the other worker."""
    invocations = 10**6 * (plain * 1.1 + ENVELOPE_BYTES) / PAYLOAD_BYTES  # JSON in JSON
    calls = 1.2 * prices.QUEUE_REQUEST  # sent; received and deleted ten at a time
    seconds = processor_s * prices.PROCESSOR_MB / MEMORY_MB
    lambdas = invocations / 10**6 * prices.INVOCATION
    lambdas += seconds * MEMORY_MB / 1024 * prices.GIGABYTE_SECOND
    s3 = invocations / 10**6 * (2 * prices.OBJECT + prices.OBJECT_READ)
    ledger = invocations / 10**6 * 2 * prices.WRITE_UNIT
    return calls + lambdas + s3 + ledger + stored / 1000 * prices.STORED_GIGABYTE * MONTHS
