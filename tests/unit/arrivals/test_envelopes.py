"""Arrivals from every envelope S3's events come in; the samples of `events/` are the fixtures."""

import json
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from aep_intake.arrivals.envelopes import NotAnArrival, Received, parse
from aep_intake.model import messages
from aep_intake.model.errors import MalformedEvent
from aep_intake.model.files import Arrival
from aep_intake.model.history import OverdueFiles
from aep_intake.model.messages import Wish
from aep_intake.model.orders import EXTERNAL_ID
from aep_intake.routing.globs import InvalidGlob, beginning_of, compile_wildcard
from hypothesis import given
from hypothesis import strategies as st

EVENTS = Path(__file__).parents[3] / "events"

VERSIONED = Arrival(
    bucket="acme-landing",
    key="landing/loyalty/2026/11/a+b c%20d.json",
    version_id="IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
    etag="b1946ac92492d2347c6235b4d2611184",
    sequencer="00692323330299A1B2",
    size=1234,
    time=1_795_446_243_000,
)
UNVERSIONED = Arrival(
    bucket="acme-exports",
    key="incoming/prod/orders/2026-11-23.parquet",
    version_id=None,
    etag="4af981f98d22a0b9979da24b259e5e42-88",
    sequencer="00692323340059C0DE",
    size=734_003_200,
    time=1_795_446_244_000,
)
NOTIFIED = replace(VERSIONED, time=1_795_446_243_123)  # S3 itself tells milliseconds
SUSPENDED = Arrival(
    bucket="acme-landing",
    key="landing/loyalty//årsrapport 📈.csv",
    version_id=None,
    etag="9f64a747e1b97f131fabb6b447296c9b",
    sequencer="0069232334F00DCAFE",
    size=88,
    time=1_795_446_244_000,
)


def sample(name: str) -> Any:
    return json.loads((EVENTS / name).read_text())


def wrapped(body: str) -> str:
    return json.dumps({"Type": "Notification", "MessageId": "1", "Message": body})


EXPECTED = {
    "eventbridge-object-created.json": Received((VERSIONED,)),
    "eventbridge-object-created-unversioned.json": Received((UNVERSIONED,)),
    "s3-notification.json": Received(
        (NOTIFIED, SUSPENDED), (NotAnArrival.FOLDER_MARKER, NotAnArrival.DELETE_EVENT)
    ),
    "sns-wrapped-s3-notification.json": Received((NOTIFIED,)),
    "s3-test-event.json": Received(ignored=(NotAnArrival.TEST_EVENT,)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_envelope_gives_its_arrivals(name: str) -> None:
    assert parse((EVENTS / name).read_text()) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - {"sns-wrapped-s3-notification.json"}))
def test_sns_may_wrap_any_of_them(name: str) -> None:
    assert parse(wrapped((EVENTS / name).read_text())) == EXPECTED[name]


def test_a_lambda_delivery_holds_such_messages() -> None:
    bodies = [record["body"] for record in sample("sqs-delivery.json")["Records"]]
    assert [parse(body).arrivals for body in bodies] == [(VERSIONED,), (UNVERSIONED,)]


def test_one_object_is_one_arrival_whoever_tells_of_it() -> None:
    assert VERSIONED.external_id == NOTIFIED.external_id


@pytest.mark.parametrize(
    ("event", "ignored"),
    [
        ("ObjectRemoved:Delete", NotAnArrival.DELETE_EVENT),
        ("LifecycleExpiration:DeleteMarkerCreated", NotAnArrival.DELETE_EVENT),
        ("ObjectTagging:Put", NotAnArrival.OTHER_EVENT),
        ("ObjectRestore:Completed", NotAnArrival.OTHER_EVENT),
        ("IntelligentTiering", NotAnArrival.OTHER_EVENT),
    ],
)
def test_notifications_that_bring_no_bytes_are_ignored(event: str, ignored: NotAnArrival) -> None:
    record = {"eventSource": "aws:s3", "eventName": event}
    assert parse(json.dumps({"Records": [record]})) == Received(ignored=(ignored,))


@pytest.mark.parametrize(
    ("kind", "ignored"),
    [
        ("Object Deleted", NotAnArrival.DELETE_EVENT),
        ("Object Tags Added", NotAnArrival.OTHER_EVENT),
        ("Object Restore Completed", NotAnArrival.OTHER_EVENT),
        ("Async Copy Completion", NotAnArrival.OTHER_EVENT),
        ("AWS API Call via CloudTrail", NotAnArrival.OTHER_EVENT),
        ("AWS Service Event via CloudTrail", NotAnArrival.OTHER_EVENT),
        ("Object Something That AWS Adds Next Year", NotAnArrival.OTHER_EVENT),
    ],
)
def test_bus_events_that_bring_no_bytes_are_ignored(kind: str, ignored: NotAnArrival) -> None:
    event = sample("eventbridge-object-created.json") | {"detail-type": kind}
    assert parse(json.dumps(event)) == Received(ignored=(ignored,))


