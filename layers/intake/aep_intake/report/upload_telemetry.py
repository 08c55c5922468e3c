"""Logs and metrics about uploads; a module of its own, as on_delivery uploads nothing."""

from aws_lambda_powertools.metrics import MetricUnit

from aep_intake.delivery.delivery import Mark, Task
from aep_intake.delivery.upload import Uploaded
from aep_intake.model.progress import Rejection
from aep_intake.report.delivery_telemetry import report_delivery
from aep_intake.report.telemetry import count, logger, metrics


def report_upload(task: Task, result: Uploaded | Exception, now: int) -> None:
    """Count what was uploaded; after the last piece, report the batch as `report_delivery`."""
    match result:
        case Uploaded(mark=Mark(lost=Rejection() as why)):
            about = {"correlation_id": task.external_id, "file": _name(task)}
            logger.warning("file lost", extra=about | {"reason": why.reason, "why": why.detail})
        case Uploaded(mark=Mark() as mark):
            _uploaded(task, mark)
    outcome = result.delivery if isinstance(result, Uploaded) else result
    report_delivery(task.external_id, outcome, now)


def _uploaded(task: Task, mark: Mark) -> None:
    empty = mark.empty if task.run else int(not mark.size)
    if empty:  # files without rows, in a batch with others
        count("Ignored", "not-data", number=empty)
    if mark.left_out:
        about = {"correlation_id": task.external_id, "files": _name(task)}
        logger.warning("files left out", extra=about | {"number": mark.left_out})
    if mark.size:
        count("Uploads")
        metrics.add_metric("BytesUploaded", MetricUnit.Bytes, mark.size)


def _name(task: Task) -> str:
    """A file, or those of a run by their places in the batch."""
    if task.piece is not None:
        return task.piece.file.uri
    return "" if task.run is None else f"{task.run.first} to {task.run.end - 1}"
