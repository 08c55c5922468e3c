"""The simulator over HTTP: IMS and Platform on one address, the control interface beside them."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from . import control
from .messages import NoAnswer, Request
from .simulator import Simulator

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle


def build(simulator: Simulator) -> Starlette:
    """The ASGI application over `simulator`; needs uvicorn's h11 protocol to drop answers."""

    async def adobe(scope: Scope, receive: Receive, send: Send) -> None:
        head = (
            scope["method"],
            # Undecoded: `%2F` in a dataset's id is not a path separator.
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        )
        incoming, http = simulator.incoming(*head[:2]), HttpRequest(scope, receive)
        try:
            if incoming is None:
                request = Request(*head, await http.body())
            else:
                began = time.monotonic()
                async for piece in http.stream():
                    incoming.write(piece)
                    if rate := simulator.switches.connection_bytes_per_second:
                        # What is not read yet waits with the client: uvicorn buffers 64 KB of it.
                        await asyncio.sleep(began + incoming.size / rate - time.monotonic())
                request = Request(*head, content=incoming.done())
        except ClientDisconnect:
            return
        try:
            response = simulator.handle(request)
        except NoAnswer as lost:
            await _say_nothing(receive, lost.how)
            return
        if response.delay_ms:
            await asyncio.sleep(response.delay_ms / 1000)
        answer = HttpResponse(response.body, response.status, dict(response.headers))
        await answer(scope, receive, send)

    return Starlette(
        routes=[
            Mount("/_control", routes=control.routes(simulator)),
            Mount("/", app=adobe),
        ],
        exception_handlers={ValueError: control.refuse, control.NotThere: control.not_there},
    )


async def _say_nothing(receive: Receive, how: str) -> None:
    if how == "reset":
        # ASGI has no way to hang up, so this goes behind it: `receive` is a method of the object
        # uvicorn makes for each request, which holds the connection.
        cast("RequestResponseCycle", receive.__self__).transport.close()  # type: ignore[attr-defined]
    # Until the client is gone; returning sooner would make uvicorn answer 500.
    while (await receive())["type"] != "http.disconnect":
        pass


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 lets the system choose. Raises OSError: the port is taken."""
    # `socket.create_server` leaves the protocol at 0, and asyncio switches Nagle's algorithm off
    # only where it reads TCP: that would cost 40 ms an answer.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError:
        listening.close()
        raise
    return listening


def server(simulator: Simulator) -> uvicorn.Server:
    """A server to `run` on a listening socket."""
    return uvicorn.Server(
        uvicorn.Config(
            build(simulator),
            http="h11",
            log_level="warning",
            access_log=False,
            server_header=False,
            # A delayed or swallowed answer must not hold up the end.
            timeout_graceful_shutdown=1,
            # Pooled connections should break only where a fault says so.
            timeout_keep_alive=75,
        )
    )


@contextmanager
def running(simulator: Simulator) -> Iterator[str]:
    """The address of `simulator`, served on loopback by a thread of this process meanwhile."""
    listening = listen("127.0.0.1", 0)
    serving = server(simulator)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    thread.start()
    try:
        yield address
    finally:
        serving.should_exit = True
        thread.join()
