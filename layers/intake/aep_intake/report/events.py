"""The events on our bus: of batches, of arrivals that were rejected, and of routes without files.

The contract is in `events/*.schema.json`; members may be added to it, never changed or removed.
"""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aep_intake.model.errors import BadRows
from aep_intake.model.files import Arrival, in_a_key
from aep_intake.model.times import iso

if TYPE_CHECKING:
    from aep_intake.clock.expected import MissedDeadline
    from aep_intake.delivery.delivery import Delivery, Verdict
    from aep_intake.model.orders import Order, Replaced
    from aep_intake.model.progress import Record, Rejection

SOURCE = "aep.intake"
BATCH_CREATED = "Batch Created"
ARRIVAL_REJECTED = "Arrival Rejected"
BATCH_ENDED = {  # by the values of `delivery.End`, which most functions need not load
    "succeeded": "Batch Succeeded",
    "failed": "Batch Failed",
    "abandoned": "Batch Abandoned",
}
BATCH_REPLACED = "Batch Replaced"
ROUTE_OVERDUE = "Route Overdue"
ROUTE_RESUMED = "Route Resumed"
SCHEMA_VERSION = "1"


def batch_created(record: "Record") -> dict[str, Any]:
    """The event that an order has its batch. Raises ValueError if it has none."""
    if record.batch_id is None or record.created_at is None:
        raise ValueError(f"{record.order.external_id} has no batch to announce")
    order, target = record.order, record.order.target
    return present(
        schemaVersion=SCHEMA_VERSION,
        externalId=order.external_id,
        batchId=record.batch_id,
        status="loading",
        imsOrg=target.ims_org,
        sandbox=target.sandbox,
        datasetId=target.dataset_id,
        inputFormat=order.options.get("inputFormat"),
        sourceFormat=order.source_format,
        credential=target.credential,
        attempt=order.attempt,
        trigger=order.trigger,
        route=order.route,
        routesVersion=order.routes_version,
        owner=order.owner,
        compiledMap=order.compiled_map,
        replaces=order.replaces and about_replaced(order.replaces),
        splitOf=order.split_of,
        **_files(order.files),
        supersededFileCount=None if order.excerpt is None else order.excerpt.superseded,
        createdAt=iso(record.created_at),
    )


def about_replaced(replaced: "Replaced") -> dict[str, Any]:
    """The batch that a new one replaces; of an order that was split, all of them."""
    others = [{"externalId": one.external_id, "batchId": one.batch_id} for one in replaced.others]
    return present(
        externalId=replaced.external_id, batchId=replaced.batch_id, others=others or None
    )


def order_rejected(order: "Order", rejection: "Rejection") -> dict[str, Any]:
    """The event that an order gets no batch until somebody changes something."""
    return _rejected(order.external_id, rejection, order.files, order)


def arrival_rejected(
    external_id: str, arrivals: tuple[Arrival, ...], rejection: "Rejection"
) -> dict[str, Any]:
    """The event that arrivals, or an unreadable message, did not become an order."""
    return _rejected(external_id, rejection, arrivals)


def kind_of_end(verdict: "Verdict") -> str:
    """The detail-type of the event that a batch has ended."""
    return BATCH_REPLACED if verdict.replaced_by else BATCH_ENDED[verdict.end]


def batch_ended(
    delivery: "Delivery",
    files: tuple[Arrival, ...],
    lost: Mapping[str, "Rejection"],
    bucket: str,
) -> dict[str, Any]:
    """The event that a delivery's batch has ended. `bucket`: with the details of bad rows.

    `files`: none where nobody knows them. Raises ValueError if it has not ended.
    """
    from aep_intake.report.meanings import explained  # noqa: PLC0415 - no stage but delivery needs it

    verdict, target = delivery.verdict, delivery.target
    if verdict is None:
        raise ValueError(f"{delivery.external_id} has not ended")
    metrics = verdict.metrics
    missing = [
        {"uri": uri, "reason": why.reason, "detail": why.detail[:300]}
        for uri, why in list(lost.items())[:50]
    ]
    return present(
        schemaVersion=SCHEMA_VERSION,
        externalId=delivery.external_id,
        batchId=delivery.batch_id,
        status=verdict.status,
        detail=verdict.detail[:1024],
        imsOrg=target.ims_org,
        sandbox=target.sandbox,
        datasetId=target.dataset_id,
        route=delivery.route,
        owner=delivery.owner,
        replacedBy=verdict.replaced_by and {"externalId": verdict.replaced_by},
        **{"fileCount": delivery.file_count, "byteCount": delivery.byte_count}
        | (_files(files) if files else {}),
        lostFileCount=len(lost),
        lostFiles=missing or None,
        sentRecordCount=verdict.rows,
        brokenRecordCount=verdict.broken or None,
        unmappedRecordCount=verdict.unmapped or None,
        unmappedColumns=list(verdict.unmapped_columns) or None,
        unmappedColumnCount=verdict.unmapped_column_count or None,
        brokenRows=[
            present(uri=bad.uri, row=bad.row, offset=bad.offset, rule=bad.rule)
            for bad in verdict.bad_rows
        ]
        or None,
        oversizedRecordCount=verdict.oversized or None,
        oversizedRecords=list(verdict.oversized_rows) or None,
        counted=verdict.missing is not None if verdict.end == "succeeded" else None,
        missingRecordCount=verdict.missing or None,
        recordCount=metrics.get("inputRecordCount"),
        ingestedRecordCount=metrics.get("outputRecordCount"),
        failedRecordCount=metrics.get("failedRecordCount"),
        errors=explained(verdict.errors) or None,
        diagnostics={"bucket": bucket, "prefix": diagnostics_of(delivery)}
        if verdict.diagnostics
        else None,
        badRows={"bucket": bucket, "prefix": delivery.bad_rows_prefix}
        if _left_rows_out(delivery, verdict, lost)
        else None,
        createdAt=iso(delivery.created_at),
        uploadedAt=None if delivery.uploaded_at is None else iso(delivery.uploaded_at),
        endedAt=iso(verdict.at),
    )


