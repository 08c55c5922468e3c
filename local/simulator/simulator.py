"""Adobe's identity service, its gateway and the services behind it, with one door, no sockets.

Faithful, not convenient: what Adobe leaves undocumented is a switch.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import unquote

from .agenda import Agenda
from .batches import SERVED, Batch
from .clock import Clock
from .content import Content, Incoming
from .faults import Fault, Faults
from .foundation import Foundation
from .ims import Client, Ims
from .messages import AnswerLost, Refused, Request, RequestLost, Response
from .mishaps import Mishaps
from .operations import route, upload
from .rules import rules_of
from .switches import Switches


@dataclass(frozen=True, slots=True)
class Received:
    """A request and what became of it.

    `operation`: as `operations.route` names it. `status` is None where no answer went back.
    `fault`: what befell it. `sandbox`: the one it was for, None for tokens; `sandbox_defaulted`
    where the header was missing. `size`: of the body, bytes; that of an upload is not kept here.
    """

    at: int
    operation: str
    request: Request
    status: int | None
    fault: str | None
    sandbox: str | None
    sandbox_defaulted: bool
    size: int


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
            self._agenda = Agenda()
            self.switches = Switches()
            self.faults = Faults()
            self.received: deque[Received] = deque(maxlen=self._keep)
            self.ims = Ims(self._request_id)
            self.foundation = Foundation(self.switches, self._random, self._agenda)

    @property
    def mishaps(self) -> Mishaps:
        """What is still to go wrong with batches once they are completed."""
        return self.foundation.promotion.mishaps

    def add_client(self, client: Client) -> None:
        """Make a credential known, or change one: rotation is a client with other secrets."""
        with self._lock:
            self.ims.clients[client.client_id] = client

    def add_sandbox(
        self, org: str, name: str, kind: Literal["production", "development"] | None = None
    ) -> None:
        """Make a sandbox known. `kind`: by default, `prod` is a production sandbox."""
        with self._lock:
            self.foundation.add_sandbox(org, name, kind)

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
        closed: bool = False,
        schema: str | None = None,
    ) -> None:
        """Make a dataset known in one sandbox, and the sandbox. Names need not be unique.

        `closed`: Catalog shows it, but access control lets nobody make a batch for it. `schema`:
        the `$id` of its schema, by which its rows are validated. Adding the same dataset again
        changes it.
        """
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
                closed=closed,
                schema=schema,
            )

    def add_schema(self, org: str, sandbox: str, document: Mapping[str, Any]) -> None:
        """Make a schema known, in full form; the same `$id` again is its next minor version.

        What only the registry can know is added. Raises ValueError: it has no `$id`, or a type that
        XDM does not have.
        """
        rules_of(document, self.switches)
        with self._lock:
            self.foundation.registry.add_schema(org, sandbox, document, self.clock())

    def add_descriptor(self, org: str, sandbox: str, descriptor: Mapping[str, Any]) -> None:
        """Make a descriptor known, or change it. Raises ValueError: it has no `@id` or `@type`."""
        with self._lock:
            self.foundation.registry.add_descriptor(org, sandbox, descriptor)

    def batches(self) -> list[Batch]:
        """Every batch of every organization as it is now, in the order they were made."""
        with self._lock:
            self.catch_up()
            return self.foundation.batches.all(self.clock())

    def batch(self, batch_id: str) -> Batch:
        """A batch as it is now. Raises KeyError: no such id."""
        with self._lock:
            self.catch_up()
            batch = self.foundation.batches.get(batch_id, self.clock())
        if batch is None:
            raise KeyError(f"batch {batch_id}")
        return batch

    def files(self, batch_id: str) -> dict[str, Content]:
        """What was uploaded for a batch, by path. Raises KeyError: no such id."""
        return dict(self.batch(batch_id).files)

    def set_status(self, batch_id: str, status: str) -> None:
        """As if time had gone: `abandoned`, `success`, `failed` … Raises KeyError: no such id.

        There it stays, whatever its files hold, until somebody does something with it.
        """
        with self._lock:
            batch = self.batch(batch_id)
            if status in SERVED:
                self.foundation.promotion.succeed(batch, status, self.clock())
            else:
                batch.become(status, self.clock())

    def consolidate(self, *batch_ids: str) -> str:
        """Let compaction put one batch in place of these. Its id.

        Raises KeyError: no such id; ValueError: not successful batches of one dataset.
        """
        with self._lock:
            batches = [self.batch(batch_id) for batch_id in batch_ids]
            return self.foundation.promotion.consolidate(batches, self.clock()).id

    def show_in_catalog(self, visibility: Callable[[Batch, int], bool] | None) -> None:
        """Let `visibility(batch, now)` decide, besides the lag, whether Catalog shows a batch.

        It is asked at every look-up, so two look-ups in a row can be made to differ.
        """
        with self._lock:
            self.foundation.visibility = visibility

    def incoming(self, method: str, path: str) -> Incoming | None:
        """Where the body of an upload goes while it comes; what it makes is the `content`.

        None: a request to `path`, which is still percent-encoded, uploads nothing.
        """
        name = upload(method, path)
        if name is None:
            return None
        with self._lock:
            batch = self.foundation.batches.get(unquote(path.split("/")[5]), self.clock())
            return self.foundation.uploads.incoming(name, path, batch)

    def handle(self, request: Request) -> Response:
        """Adobe's answer. Raises AnswerLost, RequestLost: where a fault swallows it."""
        name, operation = route(request)
        if request.content is None and (incoming := self.incoming(request.method, request.path)):
            incoming.write(request.body)
            request = replace(request, body=b"", content=incoming.done())
        with self._lock:
            self.catch_up()
            now = self.clock()
            fault = self.faults.take(operation, request)
            try:
                response = (
                    self._carry_out(name, request, now)
                    if fault is None
                    else self._go_wrong(fault, name, request, now)
                )
            except (AnswerLost, RequestLost):
                self._remember(request, operation, now, None, fault)
                raise
            self._remember(request, operation, now, response.status, fault)
            return response

    def catch_up(self) -> None:
        """Let happen what is due by now, late requests and promotion; `handle` does so first."""
        with self._lock:
            self._agenda.carry_out(self.clock())

    def _carry_out(self, name: str, request: Request, now: int) -> Response:
        try:
            if name == "token":
                answer = self.ims.token(request, now, self.switches.expires_in)
            else:
                client = self.ims.admit(request, now)
                answer = self.foundation.serve(name, request, client, now)
        except Refused as refused:
            answer = refused.response
        return self._stamped(answer)

    def _go_wrong(self, fault: Fault, name: str, request: Request, now: int) -> Response:
        match fault.fault:
            case "request-lost":
                raise RequestLost(fault.how)
            case "late":
                arrival = now + fault.delay_ms
                self._agenda.add(arrival, lambda at: self._carry_out(name, request, at))
                raise AnswerLost(fault.how)
            case "answer-lost":
                self._carry_out(name, request, now)
                raise AnswerLost(fault.how)
            case "delay":
                return replace(self._carry_out(name, request, now), delay_ms=fault.delay_ms)
        if fault.accepted:
            self._carry_out(name, request, now)
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
        what, size = fault.fault if fault else None, len(request.body)
        if (content := request.content) is not None:
            request, size = replace(request, content=None), content.size
        self.received.append(
            Received(now, operation, request, status, what, sandbox, defaulted, size)
        )
