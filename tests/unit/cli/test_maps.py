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
from aep_intake_cli.routing.compiling import CompiledTable, compile_table
from aep_intake_cli.routing.explain import explain
from aep_intake_cli.routing.lint import lint
from aep_intake_cli.stack import Stack
from botocore.exceptions import ClientError

from local.simulator.faults import Fault
from local.simulator.registry import sample
from local.simulator.seed import CLICKS, LOYALTY, PROFILES
from tests.adobe_world import ARN, World

MAP: dict[str, Any] = {
    "_acme.memberId": "id",
    "_acme.tier": {"from": "tier", "values": {"G": "gold"}, "default": "none"},
    "person.birthDate": {"from": "born", "format": "dd.MM.yyyy"},
}
ROUTE: dict[str, Any] = {"name": "crm", "match": "crm/*.csv", "datasetId": LOYALTY, "map": MAP}
IGNORED = {"name": "no", "match": "no/**", "ignore": True}


@pytest.fixture
def world() -> World:
    return World()


def table(*written: dict[str, Any]) -> bytes:
    return json.dumps({"routes": [ROUTE | one for one in written]}).encode()


ONE = Organizations((Organization(ARN, ("prod", "dev")),))


def compiled_for(
    world: World, document: bytes, organizations: Organizations = ONE, live: bytes = b""
) -> CompiledTable:
    assert lint(document, organizations) == []
    known = live or b'{"routes": []}'
    return compile_table(document, lambda: known, world.adobe, world.credentials, organizations)


def compiled(world: World, *written: dict[str, Any]) -> CompiledTable:
    return compiled_for(world, table(*written))


def test_the_table_names_what_its_maps_were_compiled_to(world: World) -> None:
    again = {"name": "again", "match": "again/*.csv"}
    plain = {"routes": [ROUTE, ROUTE | again, IGNORED]}
    found = compiled_for(world, json.dumps(plain).encode())
    assert found.problems == ()
    first, second, ignored = json.loads(found.document)["routes"]
    assert first == ROUTE | {"compiledMap": first["compiledMap"]}
    assert first["compiledMap"] == second["compiledMap"]
    assert ignored == IGNORED
    assert found.maps.keys() == {first["compiledMap"]}
    assert lint(found.document, ONE) == []
    [text] = found.maps.values()
    assert json.loads(text)["schema"] == {
        "id": "https://ns.adobe.com/acme/schemas/ee56b80adc7e03b8",
        "version": "1.0",
    }


def test_the_table_says_which_datasets_are_looked_up(operator: Any, world: World) -> None:
    """Also without a map; what AEP does not know stays as it is."""
    plain = {"name": "plain", "match": "plain/*.json", "datasetId": LOYALTY}
    written = [plain, plain | {"name": "gone", "datasetId": "0" * 24}, IGNORED]
    document = json.dumps({"routes": written}).encode()
    assert prepared(operator, document) == document
    look_up(world, "prod")
    [first, *others] = json.loads(prepared(operator, document))["routes"]
    assert (first, others) == (plain | {"lookup": True}, written[1:])


def look_up(world: World, sandbox: str, title: str | None = None) -> None:
    """The datasets `loyalty` and `profiles` of a sandbox are looked up from now on."""
    schema = json.loads(json.dumps(sample("loyalty-members")))
    schema["meta:class"] = "https://ns.adobe.com/acme/classes/5b1e"
    schema |= {"title": title} if title else {}
    world.simulator.add_schema(world.seed.ims_org, sandbox, schema)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"match": "{dataset}/*.json", "datasetName": "{dataset}"}, [LOYALTY, PROFILES]),
        ({"match": "{id}/*.json", "datasetId": "{id}", "sandbox": "dev"}, None),
        ({"match": "{sandbox}/{id}/*.json", "datasetId": "{id}"}, [LOYALTY, PROFILES]),
    ],
)
def test_of_a_dataset_that_depends_on_the_key_the_table_says_what_it_may_be(
    operator: Any, world: World, where: dict[str, Any], found: list[str] | None
) -> None:
    """Its functions know the id of the dataset, and ask nothing more."""
    written = {"name": "any"} | where
    document = json.dumps({"routes": [written]}).encode()
    assert prepared(operator, document) == document
    for number in range(301):  # more than the registry lists at a time
        other = sample("web-events-adhoc") | {"title": f"a {number}"}
        other["$id"] = f"https://ns.adobe.com/acme/schemas/{number:032x}"
        world.simulator.foundation.registry.add_schema(world.seed.ims_org, "prod", other, 0)
    look_up(world, "prod", "z")
    [routed] = json.loads(prepared(operator, document))["routes"]
    assert routed == written | ({"lookup": found} if found else {})
    assert lint(prepared(operator, document)) == []


OTHER = ARN.replace("acme", "other")
BOTH = Organizations((Organization(ARN, ("prod", "dev")), Organization(OTHER, ("prod",))))
THEIRS = ROUTE | {"name": "theirs", "match": "theirs/*.csv", "credential": "other"}
PLAIN = {"name": "plain", "match": "p/*.json", "datasetId": "d", "credential": "other"}
LIVE = {
    "routes": [
        ROUTE | {"compiledMap": "0" * 64},
        THEIRS | {"compiledMap": "1" * 64},
        PLAIN | {"lookup": True},
    ]
}


