"""Writes texts and JSON values as JSON of a type that a dataset's schema has.

A *type* is plain JSON, made of a schema by `content.xdm`: `{"type": …}` with `string`, `integer`,
`number`, `boolean`, `date`, `date-time`, `array` (`items`), `object` (`properties`, `required`),
`map` (`values`) or `any`; and the rules `minLength`, `maxLength`, `pattern`, `format`, `enum`,
`minimum` and `maximum`, as JSON Schema has them.

Numbers keep their digits: they are checked, and written as they came. What is empty is written as
nothing, as AEP wants no nulls and no empty values.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from json.encoder import encode_basestring
from typing import Any

from aep_intake.content.dates import has_time, reads
from aep_intake.content.patterns import matcher

type Type = Mapping[str, Any]
type Write = Callable[[str], str]
type Check = tuple[Callable[[str], object], str]

# A text as a string of JSON; only what must be is escaped.
quoted: Callable[[str], str] = encode_basestring
# What can be read (`as`), and as which types it can be written.
WRITTEN_AS: Mapping[str, tuple[str, ...]] = {
    "string": ("string", "any"),
    "integer": ("integer", "number", "string", "any"),
    "number": ("number", "integer", "string", "any"),
    "boolean": ("boolean", "string", "any"),
    "date": ("date", "date-time", "string", "any"),
    "date-time": ("date-time", "date", "string", "any"),
}
# Data Prep's words.
_TRUE = frozenset(("y", "yes", "Y", "YES", "on", "ON", "true", "TRUE"))
_FALSE = frozenset(("n", "N", "no", "NO", "off", "OFF", "false", "FALSE"))
_NOT_ALLOWED = "is none of the values that the schema allows"
_LONGEST_NUMBER = 100  # characters
_LARGEST_EXPONENT = 307  # of a double, for sure
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " "})  # that some locales put into numbers

_URI_CHARACTERS = r"[^\s<>\"{}|\\^`%\x00-\x20\x7f]*+"
_URI_TEXT = rf"{_URI_CHARACTERS}(?:%[0-9A-Fa-f]{{2}}{_URI_CHARACTERS})*+"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*+:"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_FORMATS = {
    name: re.compile(pattern)
    for name, pattern in {
        "email": r"[^@\s]++@[^@\s]++",
        "hostname": rf"(?=.{{1,253}}\Z){_HOST}(?:\.{_HOST})*+",
        "uri": _SCHEME + _URI_TEXT,
        # Without a scheme, its first segment has no colon.
        "uri-reference": rf"[\w.~/-]*+|(?:{_SCHEME})?+(?![^/?#]*:){_URI_TEXT}|{_SCHEME}{_URI_TEXT}",
        "json-pointer": r"(?:/(?:[^~/]|~[01])*+)*+",
    }.items()
}


class Unfit(ValueError):
    """A value that cannot be what is wanted; the text is the rule that it breaks, without it."""


def writer(kind: Type, how: Mapping[str, Any]) -> Write:
    """What writes a text that is not empty as JSON of a type that is neither a list nor an object.

    `how`: `as` (the type itself if it is absent), `format`, `timezone`, `decimal`, `thousands`.
    The writer raises Unfit. Raises ValueError if the format or the time zone is none.
    """
    name = kind["type"]
    read_as = how.get("as", "string" if name == "any" else name)
    if read_as in ("integer", "number"):
        return _number_writer(kind, how)
    if read_as in ("date", "date-time"):
        return _date_writer(kind, how, read_as)
    if read_as == "boolean":
        return _boolean if name == "boolean" else lambda text: quoted(_boolean(text))
    checks = string_checks(kind)
    if not checks:
        return quoted

    def write(text: str) -> str:
        _check(checks, text)
        return quoted(text)

    return write


def string_checks(kind: Type) -> list[Check]:
    """The rules of a type for its texts: what says whether one fits, and the rule in words."""
    checks: list[Check] = []
    if kind.get("minLength"):
        least = kind["minLength"]
        checks.append((lambda text: len(text) >= least, f"has fewer than {least} characters"))
    if "maxLength" in kind:
        most = kind["maxLength"]
        checks.append((lambda text: len(text) <= most, f"has more than {most} characters"))
    if "enum" in kind:
        checks.append((frozenset(kind["enum"]).__contains__, _NOT_ALLOWED))
    if "pattern" in kind and (fits := matcher(kind["pattern"])):  # else AEP checks it
        checks.append((fits, f"is not of the pattern {kind['pattern']}"))
    form = kind.get("format")
    if form in _FORMATS:
        checks.append((_FORMATS[form].fullmatch, f"is not a valid {form}"))
    elif form in ("ipv4", "ipv6"):
        checks.append((partial(_is_address, form), f"is not a valid {form}"))
    return checks


def _check(checks: list[Check], text: str) -> None:
    for fits, rule in checks:
        if not fits(text):
            raise Unfit(rule)


def _is_address(version: str, text: str) -> bool:
    try:
        return f"ipv{ipaddress.ip_address(text).version}" == version and "%" not in text
    except ValueError:
        return False


def _boolean(text: str) -> str:
    text = text.strip()
    if text in _TRUE:
        return "true"
    if text in _FALSE:
        return "false"
    raise Unfit("is neither true nor false: say which by `values`")


def _number_writer(kind: Type, how: Mapping[str, Any]) -> Write:
    decimal, thousands = re.escape(how.get("decimal", ".")), re.escape(how.get("thousands", ""))
    grouped = rf"[0-9]{{1,3}}(?:{thousands}[0-9]{{2,3}})*{thousands}[0-9]{{3}}|"
    exponents = r"(?:[eE]([+-]?[0-9]{1,5}))?"
    of_json = re.compile(rf"(-?)([0-9]+)(?:\.([0-9]*))?{exponents}").fullmatch
    of_text = re.compile(
        rf"([+-]?)({grouped if thousands else ''}[0-9]*)(?:{decimal}([0-9]*))?{exponents}"
    ).fullmatch
    spaces = how.get("thousands") == " "
    group = how.get("thousands", "")
    least, most = (
        Decimal(str(kind[name])) if name in kind else None for name in ("minimum", "maximum")
    )
    whole_only = "integer" in (kind["type"], how.get("as"))
    as_text = kind["type"] in ("string", "any")
    checks = string_checks(kind) if kind["type"] == "string" else []
    if "enum" in kind and kind["type"] != "string":
        checks.append((frozenset(map(str, kind["enum"])).__contains__, _NOT_ALLOWED))

    def write(text: str) -> str:
        fits = of_json if type(text) is Number else of_text
        text = text.strip()
        if spaces:
            text = text.translate(_SPACES)
        found = fits(text) if len(text) <= _LONGEST_NUMBER else None
        if found is None:
            raise Unfit("is not a number of the form that its route says")
        sign, whole, fraction, exponent = found.groups()
        if group and fits is of_text:
            whole = whole.replace(group, "")
        if not whole and not fraction:
            raise Unfit("is not a number of the form that its route says")
        digits = whole.lstrip("0") or "0"
        if whole_only:
            if exponent or (fraction and fraction.strip("0")):
                raise Unfit("is not a whole number")
        elif fraction:
            digits = f"{digits}.{fraction}"
        if exponent:
            if len(whole) + int(exponent) > _LARGEST_EXPONENT:
                raise Unfit("is too large a number")
            digits = f"{digits}e{exponent}"
        if sign == "-" and (not whole_only or digits != "0"):
            digits = f"-{digits}"
        if least is not None and (least > 0 or sign == "-") and Decimal(digits) < least:
            raise Unfit(f"is less than {least}")
        if most is not None and Decimal(digits) > most:
            raise Unfit(f"is more than {most}")
        _check(checks, digits)
        return quoted(digits) if as_text else digits

    return write


def _date_writer(kind: Type, how: Mapping[str, Any], read_as: str) -> Write:
    form, zone = how.get("format"), how.get("timezone")
    time = kind["type"] == "date-time" or (kind["type"] != "date" and read_as == "date-time")
    if form is None and read_as == "date" and time:
        form = "yyyy-MM-dd"
    in_full = form is None and read_as == "date-time"
    read = reads(form, zone, time=time or in_full)
    length = 10 if in_full and not time else None  # the day of a moment
    said = "of ISO 8601" if form is None else f"of the format {form}"
    checks = string_checks(kind) if kind["type"] == "string" else []
    if form is not None and how.get("as") == "date-time" and not has_time(form):
        raise ValueError(f"{form!r} has no time of day: read it `as` date")

    def write(text: str) -> str:
        try:
            found = read(text.strip())
        except (ValueError, OverflowError):
            raise Unfit(f"is not a {read_as} {said}") from None
        if length:
            found = found[:length]
        _check(checks, found)
        return f'"{found}"'

    return write


def text_of(value: object) -> str | None:
    """A value of JSON that is neither a list nor an object as text; "" if it is null; else None."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float | Decimal) else None


