"""Expressions of a map: JMESPath (https://jmespath.org), with a few functions of ours.

| function | what it gives |
|---|---|
| `coalesce(a, b, …)` | the first that is neither null nor empty |
| `concat(a, b, …)` | their texts, one after the other; what is null is left out |
| `lower(s)`, `upper(s)`, `trim(s)` | as they say |
| `split(s, separator)` | a list |
| `substr(s, start, length)` | a part of a text; the first character is 0 |
| `date(s[, format[, timezone]])` | a date, or a date and time in UTC; see `content.dates` |
| `hash(a, …)` | SHA-256, in hexadecimal, of one text, or of several with U+001F between them |
| `uuid5(namespace, a, …)` | a UUID of such texts; the namespace is a UUID, or `url` or `dns` |

Each but the first two gives null if anything that it is given is null or empty: an id that is made
of what is not there would be the same for many rows. The functions of the same names are those of
Data Prep, but for `hash` (its `sha256`) and `uuid5` (its `uuid` is another one at every repeat).

An expression is checked before it is used: how long and deep it is, and how many copies of a row
it can make. So it takes time in proportion to a row, and that many copies at most.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from copy import deepcopy
from decimal import Decimal
from hashlib import sha256
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import Options, TreeInterpreter

from aep_intake.content.dates import has_time, reads
from aep_intake.content.typed import DECODER, Number, text_of

LENGTH_MAX = 1000  # characters
DEPTH_MAX = 30
COPIES_MAX = 64
WRITTEN_MAX = 60  # characters of what must not come from a row
# Those are a separator, which comes again and again, and formats and zones, which are remembered.
_WRITTEN = {"join": (0,), "date": (1, 2)}
DIGITS_MAX = 400  # of a number, more than those of a double
_BETWEEN = "\u001f"
_NAMESPACES = {"url": uuid.NAMESPACE_URL, "dns": uuid.NAMESPACE_DNS}
_ANY = {"types": list[str]()}
_ANYTHING = ({**_ANY, "variadic": True},)
_TEXT = ({"types": ["string", "number", "boolean", "null"]},)
_NUMBER = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?(?:[eE][+-]?[0-9]{1,3})?")


def _takes[F: Callable[..., Any]](*arguments: Mapping[str, Any]) -> Callable[[F], F]:
    """As `jmespath.functions.signature`, which has no types."""

    def marked(function: F) -> F:
        function.signature = arguments  # type: ignore[attr-defined]  # where jmespath looks for it
        return function

    return marked


class InvalidExpression(ValueError):
    """An expression that is none, or that is too much; the text says why."""


class NotComputed(ValueError):
    """An expression that cannot be computed for a row. Its text quotes nothing of the row."""


class _Ours(Functions):  # type: ignore[misc]  # jmespath has no types
    """Its functions and ours; numbers are Decimals, so that they keep their digits."""

    def _get_allowed_pytypes(self, types: list[str]) -> tuple[list[str], list[Any]]:
        allowed, inner = super()._get_allowed_pytypes(types)
        if "int" in allowed:
            allowed.append("Decimal")
        return allowed, [(*each, "Decimal") if "int" in each else each for each in inner]

    def _convert_to_jmespath_type(self, name: str) -> str:
        return "number" if name == "Decimal" else str(super()._convert_to_jmespath_type(name))

    @_takes(_ANY)
    def _func_type(self, value: Any) -> Any:
        return "number" if isinstance(value, Decimal) else super()._func_type(value)

    @_takes(_ANY)
    def _func_to_number(self, value: Any) -> Any:
        if isinstance(value, str):
            return Decimal(value) if _NUMBER.fullmatch(value) else None
        return None if isinstance(value, bool | list | dict) else value

    @_takes(*_TEXT)
    def _func_to_string(self, value: Any) -> str | None:
        return _text(value) or None

    @_takes(*_ANYTHING)
    def _func_coalesce(self, *values: Any) -> Any:
        return next((each for each in values if each not in (None, "", [], {})), None)

    @_takes(*_ANYTHING)
    def _func_concat(self, *values: Any) -> str:
        return "".join(map(_text, values))

    @_takes(*_TEXT)
    def _func_lower(self, value: Any) -> str | None:
        return _text(value).lower() or None

    @_takes(*_TEXT)
    def _func_upper(self, value: Any) -> str | None:
        return _text(value).upper() or None

    @_takes(*_TEXT)
    def _func_trim(self, value: Any) -> str | None:
        return _text(value).strip() or None

    @_takes(*_TEXT, {"types": ["string"]})
    def _func_split(self, value: Any, separator: str) -> list[str] | None:
        return _text(value).split(separator) if _text(value) else None

    @_takes(*_TEXT, {"types": ["number"]}, {"types": ["number"]})
    def _func_substr(self, value: Any, start: Any, length: Any) -> str | None:
        start, length = max(0, int(start)), max(0, int(length))
        return _text(value)[start : start + length] or None

    @_takes(*_ANYTHING)
    def _func_date(self, value: Any, form: str | None = None, zone: str | None = None) -> Any:
        text = _text(value).strip()
        if not text:
            return None
        time = has_time(form) if form else "T" in text or " " in text
        return reads(form, zone, time=time)(text)

    @_takes(*_ANYTHING)
    def _func_hash(self, *values: Any) -> str | None:
        name = _name(values)
        return name and sha256(name.encode()).hexdigest()

    @_takes({"types": ["string"]}, {**_ANY, "variadic": True})
    def _func_uuid5(self, namespace: str, *values: Any) -> str | None:
        name, space = _name(values), _NAMESPACES.get(namespace) or uuid.UUID(namespace)
        return name and str(uuid.uuid5(space, name))


def _text(value: Any) -> str:
    """Raises ValueError for a list or an object."""
    text = text_of(value)
    if text is None:
        raise ValueError("no text")
    return text


def _name(values: tuple[Any, ...]) -> str | None:
    """One text of several; None if one of them is empty."""
    texts = [_text(value) for value in values]
    return _BETWEEN.join(texts) if all(texts) else None


class Expression:
    """An expression that was checked. Raises InvalidExpression.

    `names`: the members that it reads, of the row or of what is in it.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LENGTH_MAX:
            raise InvalidExpression(f"has more than {LENGTH_MAX:,} characters")
        try:
            parsed = jmespath.compile(text).parsed  # jmespath and boto3 have it in a cache
            copies, self._tree = _copies(parsed), deepcopy(parsed)
            self.names = tuple(dict.fromkeys(_names(self._tree)))
            _exact(self._tree)
        except JMESPathError as error:
            raise InvalidExpression(f"is not JMESPath: {error}".splitlines()[0]) from None
        except (RecursionError, NotComputed, json.JSONDecodeError):
            raise InvalidExpression("is nested too deeply, or has too large a number") from None
        if copies > COPIES_MAX:
            raise InvalidExpression(f"can make more than {COPIES_MAX} copies of a row")
        self._interpreter = TreeInterpreter(Options(custom_functions=_Ours()))

    def of(self, row: Mapping[str, Any]) -> Any:
        """Its value for a row, whose numbers are Decimals. Raises NotComputed."""
        try:
            return self._interpreter.visit(self._tree, row)
        except (JMESPathError, ArithmeticError, ValueError, TypeError, AttributeError):
            raise NotComputed("cannot be computed for it") from None


