"""What a routing table says of arrivals, and which documents are none."""

import json
from typing import Any

import pytest
from aep_intake.model.errors import FormatUnknown, NoRoute, TargetNotAllowed
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Demands
from aep_intake.routing import routes
from aep_intake.routing.routes import InvalidTable, parse
from aep_intake.routing.table import Ignored, InWindow, Match, RoutingTable, format_by_name
from aep_intake.routing.targets import credential_arn
from aep_intake_cli.routing.lint import lint

from tests.matching import matched


def table(*written: dict[str, Any]) -> RoutingTable:
    named = [{"name": f"route-{number}"} | one for number, one in enumerate(written)]
    return parse(json.dumps({"routes": named}), "v7")


def arrival(key: str, bucket: str = "landing") -> Arrival:
    return Arrival(bucket, key, None, "etag", "00AF", 1, 0)


BY_FOLDER = {"match": "in/{sandbox}/{dataset}/**", "datasetName": "{dataset}"}


def test_a_match_carries_all_the_batch_needs() -> None:
    loyalty = {
        "name": "loyalty",
        "match": "loyalty/{region}/**/*.json",
        "bucket": "land*",
        "sandbox": "prod",
        "datasetId": "5c8c3c555033b814b69f947f",
        "credential": "acme-emea",
        "inputFormat": {"format": "JSON", "isMultiLineJson": True},
        "tags": {"region": ["from-{region}", "fixed"]},
        "partialIngestionPercent": 2.5,
        "enableErrorDiagnostics": False,
    }
    assert matched(table(loyalty), arrival("loyalty/emea/2026/11/a.json")) == Match(
        route="loyalty",
        version="v7",
        sandbox="prod",
        dataset_id="5c8c3c555033b814b69f947f",
        credential="acme-emea",
        options={
            "inputFormat": {"format": "json", "isMultiLineJson": True},
            "enableErrorDiagnostics": False,
            "partialIngestionPercent": 2.5,
            "tags": {"region": ["from-emea", "fixed"]},
        },
        placeholders={"region": "emea"},
        demands=Demands(bad_rows=None),
    )


def test_a_mapping_set_of_data_prep_is_named_by_a_tag() -> None:
    written = {"match": "**", "datasetId": "d", "tags": {"a": ["b"]}, "mapping": {"set": "0f1e"}}
    tags = matched(table(written), arrival("a.csv")).options["tags"]
    assert tags == {
        "a": ["b"],
        "aep_sip_mapper": ["mapping-set-id:0f1e", "mapping-set-version:0"],
    }


def test_what_a_route_leaves_out_is_left_to_the_stack() -> None:
    match = matched(table({"match": "**", "datasetId": "d"}), arrival("a.csv"))
    assert (match.sandbox, match.credential, match.dataset_name) == (None, None, None)
    assert match.options == {"inputFormat": {"format": "csv"}, "enableErrorDiagnostics": True}


def test_the_placeholder_called_sandbox_is_the_sandbox_unless_the_route_says_otherwise() -> None:
    assert matched(table(BY_FOLDER), arrival("in/dev/orders/a.csv")).sandbox == "dev"
    region = BY_FOLDER | {"sandbox": "{sandbox}-emea"}
    assert matched(table(region), arrival("in/dev/orders/a.csv")).sandbox == "dev-emea"


def test_the_first_route_that_fits_decides() -> None:
    parsed = table({"match": "a/**", "ignore": True}, {"match": "**", "datasetId": "d"})
    ignored = parsed.match(arrival("a/b.csv"))
    assert ignored == Ignored("route-0", "v7")
    assert matched(parsed, arrival("b.csv")).route == "route-1"


def test_a_route_can_be_for_some_buckets_only() -> None:
    parsed = table({"match": "**", "bucket": "acme-*-raw", "datasetId": "d"})
    assert matched(parsed, arrival("a.csv", "acme-emea-raw")).route == "route-0"
    with pytest.raises(NoRoute):
        matched(parsed, arrival("a.csv", "acme-emea-raw-old"))


def test_no_route_is_an_error_that_names_object_and_table() -> None:
    with pytest.raises(NoRoute, match=r"v7 fits 's3://landing/a\.csv'"):
        matched(table({"match": "b/**", "datasetId": "d"}), arrival("a.csv"))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("a.json", "json"),
        ("a.jsonl", "json"),
        ("a.NDJSON", "json"),
        ("a.csv.gz", "csv"),
        ("part-0.snappy.parquet", "parquet"),
        ("a.PARQUET.GZ", "parquet"),
    ],
)
def test_auto_tells_the_format_from_the_name(name: str, shape: str) -> None:
    match = matched(table({"match": "**", "datasetId": "d"}), arrival(f"x.txt/{name}"))
    assert match.options["inputFormat"] == {"format": shape}


