"""What Adobe leaves undocumented, or lets differ."""

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass
class Switches:
    """One member for each thing nobody documents; the defaults are what seems likeliest.

    `expires_in`: seconds a token lives (Adobe's samples: about a day). `catalog_lag_ms`: how long a
    batch made from now on stays out of Catalog's answers. `abandon_after_ms`: Adobe says "the
    expected timeframe" and no more; None is never. `external_id_reuse`: `refused` is 409,
    `refused-400` is 400, `returned` is 201 with the oldest batch of that externalId. `abort`:
    `strict` only while loading, `lenient` until a final state; Adobe's pages contradict each other.
    `external_id_filter`: Catalog's, whether or not Adobe enforces anything. `sandbox_list`
    `denied`: a credential that may not list sandboxes, and so not learn which ones are for
    production.

    Files: `put_limit`, bytes (Adobe says 256 MB, not which), and `too_large`, the status beyond.
    `wrong_dataset`: the status where a path names another dataset than the batch's.
    `upload_answers`: what PUT and the steps of a large file answer: by Adobe's OpenAPI file, by its
    developer guide, or (`usual`) 200 to every PUT, on which the guide, the ETL reference and the
    Python SDK agree, and the rest by the OpenAPI file. `chunked_upload` `refused` is 411.
    `head_answers`: to HEAD of a file that came in one PUT; a `Range` is documented only for files
    in parts. `gzipped`: whether a `.gz` file is decompressed, or nothing that can be read. `bom`:
    of a CSV file; `header_only`: of a CSV file without rows, where `failed` is as if it were empty.
    `files_per_batch`: Adobe's guardrail; a batch of more fails. `connection_bytes_per_second`: at
    which the body of an upload is read; None is as it comes. Inferred: on a real network one
    connection carries only so much, and on loopback it does not.

    Promotion: how long a batch stays in each state, ms. Adobe names no time; real batches take
    minutes. `success_name`, `failure_name`: Adobe says that each pair means the same.
    `without_files`: what a batch completed without any becomes. `deleted_after_ms`: from REVERT on;
    `consolidated_after_ms`: from success on; None is never. `replay_form`: how `replay` must name a
    predecessor, with `$` or without; in another form it is ignored. `mapping_tag`: whether the tag
    that names a mapping set is `read`. `diagnostics_kept_ms`: from the end on; Adobe says 30 days.
    `diagnostics_name`: whether a row's `_filename` is the file that was uploaded; in Adobe's sample
    it is that of the diagnostics.

    Schemas: `row_validation`: `disabled` is as if every dataset had Adobe's tag
    `acp_validationContext: ["disabled"]`, and lets CSV into every dataset. `unknown_keys`: that the
    schema does not have, and `nulls`, in fields that are not required, where `ignored` is as if
    they were not there. `bare_dates`: `2026-11-28` in a date-time. `deep_enums`: those that Adobe
    says it does not validate (on arrays, and more than one level deep). `json_integers`: the
    inbound type of a JSON number without a fraction, Integer or Long by its size or always Long.
    `incompatible`: what a type that can never become the field's fails; Adobe says the batch.
    `incompatible_code`, `conversion_code`, `constraint_code`: codes in `errors`, which are not
    documented. `csv_to_xdm`: CSV in a dataset whose schema is not ad-hoc. `registry_errors`: which
    of the two families in Adobe's pages. `registry_access`: without the right to view schemas.
    """

    expires_in: int = 86_399
    default_sandbox: str = "prod"
    unknown_sandbox: Literal[403, 404] = 403
    unknown_dataset: Literal[400, 404] = 400
    input_format_required: bool = False
    external_id_reuse: Literal["accepted", "refused", "refused-400", "returned"] = "accepted"
    abort: Literal["strict", "lenient"] = "strict"
    abandon_after_ms: int | None = 24 * 3_600_000
    catalog_lag_ms: int = 0
    external_id_filter: Literal["works", "ignored", "finds-nothing"] = "works"
    nothing_found: Literal["empty", "not-found"] = "empty"
    unknown_filter: Literal["refused", "ignored"] = "refused"
    sandbox_list: Literal["allowed", "denied"] = "allowed"
    put_limit: int = 256 * 1024 * 1024
    too_large: Literal[413, 400] = 413
    wrong_dataset: Literal[400, 404] = 400
    upload_answers: Literal["usual", "spec", "docs"] = "usual"
    head_answers: Literal["range", "bare", "not-found"] = "range"
    chunked_upload: Literal["accepted", "refused"] = "accepted"
    gzipped: Literal["corrupt", "read"] = "corrupt"
    bom: Literal["taken", "refused"] = "taken"
    header_only: Literal["success", "failed"] = "success"
    files_per_batch: int = 25_000
    connection_bytes_per_second: int | None = None
    loaded_ms: int = 1_000
    staging_ms: int = 2_000
    retrying_ms: int = 2_000
    staged_ms: int = 1_000
    success_name: Literal["success", "active"] = "success"
    failure_name: Literal["failed", "failure"] = "failed"
    without_files: Literal["failed", "success"] = "failed"
    deleted_after_ms: int | None = 3_600_000
    consolidated_after_ms: int | None = None
    replay_form: Literal[
        "any",
        "none",
        "$predecessors",
        "predecessors",
        "$predecessorsByExternalId",
        "predecessorsByExternalId",
    ] = "any"
    mapping_tag: Literal["read", "ignored"] = "read"
    diagnostics_kept_ms: int = 30 * 86_400_000
    diagnostics_name: Literal["nothing", "uploads"] = "nothing"
    row_validation: Literal["enabled", "disabled"] = "enabled"
    unknown_keys: Literal["refused", "ignored"] = "refused"
    nulls: Literal["refused", "ignored"] = "refused"
    bare_dates: Literal["refused", "accepted"] = "refused"
    deep_enums: Literal["unchecked", "checked"] = "unchecked"
    json_integers: Literal["by-size", "long"] = "by-size"
    incompatible: Literal["batch", "row"] = "batch"
    incompatible_code: str = "SIMULATED-2001-400"
    conversion_code: str = "SIMULATED-2002-400"
    constraint_code: str = "SIMULATED-2003-400"
    csv_to_xdm: Literal["refused", "accepted"] = "refused"
    registry_errors: Literal["today", "older"] = "today"
    registry_access: Literal["allowed", "denied"] = "allowed"

    def change(self, **values: object) -> None:
        """Set several at once, or none. Raises ValueError: no such switch or position."""
        known = _kinds()
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"no switch {name}")
            kind = known[name]
            if get_origin(kind) is Literal:
                if value not in get_args(kind):
                    raise ValueError(f"{name} must be one of {', '.join(map(str, get_args(kind)))}")
            elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise ValueError(f"{name} must be {kind}")
        for name, value in values.items():
            setattr(self, name, value)

    def positions(self) -> dict[str, object]:
        """Every switch and where it stands."""
        return asdict(self)


@cache
def _kinds() -> dict[str, Any]:
    return get_type_hints(Switches)
