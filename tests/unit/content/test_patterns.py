"""Patterns of schemas are matched in bounded time. What takes longer does not end, and so fails."""

import re

import pytest
from aep_intake.content.patterns import matcher
from hypothesis import given
from hypothesis import strategies as st

LEFT_TO_AEP = None
SLOW = [
    "(a+)+$",
    "(a*)*b",
    "(a|a)*$",
    "(a|aa)+$",
    "(.*)*x",
    "([a-zA-Z]+)*$",
    r"(\w+\s?)*$",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "((a{1,64}){1,64}){1,64}$",
    "(?:a?){60}a{60}",
    "(.*a){20}$",
    "(,a*a*)*$",
    "(?i)([A-Z]+a)+$",
    r"([^\W]+a)+$",
    "(?=(a+)+$)",
    "(?>(a|aa)+$)",
    "(a+)+?$",
    "a*a*a*a*a*a*a*a*$",
    r"(a*)\1*\1*\1*$",
    "(" * 3000 + "a" + ")" * 3000,
    "a{1,65}" * 100,
    "(a{64}){64}!",
    "(?:(?:aa){64}){64}!",
    "((((a{64}){64}){64}){64}){64}!",
    r"(((((?:\b){64}){64}){64}){64}){64}x",
    r"(?:\b){1000000000}x",
    "(?:(?=a)){100000}!",
    "(?=a{60})" * 50 + "x",
]


@pytest.mark.parametrize("pattern", SLOW)
@pytest.mark.parametrize("length", [20, 60, 499, 100_000])
def test_no_pattern_and_no_text_take_forever(pattern: str, length: int) -> None:
    fits = matcher(pattern)
    for text in ("a" * length + "!", "a," * length + "!"):
        assert fits is LEFT_TO_AEP or isinstance(bool(fits(text)), bool)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[A-Z]{2}$", "DE", "DEU"),
        ("[0-1][0-9]-[0-9][0-9]", "x 12-31", "2-31"),
        (r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "jo@example.com", "jo@example"),
        (r"^([a-z0-9-]+\.)+[a-z]{2,}$", "a-b.example.com", "example"),
        (r"^(\d{1,3}\.){3}\d{1,3}$", "10.0.0.255", "10.0.0"),
        (r"^\+[1-9]\d{1,14}$", "+493012345678", "0049"),
        (r"^\d{5}(-\d{4})?$", "12345-6789", "12345-"),
        ("^(male|female)$", "male", "m"),
        (r"^#(?:[0-9a-fA-F]{3}){1,2}$", "#00ffaa", "#00f0"),
        (r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "0" * 8 + "-0000" * 3 + f"-{0:012}", "0"),
        (r"^\w+(?:[-+.']\w+)*$", "a.b", "a..b"),
    ],
)
def test_patterns_that_schemas_have_are_matched(pattern: str, good: str, bad: str) -> None:
    fits = matcher(pattern)
    assert fits is not LEFT_TO_AEP
    assert (bool(fits(good)), bool(fits(bad))) == (True, False)


def test_a_text_that_is_too_long_for_its_pattern_is_left_to_aep() -> None:
    fits = matcher("a+b$")
    assert fits
    assert [bool(fits("a" * length)) for length in (500, 501)] == [False, True]


def test_the_steps_of_long_fixed_repeats_count() -> None:
    """As many steps are tried at each place of a text: of this one, 4,096."""
    fits = matcher("(a{64}){64}b")
    assert fits
    assert [bool(fits("a" * length)) for length in (900, 1000)] == [False, True]


def test_patterns_that_python_does_not_know() -> None:
    assert matcher(r"^\p{L}+$") is LEFT_TO_AEP


@given(st.text("ab*+?|(){2,}.^$[]\\\\d", max_size=12), st.text("ab1", max_size=40))
def test_what_is_matched_is_what_python_says(pattern: str, text: str) -> None:
    if fits := matcher(pattern):
        assert fits(text) or not re.search(pattern, text)
        assert bool(fits(text[:1])) is bool(re.search(pattern, text[:1]))
