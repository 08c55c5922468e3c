"""Reads how many rows a Parquet file has from its footer.

A footer is Thrift in its compact protocol, then 4 bytes of its length, then `PAR1`:
https://parquet.apache.org/docs/file-format/ and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. Only `num_rows`,
the third member of `FileMetaData`, is read; the schema before it is skipped.
"""

from aep_intake.model.errors import FormatMismatch

END = 65_536  # bytes to read: the footer of a file without many columns and row groups
_TAIL = 8
_NUM_ROWS = 3
# Kinds of members.
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE = (1, 2), 3, (4, 5, 6), 7
_TEXT, _LISTS, _STRUCT = 8, (9, 10), 12


def rows(end: bytes, size: int, uri: str) -> int | None:
    """How many rows a Parquet file of `size` bytes has, of which `end` is the last bytes.

    None if its footer is longer than `end`. Raises FormatMismatch if it has no footer.
    """
    length = int.from_bytes(end[-_TAIL:-4], "little")
    if not end.endswith(b"PAR1") or not 0 < length <= size - _TAIL - 4:
        raise FormatMismatch(
            f"{uri!r} is not a whole Parquet file: it has no footer; upload the whole of it again"
        )
    if length + _TAIL > len(end):
        return None
    footer = _Footer(end[-length - _TAIL : -_TAIL])
    try:
        return footer.num_rows()
    except (IndexError, ValueError, RecursionError):
        raise FormatMismatch(
            f"{uri!r} is not a Parquet file: its footer cannot be read; write it again"
        ) from None


class _Footer:
    """Thrift, read once from its start. Raises IndexError, ValueError or RecursionError if it is no
    such.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def num_rows(self) -> int:
        number = 0
        while kind := self._byte():
            # A delta to the number of the member before, or 0, and then the number itself.
            number = number + (kind >> 4) if kind >> 4 else self._integer()
            if number == _NUM_ROWS and kind & 15 in _INTEGERS:
                return self._integer()
            self._skip(kind & 15)
        raise ValueError("it does not say how many rows there are")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _length(self) -> int:
        """A varint: seven bits a byte, the lowest first."""
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value, shift = value | (byte & 0x7F) << shift, shift + 7
        return value | byte << shift

    def _integer(self) -> int:
        """A varint in zigzag: 0, -1, 1, -2 …"""
        value = self._length()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, kind: int) -> None:
        if kind in _BOOLEANS:
            return
        if kind == _BYTE:
            self._byte()
        elif kind in _INTEGERS:
            self._length()
        elif kind == _DOUBLE:
            self._at += 8
        elif kind == _TEXT:
            length = self._length()
            self._at += length
        elif kind in _LISTS:
            self._skip_list()
        elif kind == _STRUCT:
            while member := self._byte():
                if not member >> 4:
                    self._length()
                self._skip(member & 15)
        else:  # a map: FileMetaData has none
            raise ValueError(f"a member of kind {kind}")

    def _skip_list(self) -> None:
        header = self._byte()
        size = header >> 4 if header >> 4 < 15 else self._length()
        if size > len(self._data):
            raise ValueError("a list that is longer than all of it")
        for _ in range(size):
            # A boolean of a list takes a byte.
            self._skip(_BYTE if header & 15 in _BOOLEANS else header & 15)
