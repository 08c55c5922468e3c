"""The functions' environment variables: each function reads its own, once, into one value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)  # made by `read` alone
class Settings:
    """The settings of a stack. Every field is an environment variable in capitals.

    A function's settings have the fields in `READ`; reading another raises AttributeError.
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
    # ARN of the role that may PUT into the stack's own landing bucket, which then is the only
    # source bucket; `none` where the stack takes from existing ones.
    landing_role: str
    key_pattern: str  # of keys to take: an EventBridge wildcard
    # Secrets as the template names them: ARNs, or what several ARNs begin with, and a `*`.
    credentials: tuple[str, ...]
    platform_url: str
    ims_url: str
    # Ids of AppConfig.
    routes_application: str
    routes_environment: str
    routes_profile: str
    limits_application: str
    limits_environment: str
    limits_profile: str
    delivery_concurrency: int
    retention_days: int  # of the ledger
    journal_days: int  # of the journal, and of its counts
    upload_seconds: int  # the longest that an upload takes
    deliver_batches: bool  # this stack uploads the files itself

    @classmethod
    def of(cls, function: str, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings of a function, by its module's name. Raises ValueError as `read`."""
        return cls.read(environment, READ[function])

    @classmethod
    def read(cls, environment: Mapping[str, str], names: frozenset[str]) -> Self:
        """The fields of these names. Raises ValueError naming a missing or malformed variable."""
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
# Of functions that call Adobe, announce, and park.
_WITH_ADOBE = _ALL | {"platform_url", "ims_url", "bus_name", "arrivals_dlq_url"}
_CREATING = _WITH_ADOBE | {"deliver_batches"}
_ROUTES = frozenset({"routes_application", "routes_environment", "routes_profile"})
_GATHERING = _CREATING | {"arrivals_queue_url", "due_queue_url"}
_ARRIVING = _GATHERING | _ROUTES | {"source_buckets", "key_pattern", "markers_queue_url"}
_DELIVERING = _WITH_ADOBE | {"uploads_queue_url", "upload_seconds", "due_deliveries_queue_url"}
_DUE = {"due_queue_url", "due_orders_queue_url", "due_folders_queue_url"}
# By function; a test checks it against the wiring.
READ: Mapping[str, frozenset[str]] = {
    "on_arrival": _ARRIVING,
    "on_marker": _ARRIVING,
    "on_request": _CREATING
    | _ROUTES
    | {"source_buckets", "key_pattern", "landing_role", "journal_days"},
    "on_tick": _ALL | _ROUTES | _DUE | {"due_deliveries_queue_url", "bus_name"},
    "on_due": _GATHERING,
    "on_delivery": _DELIVERING | {"deliveries_queue_url", "deliveries_dlq_url"},
    "on_upload": _DELIVERING | {"uploads_dlq_url"},
    "on_journal": frozenset(
        {"ledger_table", "state_bucket", "journal_days", "delivery_concurrency"}
    ),
    "on_widget": frozenset({"ledger_table", "delivery_concurrency"}),
    "on_reconcile": _ALL
    | _ROUTES
    | {"platform_url", "ims_url", "source_buckets", "key_pattern"}
    | {"arrivals_queue_url", "deliver_batches"},
}
