"""Redrive of parked orders: another try, where it mends something and does no harm.

An order of which surely nothing was made, or whose batch ended without data, is tried again through
the present routes. Before that: do its files still go to one place; are they still there; has a
newer version, or have the same bytes, been loaded meanwhile?
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import batched

from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.resolve import order_of
from aep_intake.arrivals.results import HandedOn
from aep_intake.arrivals.versions import PAGE, check_not_overtaken
from aep_intake.create import create
from aep_intake.grouping import ready
from aep_intake.model import messages
from aep_intake.model.errors import IntakeError, MalformedEvent, NoRoute, Rejected, RoutesDiffer
from aep_intake.model.files import Arrival
from aep_intake.model.messages import AS_USUAL, Wish
from aep_intake.model.orders import Order
from aep_intake.model.outcomes import SideBySide, caught
from aep_intake.model.progress import Outcome
from aep_intake.routing.table import (
    Ignored,
    Match,
    OneBatch,
    OnNewVersion,
    RoutingTable,
    format_by_name,
    names_format,
)

# More files than that are checked by on_marker, which has more time and processor: a query for each
# takes about a millisecond of a whole core.
FILES_AT_ONCE = 500


def redrive(
    external_id: str, intake: IntakePorts, side_by_side: SideBySide = map, wish: Wish = AS_USUAL
) -> Outcome | HandedOn:
    """Try a parked order again; one of many files is handed on to on_marker.

    An order whose batch ended without data gets a new attempt. Raises Rejected or TryAgain.
    """
    record = intake.ledger.get(external_id)
    if record is None:
        raise MalformedEvent(f"the ledger knows no order {external_id}", external_id=external_id)
    part = record.order.excerpt
    if intake.hand_on is not None and part is not None and part.end - part.first > FILES_AT_ONCE:
        intake.hand_on(messages.of_order(external_id, wish))
        return HandedOn()

    def prepared(order: Order) -> Order:
        files = intake.ledger.files(order)
        wanted = order if wish.as_ordered else _rerouted(order, files, intake)
        _check_there(files, intake, side_by_side, all_of_them=wanted.whole)
        if wanted.lineage is None and not wish.even_if_overtaken:  # it has its newest version
            check_not_overtaken(files, wanted.target, intake.versions, side_by_side)
        return wanted

    try:
        return create.start_next_attempt(
            external_id, intake.creating, accept_loaded=True, prepared=prepared
        )
    except IntakeError as error:
        error.external_id, error.route = error.external_id or external_id, record.order.route
        error.files = intake.ledger.files(record.order)
        raise


def _rerouted(order: Order, files: Sequence[Arrival], intake: IntakePorts) -> Order:
    """The same order, with the same files, through the present routes. Raises Rejected or TryAgain.

    But an order keeps its place in a lineage, and that is in one dataset.
    """
    if order.trigger == "request" or not files:  # no route made it
        return order
    table = intake.table()
    matches = [_match(file, table) for file in files]
    first, match = files[0], matches[0]
    shared = _shared(first, match)
    for file, other in zip(files, matches, strict=True):
        if _shared(file, other) != shared:
            raise RoutesDiffer(
                f"{first.uri!r} and {file.uri!r}, files of one batch, have different routes, "
                "targets or formats now; correct the routes, or redrive with --as-ordered"
            )
    alone = replace(match, on_new_version=OnNewVersion.APPEND)  # it has its place in a lineage
    if match.ready is not None and len(files) == 1:  # which may say another number of rows now
        first = ready.let_through(first, match.ready.names, intake.waiting) or first
    present = order_of(*intake.checks.checked(first, alone), alone, intake)
    return replace(
        order,
        files=present.files if len(order.files) == 1 else order.files,
        target=present.target if order.lineage is None else order.target,
        options=present.options,
        route=present.route,
        routes_version=present.routes_version,
        owner=present.owner,
        counts_rows=present.counts_rows,
        profile=present.profile,
        lookup=present.lookup,
        whole=present.whole,
        demands=present.demands,
        split_batches=present.split_batches,
        source_format=present.source_format,
        compiled_map=present.compiled_map,
    )


def _match(file: Arrival, table: RoutingTable) -> Match:
    match = table.match(file)
    if isinstance(match, Ignored):
        raise NoRoute(
            f"{file.uri!r} is ignored by the present routes; correct them, or redrive with "
            "--as-ordered"
        )
    return match


def _shared(file: Arrival, match: Match) -> Match:
    """What the files of a batch have in common: route, target and format."""
    options = dict(match.options)
    if names_format(file.uri):
        options.setdefault("inputFormat", format_by_name(file.uri))
    return replace(match, options=options, placeholders={}, batching=OneBatch())


def _check_there(
    files: Sequence[Arrival], intake: IntakePorts, side_by_side: SideBySide, *, all_of_them: bool
) -> None:
    """Whether a batch can be filled: a byte of each file is read, until enough are there.

    One file is enough, as others are left out by name while they go up. Raises the Rejected of a
    file that cannot be read any more, or TryAgain.
    """

    def look(file: Arrival) -> bytes | Exception:
        return caught(intake.checks.read, file, 0, 1)

    first: Rejected | None = None
    for page in batched(files, PAGE, strict=False):
        gone: list[Rejected] = []
        for found in side_by_side(look, page):
            if isinstance(found, Rejected):
                gone.append(found)
            elif isinstance(found, Exception):
                raise found
        if all_of_them and gone:
            raise gone[0]
        if not all_of_them and len(gone) < len(page):
            return
        first = first or next(iter(gone), None)
    if first is not None:
        several = len(files) > 1
        raise type(first)(f"none of {len(files):,} files can be read: " * several + first.detail)
