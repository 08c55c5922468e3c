"""The quick decorator makes classes that behave as those of `dataclasses`."""

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from functools import partial
from typing import Any

import pytest
from aep_intake.model.values import dataclass

BODY = {
    "__annotations__": {
        "name": str,
        "size": int,
        "note": str,
        "secret": str,
        "rows": list,
        "at": int,
    },
    "__doc__": "A file.",
    "__module__": __name__,
    "__qualname__": "Outer.File",
    "size": 3,
    "note": field(default="", compare=False),
    "secret": field(default="", repr=False),
    "rows": field(default_factory=list, compare=False, repr=False),
    "at": field(default=0, compare=False, repr=False, kw_only=True),
}
OURS: Any = dataclass(frozen=True, slots=True)(type("File", (), dict(BODY)))
THEIRS: Any = dataclasses.dataclass(frozen=True, slots=True)(type("File", (), dict(BODY)))


@dataclass(frozen=True, slots=True)
class Kept:
    """What others build on."""

    unknown: tuple[str, ...] | None = field(default=None, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Sized(Kept):
    """A value of one member besides."""

    size: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """A value that has none."""


@pytest.mark.parametrize("made", [OURS, THEIRS], ids=["ours", "theirs"])
def test_it_is_as_a_dataclass(made: Any) -> None:
    one = made("a", secret="s")
    assert repr(one) == "Outer.File(name='a', size=3, note='')"
    assert one == made("a", 3, "another note", "s") != made("b", secret="s")
    assert hash(one) == hash(made("a", 3, "another note", "s"))
    assert replace(one, size=4) == made("a", 4, "", "s")
    assert one != ("a", 3, "s")
    assert made.__match_args__ == ("name", "size", "note", "secret", "rows")
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize(
    "first",
    [
        lambda made: made("a"),
        dataclasses.fields,
        lambda made: made.__match_args__,
        inspect.signature,
    ],
    ids=["a value", "its fields", "a match", "its signature"],
)
def test_it_is_completed_once_and_only_if_somebody_needs_it(first: Callable[[Any], object]) -> None:
    made: Any = dataclass(frozen=True, slots=True)(type("File", (), dict(BODY)))
    before = vars(made)["__init__"]
    first(made)
    after = vars(made)["__init__"]
    assert made("b") == made("b")
    assert not inspect.isfunction(before)
    assert inspect.isfunction(after)
    assert after is vars(made)["__init__"]


def test_threads_that_need_it_at_once_complete_it_once() -> None:
    for _ in range(50):
        made: Any = dataclass(frozen=True, slots=True)(type("File", (Kept,), dict(BODY)))
        with ThreadPoolExecutor(8) as pool:
            values = list(pool.map(made, "abababab"))
        assert len(set(values)) == 2
        assert values[0].rows == []


@pytest.mark.parametrize("made", [OURS, THEIRS], ids=["ours", "theirs"])
def test_it_is_made_as_a_dataclass(made: Any) -> None:
    assert made("a").rows == []
    assert made("a").rows is not made("a").rows
    assert made("a", rows=[1]).rows == [1]
    assert (made("a").at, made("a", at=7).at) == (0, 7)
    for wrong in (made, partial(made, "a", 3, "", "", [], 7), partial(made, "a", nobody=1)):
        with pytest.raises(TypeError):
            wrong()
    assert [
        (one.name, one.kind) for one in inspect.signature(made.__init__).parameters.values()
    ] == [(one.name, one.kind) for one in inspect.signature(THEIRS.__init__).parameters.values()]


def test_a_value_of_another_class_is_another() -> None:
    assert Sized(1) == Sized(1, unknown=("x",)) != Kept()
    assert len({Sized(1), Sized(1), Sized(2)}) == 2
    nothing: Any = Nothing()
    assert nothing == Nothing()
    assert nothing != Kept()
    assert repr(Nothing()) == "Nothing()"


def test_what_may_change_is_equal_to_itself_alone() -> None:
    made: Any = dataclass(slots=True)(type("File", (), dict(BODY)))
    one = made("a")
    one.size = 4
    assert replace(one).size == 4
    assert one != made("a", 4)
    assert len({one, one, made("a", 4)}) == 2
    assert not hasattr(one, "__dict__")


def test_copies_are_equal() -> None:
    one = Sized(1, unknown=("x",))
    for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert (other, other.unknown) == (one, ("x",))
