"""Regular expressions that a schema has, matched in bounded time whatever they and the text are.

Python's `re` tries one way after the other, and there may be more of them than anybody can wait
for: `(a+)+$` has twice as many for each more `a`. So the ways are counted before, from above, and a
text is matched only if it is short enough. What is not matched here is left to AEP.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from re import _constants, _parser  # type: ignore[attr-defined]  # nobody else reads them as `re`
from typing import Any

STEPS_MAX = 250_000  # some milliseconds
_SHORT = 16  # steps of a way that do not count: most patterns have no more
_TIMES_MAX = 64  # that a part with ways of its own may come, if it is said how often
_REPEATS = {_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT}
_GROUPS = {_constants.SUBPATTERN, _constants.ASSERT, _constants.ASSERT_NOT}
_STARTS = {_constants.AT_BEGINNING, _constants.AT_BEGINNING_STRING}

type Fits = Callable[[str], object]
# How many ways a part has, and for how many parts of it a text's length decides how many.
type _Ways = tuple[int, int]


class _Unbounded(Exception):
    """A part that has more ways for each more character."""


@lru_cache(1000)
def matcher(pattern: str) -> Fits | None:
    """What says whether a text has a match: it does not say no of a text that is too long for it.

    None if Python does not know the pattern (JavaScript has others), or if no bound is known.
    """
    try:
        compiled = re.compile(pattern)
        tree = _parser.parse(pattern)
        ways, degree = _of_all(tree)
        ways *= max(1, _steps(tree) // _SHORT)
    except (re.error, RecursionError, OverflowError, _Unbounded):
        return None
    starts = len(tree) and tree[0][0] is _constants.AT and tree[0][1] in _STARTS
    if not starts or compiled.flags & re.MULTILINE:
        degree += 1  # it is tried at each place of the text
    longest = int((STEPS_MAX / ways) ** (1 / max(1, degree))) if ways <= STEPS_MAX else 0
    search = compiled.search
    return (lambda text: len(text) > longest or search(text)) if longest else None


def _of_all(parts: Iterable[Any]) -> _Ways:
    ways, degree = 1, 0
    for part in parts:
        more, higher = _of_one(*part)
        ways, degree = ways * more, degree + higher
        if ways > STEPS_MAX:
            raise _Unbounded
    return ways, degree


def _of_one(code: Any, value: Any) -> _Ways:
    if code in _REPEATS:
        return _of_repeat(*value)
    if code is _constants.BRANCH:
        return _of_either(value[1])
    if code in (_constants.GROUPREF_EXISTS, _constants.ATOMIC_GROUP):
        raise _Unbounded  # JavaScript has none
    if code in _GROUPS:  # what is in it comes last
        return _of_all(value[-1])
    return 1, int(code is _constants.GROUPREF)  # which is compared character by character


def _steps(parts: Iterable[Any]) -> int:
    """How many steps a way has, of what comes a fixed number of times."""
    return sum(_steps_of(code, value) for code, value in parts)


def _steps_of(code: Any, value: Any) -> int:
    if code in _REPEATS:
        return _steps(value[2]) * max(1, value[1] if value[1] <= _TIMES_MAX else 1)
    if code is _constants.BRANCH:
        return sum(map(_steps, value[1]))
    return _steps(value[-1]) if code in _GROUPS else 1


def _of_either(branches: Iterable[Any]) -> _Ways:
    found = [_of_all(branch) for branch in branches]
    return sum(ways for ways, _ in found), max(degree for _, degree in found)


def _of_repeat(least: int, most: int, parts: Any) -> _Ways:
    ways, degree = _of_all(parts)
    if most > _TIMES_MAX and not parts.getwidth()[0]:
        raise _Unbounded  # the text's length does not say how often it comes
    if (ways, degree) == (1, 0):
        return (1, 1) if most > _TIMES_MAX else (most - least + 1, 0)
    if most <= _TIMES_MAX:
        return (most - least + 1) * ways**most, degree * most
    if not _is_separated(parts):
        raise _Unbounded
    return 1, 1


def _is_separated(parts: Any) -> bool:
    """Whether a part has one text of any length, and around it a character that is not in it.

    So there is one way to take a text apart, as with `([a-z]+[.])+`.
    """
    while len(parts) == 1 and parts[0][0] is _constants.SUBPATTERN:
        parts = parts[0][1][3]
    repeated = [value[2] for code, value in parts if code in _REPEATS]
    fixed = [letters for part in parts if (letters := _letters(*part))]
    if len(repeated) != 1 or len(repeated) + len(fixed) != len(parts) or len(repeated[0]) != 1:
        return False
    [inside] = repeated[0]
    return any(not any(_takes(inside, letter) for letter in letters) for letters in fixed)


def _letters(code: Any, value: Any) -> list[int]:
    """The characters of which one is wanted; none if it is not known which."""
    items = value if code is _constants.IN else [(code, value)]
    return [] if any(each is not _constants.LITERAL for each, _ in items) else [i for _, i in items]


def _takes(part: Any, letter: int) -> bool:
    """Whether a part that is one character may be this one; a letter may be in either case."""
    code, value = part
    if chr(letter).isalpha():
        return True
    if code is _constants.LITERAL:
        return bool(value == letter)
    if code is _constants.NOT_LITERAL:
        return bool(value != letter)
    if code is not _constants.IN or any(_is_odd(each) for each in value):
        return True
    negated = value[0][0] is _constants.NEGATE
    return negated != any(_has(each, letter) for each in value[negated:])


def _has(item: Any, letter: int) -> bool:
    code, value = item
    if code is _constants.RANGE:
        return bool(value[0] <= letter <= value[1])
    if code is _constants.CATEGORY:
        return bool(_CATEGORIES[value](chr(letter)))
    return bool(value == letter)


def _is_odd(item: Any) -> bool:
    code, value = item
    return code is _constants.CATEGORY and value not in _CATEGORIES


_CATEGORIES: dict[Any, Fits] = {
    _constants.CATEGORY_DIGIT: re.compile(r"\d").match,
    _constants.CATEGORY_SPACE: re.compile(r"\s").match,
    _constants.CATEGORY_WORD: re.compile(r"\w").match,
}
