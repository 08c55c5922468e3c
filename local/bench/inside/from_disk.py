"""Imported inside the runtime: a file comes from this machine's disk, as curl's does.

It is read as from S3 in everything but the HTTP: by its key, which is then its path.
"""

import io
from pathlib import Path
from typing import IO, cast

from aep_intake.adapters.aws import s3
from aep_intake.model.files import Arrival


def _opened(_: s3.Objects, arrival: Arrival, start: int, end: int) -> IO[bytes]:
    file = Path(arrival.key).open("rb")  # noqa: SIM115
    file.seek(start)
    raw = s3._Opened(arrival, file, 0, end - start)
    return cast("IO[bytes]", io.BufferedReader(raw, s3.CHUNK))


s3.Objects.opened = _opened  # type: ignore[method-assign, assignment]
