"""A delivery: its stages, the marks of its pieces, and the verdict on its batch."""

from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from typing import Any

from aep_intake.content.rows import Place, has_rows
from aep_intake.delivery.pieces import Cut, Piece, Run, pieces_and_runs
from aep_intake.model.batches import Target
from aep_intake.model.errors import MalformedEvent
from aep_intake.model.files import Arrival, in_a_key
from aep_intake.model.orders import Demands
from aep_intake.model.progress import Record, Rejection
from aep_intake.model.records import Kept, invariant
from aep_intake.model.sharing import Sharing
from aep_intake.model.values import dataclass


class DeliveryStage(StrEnum):
    """How far a delivery has come."""

    FOLLOWING = "following"  # the caller of a request fills and completes the batch
    PLANNING = "planning"
    UPLOADING = "uploading"
    COMPLETING = "completing"
    INGESTING = "ingesting"
    ABORTING = "aborting"
    ENDED = "ended"


class End(StrEnum):
    """How a batch ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"  # without a verdict on its data: by us, by a person, or by Adobe


@dataclass(frozen=True, slots=True)
class BadRow(Kept):
    """A row that was sent though it is broken: its route leaves that to AEP."""

    uri: str
    rule: str  # what it breaks; never a value
    row: int | None = None  # its number in the file, from 1, where that is known
    offset: int | None = None  # else the byte of the file at which it begins


@dataclass(frozen=True, slots=True)
class Verdict(Kept):
    """The true outcome of a batch."""

    end: End
    status: str  # Adobe's
    detail: str
    at: int  # epoch milliseconds
    metrics: Mapping[str, Any] = field(default_factory=dict)  # Adobe's
    errors: tuple[Mapping[str, Any], ...] = ()  # the first of Adobe's
    diagnostics: int | None = None  # how many files with details were stored; None: not yet asked
    lost: tuple[int, ...] = ()  # numbers of the pieces that are not in it
    short: tuple[int, ...] = ()  # numbers of runs that are in it without some of their files
    rows: int | None = None  # that are in it, as we counted; None where nobody can
    broken: int = 0  # of them, as we saw
    unmapped: int = 0  # rows that were left out, as they could not be mapped
    unmapped_columns: tuple[str, ...] = ()  # the first that nothing maps
    unmapped_column_count: int = 0  # of several files, at least those of the one that has most
    bad_rows: tuple[BadRow, ...] = ()  # the first of these
    oversized: int = 0  # rows that Profile drops; of datasets that feed Profile
    oversized_rows: tuple[str, ...] = ()  # the first in each of some files, by name
    # Whether we gave it up because of its lost files: another attempt follows without them.
    anew: bool = False
    # External id of the order of a newer version, which has its place.
    replaced_by: str | None = None
    # Of the first lost file, or the like, because of which we gave it up.
    reason: str | None = None

    @property
    def parked_as(self) -> str:
        """The reason under which people find it, if it has no data."""
        return self.reason or f"batch-{self.end}"

    @property
    def missing(self) -> int | None:
        """How many rows of those that were sent AEP neither ingested nor refused; negative if more.

        None where one of the two did not count, as AEP does not count CSV.
        """
        ingested, failed = (self.metrics.get(f"{what}RecordCount") for what in ("output", "failed"))
        told = self.metrics.get("inputRecordCount")
        if ingested is not None:
            told = ingested + (failed or 0)
        return None if self.rows is None or told is None else int(self.rows - told)


@dataclass(frozen=True, slots=True)
class Mark(Kept):
    """The end of a piece's upload."""

    size: int  # bytes in the batch, perhaps some even of a lost piece
    lost: Rejection | None = None  # why it was not uploaded
    rows: int | None = None  # that were sent; None: nobody counted
    broken: int = 0  # of them, as far as we can see
    unmapped: int = 0  # rows that were left out, as they could not be mapped
    unmapped_columns: tuple[str, ...] = ()  # the first that nothing maps
    unmapped_column_count: int = 0  # of several files, at least those of the one that has most
    oversized: int = 0  # rows that Profile drops
    oversized_rows: tuple[str, ...] = ()  # the first in each of some files, by name
    # Of a run: how many of its files are not in it, as its list says, and how many have no row.
    left_out: int = 0
    empty: int = 0
    place: int | None = None  # of the file, among those of the batch, because of which it is lost
    bad_rows: tuple[BadRow, ...] = ()  # the first broken ones


@dataclass(frozen=True, slots=True)
class Progress(Kept):
    """The progress of the upload of a file in parts, and before that of its proof.

    Of a run, `parts` are uploads, and the rest is in its list.
    """

    parts: int = 0  # that were sent; or only read, where none may be sent before all are read
    size: int = 0  # bytes that were sent
    rows: int = 0  # in the parts
    broken: int = 0  # of these rows
    bad_rows: tuple[BadRow, ...] = ()  # the first of these
    oversized: int = 0  # rows that were sent, and that Profile drops
    first_oversized: int = 0  # the number of the first; 0: not known
    place: Place | None = None  # where the next part begins
    checked: bool = False  # whether all parts were read before, and are right
    slow: int = 0  # of a run: workers that ended before they had read all of its files
    unmapped_columns: tuple[str, ...] = ()  # the first that nothing maps
    unmapped_column_count: int = 0


