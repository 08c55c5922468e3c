"""The routing table as AppConfig has it deployed."""

from aep_intake import routes
from aep_intake.adapters.in_force import Kind
from aep_intake.arrivals import digest
from aep_intake.errors import RoutesUnavailable


def _parse(document: bytes, version: str) -> routes.RoutingTable:
    # Without a label, the start of a hash of the document tells which it is.
    return routes.parse(document, version or digest(document.decode(errors="replace"))[:8])


ROUTING_TABLE = Kind("the routing table", "aep-intake routes publish", _parse, RoutesUnavailable)
