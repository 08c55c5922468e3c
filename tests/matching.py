"""What a routing table says of an arrival that one of its routes takes."""

from aep_intake.model.files import Arrival
from aep_intake.routing.table import Match, RoutingTable


def matched(table: RoutingTable, arrival: Arrival) -> Match:
    """How it is routed; that it is ignored would be a surprise."""
    match = table.match(arrival)
    assert isinstance(match, Match)
    return match