def copier(kind: Type, how: Mapping[str, Any]) -> Callable[[Any], str]:
    """What writes a value of JSON as JSON of any type: "" if there is nothing in it.

    Lists and objects are copied, down to the members that the schema has. `how` is for what they
    are made of. It raises Unfit. Raises ValueError as `writer`.
    """
    name = kind["type"]
    if name == "array":
        return partial(_copied_list, copier(kind["items"], how))
    if name == "map":
        return partial(_copied_object, partial(_any_member, copier(kind["values"], how)), ())
    if name == "object":
        members = {key: copier(inner, how) for key, inner in kind["properties"].items()}
        return partial(_copied_object, members.get, tuple(kind.get("required", ())))
    if name == "any" and "as" not in how:
        return anything
    write = writer(kind, how)

    def copied(value: Any) -> str:
        text = text_of(value)
        if text is None:
            raise Unfit("is a list or an object, and one value is wanted")
        return write(text) if text else ""

    return copied


def _any_member[W](write: W, _: str) -> W:
    return write


def _copied_list(write: Callable[[Any], str], value: Any) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, list):
        raise Unfit("is not a list")
    items = [text for item in value if (text := write(item))]
    return f"[{','.join(items)}]" if items else ""


def _copied_object(
    writers: Callable[[str], Callable[[Any], str] | None], required: tuple[str, ...], value: Any
) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, dict):
        raise Unfit("is not an object")
    members = {}
    for key, inner in value.items():
        write = writers(key)
        if write is None:
            raise Unfit("has a member that the schema does not have")
        if text := write(inner):
            members[key] = text
    if not members:
        return ""
    for key in required:
        if key not in members:
            raise Unfit(f"has no {key}, which the schema requires")
    return "{" + ",".join(f"{quoted(key)}:{text}" for key, text in members.items()) + "}"


def anything(value: Any) -> str:
    """A value of JSON as JSON, without what is empty in it; numbers as they were read."""
    if isinstance(value, dict):
        return _copied_object(partial(_any_member, anything), (), value)
    if isinstance(value, list):
        return _copied_list(anything, value)
    if isinstance(value, str) and type(value) is not Number:
        return quoted(value) if value else ""
    return text_of(value) or ""


class Number(str):
    """A number of JSON by its digits, as text: nothing passes through a float."""

    __slots__ = ()


def _no_number(text: str) -> Any:
    raise json.JSONDecodeError("no number", text, 0)


# Of objects in which numbers are `Number`.
DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_no_number)
