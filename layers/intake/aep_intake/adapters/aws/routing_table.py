"""The routing table that AppConfig has deployed."""

from aep_intake.adapters.aws.appconfig import DocumentKind
from aep_intake.model.errors import RoutesUnavailable
from aep_intake.model.files import digest
from aep_intake.routing import routes


def _parse(document: bytes, version: str) -> routes.RoutingTable:
    # Without a label, the start of a hash of the document identifies it.
    return routes.parse(document, version or digest(document.decode(errors="replace"))[:8])


ROUTING_TABLE = DocumentKind(
    "the routing table", "aep-intake routes publish", _parse, RoutesUnavailable
)
