"""Whether the intake takes an object that somebody has listed."""

import re

from aep_intake.model.errors import Rejected
from aep_intake.model.files import Arrival
from aep_intake.routing.table import Ignored, RoutingTable


def is_wanted(file: Arrival, keys: re.Pattern[str], table: RoutingTable) -> bool:
    """Whether the intake takes it. `keys`: the stack's KeyPattern.

    It takes an object that no route fits, too: that one is rejected by name, not passed over.
    """
    if not keys.fullmatch(file.key) or (file.size == 0 and file.key.endswith("/")):
        return False
    try:
        return not isinstance(table.match(file), Ignored)
    except Rejected:
        return True
