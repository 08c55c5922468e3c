"""Which of Adobe's operations a request asks for."""

import re

from .messages import Request

_IMPORT, _CATALOG = "/data/foundation/import/batches", "/data/foundation/catalog"
_EXPORT = "/data/foundation/export/batches"
_REGISTRY = "/data/foundation/schemaregistry"
_MAPPING = "/data/foundation/conversion/mappingSets"
_FILE = rf"{_IMPORT}/[^/]+/datasets/[^/]+/files/.*"
ROUTES = tuple(
    (name, method, re.compile(path))
    for name, method, path in (
        ("token", "POST", r"/ims/token/v[1-4]"),
        ("create", "POST", _IMPORT),
        ("action", "POST", rf"{_IMPORT}/[^/]+"),
        ("list-batches", "GET", rf"{_CATALOG}/batches"),
        # Adobe's overview once writes the singular.
        ("get-batch", "GET", rf"{_CATALOG}/batch(?:es)?/[^/]+"),
        ("list-sandboxes", "GET", r"/data/foundation/sandbox-management/?"),
        ("list-datasets", "GET", rf"{_CATALOG}/dataSets"),
        ("get-dataset", "GET", rf"{_CATALOG}/dataSets/[^/]+"),
        ("put-file", "PUT", _FILE),
        ("patch-file", "PATCH", _FILE),
        ("head-file", "HEAD", _FILE),
        ("file-action", "POST", _FILE),
        ("list-meta", "GET", rf"{_EXPORT}/[^/]+/meta"),
        ("list-failed", "GET", rf"{_EXPORT}/[^/]+/failed"),
        ("list-files", "GET", rf"{_EXPORT}/[^/]+/files"),
        ("get-file", "GET", r"/data/foundation/export/files/[^/]+"),
        ("list-schemas", "GET", rf"{_REGISTRY}/(?:tenant|global)/schemas/?"),
        ("get-schema", "GET", rf"{_REGISTRY}/(?:tenant|global)/schemas/[^/]+"),
        ("list-descriptors", "GET", rf"{_REGISTRY}/tenant/descriptors/?"),
        ("get-descriptor", "GET", rf"{_REGISTRY}/tenant/descriptors/[^/]+"),
        ("registry-stats", "GET", rf"{_REGISTRY}/stats/?"),
        ("list-mapping-sets", "GET", _MAPPING),
        ("make-mapping-set", "POST", _MAPPING),
        ("validate-mapping-set", "POST", rf"{_MAPPING}/validate"),
        ("preview-mapping-set", "POST", rf"{_MAPPING}/preview"),
        ("get-mapping-set", "GET", rf"{_MAPPING}/[^/]+"),
        ("put-mapping-set", "PUT", rf"{_MAPPING}/[^/]+"),
    )
)
_UPLOADS = {"PUT": "put-file", "PATCH": "patch-file"}


def route(request: Request) -> tuple[str, str]:
    """The name in ROUTES, and the operation.

    That is the name too, but for actions the action (`abort`, `complete-file` …). `unknown`: none.
    """
    for name, method, path in ROUTES:
        if method == request.method and path.fullmatch(request.path):
            if name == "action":
                return name, (request.parameter("action") or "action").lower()
            if name == "file-action":
                return name, f"{(request.parameter('action') or 'action').lower()}-file"
            return name, name
    return "unknown", "unknown"


def upload(method: str, path: str) -> str | None:
    """The name in ROUTES of a request whose body is a file or part of one, else None."""
    name = _UPLOADS.get(method)
    return name if name and re.fullmatch(_FILE, path) else None
