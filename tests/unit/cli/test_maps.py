"""Maps are compiled for the schemas that AEP has, before their table goes live."""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest
from aep_intake.model.errors import TryAgain
from aep_intake.model.orders import key_of_map
from aep_intake.model.organizations import Organization, Organizations
from aep_intake.routing import routes
from aep_intake_cli import datasets, publishing
from aep_intake_cli.documents import DocumentProblem, DocumentRefused
from aep_intake_cli.routing import maps
from aep_intake_cli.routing.explain import explain
from aep_intake_cli.routing.lint import lint
from aep_intake_cli.stack import Stack
from botocore.exceptions import ClientError

from local.simulator.registry import sample
from local.simulator.seed import CLICKS, LOYALTY
from tests.adobe_world import ARN, World

MAP: dict[str, Any] = {
    "_acme.memberId": "id",
    "_acme.tier": {"from": "tier", "values": {"G": "gold"}, "default": "none"},
    "person.birthDate": {"from": "born", "format": "dd.MM.yyyy"},
}
RULE: dict[str, Any] = {"name": "crm", "match": "crm/*.csv", "datasetId": LOYALTY, "map": MAP}
IGNORED = {"name": "no", "match": "no/**", "ignore": True}


@pytest.fixture
def world() -> World:
    return World()


def table(*rules: dict[str, Any]) -> bytes:
    return json.dumps({"routes": [RULE | rule for rule in rules]}).encode()


def compiled(world: World, *rules: dict[str, Any]) -> maps.CompiledTable:
    organizations = Organizations((Organization(ARN, ("prod", "dev")),))
    document = table(*rules)
    assert lint(document, organizations) == []
    return maps.compile_table(document, world.adobe, world.credentials, organizations)


def test_the_table_names_what_its_maps_were_compiled_to(world: World) -> None:
    again = {"name": "again", "match": "again/*.csv"}
    plain = {"routes": [RULE, RULE | again, IGNORED]}
    organizations = Organizations((Organization(ARN, ("prod", "dev")),))
    found = maps.compile_table(
        json.dumps(plain).encode(), world.adobe, world.credentials, organizations
    )
    assert found.problems == ()
    first, second, ignored = json.loads(found.document)["routes"]
    assert first == RULE | {"compiledMap": first["compiledMap"]}
    assert first["compiledMap"] == second["compiledMap"]
    assert ignored == IGNORED
    assert found.maps.keys() == {first["compiledMap"]}
    assert lint(found.document, organizations) == []
    [text] = found.maps.values()
    assert json.loads(text)["schema"] == {
        "id": "https://ns.adobe.com/acme/schemas/ee56b80adc7e03b8",
        "version": "1.0",
    }


def test_the_table_says_which_datasets_are_looked_up(operator: Any, world: World) -> None:
    """Also without a map; what AEP does not know stays as it is."""
    plain = {"name": "plain", "match": "plain/*.json", "datasetId": LOYALTY}
    rules = [plain, plain | {"name": "gone", "datasetId": "0" * 24}, IGNORED]
    document = json.dumps({"routes": rules}).encode()
    publish = publishing.KINDS["routes"].prepare
    assert publish(operator, document) == document
    schema = json.loads(json.dumps(sample("loyalty-members")))
    schema["meta:class"] = "https://ns.adobe.com/acme/classes/5b1e"
    world.simulator.add_schema(world.seed.ims_org, "prod", schema)
    [first, *others] = json.loads(publish(operator, document))["routes"]
    assert (first, others) == (plain | {"lookup": True}, rules[1:])


