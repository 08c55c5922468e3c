"""The first bytes of a file, what they should be, and what is found to be in them."""

from aep_intake.model.errors import FormatMismatch
from aep_intake.model.values import dataclass

# Bytes to read, and the most to unpack: the first row of JSON seldom has more than some kilobytes,
# and a request to S3 costs the same for any range.
BEGINNING = 65_536
# Of charsets, by the name that Python has for them.
NAMES = {"iso8859-1": "ISO-8859-1", "cp1252": "Windows-1252", "ascii": "US-ASCII"}


@dataclass(frozen=True, slots=True)
class Content:
    """What a file is, as far as its first bytes say."""

    format: str  # of the input format, in lower case
    compression: str = ""  # or `gzip`; all below is about what it unpacks to
    charset: str = ""  # of text, as Python names it: `utf-8`, `utf-16-le`, `iso8859-1`, `cp1252`
    bom: int = 0  # bytes of its byte order mark
    # Of JSON: `lines` (an object on each line), `array`, `document` (one object on many lines), or
    # `several` of these, on one line or on many. Empty where it may be any of them.
    layout: str = ""
    rows: int = 0  # that were seen whole, without a CSV's header
    all_rows: bool = False  # whether there are no others
    broken: int = 0  # of `rows`, those that AEP could not read as they are
    fault: str = ""  # the first of them: which line or row, and what is wrong


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first bytes of the object at `uri`. `whole`: there are no more."""

    content: bytes
    whole: bool
    wanted: str  # a format in lower case
    charset: str  # as Python names it
    uri: str
    compression: str = ""

    def mismatch(self, found: str, wanted: str = "", remedy: str = "") -> FormatMismatch:
        """The error of a file that holds `found` instead.

        `wanted` and `remedy` take the place of the usual words.
        """
        charset = NAMES.get(self.charset, self.charset.upper())
        name = "Parquet" if self.wanted == "parquet" else f"{self.wanted.upper()} in {charset}"
        remedy = remedy or f"write it as {name}, or send it by a route that says what it is"
        packing = "gzip of " if self.compression else ""
        return FormatMismatch(
            f"{self.uri!r} holds {packing}{found}, but its inputFormat says {wanted or name}; "
            f"{remedy}"
        )
