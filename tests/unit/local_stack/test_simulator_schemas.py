"""Rows against the schema of their dataset, by Adobe's matrix of types, and what is told then."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulator import Clock, Simulator, seed_defaults
from local.simulator.registry import sample
from local.simulator.rules import Level, rules_of
from local.simulator.seed import CLICKS, LOYALTY, PRODUCTS
from local.simulator.switches import Switches
from local.stack import ROOT
from tests.unit.local_stack.test_simulator import NOW
from tests.unit.local_stack.test_simulator_outcome import Client
from tests.unit.local_stack.test_simulator_registry import MAPPING, SET

EXPORT = "/data/foundation/export/batches"
MEMBERS, EVENTS = sample("loyalty-members"), sample("web-events")
NAMES = st.sampled_from(
    ["_acme", "_id", "timestamp", "person", "birthDate", "birthYear", "identityMap", "scores", "x"]
)
EVENT = {"_id": "1", "timestamp": "2026-11-28T15:04:05.123Z", "_acme": {"visitorId": "v1"}}


@pytest.fixture
def caller() -> Client:
    simulator = Simulator(Clock(NOW))
    return Client(simulator, seed_defaults(simulator))


def level(schema: dict[str, Any], row: object, **switches: Any) -> Level | None:
    positions = Switches()
    positions.change(**switches)
    violation = rules_of(schema, positions).check(json.loads(json.dumps(row)))
    return None if violation is None else violation.level


def field(schema: dict[str, Any], value: object, **switches: Any) -> Level | None:
    whole = {"properties": {"a": {"type": "object", "properties": {"b": schema}}}}
    return level(whole, {"a": {"b": value}}, **switches)


KINDS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    **{
        kind: {"type": "integer", "meta:xdmType": kind} for kind in ("byte", "short", "int", "long")
    },
    "double": {"type": "number", "meta:xdmType": "number"},
    "date": {"type": "string", "format": "date"},
    "date-time": {"type": "string", "format": "date-time"},
    "array": {"type": "array", "items": {"type": "string"}},
    "object": {"type": "object", "properties": {"x": {"type": "string"}}},
    "map": {"type": "object", "meta:xdmType": "map", "additionalProperties": {"type": "string"}},
    "free-form": {"type": "object"},
}
NUMBERS = {"byte", "short", "int", "long", "double"}
# By inbound value: the types that Adobe's page says it may become.
MATRIX: list[tuple[object, set[str]]] = [
    ("1", {"string", "date", "date-time", *NUMBERS}),
    (1, {"string", *NUMBERS}),
    (1.0, {"string", *NUMBERS}),
    (2**40, {"string", "date", "date-time", *NUMBERS}),
    (True, {"boolean"}),
    (["x"], {"array"}),
    ({"x": "y"}, {"object", "map", "free-form"}),
]


@pytest.mark.parametrize(("value", "may"), MATRIX)
def test_the_matrix_of_types(value: object, may: set[str]) -> None:
    found = {kind for kind, schema in KINDS.items() if field(schema, value) != Level.INCOMPATIBLE}
    assert found == may


CONVERSION, CONSTRAINT, REQUIRED = Level.CONVERSION, Level.CONSTRAINT, Level.REQUIRED
VALUES: list[tuple[str, object, Level | None]] = [
    ("byte", 127, None),
    ("byte", 128, CONVERSION),
    ("short", -32_768, None),
    ("short", "32768", CONVERSION),
    ("int", 2**31, CONVERSION),
    ("long", 2**53, CONVERSION),
    ("int", "12", None),
    ("int", "12.5", CONVERSION),
    ("int", 12.5, CONVERSION),
    ("int", "", CONVERSION),
    ("int", "1,5", CONVERSION),
    ("double", "-1.5e3", None),
    ("double", "1,5", CONVERSION),
    ("int", "\u0661\u0662", CONVERSION),
    ("date-time", "2026-11-28T15:04:\u0660\u0665Z", CONVERSION),
    ("date", "2024-02-29", None),
    ("date", "2026-02-29", CONVERSION),
    ("date", "28.11.2026", CONVERSION),
    ("date", "2026-11-28T00:00:00Z", CONVERSION),
    ("date-time", "2026-11-28T15:04:05Z", None),
    ("date-time", "2026-11-28T15:04:05.123456789+02:00", None),
    ("date-time", "2026-11-28 15:04:05Z", CONVERSION),
    ("date-time", "2026-11-28T15:04Z", CONVERSION),
    ("date-time", "2026-11-28T15:04:05", CONVERSION),
    ("date-time", "2026-11-28T24:04:05Z", CONVERSION),
    ("array", [1, None], CONVERSION),
    ("object", {"y": 1}, CONVERSION),
    ("map", {"any": "x", "other": 1}, None),
    ("free-form", {"any": [1, {"x": None}]}, None),
]


@pytest.mark.parametrize(("kind", "value", "expected"), VALUES)
def test_values(kind: str, value: object, expected: Level | None) -> None:
    assert field(KINDS[kind], value) == expected


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"enum": ["a", "b"]}, "a", "c"),
        ({"pattern": "^[A-Z]{2}$"}, "DE", "Germany"),
        ({"pattern": "[A-Z]{2}"}, "x DE x", "de"),  # unanchored, as in JSON Schema
        ({"minLength": 1}, "a", ""),
        ({"maxLength": 2}, "ab", "abc"),
        ({"format": "email"}, "a@b.example", "a b"),
        ({"format": "ipv4"}, "10.0.0.1", "10.0.0.256"),
        ({"format": "ipv6"}, "::1", "1"),
        ({"format": "uri"}, "https://a.example/b", "b"),
        ({"format": "uri-reference"}, "a-1", "a 1"),
        ({"format": "hostname"}, "a.example", "a/b"),
        ({"type": "integer", "minimum": 1, "maximum": 9}, 9, 10),
        ({"type": "number", "minimum": -90}, "-90", -90.5),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a"], ["a", "b"]),
    ],
)
def test_constraints(schema: dict[str, Any], good: object, bad: object) -> None:
    whole = {"type": "string", **schema}
    assert (field(whole, good), field(whole, bad)) == (None, CONSTRAINT)


def test_enums_that_adobe_does_not_validate() -> None:
    deep = {"type": "object", "properties": {"c": {"type": "string", "enum": ["x"]}}}
    listed = {"type": "array", "items": {"type": "string", "enum": ["x"]}}
    for schema, value in ((deep, {"c": "y"}), (listed, ["y"])):
        assert field(schema, value) is None
        assert field(schema, value, deep_enums="checked") == CONSTRAINT


def test_what_nobody_documents_is_a_switch() -> None:
    day, text = "2026-11-28", {"type": "string"}
    moment = {"type": "string", "format": "date-time"}
    assert (field(moment, day), field(moment, day, bare_dates="accepted")) == (CONVERSION, None)
    assert (field(text, None), field(text, None, nulls="ignored")) == (CONVERSION, None)
    assert field(moment, 1, json_integers="long") is None
    assert level(MEMBERS, {"a": 1}) == CONVERSION
    assert level(MEMBERS, {"a": 1}, unknown_keys="ignored") is None


def test_required_fields() -> None:
    assert level(MEMBERS, {}) is None
    assert level(MEMBERS, {"personalEmail": {"primary": True}}) == REQUIRED  # its parent is there
    assert level(MEMBERS, {"personalEmail": {"address": None}}) == REQUIRED
    assert level(MEMBERS, {"_acme": {"loyaltyCard": {}}}) == REQUIRED
    assert level(EVENTS, EVENT) is None
    for missing in EVENT:  # that of the tenant's object, too, whether that is there or not
        row = {name: value for name, value in EVENT.items() if name != missing}
        assert level(EVENTS, row) == REQUIRED
    assert level(EVENTS, {**EVENT, "_acme": {}}) == REQUIRED


def test_the_lowest_level_is_the_one_of_a_row() -> None:
    clash, wrong = {"eventType": True}, {"device": {"screenWidth": "wide"}}
    assert level(EVENTS, {**wrong, **clash}) == Level.INCOMPATIBLE
    assert level(EVENTS, wrong) == CONVERSION


def test_samples_fit_their_schemas() -> None:
    event = EVENT | {
        "eventType": "commerce.purchases",
        "identityMap": {"ECID": [{"id": "1" * 38, "primary": True}]},
        "web": {"webPageDetails": {"URL": "https://a.example/", "pageViews": {"value": 1}}},
        "productListItems": [{"SKU": "a", "quantity": 2, "priceTotal": 9.5, "currencyCode": "EUR"}],
    }
    assert level(EVENTS, event) is None
    member = {
        "person": {"birthDate": "1990-02-28", "birthYear": 1990, "gender": "female"},
        "homeAddress": {"countryCode": "DE", "_schema": {"latitude": 48.1}},
        "_acme": {"interests": ["shoes"], "scores": {"churn": 3}, "newsletter": False},
    }
    assert level(MEMBERS, member) is None


VALUES_OF_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=9,
)


CHECKS = [rules_of(schema, Switches()).check for schema in (MEMBERS, EVENTS)]


@given(st.dictionaries(NAMES, VALUES_OF_JSON, max_size=4))
def test_whatever_a_row_holds_it_is_good_or_refused(row: dict[str, Any]) -> None:
    for check in CHECKS:
        violation = check(row)
        assert violation is None or violation.path.startswith("/")


def rows(*given: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in given)


GOOD = {"_id": "1"}
SWITCHED: dict[str, Any] = {"enableErrorDiagnostics": True, "partialIngestionPercent": 80}


@pytest.mark.parametrize("array", [False, True])
def test_errors_say_how_many_rows_by_code(caller: Client, array: bool) -> None:
    given = [
        GOOD,
        {"personalEmail": {}},
        {"_acme": {"visits": "many"}},
        {"unknown": 1},
        {"homeAddress": {"countryCode": "Germany"}},
    ]
    body = json.dumps(given, indent=1).encode() if array else rows(*given)
    kind = {"format": "json", "isMultiLineJson": array}
    batch = caller.batch(caller.promoted(body, inputFormat=kind, **SWITCHED))
    assert batch["status"] == "success"
    assert [(error["code"], error.get("recordCount")) for error in batch["errors"]] == [
        ("INGEST-1212-400", None),
        ("SIMULATED-2002-400", 2),
        ("INGEST-1555-400", 1),
        ("SIMULATED-2003-400", 1),
    ]
    assert batch["errors"][2]["description"].startswith("A required field is either missing")
    counted = ("inputRecordCount", "outputRecordCount", "failedRecordCount")
    assert [batch["metrics"][name] for name in counted] == [5, 1, 4]
    listed = caller.call("GET", f"{EXPORT}/{batch_id(caller)}/meta?path=row_errors").json()["data"]
    assert {one["name"] for one in listed} == {
        "conversion_errors_0.json",
        "validation_errors_0.json",
    }
    told = caller.call(
        "GET", f"{EXPORT}/{batch_id(caller)}/meta?path=row_errors/validation_errors_0.json"
    )
    first = json.loads(told.body.splitlines()[0])
    assert first["_errors"][0]["code"] == "1555"
    assert "/personalEmail/address" in first["_errors"][0]["message"]


def batch_id(caller: Client) -> str:
    return caller.simulator.batches()[-1].id


def test_more_bad_rows_than_the_percentage_fail_the_batch(caller: Client) -> None:
    batch = caller.promoted(rows(GOOD, {"unknown": 1}))
    assert (caller.status(batch), caller.codes(batch)) == ("failed", ["INGEST-1211-400"])


def test_a_type_that_can_never_be_the_fields_fails_the_batch(caller: Client) -> None:
    body = rows(*[GOOD] * 99, {"person": {"name": {"firstName": True}}})
    batch = caller.promoted(body, **SWITCHED)
    [error] = caller.batch(batch)["errors"]
    assert error["code"].startswith("SIMULATED-")
    assert error["description"] == (
        "TypeCompatibilityException: /person/name/firstName: Boolean cannot become string"
    )
    caller.simulator.switches.change(incompatible="row", incompatible_code="INGEST-1554-400")
    batch = caller.promoted(body, **SWITCHED)
    assert caller.status(batch) == "success"
    assert caller.codes(batch) == ["INGEST-1212-400", "INGEST-1554-400"]


def test_csv_is_for_ad_hoc_schemas(caller: Client) -> None:
    csv: dict[str, Any] = {"inputFormat": {"format": "csv"}}
    body = b"sku,price\na,not a number\n"
    assert caller.status(caller.promoted(body, dataset=PRODUCTS, **csv)) == "success"
    refused = caller.promoted(body, **csv)
    [error] = caller.batch(refused)["errors"]
    assert (caller.status(refused), "ad-hoc" in error["description"]) == ("failed", True)
    caller.simulator.switches.change(csv_to_xdm="accepted")
    assert caller.status(caller.promoted(body, **csv)) == "success"


def test_where_rows_are_not_validated(caller: Client) -> None:
    seed, body = caller.seed, rows({"unknown": 1})
    assert caller.status(caller.promoted(body, dataset=CLICKS)) == "failed"
    tags = {"acp_validationContext": ["disabled"]}
    caller.simulator.add_dataset(
        seed.ims_org, "prod", CLICKS, "clicks", tags=tags, schema=EVENTS["$id"]
    )
    assert caller.status(caller.promoted(body, dataset=CLICKS)) == "success"
    caller.simulator.switches.change(row_validation="disabled")
    assert caller.status(caller.promoted(body)) == "success"


def test_a_field_that_becomes_required_fails_what_was_good_before(caller: Client) -> None:
    assert caller.status(caller.promoted(rows({"personID": "1"}))) == "success"
    caller.simulator.add_schema(caller.seed.ims_org, "prod", {**MEMBERS, "required": ["_id"]})
    assert caller.status(caller.promoted(rows({"personID": "1"}))) == "failed"


def test_a_mapping_set_maps_the_rows_of_a_batch(caller: Client) -> None:
    def ended(set_id: str, version: str = "0") -> str:
        tag = [f"mapping-set-id:{set_id}", f"mapping-set-version:{version}"]
        batch = caller.promoted(rows({"id": "1"}), tags={"aep_sip_mapper": tag})
        assert caller.batch(batch)["tags"]["aep_sip_mapper"] == tag
        return ",".join(caller.codes(batch)) or caller.status(batch)

    made = caller.call("POST", MAPPING, SET).json()["id"]
    assert [ended(made), ended(made, "1"), ended("nothing")] == [
        "success",
        "MAPPER-3700-400",
        "MAPPER-3700-400",
    ]


def test_codes_that_adobe_does_not_document_are_told_from_its_own(caller: Client) -> None:
    url = "/data/foundation/import/batches"
    told = [
        caller.call("POST", url, {"datasetId": "nothing"}),
        caller.call("POST", f"{url}/nothing?action=COMPLETE"),
        caller.call("POST", url, {"datasetId": LOYALTY}, x_sandbox_name="nothing"),
        caller.call("POST", url, {}),
    ]
    codes = [answer.json()["type"].rpartition("/")[2] for answer in told]
    assert all(code.startswith("SIMULATED-") for code in codes)
    assert len(set(codes)) == 4


def test_the_sample_files_fit_the_datasets_they_go_to(caller: Client) -> None:
    """But for the corrupt row that one of them is sent for."""
    samples = json.loads((ROOT / "local/samples/samples.json").read_text())["objects"]
    for sample_of in samples:
        expected = sample_of["expect"]
        if "file" not in sample_of or "datasetId" not in expected:
            continue
        body = (ROOT / "local/samples" / sample_of.get("becomes", sample_of["file"])).read_bytes()
        if body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        kind = expected["inputFormat"]
        batch = caller.promoted(
            body, dataset=expected["datasetId"], inputFormat=kind, enableErrorDiagnostics=True
        )
        codes = ["INGEST-1212-400", "INGEST-1401-400"] if "broken" in sample_of["file"] else []
        assert caller.codes(batch) == codes, sample_of["key"]
