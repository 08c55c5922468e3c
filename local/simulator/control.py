"""The control interface: what a test or a person says to the simulator itself, as JSON.

`GET /_control/` lists it. A wrong request is answered 400 with `{"error": …}`, an unknown batch or
file 404. Secrets and tokens come out only as short hashes.
"""

import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .batches import SERVED
from .faults import Fault
from .ims import Client
from .mishaps import Mishap
from .seed import seed_defaults
from .simulator import Received, Simulator
from .verdict import count

Endpoint = Callable[[HttpRequest], Awaitable[Response]]
DONE = 204


class NotThere(Exception):
    """What a control request names does not exist."""


def routes(simulator: Simulator) -> list[Route]:
    """The control interface's routes, below whatever they are mounted on."""
    control = _Control(simulator)
    return [
        Route("/", control.contents),
        Route("/health", control.health),
        Route("/reset", control.reset, methods=["POST"]),
        Route("/switches", control.switches, methods=["GET", "PATCH"]),
        Route("/clock", control.clock, methods=["GET", "POST"]),
        Route("/clients", control.clients, methods=["GET", "POST"]),
        Route("/sandboxes", control.sandboxes, methods=["POST"]),
        Route("/datasets", control.datasets, methods=["POST"]),
        Route("/schemas", control.schemas, methods=["POST"]),
        Route("/descriptors", control.descriptors, methods=["POST"]),
        Route("/faults", control.faults, methods=["GET", "POST", "DELETE"]),
        Route("/requests", control.requests, methods=["GET", "DELETE"]),
        Route("/batches", control.batches),
        Route("/batches/{batch_id}", control.batch, methods=["POST"]),
        Route("/batches/{batch_id}/files", control.files),
        Route("/batches/{batch_id}/files/{path:path}", control.file),
        Route("/consolidations", control.consolidations, methods=["POST"]),
        Route("/mishaps", control.mishaps, methods=["GET", "POST", "DELETE"]),
        Route("/tokens", control.tokens, methods=["GET", "DELETE"]),
    ]


class _Control:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def contents(self, _: HttpRequest) -> Response:
        """This list."""
        return JSONResponse(
            {
                f"{'/'.join(sorted((route.methods or set()) - {'HEAD'}))} {route.path}": (
                    inspect.getdoc(route.endpoint)
                )
                for route in routes(self._simulator)
            }
        )

    async def health(self, _: HttpRequest) -> Response:
        """It is there."""
        return JSONResponse({"ok": True})

    async def reset(self, request: HttpRequest) -> Response:
        """Forget everything; `{"seed": false}` leaves it empty, else the defaults come back."""
        body = await _body(request)
        self._simulator.reset()
        if body.get("seed", True):
            seed_defaults(self._simulator)
        return Response(status_code=DONE)

    async def switches(self, request: HttpRequest) -> Response:
        """Where the switches stand; PATCH `{name: position, …}` changes some."""
        if request.method == "PATCH":
            self._simulator.switches.change(**await _body(request))
        return JSONResponse(self._simulator.switches.positions())

    async def clock(self, request: HttpRequest) -> Response:
        """Epoch ms; POST `{"advance_ms": n}`, `{"stand_at": ms}` or `{"follow": offset_ms}`."""
        clock = self._simulator.clock
        if request.method == "POST":
            match await _body(request):
                case {"advance_ms": int(ms)}:
                    clock.advance(ms)
                case {"stand_at": int(at)}:
                    clock.stand(at)
                case {"follow": int(offset)}:
                    clock.follow(offset)
                case _:
                    raise ValueError("advance_ms, stand_at or follow, a whole number")
        return JSONResponse({"now": clock(), "standing": clock.standing})

    async def clients(self, request: HttpRequest) -> Response:
        """Credentials; POST `{"client_id", "secrets": [], "org", "scopes"?, "entitled"?}`."""
        if request.method == "POST":
            self._simulator.add_client(_apply(Client, await _body(request)))
        return JSONResponse(
            [
                {
                    "client_id": client.client_id,
                    "secrets": sorted(map(short_hash, client.secrets)),
                    "org": client.org,
                    "scopes": sorted(client.scopes),
                    "entitled": client.entitled,
                }
                for client in self._simulator.ims.clients.values()
            ]
        )

    async def sandboxes(self, request: HttpRequest) -> Response:
        """POST `{"org", "name", "kind"?}`; `kind` is `production` or `development`."""
        _apply(self._simulator.add_sandbox, await _body(request))
        return Response(status_code=DONE)

    async def datasets(self, request: HttpRequest) -> Response:
        """POST `{"org", "sandbox", "dataset_id", "name", …}`.

        And, if need be, `"tags"`, `"profile_enabled"`, `"managed_by"`, `"closed"`, `"schema"`.
        """
        _apply(self._simulator.add_dataset, await _body(request))
        return Response(status_code=DONE)

    async def schemas(self, request: HttpRequest) -> Response:
        """POST `{"org", "sandbox", "document"}`, in full form; the same `$id` changes it."""
        _apply(self._simulator.add_schema, await _body(request))
        return Response(status_code=DONE)

    async def descriptors(self, request: HttpRequest) -> Response:
        """POST `{"org", "sandbox", "descriptor"}`; the same `@id` changes it."""
        _apply(self._simulator.add_descriptor, await _body(request))
        return Response(status_code=DONE)

    async def faults(self, request: HttpRequest) -> Response:
        """What is still to go wrong; POST `{"fault": …, "operation"?, …}` adds, DELETE clears."""
        if request.method == "POST":
            self._simulator.faults.add(_apply(Fault, await _body(request)))
        elif request.method == "DELETE":
            self._simulator.faults.clear()
        return JSONResponse([asdict(fault) for fault in self._simulator.faults])

    async def requests(self, request: HttpRequest) -> Response:
        """What was received, oldest first; `?operation=create` only those. DELETE forgets."""
        if request.method == "DELETE":
            self._simulator.received.clear()
        wanted = request.query_params.get("operation")
        return JSONResponse(
            [
                describe(each)
                for each in self._simulator.received
                if wanted in (None, each.operation)
            ]
        )

    async def batches(self, request: HttpRequest) -> Response:
        """All batches, oldest first; `?externalId=…` only those."""
        wanted = request.query_params.get("externalId")
        return JSONResponse(
            [
                {"id": batch.id, "sandbox": batch.sandbox, **batch.members}
                for batch in self._simulator.batches()
                if wanted in (None, batch.members["externalId"])
            ]
        )

    async def batch(self, request: HttpRequest) -> Response:
        """POST `{"status": "abandoned"}`: as if time had gone."""
        match await _body(request):
            case {"status": str(status)}:
                with _sought():
                    self._simulator.set_status(request.path_params["batch_id"], status)
                return Response(status_code=DONE)
        raise ValueError("status, a string")

    async def files(self, request: HttpRequest) -> Response:
        """The files of a batch, digested, and their rows: how many, and how many are ingested."""
        with _sought():
            batch = self._simulator.batch(request.path_params["batch_id"])
        rows, bad = count(batch)
        good = None if rows is None else rows - bad
        return JSONResponse(
            {
                "id": batch.id,
                "status": batch.status,
                "fileCount": len(batch.files),
                "byteCount": sum(file.size for file in batch.files.values()),
                "rows": rows,
                "rowsIngested": good if batch.status in SERVED else 0,
                "files": [
                    {
                        "name": name,
                        "size": file.size,
                        "sha256": file.sha256,
                        "md5": file.md5,
                        "rows": file.findings.rows,
                        "badRows": file.findings.bad,
                    }
                    for name, file in batch.files.items()
                ],
            }
        )

    async def file(self, request: HttpRequest) -> Response:
        """The bytes of a file."""
        with _sought():
            files = self._simulator.files(request.path_params["batch_id"])
            file = files[request.path_params["path"]]
        return StreamingResponse(file.pieces(), media_type="application/octet-stream")

    async def consolidations(self, request: HttpRequest) -> Response:
        """POST `{"batches": [id, …]}`: compaction puts one batch in place of these."""
        match await _body(request):
            case {"batches": [*ids]}:
                with _sought():
                    return JSONResponse({"id": self._simulator.consolidate(*map(str, ids))})
        raise ValueError("batches, a list of ids")

    async def mishaps(self, request: HttpRequest) -> Response:
        """What is still to go wrong in promotion; POST `{"retries"?, …}` adds, DELETE clears."""
        if request.method == "POST":
            self._simulator.mishaps.add(_apply(Mishap, await _body(request)))
        elif request.method == "DELETE":
            self._simulator.mishaps.clear()
        return JSONResponse([asdict(mishap) for mishap in self._simulator.mishaps])

    async def tokens(self, request: HttpRequest) -> Response:
        """How many tokens each client minted; DELETE revokes all that are out."""
        if request.method == "DELETE":
            self._simulator.ims.revoke()
        return JSONResponse({"minted": dict(self._simulator.ims.minted)})


