"""What is never data: the files that tools leave beside the data they write.

A loader that takes them has a row of checksums, or the rows of a job that failed. A route that
wants such a file says so: what its own `match` writes alike is data for it.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable

# Spark reads neither: `HadoopFSUtils.shouldFilterOutPathName`. They are `_SUCCESS`, `_temporary`,
# `_delta_log`, `.hoodie`, `._x` of macOS and `.in.x` of an FTP server; `_year=2026` is a partition,
# and `..` is a way, not a name.
_HIDDEN = r"""
    \.(?!\.?\Z).* | _[^=]*
    | \$RECYCLE\.BIN | System\ Volume\ Information | lost\+found    # of file systems
"""
_LEFT_BESIDE = r"""
    .*_\$folder\$                                           # a folder, as Hadoop writes it
    | .*\.(?:crc|crc32c?|md5|sha-?\d+|md5sum|sha\d+sum|checksum|asc|sig)
    | (?:md5|sha\d+|check)sums?(?:\.txt)?
    | .*\.(?:filepart|part|partial|tmp|temp|crdownload|inprogress|_COPYING_)   # not finished
    | .*\.(?:download|uploading|lock|lck)
    | .*~ | ~\$.* | .*\.sw[a-p] | \#.*\# | thumbs\.db | desktop\.ini     # of editors and desktops
"""
_FLAGS = re.VERBOSE | re.IGNORECASE | re.DOTALL
_hidden, _left_beside = (re.compile(form, _FLAGS).fullmatch for form in (_HIDDEN, _LEFT_BESIDE))


def normal(text: str) -> str:
    """The form in which keys and patterns compare: macOS writes `é` as two characters."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def signs(key: str) -> list[tuple[str, str]]:
    """What says that a key is never data: the kind of each sign, and the folder, or name, with it.

    Empty if it may be data. `key` may be a pattern, too.
    """
    parts = key.split("/")
    found = [("hidden", part) for part in parts if _hidden(part)]
    return [*found, ("beside", parts[-1])] if _left_beside(parts[-1]) else found


def is_never_data(key: str, wanted: Iterable[tuple[str, Callable[[str], object]]] = ()) -> bool:
    """Whether an object is never data. `wanted`: signs of a kind that a route takes for data."""
    return any(
        not any(kind == wants and fits(part) for wants, fits in wanted)
        for kind, part in signs(normal(key))
    )