@pytest.mark.parametrize("name", ["a", "a.gz", "a.txt", "json", "a.csv.zip", "a.csv/", "a.csv\n"])
def test_auto_does_not_guess(name: str) -> None:
    """It leaves the format open, for the bytes to show whether it is Parquet."""
    found = matched(table({"match": "**", "datasetId": "d"}), arrival(name))
    assert "inputFormat" not in found.options
    with pytest.raises(FormatUnknown):
        format_by_name(arrival(name).uri)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        (BY_FOLDER, "in/PROD/orders/a.csv"),
        (BY_FOLDER, "in/prod\r\nx-api-key: mine/orders/a.csv"),
        (BY_FOLDER, "in/prod\n/orders/a.csv"),
        (BY_FOLDER, "in/-prod/orders/a.csv"),
        (BY_FOLDER, "in/prod/orders\x00/a.csv"),
        (BY_FOLDER, "in/prod/\ud800/a.csv"),
        ({"match": "{id}/*", "datasetId": "{id}"}, "../a.csv"),
        ({"match": "{id}/*", "datasetId": "{id}"}, "5c8c?limit=0/a.csv"),
        ({"match": "{id}/*", "datasetId": "d", "tags": {"id": ["{id}"]}}, "\x7f/a.csv"),
    ],
)
def test_a_key_cannot_fill_in_what_does_not_belong_there(written: dict[str, Any], key: str) -> None:
    with pytest.raises(TargetNotAllowed):
        matched(table(written), arrival(key))


def test_a_placeholder_is_no_python_format() -> None:
    with pytest.raises(InvalidTable):
        table({"match": "{a}/*", "datasetName": "{a.__class__}"})


ROUTE = {"name": "good", "match": "{a}/*", "datasetName": "{a}"}


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"match": None}, "routes[0].match", "must be string"),
        ({"match": "x" * 1025, "datasetName": "d"}, "routes[0].match", "too long"),
        ({"match": "[a/*"}, "routes[0].match", "nothing closes"),
        ({"match": "{a}/{a}"}, "routes[0].match", "redefinition"),
        ({"match": "{a}*"}, "routes[0].match", "where one wildcard ends"),
        ({"match": "{a}/x**"}, "routes[0].match", "where one wildcard ends"),
        ({"match": "{a}/[z-a]"}, "routes[0].match", "fits nothing"),
        ({"match": "{a}/{b}/*"}, "routes[0].match", "{b} is used nowhere"),
        ({"match": "*"}, "routes[0].datasetName", "no placeholder {a}"),
        ({"datasetName": "{a}}"}, "routes[0].datasetName", "brace"),
        ({"datasetName": "{a}\n"}, "routes[0].datasetName", "cannot be printed"),
        ({"datasetId": "d"}, "routes[0]", "exactly one of"),
        ({"ignore": True}, "routes[0]", "exactly one of"),
        ({"ignore": False}, "routes[0]", "exactly one of"),
        ({"sandbox": "Prod"}, "routes[0].sandbox", "must be"),
        ({"sandbox": "prod\n"}, "routes[0].sandbox", "must be"),
        ({"sandbox": "-prod"}, "routes[0].sandbox", "cannot be one"),
        ({"bucket": "{b}"}, "routes[0].bucket", "no placeholders"),
        ({"datasetid": "d"}, "routes[0].datasetid", "not known"),
        ({"inputFormat": "Auto"}, "routes[0].inputFormat", "must be"),
        ({"inputFormat": {}}, "routes[0].inputFormat", "needs `format`"),
        ({"inputFormat": {"format": "avro"}}, "routes[0].inputFormat.format", "one of"),
        (
            {"inputFormat": {"format": "csv", "isMultiLineJson": True}},
            "routes[0].inputFormat.isMultiLineJson",
            "no meaning for csv",
        ),
        (
            {"inputFormat": {"format": "parquet", "header": True}},
            "routes[0].inputFormat.header",
            "no meaning for parquet",
        ),
        ({"tags": {"aep_intake": ["mine"]}}, "routes[0].tags", "taken"),
        ({"tags": {"adobe/x": ["y"]}}, "routes[0].tags", "taken"),
        ({"tags": {"x": "y"}}, "routes[0].tags.x", "must be array"),
        ({"mapping": {"set": "s"}, "map": {"a": "b"}}, "routes[0].mapping", "not both"),
        (
            {"mapping": {"set": "s"}, "tags": {"aep_sip_mapper": ["x"]}},
            "routes[0].mapping",
            "writes the tag",
        ),
        ({"enableErrorDiagnostics": 1}, "routes[0].enableErrorDiagnostics", "must be boolean"),
        ({"partialIngestionPercent": True}, "routes[0].partialIngestionPercent", "be number"),
        ({"partialIngestionPercent": 101}, "routes[0].partialIngestionPercent", "0 to 100"),
        ({"credential": "{a}"}, "routes[0].credential", "must be"),
        ({"lookInside": False, "minRows": 1}, "routes[0].minRows", "where `lookInside` is false"),
        ({"lookInside": False, "badRows": "1%"}, "routes[0].badRows", "where `lookInside` is"),
        ({"keepBadRows": True}, "routes[0].keepBadRows", "only where a `map` leaves rows out"),
        ({"name": "good\n"}, "routes[0].name", "must be"),
    ],
)
def test_a_broken_route_is_refused_by_name_and_member(
    change: dict[str, Any], field: str, words: str
) -> None:
    written = ROUTE | change
    with pytest.raises(InvalidTable) as refusal:
        parse(json.dumps({"routes": [written]}), "v1")
    assert refusal.value.field == field
    assert refusal.value.route == written["name"]
    assert words in refusal.value.problem
    assert f"{field} (route `{written['name']}`): " in str(refusal.value)