@pytest.mark.parametrize("wish", [Wish(*two) for two in product((False, True), repeat=2)])
def test_a_parked_order_says_how_it_is_to_be_tried_again(wish: Wish) -> None:
    assert parse(messages.of_order("a")) == Received(order="a", wish=Wish())
    assert parse(messages.of_order("a", wish)) == Received(order="a", wish=wish)


def created(**changes: Any) -> str:
    """An `Object Created` event with members of `detail.object` replaced (None: left out)."""
    event = sample("eventbridge-object-created.json")
    found = event["detail"]["object"] | {k.replace("_", "-"): v for k, v in changes.items()}
    event["detail"]["object"] = {k: v for k, v in found.items() if v is not None}
    return json.dumps(event)


@pytest.mark.parametrize(
    ("key", "size", "ignored"),
    [("a/", 0, True), ("a/", 1, False), ("a/_SUCCESS", 0, False), ("a/x", 5, False)],
)
def test_only_an_empty_object_named_like_a_folder_is_a_folder_marker(
    key: str, size: int, ignored: bool
) -> None:
    delivery = parse(created(key=key, size=size))
    assert delivery.ignored == ((NotAnArrival.FOLDER_MARKER,) if ignored else ())
    assert [a.key for a in delivery.arrivals] == ([] if ignored else [key])


ARRIVALS = st.builds(
    Arrival,
    bucket=st.from_regex(r"[a-z0-9][a-z0-9.-]{2,60}", fullmatch=True),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    version_id=st.none() | st.from_regex(r"[0-9A-Z._-]{1,64}", fullmatch=True),
    etag=st.from_regex(r"[0-9a-f]{32}(-[0-9]{1,4})?", fullmatch=True),
    sequencer=st.none() | st.from_regex(r"[0-9A-Fa-f]{1,32}", fullmatch=True),
    size=st.integers(1, 5 * 10**12),
    time=st.integers(0, 4 * 10**12),
    copied=st.booleans(),
)


@given(ARRIVALS)
def test_an_arrival_that_is_written_is_read_as_it_came(arrival: Arrival) -> None:
    read = parse(messages.of_arrival(arrival))
    assert read == Received((arrival,))
    assert [one.copied for one in read.arrivals] == [arrival.copied]


@pytest.mark.parametrize("version", [None, "null"])
def test_no_version_and_the_version_null_are_the_same(version: str | None) -> None:
    [arrival] = parse(created(version_id=version)).arrivals
    assert arrival.version_id is None
    assert arrival.version == "e:b1946ac92492d2347c6235b4d2611184:00692323330299A1B2"


def test_the_sequencer_is_kept_as_it_came_and_may_be_absent() -> None:
    assert parse(created(sequencer="0a0B")).arrivals[0].sequencer == "0a0B"
    assert parse(created(sequencer=None)).arrivals[0].sequencer is None


def test_quotes_are_no_part_of_an_etag() -> None:
    assert parse(created(etag='"abc-2"')).arrivals[0].etag == "abc-2"


