"""How many batches a routing table can make, against what Adobe advises: sums, and for people.

A window ends where the time since 1970 is a multiple of its length, so at most ceil(1440 / minutes)
of them end in a day, and each makes its batch then; what arrives in a day can touch one window
more, whose batch is the next day's. That is for each target and format, and before the limits
batchFiles and batchGigabytes split a batch. A marker makes a batch, and without `batch` each object
does: neither has a bound. What requests make comes on top.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aep_intake.model.errors import FormatUnknown
from aep_intake.routing import routes
from rich.console import Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

# Adobe's guardrails for data ingestion, as of November 2026: batches a day into all Profile and
# ExperienceEvent datasets of a sandbox together.
ADVISED = 90
MINUTES = 1440  # of a day
_PLACEHOLDER = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Place:
    """Where batches go.

    `sandbox`: its name, or a text with placeholders; None is the deployment's default, where that
    is not known. `credential`: name of the secret that tells whose it is; None is the default.
    """

    sandbox: str | None = None
    credential: str | None = None

    @property
    def open(self) -> bool:
        """Whether the key of an object decides."""
        return "{" in (self.sandbox or "")

    def leads_to(self, other: Place) -> bool:
        """Whether that sandbox is, or can be, this one."""
        if self.credential != other.credential:
            return False
        return self.open or self.sandbox == other.sandbox

    def __str__(self) -> str:
        name = self.sandbox or "(default)"
        return f"{name} of {self.credential}" if self.credential else name


@dataclass(frozen=True)
class Share:
    """What one rule makes: a batch for each window, or marker, or object.

    `window`: its length as the rule has it. `each`: what has batches of its own within a window,
    such as a format. `replaces`: a file needs a batch of its own, so that it can replace another's;
    no window will do. `profile`: whether its dataset is enabled for Profile; None where only
    Catalog knows. `volume`: how many objects (or markers) come in a day, where somebody said so.
    """

    rule: str
    place: Place
    window: str | None = None
    marker: str | None = None
    each: tuple[str, ...] = ()
    replaces: bool = False
    profile: bool | None = None
    volume: int | None = None

    @property
    def alone(self) -> bool:
        """Whether each object has a batch of its own."""
        return self.window is None and self.marker is None

    @property
    def batches(self) -> int | None:
        """How many a day, at most, for each of `multiples`; None if nothing bounds them."""
        bounds = [] if self.volume is None else [self.volume]
        if self.window is not None:
            bounds.append(windows_a_day(self.window))
        return min(bounds, default=None)

    @property
    def multiples(self) -> tuple[str, ...]:
        """`each`, where it counts: in windows, unless more of them end than objects come."""
        return () if self.window is None or self.batches == self.volume else self.each

    @property
    def one_for(self) -> str:
        """For people: what makes a batch."""
        return f"each {self.window or self.marker or 'object'}"

    @property
    def most(self) -> str:
        """For people: how many a day, at most."""
        return "no limit" if self.batches is None else f"{self.batches:,}{self.of_each}"

    @property
    def of_each(self) -> str:
        """For people: what has so many of its own, if anything."""
        return f" for each {in_a_row(self.multiples)}" if self.multiples else ""


def share(
    route: routes.Route,
    place: Place | None = None,
    *,
    profile: bool | None = None,
    volume: int | None = None,
) -> Share:
    """What a rule makes, and where, as far as the rule alone tells or somebody knows better."""
    rule, batch = route.rule, route.rule.get("batch", {})
    place = place or Place(rule.get("sandbox"), rule.get("credential"))
    return Share(
        rule=route.name,
        place=place,
        window=batch.get("window"),
        marker=batch.get("marker"),
        each=tuple(_each(rule)),
        replaces=rule.get("onNewVersion") == "replace",
        profile=profile,
        volume=volume,
    )


def windows_a_day(length: str) -> int:
    """How many windows of that length, such as `16m`, end in a day, at most."""
    return -(-MINUTES // _minutes(length))


def window_for(batches: int) -> str:
    """The shortest window that makes at most so many batches a day."""
    minutes = -(-MINUTES // max(batches, 1))
    return f"{minutes}m" if minutes % 60 else f"{minutes // 60}h"


def to_write(batches: int) -> str:
    """What a rule without `batch` needs to make at most so many batches a day."""
    return f'"batch": {{"window": "{window_for(batches)}"}}'


def for_profile(share: Share) -> str:
    """What to know of a route whose dataset is enabled for Profile."""
    advised = f"Adobe advises at most {ADVISED} such batches a day and sandbox"
    text = f"enabled for Profile, a batch for {share.one_for}"
    if share.batches is not None:
        text += f": at most {share.batches:,} a day{share.of_each}"
    if share.alone and not share.replaces:
        return f"{text}; {advised}: give the route {to_write(ADVISED)}, and publish it"
    too_many = share.batches is not None and share.batches > ADVISED
    enough = f': "window": "{window_for(ADVISED)}" would do' if too_many else ""
    return f"{text}; {advised}{enough}"


def _minutes(length: str) -> int:
    return int(length[:-1]) * {"m": 1, "h": 60}[length[-1]]


def _each(rule: Mapping[str, Any]) -> Iterator[str]:
    """What the objects of one window and sandbox can differ in, so that it has several batches."""
    values = [value for listed in rule.get("tags", {}).values() for value in listed]
    texts = [rule.get("datasetId", ""), rule.get("datasetName", ""), *values]
    decided = _PLACEHOLDER.findall(rule.get("sandbox", ""))
    for name in dict.fromkeys(_PLACEHOLDER.findall(" ".join(texts))):
        if name not in decided:
            yield name
    if _formats_vary(rule):
        yield "format"


def _formats_vary(rule: Mapping[str, Any]) -> bool:
    shape = rule.get("inputFormat", "auto")
    if shape == "auto":
        try:
            shape = routes.format_by_name(rule["match"])  # all keys may have to end alike
        except FormatUnknown:
            return True
    # Looking inside tells JSON documents from JSON Lines.
    is_open = shape["format"].lower() == "json" and "isMultiLineJson" not in shape
    return is_open and bool(rule.get("lookInside"))


@dataclass(frozen=True)
class Sandbox:
    """All that rules can bring to one sandbox in a day."""

    place: Place
    shares: tuple[Share, ...]

    @property
    def counted(self) -> list[Share]:
        """Those that feed Profile, or may."""
        return [one for one in self.shares if one.profile is not False]

    @property
    def known(self) -> int:
        """How many batches a day they make, at most, as far as there is a number."""
        return sum(one.batches or 0 for one in self.counted)

    @property
    def unbounded(self) -> list[Share]:
        """Those without a number."""
        return [one for one in self.counted if one.batches is None]

    @property
    def multiplied(self) -> list[Share]:
        """Those whose number is only for one of several."""
        return [one for one in self.counted if one.multiples]

    @property
    def within(self) -> bool:
        """Whether all of it surely stays within what Adobe advises."""
        return not self.unbounded and not self.multiplied and self.known <= ADVISED

    @property
    def part(self) -> int:
        """How many a day are left for each rule that makes more than its part of what is advised.

        Rules that make less keep what they have.
        """
        settled = [one.batches for one in self.counted if one.batches is not None]
        left, rest = ADVISED, len(self.counted)
        for batches in sorted(settled):
            if batches * rest <= left:
                left, rest = left - batches, rest - 1
        return left // rest if rest else ADVISED

    def exceeds(self, one: Share) -> bool:
        """Whether that rule makes more than its part of what is advised, or may."""
        if self.within or one.profile is False:
            return False
        return one.batches is None or bool(one.multiples) or one.batches > self.part

    def __str__(self) -> str:
        return str(self.place)


def sandboxes(shares: Iterable[Share], allowed: Collection[Place] = ()) -> list[Sandbox]:
    """Where rules lead: to those `allowed`, or where these are not known, to those rules name.

    A rule whose sandbox the key decides counts in each of them.
    """
    shares = list(shares)
    places = allowed or dict.fromkeys(one.place for one in shares)
    # What a key decides can be any sandbox, and those that no rule names besides.
    ordered = sorted(places, key=lambda place: place.open)
    found = ((place, tuple(s for s in shares if s.place.leads_to(place))) for place in ordered)
    return [Sandbox(place, its) for place, its in found if its]


def in_a_row(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def shown(shares: Iterable[Share], *, allowed: Collection[Place] = ()) -> Group:
    """For people: what each sandbox can get in a day, and from which rule."""
    shares = list(shares)
    found = sandboxes(shares, allowed)
    return Group(_heading(shares), _table(found), *_hints(found))


def _heading(shares: list[Share]) -> Text:
    text = (
        "Batches these rules can make, before batchFiles and batchGigabytes split any. Adobe "
        f"advises at most {ADVISED} a day for all Profile and ExperienceEvent datasets of a "
        "sandbox together (November 2026). "
    )
    if any(one.profile is not None for one in shares):
        return Text(f"{text}Rules whose dataset is not enabled for Profile do not count.")
    return Text(
        f"{text}Which are enabled for Profile only Catalog knows (--stack NAME asks it): here "
        "every rule counts."
    )


def _table(found: list[Sandbox]) -> Table:
    names = ("sandbox, rule", "a batch for", "a day, at most")
    table = Table(
        *(Column(name, overflow="fold") for name in names),
        # Whole, for copying.
        Column(f"to stay within {ADVISED}", no_wrap=True, overflow="fold"),
    )
    for sandbox in found:
        style = "bold green" if sandbox.within else "bold yellow"
        cells = (
            str(sandbox),
            "together",
            _together(sandbox),
            "stays within" if sandbox.within else "may be more",
        )
        table.add_row(*(Text(cell, style) for cell in cells))
        for one in sandbox.shares:
            rule = Padding(Text(one.rule), (0, 0, 0, 2))
            most = Text(one.most, "yellow" if sandbox.exceeds(one) else "")
            table.add_row(rule, Text(one.one_for), most, _advice(sandbox, one))
        table.add_section()
    return table


def _together(sandbox: Sandbox) -> str:
    if sandbox.unbounded:
        return f"{sandbox.known:,} and more" if sandbox.known else "no limit"
    return f"{sandbox.known:,} and more" if sandbox.multiplied else f"{sandbox.known:,}"


def _advice(sandbox: Sandbox, one: Share) -> Text:
    if one.profile is False:
        return Text("not for Profile", "dim")
    if not sandbox.exceeds(one):
        known = any(other.profile is not None for other in sandbox.shares)
        return Text("if for Profile" if known and one.profile is None else "")
    if one.marker is not None or one.replaces:
        return Text(f"{sandbox.part} {'markers' if one.marker else 'objects'} a day")
    if one.batches is None or one.batches > sandbox.part:
        text = f'"window": "{window_for(sandbox.part)}"' if one.window else to_write(sandbox.part)
        return Text(f"{text}\nfor one {in_a_row(one.each)}" if one.each else text)
    return Text(f"fits for one {in_a_row(one.each)}")


def _hints(found: list[Sandbox]) -> Iterator[Text]:
    for one in [one for sandbox in found for one in sandbox.unbounded][:1]:
        yield Text(
            "Rules without a limit get a number if you say how many objects, or markers, come in a "
            f"day: --files-per-day {one.rule}=1440"
        )