WINDOW = {"batch": {"window": "5m"}}


@pytest.mark.parametrize(
    ("written", "batches"),
    [
        ({}, 0),
        ({"onFailed": "park"}, 0),
        ({"onFailed": "split"}, 12),
        ({"onFailed": "split", "splitBatches": 40}, 40),
    ],
)
def test_a_batch_that_failed_is_split_where_the_route_says_so(
    written: dict[str, Any], batches: int
) -> None:
    match = table(ROUTE | WINDOW | written).match(arrival("in/a.json"))
    assert isinstance(match, Match)
    assert match.split_batches == batches


@pytest.mark.parametrize(
    ("written", "field", "words"),
    [
        (WINDOW | {"splitBatches": 12}, "splitBatches", "only with"),
        ({"onFailed": "split"}, "onFailed", "its own batch"),
        (WINDOW | {"onFailed": "split", "onLostFile": "abort"}, "onFailed", "worth nothing"),
    ],
)
def test_a_batch_is_not_split_where_that_makes_no_sense(
    written: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidTable, match=words) as refusal:
        table(ROUTE | written)
    assert refusal.value.field == f"routes[0].{field}"


def test_who_does_not_fill_the_batches_cannot_split_them() -> None:
    document = json.dumps({"routes": [ROUTE | WINDOW | {"onFailed": "split"}]}).encode()
    assert lint(document) == []
    [problem] = lint(document, delivers=False)
    assert (problem.field, "DeliverBatches=false" in problem.text) == ("routes[0].onFailed", True)


@pytest.mark.parametrize(
    ("charset", "refused"),
    [("UTF-8", False), ("ISO-8859-1", False), ("Windows-1252", True), ("UTF-16", True)],
)
def test_who_does_not_fill_the_batches_converts_nothing(charset: str, refused: bool) -> None:
    csv = {"inputFormat": {"format": "csv", "charset": charset}}
    document = json.dumps({"routes": [ROUTE | csv]}).encode()
    assert lint(document) == []
    found = [problem.field for problem in lint(document, delivers=False)]
    assert found == (["routes[0].inputFormat.charset"] if refused else [])


@pytest.mark.parametrize("member", routes._OF_TARGETS)
def test_an_ignoring_route_says_nothing_of_targets(member: str) -> None:
    values = {
        "batch": {"window": "5m"},
        "ready": "{file}.done",
        "onNewVersion": "append",
        "sameBytes": "ignore",
        "onLostFile": "proceed",
        "onFailed": "park",
        "owner": "a team",
        "expect": {"every": "1h"},
        "splitBatches": 12,
        "lookInside": False,
        "asIs": False,
        "map": {"a": "b"},
        "compiledMap": "0" * 64,
        "lookup": True,
        "mapping": {"set": "s"},
        "minRows": 1,
        "badRows": 0,
        "keepBadRows": True,
        "sandbox": "prod",
        "credential": "c",
        "inputFormat": "auto",
        "tags": {},
        "enableErrorDiagnostics": True,
        "partialIngestionPercent": 0,
    }
    with pytest.raises(InvalidTable, match="no meaning where `ignore`"):
        table({"match": "*", "ignore": True, member: values[member]})


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff\xfe\xff",
        b"null",
        b"[]",
        b"{}",
        b'{"routes": []}',
        b'{"routes": {}}',
        b'{"routes": [1]}',
        b'{"routes": [{}], "more": 1}',
        b"[" * 100_000,
        b'{"routes": [{"name": "a", "match": "*", "datasetId": "d", "datasetId": "e"}]}',
    ],
)
def test_what_is_no_table_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidTable):
        parse(document, "v1")