def test_times_keep_their_milliseconds_and_their_zone() -> None:
    event = sample("eventbridge-object-created.json") | {"time": "2026-11-23T16:04:03.007+01:00"}
    assert parse(json.dumps(event)).arrivals[0].time == 1_795_446_243_007


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"key": None}, "key"),
        ({"key": ""}, "key"),
        ({"key": "é" * 513}, "key"),
        ({"key": ["a"]}, "key"),
        ({"size": None}, "size"),
        ({"size": -1}, "size"),
        ({"size": True}, "size"),
        ({"size": 1.0}, "size"),
        ({"size": "12"}, "size"),
        ({"size": 2**53}, "size"),
        ({"etag": None}, "etag"),
        ({"etag": ""}, "etag"),
        ({"etag": '""'}, "etag"),
        ({"etag": "a b"}, "etag"),
        ({"version_id": ""}, "version-id"),
        ({"version_id": 7}, "version-id"),
        ({"version_id": "v" * 1025}, "version-id"),
        ({"sequencer": "xyz"}, "sequencer"),
        ({"sequencer": 12}, "sequencer"),
    ],
)
def test_a_bad_member_of_the_object_is_named(changes: dict[str, Any], where: str) -> None:
    delivery = parse(created(**changes))
    assert (delivery.arrivals, delivery.ignored) == ((), ())
    [told] = delivery.malformed
    assert told.startswith(f"`message.detail.object.{where}` is ")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"time": "2026-11-23T15:04:03"}, "message.time"),
        ({"time": "yesterday"}, "message.time"),
        ({"time": "1969-12-31T23:59:59Z"}, "message.time"),
        ({"time": 1_795_446_243}, "message.time"),
        ({"source": "my.app"}, "message.source"),
        ({"detail-type": 7}, "message.detail-type"),
        ({"detail": []}, "message.detail"),
        ({"detail": {"object": {"key": "k"}}}, "message.detail.bucket"),
        ({"detail": {"object": {"key": "k"}, "bucket": {"name": "a/b"}}}, "message.detail.bucket"),
        ({"detail": {"object": {"key": "k"}, "bucket": {"name": "ab"}}}, "message.detail.bucket"),
    ],
)
def test_a_bad_member_of_the_event_is_named(changes: dict[str, Any], where: str) -> None:
    event = sample("eventbridge-object-created.json") | changes
    [told] = parse(json.dumps(event)).malformed
    assert told.startswith(f"`{where}")


@pytest.mark.parametrize(
    "key", ["a%ZZb", "100%", "a%2", "%FF", "%ED%A0%80", "%C3", "x" * 1025, "%41" * 1025]
)
def test_a_key_that_cannot_be_decoded_is_never_guessed_at(key: str) -> None:
    body = sample("s3-notification.json")
    body["Records"][0]["s3"]["object"]["key"] = key
    delivery = parse(json.dumps(body))
    assert delivery.arrivals == (SUSPENDED,)
    [told] = delivery.malformed
    assert told.startswith("`message.Records[0].s3.object.key` is ")


def test_the_longest_key_may_be_encoded_in_every_byte() -> None:
    body = sample("s3-notification.json")
    body["Records"][0]["s3"]["object"]["key"] = "%C3%A9" * 512
    assert parse(json.dumps(body)).arrivals[0].key == "é" * 512


def test_a_bad_record_does_not_hold_up_its_neighbours() -> None:
    body = sample("s3-notification.json")
    body["Records"].insert(1, {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"})
    body["Records"].append({"eventSource": "aws:s3", "eventName": "ObjectWished:For"})
    delivery = parse(json.dumps(body))
    good = EXPECTED["s3-notification.json"]
    assert (delivery.arrivals, delivery.ignored) == (good.arrivals, good.ignored)
    rejection = delivery.rejection
    assert isinstance(rejection, MalformedEvent)
    assert "message.Records[1].s3" in rejection.detail
    assert "message.Records[5].eventName" in rejection.detail
    assert good.rejection is None


def test_a_long_list_of_complaints_is_cut_short() -> None:
    delivery = parse(json.dumps({"Records": [{}] * 9}))
    assert len(delivery.malformed) == 9
    assert str(delivery.rejection).count("eventSource") == 3
    assert str(delivery.rejection).endswith("; and 6 more")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "message cannot be read as JSON"),
        ("hello", "message cannot be read as JSON"),
        ("[]", "`message` is a list"),
        ('"text"', "`message` is 'text'"),
        ("null", "`message` is missing or null"),
        ("{}", "neither `Records` nor `detail-type`"),
        ('{"Type": "SubscriptionConfirmation", "Token": "t0k3n"}', "must be confirmed first"),
        ('{"Records": []}', "`message.Records` is a list"),
        ('{"Records": {}}', "`message.Records` is a JSON object"),
        ('{"Type": "Notification"}', "`message.Message` is missing"),
        ('{"Type": "Notification", "Message": "{"}', "Message cannot be read as JSON"),
        ('{"Type": "Notification", "Message": "{}"}', "Message has neither"),
        ('{"Records": [], "Records": [1]}', "the name 'Records' is given twice"),
        ('{"Records": [NaN]}', "NaN is not JSON"),
        ('{"Records": [-Infinity]}', "-Infinity is not JSON"),
        ('{"Records": [1e999]}', "message cannot be read as JSON"),
        (f'{{"Records": [{"9" * 5000}]}}', "message cannot be read as JSON"),
        ('{"Records": ["\\ud800"]}', "lone surrogate"),
        ("[" * 250_000, "nested too deeply"),
        ('{"Records":' * 20_000, "nested too deeply"),
        (f'{{"Records": {"[" * 40}{"]" * 40}}}', "nested too deeply"),
        (wrapped("[" * 250_000), "nested too deeply"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_event_of_s3_is_refused_with_the_reason(body: str, told: str) -> None:
    with pytest.raises(MalformedEvent) as refusal:
        parse(body)
    assert told in refusal.value.detail
    assert "t0k3n" not in refusal.value.detail


def test_files_without_a_marker_have_a_message_of_our_own() -> None:
    for after in ("", "1790000000000-0123"):
        overdue = OverdueFiles("folder-0f", after, "1790000000000~")
        assert parse(json.dumps({"missing": asdict(overdue)})) == Received(overdue=overdue)
        assert EXTERNAL_ID.fullmatch(overdue.external_id)
        assert overdue.external_id.startswith("folder-")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"folder_id": None}, "`message.missing.folder_id` is missing or null"),
        ({"after": None}, "`message.missing.after` is missing or null"),
        ({"until": ""}, "`message.missing.until` is ''; it should be text of 1 to 64 bytes"),
        ({"until": "x" * 65}, "text of 1 to 64 bytes"),
    ],
)
def test_what_is_no_part_of_a_folder_is_refused(changes: dict[str, Any], told: str) -> None:
    missing = {"folder_id": "folder-0f", "after": "", "until": "1"} | changes
    with pytest.raises(MalformedEvent) as refused:
        parse(json.dumps({"missing": missing}))
    assert told in str(refused.value)


