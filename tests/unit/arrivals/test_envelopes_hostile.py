"""Whatever a queue holds, reading it gives arrivals, reasons or MalformedEvent: nothing else."""

import copy
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from aep_intake.arrivals.envelopes import Received, parse
from aep_intake.model.errors import MalformedEvent
from aep_intake.model.files import Arrival
from aep_intake.model.orders import EXTERNAL_ID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples

EVENTS = Path(__file__).parents[3] / "events"
EVENTBRIDGE = json.loads((EVENTS / "eventbridge-object-created.json").read_text())
NOTIFICATION = json.loads((EVENTS / "s3-notification.json").read_text())
TEST_EVENT = json.loads((EVENTS / "s3-test-event.json").read_text())
SAMPLES = [EVENTBRIDGE, {"Records": NOTIFICATION["Records"][:1]}, TEST_EVENT]

hostile = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

unicode = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
ODD_KEYS = [
    "a+b c%20d.csv",
    "a//b///c",
    "//",
    "..",
    "../../etc/passwd",
    "a\nb\r\nX-Injected: 1",
    "\x00\x1f\x7f",
    "📈" * 256,
    "x" * 1024,
    "%",
    "%%41",
    "a?b=c&d#e",
    "\u202egnp.exe",
    "é",
    "e\u0301",
    "{dataset}",
    '"quoted"\\',
    " ",
    "+",
]
keys = st.one_of(st.sampled_from(ODD_KEYS), unicode).filter(lambda k: len(k.encode()) <= 1024)


def told_by_the_bus(key: str) -> dict[str, Any]:
    event = copy.deepcopy(EVENTBRIDGE)
    event["detail"]["object"]["key"] = key
    return event  # type: ignore[no-any-return]


def told_by_s3(key: str) -> dict[str, Any]:
    body = copy.deepcopy(NOTIFICATION)
    body["Records"] = body["Records"][:1]
    body["Records"][0]["s3"]["object"]["key"] = quote_plus(key, safe="/")
    return body  # type: ignore[no-any-return]


def wrapped(body: str) -> str:
    return json.dumps({"Type": "Notification", "Message": body})


@settings(hostile, max_examples=examples(400))
@given(key=keys, ascii_only=st.booleans())
def test_every_envelope_gives_the_key_as_s3_stores_it(key: str, ascii_only: bool) -> None:
    bodies = [
        json.dumps(told, ensure_ascii=ascii_only)
        for told in (told_by_the_bus(key), told_by_s3(key))
    ]
    bodies += [wrapped(body) for body in bodies]
    found = [parse(body).arrivals for body in bodies]
    assert [arrival.key for [arrival] in found] == [key] * 4
    assert len({arrival.external_id for [arrival] in found}) == 1
    for [arrival] in found:
        sound(arrival)


@settings(hostile, max_examples=examples(30))
@given(st.sets(keys, min_size=10, max_size=20))
def test_two_keys_are_never_one_arrival(some: set[str]) -> None:
    ids = {parse(json.dumps(told_by_s3(key))).arrivals[0].external_id for key in some}
    assert len(ids) == len(some)


