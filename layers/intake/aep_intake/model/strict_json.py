"""JSON from strangers: one meaning or none.

Python's reader takes more than JSON and lets the last of two equal names win. A document that
passes here means the same to every reader after us (RFC 8259 calls it interoperable).
"""

import json
from collections import Counter
from typing import Any

LEVELS_MAX = 32  # far more than any document we know, far less than breaks a recursion


def loads(text: str) -> Any:
    """The document in `text`.

    Raises ValueError, whose text quotes at most a name, for a name given twice, NaN, a number too
    large to hold, a lone surrogate (which no service downstream can encode), and nesting deeper
    than `LEVELS_MAX`.
    """
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
        _measure(document)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("text with a lone surrogate, which is not Unicode") from None
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {ascii(twice)[:80]} is given twice")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _measure(document: Any) -> None:
    level = [document]
    for _ in range(LEVELS_MAX):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise ValueError("nested too deeply")


def _children(node: Any) -> list[Any]:
    match node:
        case dict():
            return list(node.values())
        case list():
            return node
    return []
