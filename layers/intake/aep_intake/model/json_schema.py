"""JSON Schema (draft-04), the part of it that our own schemas use.

Functions have no JSON Schema library, and an emulated or hand-fed AppConfig may have skipped its
validator. The tests compare this module with the `jsonschema` package.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}

type Faults = Iterator[tuple[tuple[str | int, ...], str]]


def faults(value: Any, schema: Mapping[str, Any], path: tuple[str | int, ...]) -> Faults:
    """Where `value` breaks `schema`, and how. `path` leads to `value`, itself usually `()`.

    `hint`, a member of our own, describes a `pattern` for people.
    """
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is(value, name) for name in types):
        yield path, f"must be {' or '.join(types)}"
    elif "enum" in schema and value not in schema["enum"]:
        yield path, f"must be one of {', '.join(json.dumps(item) for item in schema['enum'])}"
    elif isinstance(value, dict):
        yield from _object_faults(value, schema, path)
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield path, "is empty"
        for index, item in enumerate(value):
            yield from faults(item, schema.get("items", {}), (*path, index))
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield path, "is empty or too long"
        # Not `search`, as JSON Schema has it: Python's `$` would let a last newline pass.
        if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
            form = f"{value!r} is not of the form {schema['pattern']}"
            yield path, f"must be {schema['hint']}, not {value!r}" if "hint" in schema else form
    elif "minimum" in schema and not schema["minimum"] <= value <= schema["maximum"]:
        yield path, f"must be from {schema['minimum']} to {schema['maximum']}"


def dotted(path: Sequence[str | int]) -> str:
    """`("routes", 2, "match")` as `routes[2].match`."""
    text = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in path if step != ""
    )
    return text.removeprefix(".")


def _object_faults(
    value: Mapping[str, Any], schema: Mapping[str, Any], path: tuple[str | int, ...]
) -> Faults:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield path, f"needs `{name}`"
    choices = [choice["required"][0] for choice in schema.get("oneOf", ())]
    if choices and sum(name in value for name in choices) != 1:
        yield path, f"needs exactly one of {', '.join(f'`{name}`' for name in choices)}"
    for name, member in value.items():
        if name in known or others is not False:
            yield from faults(member, known.get(name, others), (*path, name))
        else:
            yield (*path, name), "is not known here"


def _is(value: Any, name: str) -> bool:
    """Whether `value` is of JSON's type `name`; in Python, true is a number as well."""
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
