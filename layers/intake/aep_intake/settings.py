"""The functions' environment, read once into one frozen value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Settings:
    """What the deployment decides. Every field is an environment variable in capitals.

    `key_pattern`: keys to take, an EventBridge wildcard. Queues by URL, credentials as secret ARNs
    (the first is the default), `routes_*` as AppConfig ids, `retention_days` of the ledger,
    `settle_seconds` until Catalog surely shows a batch. `batch_files` and `batch_gigabytes`: the
    most that a window puts into one batch. `file_megabytes`: the most of a file that cannot be
    uploaded in pieces. `replay_by`: how Adobe is told which batch a new one replaces.
    `deliver_batches`: by this stack itself. Of deliveries: `upload_seconds` is the longest that an
    upload takes, `upload_hours` until a batch that is not complete is given up, `outcome_seconds`
    until Catalog is asked, `gigabytes_per_hour` what AEP takes.
    """

    ledger_table: str
    bus_name: str
    state_bucket: str
    arrivals_queue_url: str
    arrivals_dlq_url: str
    due_queue_url: str
    due_orders_queue_url: str
    due_folders_queue_url: str
    credentials: tuple[str, ...]
    default_sandbox: str
    allowed_sandboxes: tuple[str, ...]
    source_buckets: tuple[str, ...]
    key_pattern: str
    platform_url: str
    ims_url: str
    routes_application: str
    routes_environment: str
    routes_profile: str
    batches_per_minute: int
    requests_per_second: int
    maximum_concurrency: int
    due_concurrency: int
    delivery_concurrency: int
    retention_days: int
    settle_seconds: int
    batch_files: int
    batch_gigabytes: int
    file_megabytes: int
    replay_by: str
    deliveries_queue_url: str
    due_deliveries_queue_url: str
    uploads_queue_url: str
    upload_seconds: int
    upload_hours: int
    outcome_seconds: int
    gigabytes_per_hour: int
    deliver_batches: bool

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises ValueError naming what is missing or not a number."""
        missing = [f.name.upper() for f in fields(cls) if not environment.get(f.name.upper())]
        if missing:
            raise ValueError(f"environment variables are missing: {', '.join(missing)}")
        values: dict[str, Any] = {}
        for field in fields(cls):
            text = environment[field.name.upper()]
            if field.type is int:
                if not text.isdecimal():
                    raise ValueError(f"{field.name.upper()} must be a whole number, not {text!r}")
                values[field.name] = int(text)
            elif field.type is bool:
                if text not in ("true", "false"):
                    raise ValueError(f"{field.name.upper()} must be true or false, not {text!r}")
                values[field.name] = text == "true"
            elif field.type is str:
                values[field.name] = text
            else:
                values[field.name] = tuple(part.strip() for part in text.split(",") if part.strip())
        return cls(**values)

    @property
    def batches_per_worker(self) -> float:
        """A queue worker's share of the batches per minute.

        Requests may take theirs in full, but no more than half is set aside for them. on_due takes
        orders out of two queues.
        """
        without_requests = self.batches_per_minute - 60 * self.requests_per_second
        left = max(without_requests, self.batches_per_minute / 2)
        return left / (self.maximum_concurrency + 2 * self.due_concurrency)
