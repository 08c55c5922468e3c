"""Turns text of another charset into UTF-8, chunk by chunk."""

import codecs

UTF_8 = "utf-8"
_BAD = "\udcff"  # what `surrogateescape` makes of 0xFF, which is in no UTF-8


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _BAD, error.end


codecs.register_error("aep-intake-mark", _mark)


class ToUtf8:
    """Turns text into UTF-8. `charset`: as Python names it.

    What is not of the charset becomes the byte 0xFF, which is not UTF-8: so whoever reads the rows
    finds the row broken.
    """

    def __init__(self, charset: str) -> None:
        self._charset = charset
        self._decoder = codecs.getincrementaldecoder(charset)("aep-intake-mark")

    def feed(self, chunk: bytes, *, final: bool = False) -> bytes:
        """The text of this chunk, up to what its end may cut in two. `final`: it is the last."""
        return self._decoder.decode(chunk, final).encode("utf-8", "surrogateescape")

    def width(self, text: bytes) -> int:
        """How many bytes were fed for the end of what came out, and of which nothing has yet."""
        written = text.decode("utf-8", "surrogateescape").replace(_BAD, "?")
        return len(written.encode(self._charset)) + len(self._decoder.getstate()[0])
