"""How the texts of a column are read as the type of a field: guessed from its values.

What a guess is worth is measured with the writers that map the rows later, so that the two agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from aep_intake.content.typed import Type, Unfit, writer

COPIED_MAX = 50  # values of a column that are copied into a table
_LOOKED_AT = 1_000  # different values
_PROBED = 40  # of these, before the others are looked at
ENOUGH = 0.95  # of the values must be readable, or the column is another thing
_DAYS = (
    *("dd.MM.yyyy", "d.M.yyyy", "dd/MM/yyyy", "d/M/yyyy", "MM/dd/yyyy", "M/d/yyyy", "dd-MM-yyyy"),
    *("MM-dd-yyyy", "yyyyMMdd", "yyyy/MM/dd", "yyyy.MM.dd", "dd.MM.yy", "dd/MM/yy", "MM/dd/yy"),
    *(
        "d-MMM-yyyy",
        "d MMM yyyy",
        "d-MMM-yy",
        "MMM d, yyyy",
        "MMMM d, yyyy",
        "d MMMM yyyy",
        "yyyy-MM-dd",
    ),
)
_TIMES = (
    *("HH:mm:ss", "HH:mm", "H:mm", "h:mm a", "hh:mm:ss a", "HH:mm:ss.SSS", "HH:mm:ss Z", "HHmmss"),
)
_EPOCHS = {"epoch-seconds": (10**9, 2 * 10**9), "epoch-milliseconds": (10**12, 2 * 10**12)}
_NUMBERS: tuple[Mapping[str, str], ...] = (
    *({}, {"thousands": ","}, {"decimal": ",", "thousands": "."}, {"decimal": ","}),
    *({"decimal": ",", "thousands": " "}, {"thousands": " "}, {"thousands": "'"}),
)
_YES_NO = (
    *(("true", "false"), ("1", "0"), ("ja", "nein"), ("j", "n"), ("oui", "non"), ("o", "n")),
    *(("sí", "no"), ("si", "no"), ("s", "n"), ("yes", "no"), ("y", "n"), ("t", "f"), ("x", "")),
    *(("wahr", "falsch"), ("vrai", "faux"), ("on", "off"), ("opt-in", "opt-out")),
    *(("subscribed", "unsubscribed"), ("active", "inactive"), ("opted in", "opted out")),
)
# What people write for values that the schemas of XDM have.
_WORDS = {
    "male": "m male man mr herr mann männlich maennlich monsieur homme h masculin hombre",
    "female": "f w female woman mrs ms frau weiblich madame femme féminin mujer",
    "not_specified": "u unknown d x divers n/a na",
}
_SPLITS = ("|", ";", ", ", ",")


@dataclass(frozen=True)
class Reading:
    """How a column is read. `how`: members of its entry in the map.

    `fits`: which share of its values can be read so. `telling`: whether few other texts could be.
    `doubt`: what a person should look at. `values`: a table that would be copied from the column.
    """

    how: Mapping[str, Any] = field(default_factory=dict)
    fits: float = 1.0
    telling: bool = False
    doubt: str = ""
    values: Mapping[str, Any] | None = None


def read(texts: Sequence[str], kind: Type, *, semicolons: bool) -> Reading:
    """The best way to read these texts, none of which is empty, as a type that is not an object.

    `semicolons`: the file has them between its columns, as where decimals have commas.
    """
    counts = Counter(texts[: 10 * _LOOKED_AT])
    distinct = [text for text, _ in counts.most_common(_LOOKED_AT)]
    name = kind["type"]
    if not distinct:
        return Reading(doubt="no value was seen", fits=1.0)
    if name in ("date", "date-time"):
        return _read_date(distinct, kind, day_first=semicolons)
    if name in ("integer", "number"):
        return _read_number(distinct, kind, semicolons=semicolons)
    if name == "boolean":
        return _read_boolean(distinct, kind)
    if "enum" in kind:
        return _read_code(distinct, kind)
    return _read_text(distinct, kind)


def separator(texts: Sequence[str]) -> str | None:
    """What is between the items of a list, if many texts have it."""
    some = texts[:_LOOKED_AT]
    found = (mark for mark in _SPLITS if 5 * sum(mark in text for text in some) >= len(some) > 0)
    return next(found, None)


def _share(texts: Sequence[str], kind: Type, how: Mapping[str, Any]) -> float:
    """Which share of the texts can be written as the type."""
    write = writer(kind, how)
    probed = sum(_fits(write, text) for text in texts[:_PROBED])
    if len(texts) <= _PROBED or 2 * probed < _PROBED:
        return probed / min(len(texts), _PROBED)
    return (probed + sum(_fits(write, text) for text in texts[_PROBED:])) / len(texts)


def _fits(write: Any, text: str) -> bool:
    try:
        write(text)
    except Unfit:
        return False
    return True


def _best(
    texts: Sequence[str], kind: Type, ways: Iterable[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], float]:
    """The first way of those that read the most; it ends the search if it reads them all."""
    best: Mapping[str, Any] = {}
    most = -1.0
    for how in ways:
        share = _share(texts, kind, how)
        if share > most:
            best, most = how, share
        if most == 1.0:
            break
    return best, most


def _read_date(texts: Sequence[str], kind: Type, *, day_first: bool) -> Reading:
    how, fits = _best(texts, kind, _date_ways(texts, kind, day_first=day_first))
    form = str(how.get("format", ""))
    doubt = ""
    swapped = form.translate(str.maketrans("dM", "Md"))
    if {"d", "M"} <= set(form) and "MMM" not in form and abs(form.find("d") - form.find("M")) <= 3:
        months_first = form.index("M") < form.index("d")
        if form[:4] != "yyyy" and _share(texts, kind, {**how, "format": swapped}) == fits:
            first = "month" if months_first else "day"
            doubt = f"{swapped} fits as well: is the {first} first?"
    has_time = "H" in form or "h" in form or (not form and any(":" in text for text in texts))
    if not doubt and kind["type"] == "date-time" and has_time and not _has_offset(texts, form):
        doubt = "times without an offset are read as UTC: set `timezone` if they are not"
    return Reading(how, fits, telling=True, doubt=doubt)


def _has_offset(texts: Sequence[str], form: str) -> bool:
    return "Z" in form or all(
        text.endswith(("Z", "z")) or "+" in text[10:] or "-" in text[10:] for text in texts
    )


def _date_ways(texts: Sequence[str], kind: Type, *, day_first: bool) -> Iterator[Mapping[str, Any]]:
    yield {}
    yield {"as": "date"} if kind["type"] == "date-time" else {"as": "date-time"}
    for name, (least, most) in _EPOCHS.items():
        if all(text.isdecimal() and least <= int(text[:20]) < most for text in texts):
            yield {"format": name}
    days = sorted(_DAYS, key=lambda form: form.startswith("M") == day_first)
    yield from ({"format": day} for day in days)
    if any(":" in text or len(text) >= 14 for text in texts[:_PROBED]):
        for day, time, between in product(days, _TIMES, (" ", "'T'", ", ", "")):
            if between or time == "HHmmss":
                yield {"format": f"{day}{between}{time}"}


def _read_number(texts: Sequence[str], kind: Type, *, semicolons: bool) -> Reading:
    ways = sorted(_NUMBERS, key=lambda how: ("decimal" in how) != semicolons and bool(how))
    how, fits = _best(texts, kind, ways)
    doubt = ""
    if fits == 1.0:
        write = writer(kind, how)
        for other in ways:
            if other == how or _share(texts, kind, other) < 1.0:
                continue
            rewrite = writer(kind, other)
            if any(write(text) != rewrite(text) for text in texts):
                doubt = f"{_said(other)} fits as well, and makes other numbers"
                break
    return Reading(how, fits, telling=True, doubt=doubt)


def _said(how: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}` {mark!r}" for name, mark in how.items()) or "a decimal point"


def _read_boolean(texts: Sequence[str], kind: Type) -> Reading:
    if _share(texts, kind, {}) == 1.0:
        return Reading(telling=True)
    lower = {text.strip().lower() for text in texts}
    for yes, no in _YES_NO:
        if lower <= {yes, no}:
            table = {yes: True} | ({no: False} if no else {})
            how = {"trim": True} if any(text != text.strip() for text in texts) else {}
            return Reading({**how, "lower": True, "values": table}, telling=True)
    return Reading(fits=_share(texts, kind, {}), telling=True)


def _read_code(texts: Sequence[str], kind: Type) -> Reading:
    allowed = [str(each) for each in kind["enum"]]
    for change, changed in (("", str), ("lower", str.lower), ("upper", str.upper)):
        if all(changed(text.strip()) in allowed for text in texts):
            return Reading({change: True} if change else {}, telling=True)
    table = {text: _meant(text, allowed) for text in texts[:COPIED_MAX]}
    known = sum(value is not None for value in table.values())
    share = sum(text in allowed for text in texts) / len(texts)
    doubt = f"{len(texts)} different values, and the schema allows {', '.join(allowed[:6])}"
    if len(texts) > COPIED_MAX:
        return Reading(fits=share, doubt=doubt)
    return Reading(fits=max(share, known / len(table)), doubt=doubt, values=table)


def _meant(text: str, allowed: Sequence[str]) -> str | None:
    """The value of the schema that a code stands for, if that is clear."""
    plain = text.strip().lower()
    same = [each for each in allowed if each.lower() == plain]
    words = [each for each in allowed if plain in _WORDS.get(each, "").split()]
    begun = [each for each in allowed if plain and each.lower().startswith(plain)]
    found = same or words or begun
    return found[0] if len(found) == 1 else None


def _read_text(texts: Sequence[str], kind: Type) -> Reading:
    outer = any(text != text.strip() for text in texts)
    how: dict[str, Any] = {"trim": True} if outer else {}
    stripped = [text.strip() for text in texts]
    fits = _share(stripped, kind, {})
    if fits < 1.0 and _share([text.upper() for text in stripped], kind, {}) > fits:
        how["upper"], fits = True, _share([text.upper() for text in stripped], kind, {})
    return Reading(how, fits, telling=kind.get("format") in ("email", "uri", "ipv4", "ipv6"))
