"""Whatever a key holds, it reaches the route its pattern names, and smuggles nothing in."""

import glob
import itertools
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from aep_intake.model.errors import FormatUnknown, NoRoute, TargetNotAllowed
from aep_intake.model.files import Arrival
from aep_intake.routing.globs import InvalidGlob, compile_glob
from aep_intake.routing.routes import parse
from aep_intake.routing.table import Ignored
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.examples import examples

hostile = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

# ---- Patterns, against a slow and obvious reading of the same routes

Values = dict[str, str]


def readings(pattern: str, key: str) -> Iterator[Values]:
    """Every way in which `pattern` fits `key`, those first that give early wildcards least."""
    yield from _folders(pattern.split("/"), key.split("/"))


def _folders(pattern: list[str], key: list[str]) -> Iterator[Values]:
    if not pattern:
        if not key:
            yield {}
    elif pattern[0] == "**":
        if len(pattern) == 1 and key:
            yield {}
        for skipped in range(len(key)):
            if len(pattern) > 1:
                yield from _folders(pattern[1:], key[skipped:])
    elif key:
        for values in _characters(pattern[0], key[0], whole=pattern[0] == "*"):
            for others in _folders(pattern[1:], key[1:]):
                yield values | others


def _characters(pattern: str, text: str, *, whole: bool = False) -> Iterator[Values]:
    if not pattern:
        if not text:
            yield {}
        return
    token = re.match(r"\*|\?|\[!?.[^\]]*\]|\{\w+\}|.", pattern, re.DOTALL)
    assert token
    rest = pattern[token.end() :]
    if token[0] == "*":
        for length in range(whole, len(text) + 1):
            yield from _characters(rest, text[length:])
    elif token[0].startswith("{"):
        for length in range(1, len(text) + 1):
            for values in _characters(rest, text[length:]):
                yield {token[0][1:-1]: text[:length]} | values
    elif text and _is_one(token[0], text[0]):
        yield from _characters(rest, text[1:])


def _is_one(token: str, character: str) -> bool:
    if token.startswith("[!"):
        return character not in token[2:-1]
    if token.startswith("["):
        return character in token[1:-1]
    return token in ("?", character)


# Each token with texts to put in its place: most of them fit.
TOKENS = {
    "a": ["a"],
    "b": ["b"],
    "-": ["-"],
    ".": ["."],
    "*": ["", "a", "-b-", ".{x", "a/b"],
    "?": ["a", "\n", "/"],
    "[ab]": ["a", "b", "c"],
    "[!a]": ["b", "*", "/", "a"],
    "[*]": ["*", "b"],
    "[{]": ["{"],
    "\n": ["\n"],
    "{x}": ["a", "b-b", "-", ""],
    "{y}": ["é", "a.a", "/"],
}
FOLDERS = ["a", "a/b", "/", "", "ab/-/a"]


def pairs(number: int) -> Iterator[tuple[str, list[str]]]:
    """So many patterns, each with keys made like it.

    Hypothesis would take a hundred times as long to draw them, and they are small as they are.
    """
    for seed in range(number):
        chance = random.Random(seed)
        segments = [_segment(chance) for _ in range(chance.randint(1, 5))]
        keys = ["/".join(_key(segments, chance)) for _ in range(chance.randint(1, 4))]
        yield "/".join("".join(tokens) for tokens in segments), keys


def _segment(chance: random.Random) -> list[str]:
    if chance.random() < 0.4:
        return ["**"]
    return chance.choices(list(TOKENS), k=chance.randint(0, 4))


def _key(segments: list[list[str]], chance: random.Random) -> Iterator[str]:
    for tokens in segments:
        if tokens == ["**"]:
            yield from chance.choices(FOLDERS, k=chance.randint(0, 2))
        else:
            yield "".join(chance.choice(TOKENS[token]) for token in tokens)


CHOSEN = [
    ("**/*.json", ["/a.json", "a.json", "//b/.json", "x/a.json\n"]),
    ("a/**/b/**/c", ["a/b/c", "a/x/b/y/b/c", "a/b/b/c/x"]),
    ("{x}-{y}.a", ["a-b-a.a", "--.a", "-.a"]),
    ("a[!b]b", ["a/b", "a\nb"]),
]


def test_patterns_mean_what_they_say() -> None:
    number, fitting = examples(3000), Counter[bool]()
    for pattern, keys in [*CHOSEN, *pairs(number)]:
        try:
            fits = compile_glob(pattern).fullmatch
        except InvalidGlob:
            continue
        for key in keys:
            found = fits(key)
            assert (found and found.groupdict()) == next(readings(pattern, key), None)
            fitting[found is not None] += 1
    assert min(fitting[True], fitting[False]) > number / 3


