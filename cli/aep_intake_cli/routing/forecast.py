"""How many batches a day a routing table can make, compared with Adobe's advice.

A window ends when the time since 1970 is a multiple of its length, so at most ceil(1440 / minutes)
of them end in a day, and each makes its batch then. Files of one day can fall into one window more,
which ends the next day. This counts for each target and format, and before the limits batchFiles
and batchGigabytes split a batch. A marker makes a batch, and so does a folder each time that it is
quiet; without `batch` each object does: none of these has a maximum. Batches of HTTP requests are
not counted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aep_intake.model.batches import LOOKUP_BATCHES_PER_DAY
from aep_intake.model.errors import FormatUnknown
from aep_intake.model.times import MINUTE_MS, duration_ms
from aep_intake.routing.table import Route, format_by_name
from rich.console import Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

# A day, into all Profile and ExperienceEvent datasets of a sandbox together (Adobe's guardrails for
# data ingestion, November 2026).
ADVISED_BATCHES = 90
MINUTES_PER_DAY = 1440
QUIET_FOLDER = "quiet folder"
_PLACEHOLDER = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class SandboxPlace:
    """A sandbox of an organization.

    `sandbox`: its name, or a text with placeholders; None: the default of a stack that is not
    known. `credential`: the name of the organization's secret; None: the default.
    """

    sandbox: str | None = None
    credential: str | None = None

    @property
    def by_key(self) -> bool:
        """Whether the key of an object decides which sandbox it is."""
        return "{" in (self.sandbox or "")

    def leads_to(self, other: SandboxPlace) -> bool:
        """Whether this place is, or can be, the other one."""
        if self.credential != other.credential:
            return False
        return self.by_key or self.sandbox == other.sandbox

    def __str__(self) -> str:
        name = self.sandbox or "(default)"
        return f"{name} of {self.credential}" if self.credential else name


@dataclass(frozen=True)
class Share:
    """The batches that one route makes: one for each window, or marker, or object.

    `window`: its length as the route has it. `varies_by`: placeholders, or the format, by which a
    window has several batches. `not_in_windows`: what the route says of new versions needs a batch
    for each file, and no window is allowed. `profile`: whether the dataset is enabled for
    Profile; None: not known without Catalog. `volume`: objects (or markers) a day; None: not known.
    """

    route: str
    place: SandboxPlace
    window: str | None = None
    marker: str | None = None  # or QUIET_FOLDER
    varies_by: tuple[str, ...] = ()
    not_in_windows: bool = False
    profile: bool | None = None
    volume: int | None = None

    @property
    def batch_per_object(self) -> bool:
        """Whether each object has a batch of its own."""
        return self.window is None and self.marker is None

    @property
    def batches(self) -> int | None:
        """How many a day, at most, for each of `multiples`; None: there is no maximum."""
        maxima = [] if self.volume is None else [self.volume]
        if self.window is not None:
            maxima.append(windows_a_day(self.window))
        return min(maxima, default=None)

    @property
    def multiples(self) -> tuple[str, ...]:
        """`varies_by` of a window; none if fewer objects come than windows end."""
        return () if self.window is None or self.batches == self.volume else self.varies_by

    @property
    def batch_for(self) -> str:
        """What makes one batch, in words."""
        return f"each {self.window or self.marker or 'object'}"

    @property
    def maximum(self) -> str:
        """How many batches a day, at most, in words."""
        return "no limit" if self.batches is None else f"{self.batches:,}{self.of_each}"

    @property
    def of_each(self) -> str:
        """` for each …`, if the route makes so many batches for each of `multiples`."""
        return f" for each {join_names(self.multiples)}" if self.multiples else ""


def share_of_route(
    route: Route,
    place: SandboxPlace | None = None,
    *,
    profile: bool | None = None,
    volume: int | None = None,
) -> Share:
    """The share of a route. `place`, `profile`, `volume`: what is known beyond the route."""
    written, batch = route.written, route.written.get("batch", {})
    place = place or SandboxPlace(written.get("sandbox"), written.get("credential"))
    return Share(
        route=route.name,
        place=place,
        window=batch.get("window"),
        marker=QUIET_FOLDER if "quiet" in batch else batch.get("marker"),
        varies_by=tuple(_varies_by(written)),
        not_in_windows=written.get("onNewVersion", "append") != "append",
        profile=profile,
        volume=volume,
    )


def to_json(shares: Iterable[Share]) -> list[dict[str, Any]]:
    """For programs. `batchesPerDay`: at most, for each of `forEach`; None: there is no maximum."""
    return [
        {
            "rule": share.route,
            "sandbox": share.place.sandbox,
            "credential": share.place.credential,
            "oneBatchFor": share.window or share.marker or "object",
            "batchesPerDay": share.batches,
            "forEach": share.multiples,
            "profile": share.profile,
        }
        for share in shares
    ]


def windows_a_day(length: str) -> int:
    """How many windows of that length, such as `16m`, end in a day, at most."""
    return -(-MINUTES_PER_DAY // _minutes(length))


def shortest_window(batches: int) -> str:
    """The shortest window that makes at most `batches` a day."""
    minutes = -(-MINUTES_PER_DAY // max(batches, 1))
    return f"{minutes}m" if minutes % 60 else f"{minutes // 60}h"


def window_setting(batches: int) -> str:
    """The member of a route that makes at most `batches` a day."""
    return f'"batch": {{"window": "{shortest_window(batches)}"}}'


def profile_advice(share: Share) -> str:
    """What to know about a route whose dataset is enabled for Profile."""
    advised = f"Adobe advises at most {ADVISED_BATCHES} such batches a day and sandbox"
    text = f"enabled for Profile, with a batch for {share.batch_for}"
    if share.batches is not None:
        text += f": at most {share.batches:,} a day{share.of_each}"
    if share.batch_per_object and not share.not_in_windows:
        return (
            f"{text}; {advised}: add to the route {window_setting(ADVISED_BATCHES)}, and publish it"
        )
    too_many = share.batches is not None and share.batches > ADVISED_BATCHES
    advice = f': "window": "{shortest_window(ADVISED_BATCHES)}" is long enough' if too_many else ""
    return f"{text}; {advised}{advice}"


def lookup_advice(share: Share) -> str | None:
    """What to know about a route whose dataset is a lookup dataset; None: it makes few batches."""
    few = share.batches is not None and share.batches <= LOOKUP_BATCHES_PER_DAY
    if few and not share.multiples:
        return None
    many = "" if share.batches is None else f", at most {share.batches:,} a day{share.of_each}"
    text = (
        f"its dataset is a lookup (dimension) dataset, for which Adobe advises at most "
        f"{LOOKUP_BATCHES_PER_DAY} batches a day, and it makes one for {share.batch_for}{many}"
    )
    if share.not_in_windows or share.marker is not None:
        return f"{text}: send files {LOOKUP_BATCHES_PER_DAY} times a day at most"
    return f"{text}: set {window_setting(LOOKUP_BATCHES_PER_DAY)}"


def _minutes(length: str) -> int:
    return duration_ms(length) // MINUTE_MS


def _varies_by(written: Mapping[str, Any]) -> Iterator[str]:
    """By what the objects of one window and sandbox can differ, so that it has several batches."""
    values = [value for listed in written.get("tags", {}).values() for value in listed]
    texts = [written.get("datasetId", ""), written.get("datasetName", ""), *values]
    in_sandbox = _PLACEHOLDER.findall(written.get("sandbox", ""))
    for name in dict.fromkeys(_PLACEHOLDER.findall(" ".join(texts))):
        if name not in in_sandbox:
            yield name
    if _formats_vary(written):
        yield "format"


def _formats_vary(written: Mapping[str, Any]) -> bool:
    input_format = written.get("inputFormat", "auto")
    if input_format == "auto":
        try:
            input_format = format_by_name(written["match"])  # if all keys end in the same way
        except FormatUnknown:
            return True
    # `lookInside` distinguishes a JSON array from JSON Lines.
    either = input_format["format"].lower() == "json" and "isMultiLineJson" not in input_format
    return either and bool(written.get("lookInside"))


@dataclass(frozen=True)
class Sandbox:
    """All batches that routes can make in one sandbox."""

    place: SandboxPlace
    shares: tuple[Share, ...]

    @property
    def counted(self) -> list[Share]:
        """Those that feed Profile, or may do so."""
        return [one for one in self.shares if one.profile is not False]

    @property
    def known_batches(self) -> int:
        """How many batches a day the routes with a maximum make."""
        return sum(one.batches or 0 for one in self.counted)

    @property
    def unbounded(self) -> list[Share]:
        """Those without a maximum."""
        return [one for one in self.counted if one.batches is None]

    @property
    def multiplied(self) -> list[Share]:
        """Those whose maximum counts for each of several placeholders' values."""
        return [one for one in self.counted if one.multiples]

    @property
    def fits(self) -> bool:
        """Whether all routes together cannot exceed what Adobe advises."""
        return not self.unbounded and not self.multiplied and self.known_batches <= ADVISED_BATCHES

    @property
    def fair_share(self) -> int:
        """The advised batches a day for each route that makes more than its fair share.

        Routes that make less leave the rest to the others.
        """
        maxima = [one.batches for one in self.counted if one.batches is not None]
        left, routes = ADVISED_BATCHES, len(self.counted)
        for batches in sorted(maxima):
            if batches * routes <= left:
                left, routes = left - batches, routes - 1
        return left // routes if routes else ADVISED_BATCHES

    def exceeds(self, one: Share) -> bool:
        """Whether that route makes more than its fair share, or may do so."""
        if self.fits or one.profile is False:
            return False
        return one.batches is None or bool(one.multiples) or one.batches > self.fair_share

    def __str__(self) -> str:
        return str(self.place)