def exact(value: Any) -> Any:
    """A value in which numbers are Decimals. Raises NotComputed for one that none can hold."""
    if isinstance(value, Number):
        number = Decimal(value) if len(value) <= DIGITS_MAX else None
        if number is None or abs(number.adjusted()) > DIGITS_MAX:
            raise NotComputed("cannot be computed for it, as it has too large a number")
        return number
    if isinstance(value, dict):
        return {key: exact(inner) for key, inner in value.items()}
    return [exact(inner) for inner in value] if isinstance(value, list) else value


def _names(node: Mapping[str, Any]) -> list[str]:
    own = [node["value"]] if node["type"] == "field" else []
    return own + [name for child in _children(node) for name in _names(child)]


def _exact(node: Any) -> None:
    """Numbers that are written in an expression become Decimals, too."""
    if node["type"] == "literal":
        node["value"] = exact(DECODER.decode(json.dumps(node["value"])))
    for child in _children(node):
        _exact(child)


def _children(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [child for child in node["children"] if isinstance(child, dict)]


def _copies(node: Mapping[str, Any], depth: int = 1) -> int:
    """How many copies of what it is given can be in what a node gives, at most."""
    if depth > DEPTH_MAX:
        raise InvalidExpression(f"is nested more than {DEPTH_MAX} deep")
    kind, children = node["type"], _children(node)
    if kind == "function_expression":
        _check_function(node["value"], children)
    inner = [_copies(child, depth + 1) for child in children]
    if kind in ("multi_select_list", "multi_select_dict", "function_expression"):
        total = sum(inner) or 1
        by_expression = any(child["type"] == "expref" for child in children)
        return max(total, _product(inner)) if by_expression else total
    if kind in ("pipe", "subexpression", "index_expression", "projection", "value_projection"):
        return _product(inner)
    if kind in ("filter_projection", "flatten", "key_val_pair", "expref"):
        return _product(inner)
    return max(inner, default=1) if kind != "comparator" else sum(inner)


def _check_function(name: str, arguments: list[Mapping[str, Any]]) -> None:
    function = _Ours.FUNCTION_TABLE.get(name)
    if function is None:
        raise InvalidExpression(f"has {name!r}, which is not a function")
    wanted = len(function["signature"])
    several = function["signature"][-1].get("variadic", False)
    most = {"date": 3}.get(name, COPIES_MAX) if several else wanted
    if not wanted <= len(arguments) <= most:
        raise InvalidExpression(f"gives {name} {len(arguments)} arguments")
    for at in _WRITTEN.get(name, ()):
        if at < len(arguments) and not _is_written(arguments[at]):
            which = f"argument {at + 1} of {name}"
            raise InvalidExpression(
                f"must have {which} in quotes, of {WRITTEN_MAX} characters at most"
            )


def _is_written(argument: Mapping[str, Any]) -> bool:
    value = argument.get("value") if argument["type"] == "literal" else None
    return isinstance(value, str) and len(value) <= WRITTEN_MAX


def _product(numbers: list[int]) -> int:
    total = 1
    for number in numbers:
        total *= number
    return total