def test_patterns_mean_what_pythons_globs_mean() -> None:
    number, fitting = examples(3000), Counter[bool]()
    for pattern, keys in pairs(number):
        # Placeholders are ours alone, and a slash that `[!a]` lets pass is Python's alone.
        pythons = re.sub(r"\{\w+\}|\[!a\]", "?", pattern)
        try:
            ours = compile_glob(pythons)
        except InvalidGlob:
            continue
        theirs = re.compile(glob.translate(pythons, recursive=True, include_hidden=True, seps="/"))
        for key in keys:
            if "//" not in f"/{key}":  # Python's `**/` fits no empty folder
                assert bool(ours.fullmatch(key)) == bool(theirs.match(key)), (pythons, key)
                fitting[bool(theirs.match(key))] += 1
    assert min(fitting[True], fitting[False]) > number / 3


@pytest.mark.parametrize(
    "pattern",
    ["*-*-*-*-*-*.json", "**/*a*a*/**/*a*a*/**/*a*a*.json", "{a}-{b}-{c}-{d}.x", "**/**/a"],
)
@pytest.mark.parametrize("key", ["-" * 1024, "a/" * 512, "a" * 1024, "aaa/" * 256, "-a" * 512])
def test_no_key_keeps_a_pattern_busy(pattern: str, key: str) -> None:
    fits = compile_glob(pattern).fullmatch
    start = time.process_time()
    assert fits(key) is None
    assert time.process_time() - start < 1  # Python's own take minutes to years


@settings(hostile, max_examples=examples(1000))
@given(st.text(max_size=20) | st.text(st.sampled_from("*?[]!{}-/a\\^"), max_size=12))
def test_any_text_is_a_pattern_or_is_refused(pattern: str) -> None:
    try:
        compile_glob(pattern).fullmatch("a/b")
    except InvalidGlob as refusal:
        assert str(refusal)


# ---- Tables

SAMPLE = json.loads((Path(__file__).parents[3] / "local" / "samples" / "routes.json").read_text())
GREEDY = [
    {
        "name": "everything-from-the-key",
        "match": "all/{sandbox}/{id}/{tag}/*",
        "datasetId": "x{id}",
        "tags": {"t": ["{tag}"]},
    },
    {"name": "a-name", "match": "name/{name}.*", "datasetName": "{name}", "inputFormat": "auto"},
    {"name": "split", "match": "split/{a}_{b}/**", "sandbox": "{a}-{b}", "datasetName": "{b}"},
]
TABLE = parse(json.dumps({"routes": GREEDY + SAMPLE["routes"]}), "v1")

texts = st.sampled_from(["prod", "dev-1", "a_b", "x.csv"]) | st.text(min_size=1, max_size=9)
texts |= st.sampled_from(
    ["prod\n", "prod\r\nx: y", "PROD", "..", "!a,b", "\ud800", "\x00", "\uff50", ""]
)
STARTS = ["all/prod", "name", "split", "incoming", "landing/loyalty"]
ENDS = ["", ".json", "/a.jsonl", ".csv.gz", "/a.PARQUET", "/", "/_SUCCESS", "\n"]


@settings(hostile, max_examples=examples(500))
@given(st.lists(texts, min_size=1, max_size=3))
@example(["5c8c", "emea", "a.csv"])
@example(["!a,b.csv"])
@example(["prod_emea", "a.csv"])
@example(["prod", "orders", "a.csv"])
def test_no_key_smuggles_anything_in(steps: list[str]) -> None:
    for start, end in itertools.product(STARTS, ENDS):
        smuggles_nothing("/".join([start, *steps]) + end)


def smuggles_nothing(key: str) -> None:
    try:
        match = TABLE.match(Arrival("bucket", key, None, "etag", "0", 1, 0))
    except (NoRoute, FormatUnknown, TargetNotAllowed) as refusal:
        assert str(refusal).isprintable()
        return
    if isinstance(match, Ignored):
        return
    values = [tag for tags in match.options.get("tags", {}).values() for tag in tags]
    if match.sandbox is not None:
        assert re.fullmatch(r"[a-z0-9-]+", match.sandbox, re.ASCII)
    if match.dataset_id is not None:
        assert re.fullmatch(r"[0-9A-Za-z_-]+", match.dataset_id, re.ASCII)
    for value in [match.dataset_name or "x", *values]:
        assert value
        assert not re.search(r"[\x00-\x1f\x7f]", value)
        value.encode()