def test_an_organization_that_does_not_answer_keeps_no_other_from_publishing(
    world: World,
) -> None:
    """Its routes keep what was compiled for them, unless they changed."""
    world.secrets.others[OTHER] = {"client_id": "c"}

    def made(*written: dict[str, Any]) -> CompiledTable:
        document = json.dumps({"routes": written}).encode()
        return compiled_for(world, document, BOTH, json.dumps(LIVE).encode())

    found = made(ROUTE | {"badRows": 1}, THEIRS, PLAIN | {"lookup": False})
    assert found.problems == ()
    ours, *theirs = json.loads(found.document)["routes"]
    assert found.maps.keys() == {ours["compiledMap"]}
    assert theirs == LIVE["routes"][1:]
    [note] = found.notes
    assert "the routes theirs, plain keep what the live table has of them" in note
    assert "other-AbCdEf: " in note
    assert "the secret lacks" in note
    [problem] = made(ROUTE, THEIRS | {"badRows": 1}, PLAIN | {"minRows": 2}).problems
    assert (problem.route, problem.field) == ("theirs", "routes[1].map")
    assert "it is new or changed, and AEP does not say what its dataset holds" in problem.text


@pytest.mark.parametrize("trouble", ["down", "denied"])
def test_what_did_not_change_is_published_while_aep_does_not_answer(
    operator: Any, world: World, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    live = json.loads(prepared(operator, table({})))
    operator.live = json.dumps(live).encode()
    if trouble == "down":
        world.simulator.faults.add(Fault("status", operation="get-schema", count=0))
    else:
        world.simulator.switches.change(registry_access="denied")
    done = publishing.KINDS["routes"].prepare(
        operator, json.dumps({"routes": [ROUTE, IGNORED]}).encode()
    )
    assert json.loads(done.document)["routes"] == [live["routes"][0], IGNORED]
    assert len(done.notes) == 1


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
    assert prepared(operator, document) == document
    assert len(asked) == 1


def test_who_may_not_ask_aep_publishes_a_table_without_maps(
    operator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue")

    monkeypatch.setattr(datasets, "adobe_clients", denied)
    document = json.dumps({"routes": [IGNORED]}, indent=3).encode()
    assert prepared(operator, document) == document
    with pytest.raises(ClientError):
        prepared(operator, table({}))


def test_what_the_schema_says_against_a_map(world: World) -> None:
    wrong = {
        "map": {
            "_acme.memberID": "id",
            "_acme.tier": {"from": "tier", "values": {"G": "golden"}},
            "personalEmail.primary": {"value": True},
        }
    }
    found = compiled(world, wrong)
    told = [(problem.route, problem.field, problem.text) for problem in found.problems]
    assert [(route, field) for route, field, _ in told] == [
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
    ("written", "field", "text"),
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
def test_what_shows_without_a_schema(written: dict[str, Any], field: str, text: str) -> None:
    [problem] = lint(table(written))
    assert problem.field == f"routes[0].{field}"
    assert text in problem.text


def test_a_compiled_map_without_a_map_is_a_mistake() -> None:
    written = {name: value for name, value in ROUTE.items() if name != "map"}
    document = json.dumps({"routes": [written | {"compiledMap": "0" * 64}]}).encode()
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
    live: bytes = b'{"routes": []}'

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
    who = Operator()
    monkeypatch.setattr(publishing, "organizations_of", lambda *_: ONE)
    monkeypatch.setattr(publishing, "_live_table", lambda *_: who.live)
    monkeypatch.setattr(datasets, "adobe_clients", lambda *_: (world.credentials, world.adobe))
    return who


def prepared(who: Any, document: bytes) -> bytes:
    return publishing.KINDS["routes"].prepare(who, document).document


def test_compiled_maps_are_kept_where_workers_look(operator: Any) -> None:
    published = prepared(operator, table({}))
    [route] = json.loads(published)["routes"]
    [(key, text)] = operator.kept.items()
    assert key == f"state/{key_of_map(route['compiledMap'])}"
    assert sha256(text).hexdigest() == route["compiledMap"]


def test_nothing_is_kept_of_a_table_that_is_refused(operator: Any) -> None:
    with pytest.raises(DocumentRefused, match=r"did you mean `_acme\.memberId`"):
        prepared(operator, table({"map": {"_acme.memberid": "a"}}))
    assert operator.kept == {}


def test_a_table_without_maps_goes_live_as_it_was_written(operator: Any) -> None:
    document = json.dumps({"routes": [IGNORED]}, indent=3).encode()
    assert prepared(operator, document) == document


def test_a_deployment_that_uploads_nothing_takes_no_maps() -> None:
    [problem] = lint(table({}), delivers=False)
    assert (problem.field, "DeliverBatches=false" in problem.text) == ("routes[0].map", True)
