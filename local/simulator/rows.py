"""What the bytes of a file say of its rows, found while they stream by.

Sources: Adobe's batch ingestion troubleshooting page (JSON Lines by default, `isMultiLineJson` for
one array over many lines, CSV without row validation, empty files and headers) and its error
diagnostics page (corrupt rows). That a broken array is one corrupt row, whatever could be read
before the break, is inferred from Spark, which reads such files whole.
"""

import codecs
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .rules import Level, Rules, Violation

# Of each file so many corrupt rows are kept, and so much of each, for the diagnostics.
MOST_KEPT, MOST_SHOWN = 100, 1000
# A row that is longer is corrupt: nothing bigger is ever held in memory.
LONGEST_ROW = 16 * 1024 * 1024
MAGIC = b"PAR1"
GZIP = b"\x1f\x8b"
_BLANK = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class Findings:
    """`rows`: how many, None where only Adobe could tell (Parquet). `bad`: how many are refused.

    `corrupt`: the first that are not rows. `unfit`: the first that the schema refuses, as text
    (`{}` of a long one), and `levels`: how many, by what is wrong. `unreadable`: the file as a
    whole is not of its format. `misplaced`: it is CSV, and the dataset's schema is not ad-hoc.
    `bom`: it is CSV, and begins with a byte order mark.
    """

    rows: int | None = None
    bad: int = 0
    corrupt: tuple[str, ...] = ()
    unreadable: bool = False
    empty_header: bool = False
    unfit: tuple[tuple[str, Violation], ...] = ()
    levels: tuple[tuple[Level, int], ...] = ()
    misplaced: bool = False
    bom: bool = False


class Check(Protocol):
    """Looks at a file piece by piece."""

    def feed(self, piece: bytes, /) -> None:
        """Look at the next bytes."""

    def done(self) -> Findings:
        """What was found, after the last."""


def check_for(input_format: Mapping[str, Any] | None, rules: Rules | None = None) -> Check:
    """The check of a batch's input format; without one, nothing is looked at.

    `rules`: of the dataset's schema; None where its rows are not validated.
    """
    match input_format:
        case {"format": "json", "isMultiLineJson": True}:
            return MultiLineJson(rules)
        case {"format": "json"}:
            return JsonLines(rules)
        case {"format": "csv"}:
            return Csv(input_format or {}, misplaced=rules is not None and not rules.adhoc)
        case {"format": "parquet"}:
            return Parquet()
    return Unchecked()


class Unchecked:
    """A file of which nothing is known (Avro, a part of a file)."""

    def feed(self, piece: bytes, /) -> None:
        """Look away."""

    def done(self) -> Findings:
        """Nothing."""
        return Findings()


class _Unfit:
    """The rows of a file that the dataset's schema refuses."""

    def __init__(self, rules: Rules | None) -> None:
        self._check = None if rules is None else rules.check
        self._levels: dict[Level, int] = {}
        self._kept: list[tuple[str, Violation]] = []

    def look_at(self, row: Mapping[str, Any], text: Callable[[], str]) -> None:
        """Count a row if it is refused. `text`: how it stands in the file."""
        if self._check is None or (violation := self._check(row)) is None:
            return
        self._levels[violation.level] = self._levels.get(violation.level, 0) + 1
        if len(self._kept) < MOST_KEPT:
            row_text = text()
            self._kept.append((row_text if len(row_text) <= MOST_SHOWN else "{}", violation))

    def added_to(self, findings: Findings) -> Findings:
        """`findings` with what was counted."""
        if not self._levels:
            return findings
        bad = findings.bad + sum(self._levels.values())
        levels = tuple(sorted(self._levels.items()))
        return replace(findings, bad=bad, unfit=tuple(self._kept), levels=levels)