# Of orders of an earlier release, and of requests: AEP judges.
NO_DEMANDS = Demands(bad_rows=None)


@dataclass(frozen=True, slots=True)
class Delivery(Kept):
    """A delivery in the ledger. Times in epoch milliseconds."""

    WRITTEN_AS = {"polls": "looks", "lost_told": "settled"}  # noqa: RUF012

    external_id: str
    batch_id: str
    target: Target
    input_format: Mapping[str, Any]
    route: str | None
    file_count: int
    byte_count: int
    created_at: int
    limit: int  # bytes of a piece
    whole: bool  # one lost file ends it
    stage: DeliveryStage
    # When the clock hands it out again, and nobody works on it before; None once it has ended.
    due: int | None
    revision: int = 1
    cuts: Mapping[int, Cut] = field(default_factory=dict)  # of the files that are cut, by place
    total: int = 0  # pieces; 0 before they are planned
    polls: int = 0  # of its uploads; after COMPLETE, of Catalog
    uploaded_at: int | None = None
    verdict: Verdict | None = None
    lost_told: int = 0  # how many lost files were released and announced
    source_format: Mapping[str, Any] | None = None  # of the files, if they are converted
    demands: Demands = field(default_factory=lambda: NO_DEMANDS)
    compiled_map: str | None = None  # by which the rows of the files are mapped
    profile: bool = False  # the dataset feeds Real-Time Customer Profile
    sharing: Sharing | None = None  # None: each file goes up by itself, as in earlier releases
    owner: str | None = None  # of its route
    counts_rows: bool = False  # the route expects a number of rows
    # When it is given up if it is not filled by then, as its last step knew; for people.
    deadline: int | None = None

    @classmethod
    def of(
        cls,
        record: Record,
        files: tuple[Arrival, ...],
        limit: int,
        due: int,
        sharing: Sharing | None = None,
    ) -> "Delivery":
        """The new delivery of an order that has its batch. `limit` in bytes, `due` in epoch ms.

        `sharing`: for files whose rows can be told apart.
        """
        order = record.order
        input_format = order.options.get("inputFormat", {"format": "parquet"})
        return cls(
            order.external_id,
            record.batch_id or "",
            order.target,
            input_format,
            order.route,
            len(files),
            sum(file.size for file in files),
            record.created_at or 0,
            limit,
            order.whole,
            DeliveryStage.PLANNING if files else DeliveryStage.FOLLOWING,
            due,
            source_format=order.source_format,
            compiled_map=order.compiled_map,
            profile=order.profile,
            demands=order.demands or NO_DEMANDS,
            sharing=sharing if len(files) > 1 and has_rows(input_format) else None,
            owner=order.owner,
            counts_rows=order.counts_rows,
        )

    @property
    def bad_rows_prefix(self) -> str:
        """Where the rows that its map leaves out are kept, in the state bucket."""
        return f"badrows/{in_a_key(self.external_id)}/"

    def then(self, **changes: Any) -> "Delivery":
        """The delivery after one step."""
        after = replace(self, revision=self.revision + 1, **changes)
        after._check()
        ended = self.stage is DeliveryStage.ENDED
        invariant(
            "what has ended stays ended", holds=after.stage is DeliveryStage.ENDED or not ended
        )
        invariant("a plan is made once", holds=self.total in (0, after.total))
        return after

    def _check(self) -> None:
        stage, ended = self.stage, self.stage is DeliveryStage.ENDED
        judged = ended or stage is DeliveryStage.ABORTING
        planned = stage in (DeliveryStage.UPLOADING, DeliveryStage.COMPLETING)
        complete = stage is DeliveryStage.COMPLETING
        invariant("a delivery is due until it has ended", holds=ended or self.due is not None)
        invariant(
            "what has ended, or is aborted, has a verdict",
            holds=self.verdict is not None or not judged,
        )
        invariant("what is uploaded has pieces", holds=self.total > 0 or not planned)
        invariant(
            "what is complete was uploaded", holds=self.uploaded_at is not None or not complete
        )
        invariant("no more files are lost than it has", holds=self.lost_told <= self.file_count)

    def whole_cuts(self, files: tuple[Arrival, ...]) -> dict[int, Cut]:
        """The complete cuts. A file without one becomes one piece, whose upload says why."""
        return {place: cut for place, cut in self.cuts.items() if cut.whole(files[place])}

    def tasks(self, files: tuple[Arrival, ...]) -> "list[Task]":
        """The uploads of all its pieces, always the same ones."""
        planned = pieces_and_runs(files, self.whole_cuts(files), self.sharing)
        return [Task.of(self.external_id, piece) for piece in planned]


@dataclass(frozen=True, slots=True)
class Task(Kept):
    """The upload of a piece, or of a run, as its message names it: that of a run has no files.

    A worker of a release without runs cannot read the message of one, and leaves it in the queue.
    """

    external_id: str
    piece: Piece | None = None
    run: Run | None = None

    @classmethod
    def of(cls, external_id: str, piece: Piece | Run) -> "Task":
        """The upload of this piece or run."""
        if isinstance(piece, Run):
            return cls(external_id, run=piece)
        return cls(external_id, piece)

    @property
    def what(self) -> Piece | Run:
        """The piece, or the run. Raises MalformedEvent if a message names neither."""
        if what := self.piece or self.run:
            return what
        raise MalformedEvent("an upload of nothing", external_id=self.external_id)
