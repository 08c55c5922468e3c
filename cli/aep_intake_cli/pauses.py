"""Pauses as people see them: what is paused, what waits, and until when its files are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from aep_intake.adapters.dynamodb.pauses import SEVERAL
from aep_intake.model.errors import IntakeError
from aep_intake.model.pauses import Pausable
from aep_intake.model.times import DAY_MS, iso
from botocore.exceptions import ClientError
from rich.table import Column, Table
from rich.text import Text

from aep_intake_cli.documents import near
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.output import visible

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.credentials import Credentials
    from aep_intake.adapters.dynamodb.ledger import DynamoLedger
    from aep_intake.model.pauses import Pause
    from aep_intake.model.progress import Record
    from aep_intake.routing.table import RoutingTable
    from mypy_boto3_s3 import S3Client

ALL = 2**31 - 1  # DynamoDB takes no larger limit
FOR_EVER = 2**53  # milliseconds


@dataclass(frozen=True)
class BucketRetention:
    """How long the source buckets keep their files."""

    days: int | None  # of the rule that deletes files first; None: there is none
    unread: tuple[str, ...] = ()  # buckets whose rules the operator may not read

    @property
    def lines(self) -> list[str]:
        """What people should know of it."""
        rule = f"A rule of a bucket deletes files {self.days} days after they came."
        lines = [] if self.days is None else [rule]
        for name in self.unread:
            right = "s3:GetLifecycleConfiguration"
            lines.append(f"You may not read the rules of {name} ({right}): they may delete files.")
        return lines


@dataclass(frozen=True)
class PausedWork:
    """A pause, and what it keeps back. Times in epoch milliseconds."""

    pause: Pause
    orders: int  # each gets a batch
    files: int
    oldest: int | None  # when the oldest file came; None: nothing waits
    kept_until: int | None  # until when the buckets have all of them; None: no rule is known


def doubt_of_dataset(dataset: str, table: RoutingTable) -> str | None:
    """Why a pause of this dataset may keep nothing back; None: a route names it."""
    named = {
        str(route.written["datasetId"]) for route in table.routes if "datasetId" in route.written
    }
    if dataset in named:
        return None
    whole = sorted(name for name in named if "{" not in name)
    return (
        f"no route names the dataset {dataset} by its id ({near(dataset, whole)}). The pause keeps "
        "back what comes for it all the same: by a request, by `datasetName`, by a placeholder"
    )


def doubt_of_organization(name: str, credentials: Credentials, arns: Iterable[str]) -> str | None:
    """Why a pause of this organization may keep nothing back; None: it is the stack's.

    Raises CommandFailed if it is not.
    """
    known, unseen = list[str](), list[IntakeError]()
    for arn in arns:
        try:
            known.append(credentials.ims_org(arn))
        except IntakeError as error:
            unseen.append(error)
    if name in known:
        return None
    if unseen:
        return f"nobody could see whether {name} is an organization of this stack: {unseen[0]}"
    raise CommandFailed(f"{name} is not an organization of this stack: {near(name, known)}")


def of_no_route(standing: Iterable[Pause], table: RoutingTable) -> Iterator[str]:
    """Warnings about pauses of routes that the table does not have."""
    names = {route.name for route in table.routes}
    for pause in standing:
        what, _, name = pause.name.partition("#")
        if what == Pausable.ROUTE and name not in names:
            yield (
                f"{pause.what} is paused, and no route has this name any more: what waits stays "
                "paused, what comes does not. Pause the new name too, or resume this one"
            )


def waiting(pause: Pause, ledger: DynamoLedger, kept: BucketRetention) -> PausedWork:
    """What waits for the end of a pause. Raises LedgerUnavailable.

    Orders of one file are counted by the index alone, and the first of them came first.
    """
    orders = ledger.pauses.orders(pause, FOR_EVER, ALL)
    orders.sort(key=lambda due: (due.shard, due.when))
    files, times = len(orders), list[int]()
    for shard, group in groupby(orders, key=lambda due: due.shard):
        dues = list(group)
        looked_at = dues if shard.endswith(SEVERAL) else dues[:1]
        for record in filter(None, (ledger.get(due.id) for due in looked_at)):
            files += len(record.order.places) - 1
            times.append(_came(record))
    oldest = min(times, default=None)
    until = None if kept.days is None or oldest is None else oldest + kept.days * DAY_MS
    return PausedWork(pause, len(orders), files, oldest, until)


def _came(record: Record) -> int:
    """When the oldest file of an order came, or at the latest."""
    return min((file.time for file in record.order.files), default=record.opened_at)


def kept_in(s3: S3Client, buckets: Iterable[str]) -> BucketRetention:
    """How long buckets keep their files. Raises botocore's ClientError."""
    days, unread = list[int](), list[str]()
    for bucket in buckets:
        try:
            rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "AccessDenied":
                unread.append(bucket)
            elif code != "NoSuchLifecycleConfiguration":
                raise
            continue
        ends = (rule.get("Expiration", {}) for rule in rules if rule["Status"] == "Enabled")
        days += [end["Days"] for end in ends if "Days" in end]
    return BucketRetention(min(days, default=None), tuple(unread))


def table(found: Iterable[PausedWork]) -> Table:
    """A row for each pause."""
    who = Column("paused", overflow="fold")
    times = Column("since", no_wrap=True), Column("kept until", no_wrap=True)
    shown = Table(
        who, times[0], Column("files\nwaiting", justify="right"), times[1], show_lines=True
    )
    for one in found:
        pause = one.pause
        by = f"by {pause.by.rpartition(':')[2].removeprefix('assumed-role/')}"
        resumed = "" if pause.resumed_at is None else f"resumed {_minute(pause.resumed_at)}"
        lines = [line for line in (pause.what, by, pause.note, resumed) if line]
        shown.add_row(
            Text("\n".join(map(visible, lines))),
            _minute(pause.since),
            f"{one.files:,}",
            _kept(one),
        )
    return shown


def _kept(one: PausedWork) -> str:
    """Until when the files of a pause are in their buckets."""
    if one.files == 0:
        return "-"
    return "for ever" if one.kept_until is None else _minute(one.kept_until)


def _minute(time: int) -> str:
    return f"{iso(time)[:16].replace('T', ' ')}Z"


def to_json(one: PausedWork) -> dict[str, Any]:
    """A pause, for programs."""
    pause = one.pause
    what, _, name = pause.name.partition("#")
    return {
        "what": what,
        "name": name,
        "since": iso(pause.since),
        "by": pause.by,
        "note": pause.note,
        "resumedAt": None if pause.resumed_at is None else iso(pause.resumed_at),
        "files": one.files,
        "batches": one.orders,
        "oldestFile": None if one.oldest is None else iso(one.oldest),
        "keptUntil": None if one.kept_until is None else iso(one.kept_until),
    }
