"""How a batch's data leaves AEP again: Adobe's calls, and what they do and do not undo.

Nothing here sends them: what a revert takes away does not come back. Sources: Adobe's Batch
Ingestion API (`action=REVERT`) and Profile's system jobs (`POST /system/jobs`), as of 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aep_intake.create.attempts import latest
from aep_intake.model.errors import IntakeError
from aep_intake.report.status import known

from aep_intake_cli.failures import CommandFailed

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.platform import Adobe
    from aep_intake.adapters.dynamodb.ledger import DynamoLedger
    from aep_intake.model.progress import Record

TIME_SERIES = "time-series"


@dataclass(frozen=True)
class Revert:
    """`calls`: Adobe's, in their order, each with what it is for. `consequences`: of them all."""

    batch: str
    calls: tuple[tuple[str, str], ...]
    consequences: tuple[str, ...]


def revert(wanted: str, ledger: DynamoLedger, adobe: Adobe, platform_url: str) -> Revert:
    """What to send for a batch, by its id or its external id. Raises CommandFailed, IntakeError.

    AEP is asked whether the batch holds data, and whether its dataset feeds Profile.
    """
    record = latest(known(wanted, ledger), ledger)
    if record is None or record.batch_id is None:
        raise CommandFailed(f"the ledger knows no batch {wanted}")
    target, batch_id = record.order.target, record.batch_id
    batch = adobe.batch(target, batch_id)
    if batch is None or batch.status != "success":
        status = "unknown to Catalog" if batch is None else f"`{batch.status}`"
        raise CommandFailed(
            f"batch {batch_id} is {status}, and AEP reverts only a batch that is `success`"
        )
    path = f"/data/foundation/import/batches/{batch_id}?action=REVERT"
    calls = [("takes its rows out of the data lake", _call(record, platform_url, path))]
    consequences = [
        "The batch becomes `inactive`, and later `deleted`. This cannot be undone.",
        *_about_profile(record, adobe, platform_url, calls),
        *_about_replaced(record),
        "What others have made of the rows stays: audiences, exports, activations.",
        "The intake does not notice: its files stay `loaded`, and the same version of a file is "
        "not loaded again. Send the corrected file as a new version.",
    ]
    return Revert(batch_id, tuple(calls), tuple(consequences))


def _about_profile(
    record: Record, adobe: Adobe, platform_url: str, calls: list[tuple[str, str]]
) -> list[str]:
    target = record.order.target
    try:
        info, raw = adobe.dataset_info(target), adobe.dataset(target) or {}
    except IntakeError as error:
        return [f"Whether Profile has the rows, too, could not be read: {error.detail}"]
    if info is not None and not info.profile:
        return []
    if raw.get("classification", {}).get("dataBehavior") == TIME_SERIES:
        body = f'{{"datasetId": "{target.dataset_id}", "batchId": "{record.batch_id}"}}'
        calls.append(
            (
                "takes them out of Profile",
                _call(record, platform_url, "/data/core/ups/system/jobs", body),
            )
        )
        return ["Profile has the rows, too, and keeps them until the second call."]
    return [
        "Profile has the rows, too, and keeps them: it deletes no batch of a record schema, since "
        "each row overwrote the one before. Load rows with the right values over them."
    ]


def _about_replaced(record: Record) -> list[str]:
    replaced = record.order.replaces
    if replaced is None:
        return []
    return [
        f"It replaced the batch {replaced.batch_id}, which stays replaced: neither version is in "
        "the dataset then."
    ]


def _call(record: Record, platform_url: str, path: str, body: str | None = None) -> str:
    target = record.order.target
    headers = [
        "Authorization: Bearer $TOKEN",
        "x-api-key: $CLIENT_ID",
        f"x-gw-ims-org-id: {target.ims_org}",
        f"x-sandbox-name: {target.sandbox}",
    ]
    lines = [f"curl -X POST '{platform_url}{path}'", *(f'-H "{header}"' for header in headers)]
    if body is not None:
        lines += ['-H "Content-Type: application/json"', f"-d '{body}'"]
    return " \\\n  ".join(lines)
