"""The page in a browser of this machine: a web server on loopback, for whoever has its address.

Other programs of this machine, and pages of other sites, can reach loopback, too: the former do not
know the token that is in the path, the latter send a Host of their own. It answers GET alone, and
what it answers can neither run a script nor be framed.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aep_intake.report import view
from aep_intake.report.page.frame import Frame, InBrowser, document
from aep_intake.wiring.page import page_ports

from aep_intake_cli.clock import now

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LOOPBACK = "127.0.0.1"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address has the token
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FIELDS_MAX = 10
QUERIES = 8  # of the ledger, at the same time
SECONDS_MAX = 10  # for which a client may say nothing

# From the parameters of a page to its document.
type Show = Callable[[Mapping[str, object]], str]


def of_stack(dynamodb: DynamoDBClient, table: str, name: str) -> Show:
    """Shows the page of the stack of that name, from its ledger."""
    side_by_side = ThreadPoolExecutor(QUERIES).map
    ports, frame = page_ports(dynamodb, table, now, side_by_side), Frame(name, InBrowser())
    return lambda given: document(view.show(given, ports, frame), name)


class Site(ThreadingHTTPServer):
    """Serves pages at `address`, on a free port if `port` is 0. Raises OSError."""

    daemon_threads = True

    def __init__(self, show: Show, port: int = 0) -> None:
        super().__init__((LOOPBACK, port), _Request)
        self.show = show
        self.host = f"{LOOPBACK}:{self.server_address[1]}"
        self.path = f"/{secrets.token_urlsafe(24)}/"

    @property
    def address(self) -> str:
        """Where the page is. Who knows it sees the page."""
        return f"http://{self.host}{self.path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell on standard error; but nothing where somebody closed a window before it was full."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Request(BaseHTTPRequestHandler):
    server: Site
    timeout = SECONDS_MAX
    server_version, sys_version = "aep-intake", ""

    def do_GET(self) -> None:
        """Answer with a page."""
        if self.headers.get_all("Host") != [self.server.host]:
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, "Not the address of this page.")
            return
        path, _, query = self.path.partition("?")
        if not secrets.compare_digest(path.encode(), self.server.path.encode()):
            self._answer(HTTPStatus.NOT_FOUND, "There is no such page.")
            return
        try:
            given = dict(parse_qsl(query, max_num_fields=FIELDS_MAX))
        except ValueError:
            self._answer(HTTPStatus.BAD_REQUEST, "There are too many parameters.")
            return
        self._answer(HTTPStatus.OK, self.server.show(given), "text/html")

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write nothing: the path has the token."""
