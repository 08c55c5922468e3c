"""A routing table for another sandbox, whose datasets have the same names and other ids."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aep_intake.model.batches import Target
from aep_intake.model.errors import DatasetNotFound, IntakeError
from aep_intake.routing.targets import credential_arn

from aep_intake_cli.documents import DocumentProblem, DocumentRefused
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.versions import as_written

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.platform import Adobe
    from aep_intake.model.organizations import Organizations


def moved(
    document: bytes,
    adobe: Adobe,
    ims_orgs: Mapping[str, str],
    organizations: Organizations,
    sandboxes: tuple[str, str],
) -> bytes:
    """The table with each route from the first of `sandboxes` to the second.

    A `datasetId` becomes that of the dataset of the same name. Routes to other sandboxes, and
    those whose key says the sandbox, stay as they are. `ims_orgs`: by secret ARN. Raises
    DocumentRefused with each dataset that is not there, CommandFailed of a sandbox that is not the
    stack's, and botocore's errors.
    """
    before, after = sandboxes
    allowed = {name for organization in organizations.all for name in organization.sandboxes}
    for name in sandboxes:
        if name not in allowed:
            known = ", ".join(sorted(allowed))
            raise CommandFailed(f"{name} is not a sandbox of the stack, which has {known}")
    table: dict[str, Any] = as_written(document)
    problems: list[DocumentProblem] = []
    for written in _of_sandbox(table["routes"], before, organizations):
        arn = credential_arn(written.get("credential"), organizations.credentials)
        written["sandbox"] = after
        if "{" in written.get("datasetId", "{"):
            continue
        there = Target(arn, ims_orgs[arn], before, written["datasetId"])
        try:
            written["datasetId"] = _same_name(there, after, adobe)
        except IntakeError as error:
            problems.append(DocumentProblem(written["name"], "datasetId", error.detail))
    if problems:
        raise DocumentRefused(f"the table cannot move to {after}", problems)
    return json.dumps(table, indent=2, ensure_ascii=False).encode()


def _of_sandbox(
    routes: list[dict[str, Any]], sandbox: str, organizations: Organizations
) -> Iterator[dict[str, Any]]:
    for written in routes:
        if "ignore" in written:
            continue
        arn = credential_arn(written.get("credential"), organizations.credentials)
        default = organizations.of(arn).sandboxes[0]
        if "{sandbox}" not in written["match"] and written.get("sandbox", default) == sandbox:
            yield written


def _same_name(there: Target, sandbox: str, adobe: Adobe) -> str:
    """The id, in `sandbox`, of the dataset with the name of that one. Raises IntakeError."""
    dataset = adobe.dataset(there)
    if dataset is None:
        raise DatasetNotFound(f"no dataset {there.dataset_id} in sandbox {there.sandbox}")
    return adobe.dataset_id(there.credential, there.ims_org, sandbox, str(dataset["name"]))