def _left_rows_out(
    delivery: "Delivery", verdict: "Verdict", lost: Mapping[str, "Rejection"]
) -> bool:
    """Whether rows were kept that a map left out: of files in the batch, or of those refused."""
    refused = any(why.reason == BadRows.reason for why in lost.values())
    return delivery.compiled_map is not None and (verdict.unmapped > 0 or refused)


def route_told(told: "MissedDeadline") -> dict[str, Any]:
    """The event that files of a route did not come in time, or have come after all."""
    expected, last, counts = told.expected, told.seen.last, told.counts
    least = expected.expectation.least
    missing = counts.short_of(least) if counts and least else "no file has come"
    what = "files have come, which were" if told.resumed else f"{missing},"
    newest = f". The newest file came at {iso(last)}" if last else ""
    detail = f"route `{expected.route}`: {what} expected by {iso(told.deadline)}{newest}"
    return present(
        schemaVersion=SCHEMA_VERSION,
        externalId=told.external_id,
        route=expected.route,
        routesVersion=expected.version or None,
        owner=expected.owner,
        detail=detail,
        expect=expected.expectation.member,
        fileCount=counts and counts.files,
        byteCount=counts and counts.bytes,
        recordCount=counts and counts.rows,
        lastArrivalAt=iso(last) if last else None,
        # The same in every repeat, as are all names that end so.
        overdueAt=iso(told.deadline),
        resumedAt=iso(max(last, told.deadline)) if told.resumed else None,
    )


def diagnostics_of(delivery: "Delivery") -> str:
    """The prefix, in the state bucket, of the details of a batch's bad rows."""
    return f"diagnostics/{in_a_key(delivery.external_id)}/"


def manifest(detail: dict[str, Any]) -> dict[str, Any]:
    """The file list of `detail`, stored beside the event: the same for every repeat of it."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "externalId": detail["externalId"],
        "files": detail["files"],
    }


def with_manifest(detail: dict[str, Any], bucket: str, key: str) -> dict[str, Any]:
    """`detail` with the name of the object that holds its file list, instead of the list."""
    kept = {name: value for name, value in detail.items() if name != "files"}
    return {**kept, "manifest": {"bucket": bucket, "key": key}}


def encoded(document: dict[str, Any]) -> bytes:
    """JSON in UTF-8, always the same for the same document.

    The bus takes no text that is not Unicode: a lone surrogate, which Adobe's error texts could
    carry, becomes `?`. Queues behind the bus take no U+FFFE or U+FFFF: these are escaped.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate({0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}).encode(errors="replace")


def _rejected(
    external_id: str,
    rejection: "Rejection",
    files: Iterable[Arrival],
    order: "Order | None" = None,
) -> dict[str, Any]:
    target, taken = order and order.target, order or rejection
    return present(
        schemaVersion=SCHEMA_VERSION,
        externalId=external_id,
        reason=rejection.reason,
        detail=rejection.detail[:1024],
        trigger=order.trigger if order else "arrival",
        route=taken.route,
        routesVersion=taken.routes_version,
        owner=taken.owner,
        imsOrg=target and target.ims_org,
        sandbox=target and target.sandbox,
        datasetId=target and target.dataset_id,
        status=rejection.status,
        errorCode=rejection.error_code,
        requestId=rejection.request_id,
        **_files(files),
        rejectedAt=iso(rejection.at),
    )


def _files(files: Iterable[Arrival]) -> dict[str, Any]:
    listed = [
        present(
            bucket=file.bucket,
            key=file.key,
            versionId=file.version_id,
            etag=file.etag,
            size=file.size,
            sequencer=file.sequencer,
            path=file.path,
        )
        for file in files
    ]
    return {
        "files": listed,
        "fileCount": len(listed),
        "byteCount": sum(file["size"] for file in listed),
    }


def present(**members: Any) -> dict[str, Any]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