def test_names_are_unique() -> None:
    written = {"name": "twin", "match": "*", "ignore": True}
    with pytest.raises(InvalidTable, match=r"routes\[1\]\.name \(route `twin`\): an earlier route"):
        table(written, written)


def test_an_editor_may_be_told_of_the_schema() -> None:
    table({"match": "*", "ignore": True, "description": "why"})
    parse(b'{"$schema": "x", "routes": [{"name": "a", "match": "*", "ignore": true}]}', "v1")


ARNS = (
    "arn:aws:secretsmanager:eu-west-1:111122223333:secret:acme/emea-Ab12Cd",
    "arn:aws:secretsmanager:eu-west-1:111122223333:secret:acme/emea-apac-Ef34Gh",
    "arn:aws-cn:secretsmanager:cn-north-1:111122223333:secret:twin-Ab12Cd",
    "arn:aws-cn:secretsmanager:cn-northwest-1:111122223333:secret:twin-Ij56Kl",
)


def test_a_credential_goes_by_its_secrets_name() -> None:
    assert credential_arn("acme/emea", ARNS) == ARNS[0]
    assert credential_arn("acme/emea-apac", ARNS) == ARNS[1]
    assert credential_arn(None, ARNS) == ARNS[0]


@pytest.mark.parametrize("name", ["acme", "emea", "acme.emea", "twin", ""])
def test_a_credential_is_never_guessed(name: str) -> None:
    with pytest.raises(TargetNotAllowed):
        credential_arn(name, ARNS)
    with pytest.raises(TargetNotAllowed):
        credential_arn(None, ())


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("1m", 60_000), ("16m", 960_000), ("1440m", 86_400_000), ("24h", 86_400_000)],
)
def test_a_window_gathers_arrivals(text: str, milliseconds: int) -> None:
    parsed = table({"match": "*", "datasetId": "d", "batch": {"window": text}})
    assert matched(parsed, arrival("a.json")).batching == InWindow(milliseconds)


def test_a_window_of_a_day_begins_at_a_local_time() -> None:
    batch = {"window": "24h", "at": "01:30", "timezone": "Europe/Paris"}
    parsed = table({"match": "*", "datasetId": "d", "batch": batch})
    assert matched(parsed, arrival("a.json")).batching == InWindow(
        86_400_000, "01:30", "Europe/Paris"
    )


@pytest.mark.parametrize(
    ("batch", "field", "says"),
    [
        ({"window": "12h", "at": "01:30"}, "at", 'needs `"window": "24h"`'),
        ({"marker": "x", "at": "01:30"}, "at", 'needs `"window": "24h"`'),
        ({"window": "24h", "timezone": "Europe/Paris"}, "timezone", "where the time `at`"),
        ({"window": "24h", "at": "24:00"}, "at", "must be a time such as `01:30`"),
        ({"window": "24h", "at": "1:30"}, "at", "must be a time such as `01:30`"),
        ({"window": "24h", "at": "01:30", "timezone": "Europe/Pari"}, "timezone", "no time zone"),
        ({"window": "24h", "at": "01:30", "timezone": "Europe"}, "timezone", "no time zone"),
        ({"window": "24h", "at": "01:30", "timezone": "CEST"}, "timezone", "no time zone"),
        (
            {"window": "24h", "at": "01:30", "timezone": "../UTC"},
            "timezone",
            "such as `Europe/Paris`",
        ),
        (
            {"window": "24h", "at": "01:30", "timezone": "/etc/hosts"},
            "timezone",
            "such as `Europe/Paris`",
        ),
        (
            {"window": "24h", "at": "01:30", "timezone": "localtime"},
            "timezone",
            "such as `Europe/Paris`",
        ),
    ],
)
def test_a_local_time_that_is_none_is_refused(batch: dict[str, str], field: str, says: str) -> None:
    with pytest.raises(InvalidTable) as refusal:
        table({"match": "*", "datasetId": "d", "batch": batch})
    assert refusal.value.field == f"routes[0].batch.{field}"
    assert says in refusal.value.problem


@pytest.mark.parametrize("text", ["0m", "25h", "1441m", "10", "m", "1s", "01m", 5, None])
def test_a_window_is_a_minute_to_a_day(text: object) -> None:
    with pytest.raises(InvalidTable, match="window"):
        table({"match": "*", "datasetId": "d", "batch": {"window": text}})
