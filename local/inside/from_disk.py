"""Imported inside the runtime: a file comes from this machine's disk, as curl's does.

It is read as from S3 in everything but the HTTP: by its key, which is then its path.
"""

import io
from pathlib import Path
from typing import IO, cast

from aep_intake.adapters import objects
from aep_intake.arrivals import Arrival


def _opened(_: objects.Objects, arrival: Arrival, start: int, end: int) -> IO[bytes]:
    file = Path(arrival.key).open("rb")  # noqa: SIM115
    file.seek(start)
    raw = objects._Opened(arrival, file, 0, end - start)
    return cast("IO[bytes]", io.BufferedReader(raw, objects.CHUNK))


objects.Objects.opened = _opened  # type: ignore[method-assign, assignment]