def test_sns_does_not_wrap_twice() -> None:
    with pytest.raises(MalformedEvent):
        parse(wrapped(wrapped(created())))


# Keys, as EventBridge's rule takes them, and as we do where S3 sends past it.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
WILDCARDS = [
    ("*", ["a", "a/b/c", "å\n*\\"], []),
    ("in/*.csv", ["in/a.csv", "in/x/y.csv", "in/.csv"], ["in/a.CSV", "x/in/a.csv", "in/a.csv.gz"]),
    ("a*b*c", ["abc", "a--b--b--c", "abcbc"], ["ab", "acb", "abcd"]),
    ("*/x*", ["/x", "a/b/x/y"], ["x", "ax"]),
    ("a\\*b", ["a*b"], ["a-b", "a\\*b"]),
    ("a\\\\*", ["a\\", "a\\b"], ["ab"]),
    ("a\\**", ["a*", "a*b"], ["a", "ab"]),
    ("a.b+[c]", ["a.b+[c]"], ["axb+[c]", "a.bb[c]"]),
]


@pytest.mark.parametrize(("pattern", "good", "bad"), WILDCARDS)
def test_a_wildcard_takes_the_keys_that_eventbridge_takes(
    pattern: str, good: list[str], bad: list[str]
) -> None:
    wanted = compile_wildcard(pattern)
    assert [key for key in good if not wanted.fullmatch(key)] == []
    assert [key for key in bad if wanted.fullmatch(key)] == []


@pytest.mark.parametrize("pattern", ["a**", "a\\b", "a\\", "***"])
def test_what_eventbridge_refuses_is_no_wildcard(pattern: str) -> None:
    with pytest.raises(InvalidGlob):
        compile_wildcard(pattern)


def test_a_wildcard_reads_a_hostile_key_once() -> None:
    """Three `*` over a key without an end that fits: a pattern that backtracks takes minutes."""
    assert not compile_wildcard("*a*a*a*b").fullmatch("a" * 1024)


@pytest.mark.parametrize("name", ["eventbridge-object-created.json", "s3-notification.json"])
def test_keys_that_are_not_wanted_are_left_out_whichever_way_they_came(name: str) -> None:
    delivery = parse((EVENTS / name).read_text())
    assert delivery.arrivals
    assert delivery.of_keys(compile_wildcard("landing/*")) == delivery
    others = delivery.of_keys(compile_wildcard("elsewhere/*"))
    left_out = (NotAnArrival.OTHER_KEY,) * len(delivery.arrivals)
    assert others == replace(delivery, arrivals=(), ignored=(*delivery.ignored, *left_out))


@pytest.mark.parametrize(
    ("pattern", "begins"),
    [
        ("*", ""),
        ("landing/*", "landing/"),
        ("landing/*/x*", "landing/"),
        ("whole.json", "whole.json"),
        (r"a\*b*c", "a*b"),
        (r"a\\*", "a\\"),
    ],
)
def test_what_all_keys_begin_with_that_fit(pattern: str, begins: str) -> None:
    assert beginning_of(pattern) == begins
