"""What S3 lists of a folder, as tests look at it."""

from collections.abc import Iterable

from aep_intake.model.files import Archived, Arrival


def readable(listed: Iterable[Arrival | Archived]) -> list[Arrival]:
    """All of them, none of which is archived."""
    found = list(listed)
    files = [one for one in found if isinstance(one, Arrival)]
    assert files == found
    return files
