"""The attempts of an order, and its halves, where AEP failed it and it was split."""

from collections.abc import Iterator

from aep_intake.model.ledgers import Records, RecordsAndFiles
from aep_intake.model.progress import Record


def attempts(external_id: str, ledger: Records) -> Iterator[Record]:
    """The records of an order's attempts, and of those of its halves, each after its former one."""
    record = ledger.get(external_id)
    while record is not None:
        yield record
        for half in record.split_into or ():
            yield from attempts(half, ledger)
        record = None if record.next_attempt is None else ledger.get(record.next_attempt)


def latest(record: Record | None, ledger: Records) -> Record | None:
    """The last attempt of an order; it may be split."""
    while record is not None and record.next_attempt is not None:
        record = ledger.get(record.next_attempt)
    return record


def half_with(
    record: Record | None, bucket: str, key: str, ledger: RecordsAndFiles
) -> Record | None:
    """The last attempt of an order, or of its half, with an object; None if none has it any more.

    Of an order that is not split, nobody asks for its files.
    """
    last = latest(record, ledger)
    if last is None or last.split_into is None:
        return last
    for half in last.split_into:
        found = half_with(ledger.get(half), bucket, key, ledger)
        if found is not None and any(
            (file.bucket, file.key) == (bucket, key) for file in ledger.files(found.order)
        ):
            return found
    return None
