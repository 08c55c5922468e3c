"""The functions' environment: of each just what it reads, once, into one frozen value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)  # made by `read` alone
class Settings:
    """What the deployment decides. Every field is an environment variable in capitals.

    A function's has only the fields that it reads; others are AttributeErrors. Queues by URL.
    `credentials`: secrets as the template names them, by ARN, or by the beginning of several and a
    `*`. `key_pattern`: keys to take, an EventBridge wildcard. `routes_*` and `limits_*` are
    AppConfig's ids. `retention_days` of the ledger. `deliver_batches`: by this stack itself;
    `upload_seconds`: the longest that an upload takes.
    """

    ledger_table: str
    bus_name: str
    state_bucket: str
    arrivals_queue_url: str
    arrivals_dlq_url: str
    markers_queue_url: str
    due_queue_url: str
    due_orders_queue_url: str
    due_folders_queue_url: str
    deliveries_queue_url: str
    deliveries_dlq_url: str
    due_deliveries_queue_url: str
    uploads_queue_url: str
    uploads_dlq_url: str
    source_buckets: tuple[str, ...]
    key_pattern: str
    credentials: tuple[str, ...]
    platform_url: str
    ims_url: str
    routes_application: str
    routes_environment: str
    routes_profile: str
    limits_application: str
    limits_environment: str
    limits_profile: str
    delivery_concurrency: int
    retention_days: int
    upload_seconds: int
    deliver_batches: bool

    @classmethod
    def of(cls, function: str, environment: Mapping[str, str] = os.environ) -> Self:
        """Those of a function, by its module. Raises ValueError as `read`."""
        return cls.read(environment, READ[function])

    @classmethod
    def read(cls, environment: Mapping[str, str], names: frozenset[str]) -> Self:
        """The fields of these names. Raises ValueError naming what is missing or not a number."""
        wanted = [field for field in fields(cls) if field.name in names]
        missing = [f.name.upper() for f in wanted if not environment.get(f.name.upper())]
        if missing:
            raise ValueError(f"environment variables are missing: {', '.join(missing)}")
        made = object.__new__(cls)
        for field in wanted:
            text = environment[field.name.upper()]
            value: Any = text
            if field.type is int:
                if not text.isdecimal():
                    raise ValueError(f"{field.name.upper()} must be a whole number, not {text!r}")
                value = int(text)
            elif field.type is bool:
                if text not in ("true", "false"):
                    raise ValueError(f"{field.name.upper()} must be true or false, not {text!r}")
                value = text == "true"
            elif field.type is not str:
                value = tuple(part.strip() for part in text.split(",") if part.strip())
            object.__setattr__(made, field.name, value)
        return made


_ALL = frozenset({"ledger_table", "credentials", "delivery_concurrency", "retention_days"})
_ALL |= {"state_bucket", "limits_application", "limits_environment", "limits_profile"}
# Who talks to Adobe, announces, and parks.
_WITH_ADOBE = _ALL | {"platform_url", "ims_url", "bus_name", "arrivals_dlq_url"}
_CREATING = _WITH_ADOBE | {"deliver_batches"}
_ROUTES = frozenset({"routes_application", "routes_environment", "routes_profile"})
_GATHERING = _CREATING | {"arrivals_queue_url", "due_queue_url"}
_ARRIVING = _GATHERING | _ROUTES | {"source_buckets", "key_pattern", "markers_queue_url"}
_DELIVERING = _WITH_ADOBE | {"uploads_queue_url", "upload_seconds"}
_DUE = {"due_queue_url", "due_orders_queue_url", "due_folders_queue_url"}
# By function; a test follows each through the wiring.
READ: Mapping[str, frozenset[str]] = {
    "on_arrival": _ARRIVING,
    "on_marker": _ARRIVING,
    "on_request": _CREATING | {"source_buckets"},
    "on_tick": _ALL | _DUE | {"due_deliveries_queue_url"},
    "on_due": _GATHERING,
    "on_delivery": _DELIVERING | {"deliveries_queue_url", "deliveries_dlq_url"},
    "on_upload": _DELIVERING | {"uploads_dlq_url"},
}