numbers = st.one_of(
    st.integers(),
    st.integers(2**53 - 1, 2**64),
    st.just(10**400),
    st.floats(),
    st.sampled_from([0, -0.0, -1, True, False, 1e308]),
)
texts = st.one_of(
    st.text(max_size=20),  # with lone surrogates
    unicode,
    st.sampled_from(["", "null", "\ud800", "\udfff", "%ED%A0%80", "%", "/", "nan", "00", "{}"]),
    st.sampled_from(["x" * 1025, "é" * 600, "1" * 5000, '{"Records":[]}', "s3:TestEvent"]),
    st.sampled_from(["Notification", "aws.s3", "aws:s3", "ObjectCreated:Put", "ObjectCreated"]),
    st.sampled_from(["9999-12-31T23:59:59.999999-23:59", "0001-01-01T00:00:00+23:59"]),
    st.sampled_from(["2026-W01-1T00:00Z", "2026-11-23T24:00:00Z", "2026-11-23 15:04:05,1+00"]),
)
values = st.recursive(
    st.one_of(st.none(), numbers, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                texts,
                st.sampled_from(["Records", "detail", "detail-type", "Type", "Message", "object"]),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every (container, name or index) of a document."""
    names: Any = ()
    if isinstance(document, dict):
        names = list(document)
    elif isinstance(document, list):
        names = range(len(document))
    here = [(document, name) for name in names]
    return here + [place for name in names for place in places(document[name])]


def read(body: str) -> Received | None:
    """The delivery, or None where the message was refused; anything else raised fails the test."""
    try:
        delivery = parse(body)
    except MalformedEvent as refusal:
        presentable(refusal.detail)
        return None
    assert delivery.arrivals or delivery.ignored or delivery.malformed, "a message that vanished"
    for arrival in delivery.arrivals:
        sound(arrival)
    for told in delivery.malformed:
        presentable(told)
    return delivery


def sound(arrival: Arrival) -> None:
    """What the rest of the intake, and those who get our events, may rely on."""
    assert re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._-]{2,254}", arrival.bucket)
    assert 1 <= len(arrival.key.encode()) <= 1024
    assert type(arrival.size) is int
    assert 0 <= arrival.size < 2**53
    assert type(arrival.time) is int
    assert 0 <= arrival.time < 2**48
    assert arrival.version_id is None or 1 <= len(arrival.version_id.encode()) <= 1024
    assert re.fullmatch(r"[!-~]+", arrival.etag)
    assert '"' not in arrival.etag
    assert arrival.sequencer is None or int(arrival.sequencer, 16) >= 0
    assert EXTERNAL_ID.fullmatch(arrival.external_id)
    assert re.fullmatch(r"[0-9A-Za-z._-]{33,113}", arrival.path)


def presentable(told: str) -> None:
    """Fit for a log, a queue attribute and a header: short, printable and ASCII."""
    assert 0 < len(told) < 400
    assert told.isascii()
    assert told.isprintable()


GONE = object()  # in place of a member that is not there


@settings(hostile, max_examples=examples(60))
@given(
    spoils=st.lists(st.just(GONE) | values, min_size=1, max_size=3),
    apart=st.integers(1, 50),
    ascii_only=st.booleans(),
    wrap=st.booleans(),
)
def test_a_good_message_with_any_member_spoilt(
    spoils: list[Any], apart: int, ascii_only: bool, wrap: bool
) -> None:
    """Each member in turn, and up to two others so far from it."""
    for sample in SAMPLES:
        for place in range(len(places(sample))):
            document = json.loads(json.dumps(sample))
            for number, value in enumerate(spoils):
                found = places(document)
                if not found:
                    break
                container, name = found[(place + number * apart) % len(found)]
                if value is GONE:
                    del container[name]
                else:
                    container[name] = copy.deepcopy(value)
            body = json.dumps(document, ensure_ascii=ascii_only)
            read(wrapped(body) if wrap else body)


@settings(hostile, max_examples=examples(250))
@given(st.lists(st.one_of(st.none(), values), min_size=1, max_size=5))
def test_good_records_come_through_whatever_stands_between_them(records: list[Any]) -> None:
    good = NOTIFICATION["Records"][0]
    mixed = [good if record is None else record for record in records]
    delivery = read(json.dumps({"Records": mixed}))
    if delivery is not None:  # NaN and lone surrogates spoil the whole document
        assert len(delivery.arrivals) == mixed.count(good)
        assert len(delivery.malformed) == len(mixed) - mixed.count(good)


@settings(hostile, max_examples=examples(500))
@given(st.one_of(values.map(json.dumps), st.text(), st.text('[]{}",:0123456789eE+-.ntf\\u ')))
def test_any_json_and_any_text(body: str) -> None:
    read(body)
    read(wrapped(body))


@pytest.mark.parametrize(
    "unit",
    ["[", '{"Records":[', '{"detail":', '"', "\\", "9", "-", '{"a":1}', "\x00", "\ud800", "[1,"],
)
def test_a_quarter_of_a_megabyte_of_anything(unit: str) -> None:
    body = unit * (262_144 // len(unit))
    assert read(body) is None
    assert read(wrapped(body)) is None
    read(json.dumps({"Records": [body]}))


def test_a_quarter_of_a_megabyte_of_good_records() -> None:
    body = json.dumps({"Records": NOTIFICATION["Records"][:1] * 400})
    assert len(body) > 262_144
    assert len(parse(body).arrivals) == 400