class _Lines:
    """The lines of a file, whatever the pieces it comes in."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes, /) -> None:
        """Look at the next bytes."""
        first, *others = piece.split(b"\n")
        self._extend(first)
        for line in others:
            self.line(self._rest)
            self._rest = bytearray()
            self._extend(line)

    def _extend(self, part: bytes) -> None:
        # Cut off, a row that is too long is not JSON any more.
        self._rest += part[: LONGEST_ROW - len(self._rest)]

    def last(self) -> None:
        """The line that no newline ended."""
        self.line(self._rest)

    def line(self, line: bytearray) -> None:
        raise NotImplementedError


class JsonLines(_Lines):
    """One object on each line; blank lines are none."""

    def __init__(self, rules: Rules | None = None) -> None:
        super().__init__()
        self._unfit = _Unfit(rules)
        self._rows = self._bad = 0
        self._corrupt: list[str] = []

    def line(self, line: bytearray) -> None:
        """Count a row."""
        if not line or line.isspace():
            return
        self._rows += 1
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            self._unfit.look_at(row, line.decode)
            return
        self._bad += 1
        if len(self._corrupt) < MOST_KEPT:
            self._corrupt.append(line[:MOST_SHOWN].decode(errors="replace").rstrip("\r"))

    def done(self) -> Findings:
        """What was found."""
        self.last()
        return self._unfit.added_to(Findings(self._rows, self._bad, tuple(self._corrupt)))


class MultiLineJson:
    """One array of objects, or a single object, laid out in any way."""

    def __init__(self, rules: Rules | None = None) -> None:
        self._unfit = _Unfit(rules)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._read = json.JSONDecoder().raw_decode
        self._start, self._text = b"", ""
        self._enough = 0
        self._rows = 0
        self._expected = "the start"
        self._single = self._broken = False

    def feed(self, piece: bytes, /) -> None:
        """Look at the next bytes."""
        self._start += piece[: MOST_SHOWN - len(self._start)]
        if self._broken:
            return
        try:
            self._text += self._decode(piece)
        except UnicodeDecodeError:
            self._break()
        if len(self._text) > LONGEST_ROW:
            self._break()
        elif len(self._text) >= self._enough:
            self._go_on()

    def _go_on(self) -> None:
        at, step = 0, self._step(0)
        while step is not None:
            at, step = step, self._step(step)
        self._text = self._text[at:]

    def _step(self, at: int) -> int | None:
        """Where to go on after what stands at `at`; None where more text is needed."""
        at = _BLANK.match(self._text, at).end()  # type: ignore[union-attr]  # it always matches
        character = self._text[at : at + 1]
        match self._expected, character:
            case _, "":
                return None
            case "the start", "[":
                self._expected = "a row or the end"
            case "a row or the end" | "more or the end", "]":
                self._expected = "nothing"
            case "more or the end", ",":
                self._expected = "a row"
            case "the start" | "a row" | "a row or the end", "{":
                self._single = self._expected == "the start"
                return self._row(at)
            case _:
                self._break()
                return None
        return at + 1

    def _row(self, at: int) -> int | None:
        try:
            row, end = self._read(self._text, at)
        except json.JSONDecodeError:
            # Cut off, or corrupt. More text will tell; read again only when there is much more.
            self._enough = 2 * (len(self._text) - at)
            return None
        except (ValueError, RecursionError):
            self._break()
            return None
        self._rows += 1
        self._unfit.look_at(row, lambda: self._text[at:end])
        self._expected = "nothing" if self._single else "more or the end"
        return end

    def _break(self) -> None:
        self._broken, self._text = True, ""

    def done(self) -> Findings:
        """What was found."""
        self._go_on()
        if self._broken or self._expected != "nothing" or self._text.strip():
            return Findings(1, 1, (self._start.decode(errors="replace"),))
        return self._unfit.added_to(Findings(self._rows))


class Csv(_Lines):
    """A header, unless the input format says there is none, then records, of any length.

    A quote opens a value at its beginning alone, as for Spark; a newline in quotes ends no record.
    """

    def __init__(self, input_format: Mapping[str, Any], *, misplaced: bool = False) -> None:
        super().__init__()
        self._misplaced = misplaced
        # Adobe's preview page names these defaults.
        self._delimiter = str(input_format.get("delimiter") or ",").encode()
        self._quote = str(input_format.get("quote") or '"').encode()
        self._escape = str(input_format.get("escape") or "\\").encode()
        # Adobe's sources write a boolean here and a string there.
        self._header = input_format.get("header", True) not in (False, "false")
        self._records = 0
        self._quoted = self._empty_header = False
        self._blank = True
        self._start = b""

    def feed(self, piece: bytes, /) -> None:
        """Look at the next bytes. CR ends a line, too; that it makes blank ones does not count."""
        self._start = (self._start + piece[:3])[:3]
        super().feed(piece.replace(b"\r", b"\n"))

    def line(self, line: bytearray) -> None:
        """Count a record, unless a quote goes on in the next line."""
        self._blank = self._blank and not line.strip()
        if self._quoted or self._quote in line:
            self._quoted = self._ends_quoted(line)
        if self._quoted:
            return
        if self._header:
            self._header, self._empty_header = False, self._blank
        elif not self._blank:
            self._records += 1
        self._blank = True

    def _ends_quoted(self, line: bytearray) -> bool:
        """Whether a value is still open at the end of a line, by what was open at its beginning."""
        at, quoted = 0, self._quoted
        while True:
            if not quoted and line.startswith(self._quote, at):
                at, quoted = at + len(self._quote), True
            if quoted:
                end = self._closing(line, at)
                if end is None:
                    return True
                at, quoted = end, False
            found = line.find(self._delimiter, at)
            if found < 0:
                return False
            at = found + len(self._delimiter)

    def _closing(self, line: bytearray, at: int) -> int | None:
        """The place after the quote that closes a value; None if none does."""
        while (end := line.find(self._quote, at)) >= 0:
            escape = line.find(self._escape, at, end)
            if escape >= 0:
                at = escape + 2
            elif line.startswith(self._quote, end + len(self._quote)):
                at = end + 2 * len(self._quote)
            else:
                return end + len(self._quote)
        return None

    def done(self) -> Findings:
        """What was found."""
        self._quoted = False
        self.last()
        return Findings(
            self._records,
            empty_header=self._empty_header,
            misplaced=self._misplaced,
            bom=self._start == codecs.BOM_UTF8,
        )


class Parquet:
    """A file that begins and ends as Parquet does; its rows are not looked at."""

    def __init__(self) -> None:
        self._head = self._tail = b""
        self._size = 0

    def feed(self, piece: bytes, /) -> None:
        """Look at the next bytes."""
        self._head = (self._head + piece[:4])[:4]
        self._tail = (self._tail + piece[-4:])[-4:]
        self._size += len(piece)

    def done(self) -> Findings:
        """What was found."""
        # The magic at both ends, and the length of the footer (4 bytes).
        whole = self._size >= 12 and self._head == self._tail == MAGIC
        return Findings() if whole else Findings(bad=1, unreadable=True)


class Unpacked:
    """What `check` says of the file; but Adobe unpacks no gzip, and can read none."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._start = b""

    def feed(self, piece: bytes, /) -> None:
        """Look at the next bytes."""
        self._start = (self._start + piece[:2])[:2]
        self._check.feed(piece)

    def done(self) -> Findings:
        """What was found."""
        findings = self._check.done()
        packed = self._start == GZIP and not isinstance(self._check, Unchecked)
        return Findings(bad=1, unreadable=True) if packed else findings


class Gunzipped:
    """What `check` says of the file once it is decompressed."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._inflate = zlib.decompressobj(wbits=31)
        self._broken = False

    def feed(self, piece: bytes, /) -> None:
        """Look at the next bytes."""
        while piece and not self._broken:
            if self._inflate.eof:  # one member may follow another
                self._inflate = zlib.decompressobj(wbits=31)
            try:
                self._check.feed(self._inflate.decompress(piece, LONGEST_ROW))
            except zlib.error:
                self._broken = True
            piece = self._inflate.unconsumed_tail or self._inflate.unused_data

    def done(self) -> Findings:
        """What was found."""
        if not self._broken:
            self._check.feed(self._inflate.flush())
        whole = self._inflate.eof and not self._broken
        findings = self._check.done()
        return findings if whole else Findings(bad=1, unreadable=True)
