"""Runs inside the runtime, around `probe`: what its calls write, log and compute.

Beside what `probe` tells: `written`, DynamoDB's requests that write; `logged`, bytes for
CloudWatch Logs; `cpu`, milliseconds.
"""

import importlib
import sys
import time
from typing import Any

from botocore.httpsession import URLLib3Session

probe = importlib.import_module("probe")

WRITES = ("TransactWriteItems", "PutItem", "UpdateItem", "DeleteItem")
written: list[tuple[str, str]] = []


class Weighed:
    """A stream that counts its bytes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.bytes = 0

    def write(self, text: str) -> None:
        self.bytes += len(text.encode())
        self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


out: Any = Weighed(sys.stdout)
sys.stdout = out


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """As `probe.handler`, and more."""
    written.clear()
    logged, began = out.bytes, time.process_time()
    told: dict[str, Any] = probe.handler(event, context)
    told["cpu"] = (time.process_time() - began) * 1000
    told["logged"] = out.bytes - logged
    # Of many files they are more than the runtime hands back.
    told["written"] = list(written) if event.get("weighs", True) else []
    del told["modules"]
    return told


def _keep_writes() -> None:
    send = URLLib3Session.send

    def kept(self: URLLib3Session, request: Any) -> Any:
        target = request.headers.get("X-Amz-Target", b"")
        target = target.decode() if isinstance(target, bytes) else target
        service, _, name = target.partition(".")
        if service.startswith("DynamoDB") and name in WRITES:
            written.append((name, request.body.decode()))
        return send(self, request)

    URLLib3Session.send = kept  # type: ignore[method-assign]


_keep_writes()