def test_a_table_without_maps_does_not_wait_for_an_aep_that_is_down(
    operator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def down(*_: Any) -> Any:
        asked.append(1)
        raise TryAgain("no answer")

    monkeypatch.setattr(datasets, "dataset_of_route", down)
    plain = {"match": "plain/*.json", "datasetId": LOYALTY}
    document = json.dumps({"routes": [plain | {"name": f"r{n}"} for n in range(9)]}).encode()
    assert publishing.KINDS["routes"].prepare(operator, document) == document
    assert len(asked) == 1


def test_who_may_not_ask_aep_publishes_a_table_without_maps(
    operator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue")

    monkeypatch.setattr(datasets, "adobe_clients", denied)
    document = json.dumps({"routes": [IGNORED]}, indent=3).encode()
    assert publishing.KINDS["routes"].prepare(operator, document) == document
    with pytest.raises(ClientError):
        publishing.KINDS["routes"].prepare(operator, table({}))


def test_what_the_schema_says_against_a_map(world: World) -> None:
    wrong = {
        "map": {
            "_acme.memberID": "id",
            "_acme.tier": {"from": "tier", "values": {"G": "golden"}},
            "personalEmail.primary": {"value": True},
        }
    }
    found = compiled(world, wrong)
    told = [(problem.rule, problem.field, problem.text) for problem in found.problems]
    assert [(rule, field) for rule, field, _ in told] == [
        ("crm", "routes[0].map._acme.memberID"),
        ("crm", "routes[0].map._acme.tier"),
        ("crm", "routes[0].map.personalEmail.address"),
        ("crm", "routes[0].map._acme.memberId"),
    ]
    texts = [text for _, _, text in told]
    assert "did you mean `_acme.memberId`" in texts[0]
    assert "it must be one of none, silver, gold, platinum" in texts[1]
    assert "the schema requires it where there is `personalEmail`" in texts[2]
    assert "Profile needs a primary identity, and nothing fills `_acme.memberId`" in texts[3]


def test_events_need_their_id_and_timestamp(world: World) -> None:
    found = compiled(world, {"datasetId": CLICKS, "map": {"eventType": "kind"}})
    fields = [problem.field for problem in found.problems]
    assert {"routes[0].map._id", "routes[0].map.timestamp"} <= set(fields)


def test_a_dataset_that_is_not_there(world: World) -> None:
    [problem] = compiled(world, {"datasetId": "00aa"}).problems
    assert problem.field == "routes[0].map"
    assert problem.text.startswith("the schema of its dataset cannot be read: ")


def test_a_schema_that_nobody_may_read(world: World) -> None:
    world.simulator.switches.change(registry_access="denied")
    [problem] = compiled(world, {}).problems
    assert "View Schemas" in problem.text


@pytest.mark.parametrize(
    ("rule", "field", "text"),
    [
        ({"map": {"a..b": "x"}}, "map.a..b", "is not a path"),
        ({"map": {"a": {"expression": "foo(x)"}}}, "map.a", "its expression has 'foo'"),
        ({"map": {"a": {"from": "x", "as": "date", "format": "DD"}}}, "map.a", "'DD'"),
        ({"map": {"a": {"from": "x", "form": "y"}}}, "map.a.form", "is not known here"),
        ({"map": {"a": {"value": "{b}"}}}, "map.a.value", "`match` has no placeholder {b}"),
        ({"match": "crm/**"}, "map", "needs files of one format"),
        ({"match": "crm/*.parquet"}, "map", "Parquet is not mapped"),
        ({"inputFormat": {"format": "parquet"}}, "map", "Parquet is not mapped"),
        ({"asIs": True}, "asIs", "has no meaning where rows are mapped"),
        ({"match": "{d}/*.csv", "datasetId": "{d}"}, "map", "for the schema of one dataset"),
        ({"compiledMap": "x"}, "compiledMap", "is not of the form"),
    ],
)
def test_what_shows_without_a_schema(rule: dict[str, Any], field: str, text: str) -> None:
    [problem] = lint(table(rule))
    assert problem.field == f"routes[0].{field}"
    assert text in problem.text


def test_a_compiled_map_without_a_map_is_a_mistake() -> None:
    rule = {name: value for name, value in RULE.items() if name != "map"}
    document = json.dumps({"routes": [rule | {"compiledMap": "0" * 64}]}).encode()
    assert lint(document) == [
        DocumentProblem("crm", "routes[0].compiledMap", "is the name of a compiled `map`")
    ]


def test_explain_says_that_files_are_mapped() -> None:
    parsed = routes.parse(table({}), "routes.json")
    [found] = explain(parsed, ["crm/a.csv"])
    assert found.outcome == f"csv, mapped → {LOYALTY} in the default sandbox"


@dataclass
class Operator:
    """Who publishes: with a stack, and a bucket that keeps what is put into it."""

    kept: dict[str, bytes] = field(default_factory=dict)

    @property
    def session(self) -> Any:
        return self

    def client(self, _: str) -> Any:
        return self

    def stack(self) -> Any:
        return Stack("stack", {"StateBucketName": "state"}, {})

    def put_object(self, Bucket: str, Key: str, Body: bytes, **_: str) -> None:
        self.kept[f"{Bucket}/{Key}"] = Body


@pytest.fixture
def operator(world: World, monkeypatch: pytest.MonkeyPatch) -> Operator:
    organizations = Organizations((Organization(ARN, ("prod", "dev")),))
    monkeypatch.setattr(publishing, "organizations_of", lambda *_: organizations)
    monkeypatch.setattr(datasets, "adobe_clients", lambda *_: (world.credentials, world.adobe))
    return Operator()


def test_compiled_maps_are_kept_where_workers_look(operator: Any) -> None:
    published = publishing.KINDS["routes"].prepare(operator, table({}))
    [route] = json.loads(published)["routes"]
    [(key, text)] = operator.kept.items()
    assert key == f"state/{key_of_map(route['compiledMap'])}"
    assert sha256(text).hexdigest() == route["compiledMap"]


def test_nothing_is_kept_of_a_table_that_is_refused(operator: Any) -> None:
    with pytest.raises(DocumentRefused, match=r"did you mean `_acme\.memberId`"):
        publishing.KINDS["routes"].prepare(operator, table({"map": {"_acme.memberid": "a"}}))
    assert operator.kept == {}


def test_a_table_without_maps_goes_live_as_it_was_written(operator: Any) -> None:
    document = json.dumps({"routes": [IGNORED]}, indent=3).encode()
    assert publishing.KINDS["routes"].prepare(operator, document) == document


def test_a_deployment_that_uploads_nothing_takes_no_maps() -> None:
    [problem] = lint(table({}), delivers=False)
    assert (problem.field, "DeliverBatches=false" in problem.text) == ("routes[0].map", True)
