"""Unpacks gzip as `gzip -d` does, in flat memory, and says near which byte it is damaged.

Members follow one another (RFC 1952, 2.2); writers put white space or NULs between and behind them:
Firehose a newline, gateways in text mode CR LF, tapes zeros.
"""

import zlib
from typing import Protocol

from aep_intake.model.errors import FormatMismatch

MAGIC = b"\x1f\x8b"
CHUNK = 2**18  # bytes read at a time
_PADDING = b"\r\n \t\0"


class Readable(Protocol):
    """A stream that can be read once, from its start."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""


class Gunzipped:
    """What is in a gzip, read once from its start. `uri`: of the file, for errors.

    Reading raises FormatMismatch if it is damaged or breaks off, or as `packed` does.
    """

    def __init__(self, packed: Readable, uri: str) -> None:
        self._packed, self._uri = packed, uri
        self._rest = b""  # read, and not unpacked yet
        self._before = 0  # bytes of the file before `_rest`
        self._member: zlib._Decompress | None = None
        self._members = 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes (1 or more); fewer at the end, and none behind it."""
        some = self._some(size)
        if len(some) == size:  # where a gzip is small for what is in it, mostly: nothing is copied
            return some
        found = bytearray(some)
        while len(found) < size and (some := self._some(size - len(found))):
            found += some
        return bytes(found)

    def _some(self, size: int) -> bytes:
        """Some bytes, `size` at most; none at the end."""
        while True:
            self._member = member = self._member or self._next_member()
            if member is None:
                return b""
            if not self._rest and not self._more():
                raise self._damaged("it breaks off")
            given = len(self._rest)
            try:
                some = member.decompress(self._rest, size)
            except zlib.error as error:
                raise self._damaged(str(error)) from None
            self._rest = member.unused_data if member.eof else member.unconsumed_tail
            self._before += given - len(self._rest)
            if member.eof:
                self._member = None
            if some:
                return some

    def _next_member(self) -> "zlib._Decompress | None":
        """The next member, behind padding; None at the end."""
        while True:
            kept = self._rest.lstrip(_PADDING)
            self._before += len(self._rest) - len(kept)
            self._rest = kept
            if len(kept) >= len(MAGIC):
                break
            if not self._more():
                if kept:
                    raise self._damaged("what follows is not gzip")
                return None
        if not self._rest.startswith(MAGIC):
            what = "what follows is not gzip" if self._members else "it does not begin like a gzip"
            raise self._damaged(what)
        self._members += 1
        return zlib.decompressobj(wbits=31)

    def _more(self) -> bool:
        more = self._packed.read(CHUNK)
        self._rest += more
        return bool(more)

    def _damaged(self, why: str) -> FormatMismatch:
        return FormatMismatch(
            f"{self._uri} is a damaged gzip: near byte {self._before:,}, {why}. Send it again"
        )
