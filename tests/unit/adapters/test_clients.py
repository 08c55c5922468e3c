"""AWS's clients, as the threads of a worker make them."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aep_intake.wiring import clients
from aep_intake.wiring.clients import Clients


def test_no_two_threads_make_clients_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share a session, which boto3 says they must not: some are first needed in a thread."""
    busy = Lock()

    class Session:
        def client(self, *_: Any, **__: Any) -> str:
            assert busy.acquire(blocking=False)
            time.sleep(0.01)
            busy.release()
            return "a client"

    monkeypatch.setattr(clients, "boto3", SimpleNamespace(Session=Session))
    worker = Clients(cast("Any", SimpleNamespace(delivery_concurrency=10)))
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(worker._client, ["sqs", "events", "sqs", "s3"])
        assert list(made) == ["a client"] * 4
