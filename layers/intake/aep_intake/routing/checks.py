"""Checks of a file before a batch is made: AEP would find the same faults, but hours later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aep_intake.content.recognize import BEGINNING, Content, recognize
from aep_intake.model.errors import EmptyObject, FormatMismatch, TooLarge
from aep_intake.model.files import Arrival
from aep_intake.routing.routes import Match, format_by_name


@dataclass(frozen=True, slots=True)
class Checks:
    """Checks whether AEP can take a file."""

    # The first bytes of the version that arrived. Raises ObjectGone, ObjectArchived,
    # CustomerKeyNeeded, NotReadable or StorageUnavailable.
    read: Callable[[Arrival, int], bytes]
    batch_bytes: int  # the most in a batch
    unsplit_bytes: int  # the most in a file that cannot be uploaded in pieces

    def options(self, file: Arrival, match: Match) -> dict[str, Any]:
        """The route's options for a file that AEP can take, its format made exact.

        Raises EmptyObject, TooLarge, FormatUnknown, FormatMismatch, or as `read`.
        """
        if file.size == 0:
            raise EmptyObject(f"{file.uri} is empty, and AEP fails a batch with an empty file")
        input_format = match.options.get("inputFormat") or format_by_name(file.uri)
        if match.look_inside:
            beginning = self.read(file, BEGINNING)
            content = recognize(beginning, len(beginning) >= file.size, input_format, file.uri)
            if (content.compression == "gzip") != file.gzipped:
                verb = "is" if content.compression else "is not"
                raise FormatMismatch(
                    f"{file.uri!r} {verb} a gzip, and its name says otherwise: end the name .gz "
                    "if, and only if, it is one, as the name decides whether it is unpacked"
                )
            input_format = _with_layout(input_format, content, file)
        # Adobe takes 256 MB in one PUT and is withdrawing uploads in chunks.
        unsplit = input_format["format"] == "parquet" or input_format.get("isMultiLineJson", False)
        limit_bytes = self.unsplit_bytes if unsplit else self.batch_bytes
        if file.size > limit_bytes:
            where = "of a file that cannot be split" if unsplit else "in a batch"
            raise TooLarge(
                f"{file.uri} has {file.size:,} bytes, and AEP takes {limit_bytes:,} {where}: write "
                "smaller files"
            )
        return {**match.options, "inputFormat": input_format}


def _with_layout(
    input_format: Mapping[str, Any], content: Content, file: Arrival
) -> Mapping[str, Any]:
    """The input format, with `isMultiLineJson` if the file is one JSON document.

    https://experienceleague.adobe.com/en/docs/experience-platform/ingestion/batch/troubleshooting
    """
    if content.layout == "several":
        raise FormatMismatch(
            f"{file.uri!r} holds several JSON documents that are not one object a line; write one "
            "object a line, or all of them in one list"
        )
    given, found = input_format.get("isMultiLineJson"), content.layout in ("array", "document")
    if not content.layout or given is found or (given is None and not found):
        return input_format
    if given is None:
        return {**input_format, "isMultiLineJson": True}
    raise FormatMismatch(
        f"{file.uri!r} holds {'one JSON document' if found else 'JSON Lines, one object a line'}, "
        f"but its inputFormat says isMultiLineJson {str(given).lower()}; set isMultiLineJson to "
        f"{str(found).lower()}, or leave it out"
    )