async def refuse(_: HttpRequest, error: Exception) -> Response:
    """The answer to a wrong request."""
    return JSONResponse({"error": str(error)}, status_code=400)


async def not_there(_: HttpRequest, error: Exception) -> Response:
    """The answer to a request for a batch or file that is not there."""
    return JSONResponse({"error": str(error)}, status_code=404)


@contextmanager
def _sought() -> Iterator[None]:
    try:
        yield
    except KeyError as missing:
        raise NotThere(f"no {missing.args[0]}") from None


def short_hash(secret: str) -> str:
    """Tells one secret from another without telling it."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:8]}"


def describe(received: Received) -> dict[str, object]:
    """A received request for showing."""
    request = received.request
    headers = dict(request.headers)
    if "authorization" in headers:
        scheme, _, token = headers["authorization"].partition(" ")
        headers["authorization"] = f"{scheme} {short_hash(token)}"
    body = request.body.decode(errors="replace")
    shown: object = body
    if received.operation == "token":
        shown = _redacted(body)
    elif "json" in headers.get("content-type", ""):
        try:
            shown = json.loads(body)
        except ValueError:
            shown = body
    return {
        "at": received.at,
        "operation": received.operation,
        "method": request.method,
        "path": request.path,
        "query": _redacted(request.query),
        "headers": headers,
        "body": shown,
        "size": received.size,
        "status": received.status,
        "fault": received.fault,
        "sandbox": received.sandbox,
        "sandbox_defaulted": received.sandbox_defaulted,
    }


def _redacted(form: str) -> str:
    if "client_secret" not in form:
        return form
    fields = parse_qsl(form, keep_blank_values=True)
    return urlencode(
        [(name, short_hash(value) if name == "client_secret" else value) for name, value in fields]
    )


async def _body(request: HttpRequest) -> dict[str, Any]:
    body = json.loads(await request.body() or b"{}")
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


def _apply[T](function: Callable[..., T], members: dict[str, Any]) -> T:
    try:
        inspect.signature(function).bind(**members)
    except TypeError as wrong:
        raise ValueError(str(wrong)) from None
    return function(**members)
