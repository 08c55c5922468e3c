"""Runs inside the runtime, around a real handler: what it loads, calls and takes.

Event: `module` and `event`, to call that module's handler with; or `import`, names of modules.
"""

import gc
import importlib
import os
import resource
import sys
import time
from collections import Counter
from typing import Any

from botocore.client import BaseClient
from botocore.httpsession import URLLib3Session
from requests import PreparedRequest
from requests.adapters import HTTPAdapter

calls: Counter[str] = Counter()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """`ms`, `calls` and `answer` of the handler; `peak` memory of this process in MiB so far."""
    told: dict[str, Any] = {"process": os.getpid(), "path": sys.path}
    for name in event.get("import", []):
        importlib.import_module(name)
    if "module" in event:
        real = importlib.import_module(event["module"]).handler
        calls.clear()
        started = time.perf_counter()
        told["answer"] = real(event["event"], context)
        told["ms"] = (time.perf_counter() - started) * 1000
        told["calls"] = dict(calls)
    gc.unfreeze()  # else what was made at the start is no longer told of
    told["clients"] = sorted(
        each.meta.service_model.service_name
        for each in gc.get_objects()
        if issubclass(type(each), BaseClient)  # S3's has a proxy of itself, which says it is one
    )
    told["modules"] = {name: getattr(m, "__file__", None) for name, m in sys.modules.items()}
    told["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return told


def _count_calls() -> None:
    """Every HTTP request that leaves this process, repetitions included."""
    to_aws, to_others = URLLib3Session.send, HTTPAdapter.send

    def aws(self: URLLib3Session, request: Any) -> Any:
        target = request.headers.get("X-Amz-Target") or request.method + " " + request.url
        target = target.decode() if isinstance(target, bytes) else target
        calls[target.partition("?")[0]] += 1
        return to_aws(self, request)

    def other(self: HTTPAdapter, request: PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        calls[f"{request.method} {request.path_url.partition('?')[0]}"] += 1
        return to_others(self, request, *args, **kwargs)

    URLLib3Session.send = aws  # type: ignore[method-assign]
    HTTPAdapter.send = other  # type: ignore[method-assign]


_count_calls()
