"""Which small files of a batch go up together, one after the other, in one PUT.

The plan of a window counts uploads, and the plan of a delivery makes them: both ask here.
"""

from collections.abc import Iterable

from aep_intake.model.files import Arrival
from aep_intake.model.records import Kept
from aep_intake.model.values import dataclass

GROWTH = 6  # of gzip's text, when it is unpacked


@dataclass(frozen=True, slots=True)
class Sharing(Kept):
    """What files that follow each other may have to share an upload. Bytes as AEP gets them."""

    files: int  # at most
    bytes: int  # together, at most
    file_bytes: int  # each, at most

    @classmethod
    def within(cls, piece_bytes: int) -> "Sharing":
        """For uploads of so many bytes at most. Some room is left, as sizes are estimates."""
        together = piece_bytes * 4 // 5
        return cls(5000, together, together // 8)

    def takes(self, files: int, held: int, size: int) -> bool:
        """Whether one more, of `size` bytes, may join `files` that have `held` bytes together."""
        return size <= self.file_bytes and files < self.files and held + size <= self.bytes

    def run(self, sizes: Iterable[int]) -> tuple[int, int]:
        """How many files go together, from the first of these sizes on, and their bytes."""
        files = held = 0
        for size in sizes:
            if not self.takes(files, held, size):
                break
            files, held = files + 1, held + size
        return files, held


def unpacked(file: Arrival, isize: int = 0) -> int:
    """An estimate of the bytes that AEP gets of a file.

    `isize`: what a gzip says at its end, if that was read. It is too low for a gzip with several
    members, or with more than 4 GiB.
    """
    if not file.gzipped:
        return file.size
    return isize if isize >= file.size else GROWTH * file.size
