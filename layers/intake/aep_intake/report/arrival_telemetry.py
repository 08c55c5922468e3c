"""Logs and metrics about arrivals; a module of its own, as few functions need it."""

from collections.abc import Mapping

from aep_intake.arrivals.results import Gathered, HandedOn, Joined, Known, Result, Skipped, Waits
from aep_intake.report.telemetry import count, logger, report


def report_arrival(external_id: str, result: Result, latency: int | None) -> None:
    """Count and log the result of an arrival. `latency`: milliseconds since it came."""
    keys = {"correlation_id": external_id}
    match result:
        case Skipped(why):
            count("Ignored", why)
            logger.debug("ignored", extra=keys | {"why": why})
        case Waits(route):
            count("Waiting")
            logger.debug("waiting for a marker or ready file", extra=keys | {"route": route})
        case Gathered(window_id, files):
            count("Markers")
            logger.info("gathered", extra=keys | {"window": window_id, "files": files})
        case Joined():
            pass  # see `report_joined`
        case HandedOn():
            logger.debug("handed on", extra=keys)
        case Known(owner):
            count("Duplicates")
            logger.info("duplicate", extra=keys | {"belongs_to": owner})
        case _:
            report(external_id, result, latency)


def report_joined(results: Mapping[str, Result]) -> None:
    """Count and log the arrivals that joined windows: a line for each window, as they are many."""
    windows: dict[Joined, list[str]] = {}
    for external_id, result in results.items():
        if isinstance(result, Joined):
            windows.setdefault(result, []).append(external_id)
    if windows:
        count("Registered", number=sum(map(len, windows.values())))
    for joined, arrivals in windows.items():
        about = {"window": joined.window_id, "closes": joined.closes, "arrivals": arrivals}
        logger.info("registered", extra=about)
