"""Adobe's identity service, gateway, Batch Ingestion and Catalog behind one door, no sockets.

Faithful, not convenient: what Adobe leaves undocumented is a switch. A batch gets beyond `loaded`
only by `set_status`, until promotion is simulated.
"""

import heapq
import random
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from .batches import Batch
from .clock import Clock
from .faults import Fault, Faults
from .foundation import Foundation
from .ims import Client, Ims
from .messages import AnswerLost, Refused, Request, RequestLost, Response
from .switches import Switches

ROUTES = tuple(
    (name, method, re.compile(path))
    for name, method, path in (
        ("token", "POST", r"/ims/token/v[1-4]"),
        ("create", "POST", r"/data/foundation/import/batches"),
        ("action", "POST", r"/data/foundation/import/batches/[^/]+"),
        ("list-batches", "GET", r"/data/foundation/catalog/batches"),
        # Adobe's overview once writes the singular.
        ("get-batch", "GET", r"/data/foundation/catalog/batch(?:es)?/[^/]+"),
        ("list-datasets", "GET", r"/data/foundation/catalog/dataSets"),
        ("get-dataset", "GET", r"/data/foundation/catalog/dataSets/[^/]+"),
    )
)


@dataclass(frozen=True, slots=True)
class Received:
    """A request and what became of it.

    `operation`: the name in ROUTES, but for actions the action (`abort`, `complete` …), and
    `unknown`. `status` is None where no answer went back. `fault`: what befell it. `sandbox`: the
    one it was for, None for tokens; `sandbox_defaulted` where the header was missing.
    """

    at: int
    operation: str
    request: Request
    status: int | None
    fault: str | None
    sandbox: str | None
    sandbox_defaulted: bool


@dataclass(order=True)
class _Late:
    at: int
    number: int
    request: Request = field(compare=False)


class Simulator:
    """Everything Adobe knows, and one door to it: `handle`.

    The same `seed` and the same calls give the same ids (tokens are never predictable). May be
    called from several threads; requests are handled one by one. `keep`: how many received
    requests are remembered.
    """

    def __init__(self, clock: Clock | None = None, *, seed: int = 0, keep: int = 20_000) -> None:
        self.clock = clock or Clock()
        self._seed, self._keep = seed, keep
        self._lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Forget everything but the clock."""
        with self._lock:
            self._random = random.Random(self._seed)
            self._late: list[_Late] = []
            self._late_so_far = 0
            self.switches = Switches()
            self.faults = Faults()
            self.received: deque[Received] = deque(maxlen=self._keep)
            self.ims = Ims(self._request_id)
            self.foundation = Foundation(self.switches, self._random)

    def add_client(self, client: Client) -> None:
        """Make a credential known, or change one: rotation is a client with other secrets."""
        with self._lock:
            self.ims.clients[client.client_id] = client

    def add_sandbox(self, org: str, name: str) -> None:
        """Make a sandbox known."""
        with self._lock:
            self.foundation.sandboxes.add((org, name))

    def add_dataset(
        self,
        org: str,
        sandbox: str,
        dataset_id: str,
        name: str,
        *,
        tags: Mapping[str, list[str]] | None = None,
        profile_enabled: bool = False,
        managed_by: Literal["CUSTOMER", "SYSTEM"] = "CUSTOMER",
    ) -> None:
        """Make a dataset known in one sandbox, and the sandbox. Names need not be unique."""
        with self._lock:
            self.foundation.add_dataset(
                org,
                sandbox,
                dataset_id,
                name,
                self.clock(),
                tags=tags,
                profile_enabled=profile_enabled,
                managed_by=managed_by,
            )

    def batches(self) -> list[Batch]:
        """Every batch of every organization as it is now, in the order they were made."""
        with self._lock:
            self.catch_up()
            return self.foundation.batches.all(self.clock())

    def set_status(self, batch_id: str, status: str) -> None:
        """As if time had gone: `abandoned`, `success`, `failed` … Raises KeyError: no such id."""
        with self._lock:
            now = self.clock()
            batch = self.foundation.batches.get(batch_id, now)
            if batch is None:
                raise KeyError(batch_id)
            batch.become(status, now)

    def show_in_catalog(self, visibility: Callable[[Batch, int], bool] | None) -> None:
        """Let `visibility(batch, now)` decide, besides the lag, whether Catalog shows a batch.

        It is asked at every look-up, so two look-ups in a row can be made to differ.
        """
        with self._lock:
            self.foundation.visibility = visibility

    def handle(self, request: Request) -> Response:
        """Adobe's answer. Raises AnswerLost, RequestLost: where a fault swallows it."""
        with self._lock:
            self.catch_up()
            now = self.clock()
            route, operation = _route(request)
            fault = self.faults.take(operation, request)
            try:
                response = (
                    self._carry_out(route, request, now)
                    if fault is None
                    else self._go_wrong(fault, route, request, now)
                )
            except (AnswerLost, RequestLost):
                self._remember(request, operation, now, None, fault)
                raise
            self._remember(request, operation, now, response.status, fault)
            return response

    def catch_up(self) -> None:
        """Carry out the late requests that have arrived by now; `handle` does so first."""
        with self._lock:
            while self._late and self._late[0].at <= self.clock():
                late = heapq.heappop(self._late)
                self._carry_out(_route(late.request)[0], late.request, late.at)

    def _carry_out(self, route: str, request: Request, now: int) -> Response:
        try:
            if route == "token":
                answer = self.ims.token(request, now, self.switches.expires_in)
            else:
                client = self.ims.admit(request, now)
                answer = self.foundation.serve(route, request, client, now)
        except Refused as refused:
            answer = refused.response
        return self._stamped(answer)

    def _go_wrong(self, fault: Fault, route: str, request: Request, now: int) -> Response:
        match fault.fault:
            case "request-lost":
                raise RequestLost(fault.how)
            case "late":
                self._late_so_far += 1
                late = _Late(now + fault.delay_ms, self._late_so_far, request)
                heapq.heappush(self._late, late)
                raise AnswerLost(fault.how)
            case "answer-lost":
                self._carry_out(route, request, now)
                raise AnswerLost(fault.how)
            case "delay":
                return replace(self._carry_out(route, request, now), delay_ms=fault.delay_ms)
        if fault.accepted:
            self._carry_out(route, request, now)
        return self._stamped(fault.answer())

    def _request_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def _stamped(self, response: Response) -> Response:
        return replace(response, headers={**response.headers, "X-Request-Id": self._request_id()})

    def _remember(
        self, request: Request, operation: str, now: int, status: int | None, fault: Fault | None
    ) -> None:
        sandbox, defaulted = request.headers.get("x-sandbox-name"), False
        if operation == "token":
            sandbox = None
        elif not sandbox:
            sandbox, defaulted = self.switches.default_sandbox, True
        what = fault.fault if fault else None
        self.received.append(Received(now, operation, request, status, what, sandbox, defaulted))


def _route(request: Request) -> tuple[str, str]:
    for name, method, path in ROUTES:
        if method == request.method and path.fullmatch(request.path):
            if name == "action":
                return name, (request.parameter("action") or "action").lower()
            return name, name
    return "unknown", "unknown"
