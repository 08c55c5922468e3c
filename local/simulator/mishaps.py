"""What can go wrong with a batch in Adobe's hands, whatever its files hold, on demand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .batches import Batch


@dataclass
class Mishap:
    """A mishap, and the batches it befalls: the next `count` that match, as their staging starts.

    `batch` (the id), `dataset` and `external_id` are shell patterns, and so is `file`: one at least
    of the batch's files has such a path, and is to blame. `count` 0 means until cleared. The batch
    goes through `retrying` so many times (`retries`), and then is `stalled` for good, or fails with
    `errors` (each `{"code", "description"}`), or goes on.
    """

    batch: str = "*"
    dataset: str = "*"
    external_id: str = "*"
    file: str = "*"
    count: int = 1
    retries: int = 0
    stalled: bool = False
    errors: Sequence[Mapping[str, object]] = ()

    def __post_init__(self) -> None:
        """Raises ValueError: a number below 0, an error without code or description."""
        if self.count < 0 or self.retries < 0:
            raise ValueError("count and retries cannot be negative")
        if not all({"code", "description"} <= error.keys() for error in self.errors):
            raise ValueError("each error needs code and description")

    def befalls(self, batch: Batch) -> bool:
        """Whether the patterns match."""
        return (
            fnmatchcase(batch.id, self.batch)
            and fnmatchcase(batch.dataset_id, self.dataset)
            and fnmatchcase(batch.members["externalId"], self.external_id)
            and (self.file == "*" or bool(self.to_blame(batch)))
        )

    def to_blame(self, batch: Batch) -> tuple[str, ...]:
        """The paths of the files because of which it befalls a batch, if it is because of files."""
        if self.file == "*":
            return ()
        return tuple(path for path in batch.files if fnmatchcase(path, self.file))


NONE = Mishap()


class Mishaps:
    """The mishaps still to come, in the order they were added."""

    def __init__(self) -> None:
        self._waiting: list[Mishap] = []

    def __iter__(self) -> Iterator[Mishap]:
        return iter(self._waiting)

    def add(self, mishap: Mishap) -> None:
        """Let `mishap` befall what it matches from now on."""
        self._waiting.append(mishap)

    def clear(self) -> None:
        """Nothing goes wrong any more with batches whose staging has not started."""
        self._waiting.clear()

    def take(self, batch: Batch) -> Mishap:
        """What befalls this batch, used up by it unless it has no end; `NONE` mostly."""
        for mishap in self._waiting:
            if mishap.befalls(batch):
                if mishap.count == 1:
                    self._waiting.remove(mishap)
                elif mishap.count:
                    mishap.count -= 1
                return mishap
        return NONE