def sandboxes(shares: Iterable[Share], allowed: Collection[SandboxPlace] = ()) -> list[Sandbox]:
    """The sandboxes of routes: `allowed`, or if these are not known, those that routes name.

    A route whose sandbox depends on the key counts in each of them.
    """
    shares = list(shares)
    places = allowed or dict.fromkeys(one.place for one in shares)
    # A sandbox that depends on the key can be any of them, and one that no route names.
    ordered = sorted(places, key=lambda place: place.by_key)
    parts = ((place, tuple(s for s in shares if s.place.leads_to(place))) for place in ordered)
    return [Sandbox(place, part) for place, part in parts if part]


def join_names(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def report(shares: Iterable[Share], *, allowed: Collection[SandboxPlace] = ()) -> Group:
    """For people: how many batches each sandbox can get in a day, and from which route."""
    shares = list(shares)
    listed = sandboxes(shares, allowed)
    return Group(_heading(shares), _table(listed), *_hints(listed))


def _heading(shares: list[Share]) -> Text:
    text = (
        "How many batches these routes can make; the limits batchFiles and batchGigabytes can "
        f"split a batch into more. Adobe advises at most {ADVISED_BATCHES} a day for all Profile "
        "and ExperienceEvent datasets of a sandbox together (November 2026). "
    )
    if any(one.profile is not None for one in shares):
        return Text(f"{text}A route whose dataset is not enabled for Profile does not count.")
    return Text(
        f"{text}Only Catalog knows which datasets are enabled for Profile, so here every route "
        "counts; --stack NAME reads Catalog."
    )


def _table(found: list[Sandbox]) -> Table:
    names = ("sandbox, route", "one batch for", "batches a day, at most")
    table = Table(
        *(Column(name, overflow="fold") for name in names),
        # Not folded, for copying.
        Column(f"to stay within {ADVISED_BATCHES}", no_wrap=True, overflow="fold"),
    )
    for sandbox in found:
        style = "bold green" if sandbox.fits else "bold yellow"
        cells = (
            str(sandbox),
            "all routes",
            _total(sandbox),
            f"within {ADVISED_BATCHES}" if sandbox.fits else f"may exceed {ADVISED_BATCHES}",
        )
        table.add_row(*(Text(cell, style) for cell in cells))
        for one in sandbox.shares:
            name = Padding(Text(one.route), (0, 0, 0, 2))
            maximum = Text(one.maximum, "yellow" if sandbox.exceeds(one) else "")
            table.add_row(name, Text(one.batch_for), maximum, _advice(sandbox, one))
        table.add_section()
    return table


def _total(sandbox: Sandbox) -> str:
    if sandbox.unbounded and not sandbox.known_batches:
        return "no limit"
    more = " or more" if sandbox.unbounded or sandbox.multiplied else ""
    return f"{sandbox.known_batches:,}{more}"


def _advice(sandbox: Sandbox, one: Share) -> Text:
    if one.profile is False:
        return Text("not for Profile", "dim")
    if not sandbox.exceeds(one):
        known = any(other.profile is not None for other in sandbox.shares)
        return Text("if enabled for Profile" if known and one.profile is None else "")
    only_one = f"if there is only one {join_names(one.varies_by)}" if one.varies_by else ""
    if one.marker is not None or one.not_in_windows:
        what = {None: "objects", QUIET_FOLDER: f"{QUIET_FOLDER}s"}.get(one.marker, "markers")
        return Text(f"{sandbox.fair_share} {what} a day")
    if one.batches is None or one.batches > sandbox.fair_share:
        window = f'"window": "{shortest_window(sandbox.fair_share)}"'
        text = window if one.window else window_setting(sandbox.fair_share)
        return Text(f"{text}\n{only_one}" if one.varies_by else text)
    return Text(f"fits {only_one}")


def _hints(found: list[Sandbox]) -> Iterator[Text]:
    for one in [one for sandbox in found for one in sandbox.unbounded][:1]:
        yield Text(
            "A route without a limit gets a number if you say how many objects, or markers, arrive "
            f"in a day: --files-per-day {one.route}=1440"
        )
