"""What is looked at before a batch is spent: AEP would say the same, but hours later."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aep_intake.content.sniff import BEGINNING, sniff
from aep_intake.model.errors import EmptyObject, FormatMismatch, TooLarge
from aep_intake.model.files import Arrival
from aep_intake.routing.routes import Match, format_by_name

GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Checks:
    """What a file may be.

    `read`: the first bytes of the version that arrived; raises ObjectGone, ObjectArchived,
    CustomerKeyNeeded, NotReadable or StorageUnavailable.
    `batch_bytes`: the most in a batch. `unsplit_bytes`: the most in a file that cannot go up in
    pieces.
    """

    read: Callable[[Arrival, int], bytes]
    batch_bytes: int
    unsplit_bytes: int

    def options(self, file: Arrival, match: Match) -> dict[str, Any]:
        """The route's options for a file that AEP can take, its format made exact.

        Raises EmptyObject, TooLarge, FormatUnknown, FormatMismatch, and what `read` raises.
        """
        if file.size == 0:
            raise EmptyObject(f"{file.uri} is empty, and AEP fails a batch with an empty file")
        shape = match.options.get("inputFormat") or format_by_name(file.uri)
        if match.look_inside:
            beginning = self.read(file, BEGINNING)
            if beginning.startswith(GZIP) != file.gzipped:
                how = "is" if beginning.startswith(GZIP) else "is not"
                raise FormatMismatch(
                    f"{file.uri!r} {how} a gzip, and its name says otherwise: let it end .gz if it "
                    "is one, as that decides whether it is unpacked"
                )
            shape = sniff(beginning, len(beginning) >= file.size, shape, file.uri)
        # Adobe takes 256 MB in one PUT and is withdrawing uploads in chunks.
        whole = shape["format"] == "parquet" or shape.get("isMultiLineJson", False)
        most = self.unsplit_bytes if whole else self.batch_bytes
        if file.size > most:
            what = "of a file that cannot be split" if whole else "in a batch"
            raise TooLarge(
                f"{file.uri} has {file.size:,} bytes, and AEP takes {most:,} {what}: write "
                "smaller files"
            )
        return {**match.options, "inputFormat": shape}
