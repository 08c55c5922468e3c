"""Schema Registry and mapping sets, as Adobe's pages say they answer."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from local.simulator import Clock, Simulator, seed_defaults
from local.simulator.registry import sample
from local.simulator.seed import CLOSED, LOYALTY, PRODUCTS, SYSTEM
from tests.unit.local_stack.test_simulator import CATALOG, NOW, Caller

REGISTRY = "/data/foundation/schemaregistry"
MAPPING = "/data/foundation/conversion/mappingSets"
FULL = "application/vnd.adobe.xed-full+json; version=1"
MEMBERS, EVENTS = sample("loyalty-members"), sample("web-events")


@pytest.fixture
def caller() -> Caller:
    simulator = Simulator(Clock(NOW))
    return Caller(simulator, seed_defaults(simulator))


def get(caller: Caller, path: str, accept: str | None = FULL, **headers: str) -> Any:
    return caller.call("GET", f"{REGISTRY}/{path}", accept=accept, **headers)


def test_a_dataset_leads_to_its_schema(caller: Caller) -> None:
    def reference(dataset: str) -> Any:
        return caller.call("GET", f"{CATALOG}/dataSets/{dataset}").json()[dataset].get("schemaRef")

    told = reference(LOYALTY)
    assert told == {
        "id": MEMBERS["$id"],
        "contentType": "application/vnd.adobe.xed+json;version=1",
    }
    for one in (told["id"], reference(PRODUCTS)["id"]):
        answer = get(caller, f"tenant/schemas/{quote(one, safe='')}")
        assert (answer.status, answer.json()["$id"]) == (200, one)
    assert reference(CLOSED) is None
    assert reference(SYSTEM)["id"] == "https://ns.adobe.com/xdm/context/experienceevent"


@pytest.mark.parametrize("wanted", [quote(MEMBERS["$id"], safe=""), MEMBERS["meta:altId"]])
@pytest.mark.parametrize("blank", ["", " "])
def test_the_full_form(caller: Caller, wanted: str, blank: str) -> None:
    answer = get(caller, f"tenant/schemas/{wanted}", FULL.replace("; ", f";{blank}"))
    document = answer.json()
    assert {name: document[name] for name in MEMBERS} == MEMBERS
    assert document["imsOrg"] == caller.seed.ims_org
    assert document["meta:registryMetadata"]["eTag"]
    assert answer.headers["Content-Type"] == "application/vnd.adobe.xed-full+json"


def test_other_forms(caller: Caller) -> None:
    def form(name: str) -> Any:
        accept = f"application/vnd.adobe.{name}+json;version=1"
        return get(caller, f"tenant/schemas/{MEMBERS['meta:altId']}", accept).json()

    raw = form("xed")
    assert "properties" not in raw
    assert {"$ref": MEMBERS["meta:class"], "type": "object"} in raw["allOf"]
    assert '"title"' not in json.dumps(form("xed-full-notext"))
    assert form("xed-full-notext")["properties"].keys() == MEMBERS["properties"].keys()
    assert "title" not in form("xed-notext")


@pytest.mark.parametrize(
    ("accept", "status", "code"),
    [
        (None, 400, "XDM-1007-400"),
        ("application/json", 400, "XDM-1007-400"),
        ("application/vnd.adobe.xed-full+json", 400, "XDM-1007-400"),
        ("application/vnd.adobe.xed-id+json; version=1", 400, "XDM-1007-400"),
        ("application/vnd.adobe.xed-full+json; version=2", 406, None),
        ("application/vnd.adobe.xdm-full+json; version=1", 501, None),
    ],
)
def test_wrong_accept_headers_of_a_lookup(
    caller: Caller, accept: str | None, status: int, code: str | None
) -> None:
    answer = get(caller, f"tenant/schemas/{MEMBERS['meta:altId']}", accept)
    assert answer.status == status
    if status == 406:
        assert answer.body == b""
    if code is not None:
        problem = answer.json()
        assert problem["type"] == f"http://ns.adobe.com/aep/errors/{code}"
        assert problem["title"] == "Accept header invalid"
        assert "(Version should be specified)" in problem["detail"]
        assert problem["report"]["timestamp"] == "03-16-2019 00:07:53"


def test_unknown_schemas(caller: Caller) -> None:
    altid = MEMBERS["meta:altId"]
    caller.simulator.add_sandbox(caller.seed.ims_org, "empty")
    for path, headers in (
        ("tenant/schemas/_acme.schemas.nothing", {}),
        (f"global/schemas/{altid}", {}),
        (f"tenant/schemas/{altid}", {"x_sandbox_name": "empty"}),
    ):
        answer = get(caller, path, **headers)
        assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")
        assert answer.json()["type"].endswith("/XDM-1012-404")
    assert get(caller, "tenant/classes").status == 501


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("tenant/schemas", "application/vnd.adobe.xed+json"),
        ("tenant/descriptors", "application/vnd.adobe.xdm-v2+json"),
        ("stats", None),
    ],
)
def test_lists_are_also_asked_for_with_a_slash_at_the_end(
    caller: Caller, path: str, accept: str | None
) -> None:
    """As Adobe's Python SDK does."""
    told = get(caller, path, accept)
    again = get(caller, f"{path}/", accept)
    assert (told.status, again.status) == (200, 200)
    assert again.body == told.body


def test_switches_of_errors(caller: Caller) -> None:
    path = f"tenant/schemas/{MEMBERS['meta:altId']}"
    caller.simulator.switches.change(registry_errors="older")
    wrong = (None, FULL.replace("1", "2"), FULL)
    answers = [get(caller, p, a) for p, a in zip([path, path, f"{path}0"], wrong, strict=True)]
    assert [(a.status, a.json()["type"]) for a in answers] == [
        (status, "/placeholder/type/uri") for status in (400, 406, 404)
    ]
    caller.simulator.switches.change(registry_access="denied")
    assert get(caller, path).status == 403
    assert caller.call("GET", f"{CATALOG}/dataSets").status == 200


def test_lists(caller: Caller) -> None:
    accept = "application/vnd.adobe.xed-id+json"

    def listed(query: str = "") -> list[str]:
        return [
            one["title"] for one in get(caller, f"tenant/schemas{query}", accept).json()["results"]
        ]

    whole = get(caller, "tenant/schemas", accept).json()
    assert len(whole["results"]) == whole["_page"]["count"] == 4
    assert whole["results"][0].keys() == {"$id", "meta:altId", "version", "title"}
    assert listed("?property=title==Web%20Events") == ["Web Events"]
    assert listed(f"?property=meta:class=={quote(MEMBERS['meta:class'])}") == ["Loyalty Members"]
    assert len(listed("?property=meta:immutableTags==union")) == 2
    assert len(listed("?property=meta:immutableTags&property=title!=Web%20Events")) == 1
    assert len(listed("?limit=2")) == 4  # a hint, which needs an order
    titles, start = [], ""
    while start is not None:
        page = get(caller, f"tenant/schemas?orderby=title&limit=2&start={quote(start)}", accept)
        titles += [one["title"] for one in page.json()["results"]]
        start = page.json()["_page"]["next"]
    assert titles == ["Loyalty Members", "Products", "Web Events", "Web events as they come"]
    assert get(caller, "tenant/schemas", FULL).json()["type"].endswith("/XDM-1006-400")
    assert get(caller, "global/schemas", accept).json()["results"] == []


def test_descriptors(caller: Caller) -> None:
    def described(form: str, query: str = "") -> Any:
        accept = f"application/vnd.adobe.{form}+json"
        return get(caller, f"tenant/descriptors{query}", accept).json()

    of_events = f"?property=xdm:sourceSchema=={quote(EVENTS['$id'], safe='')}"
    [one] = described("xdm", of_events)["xdm:descriptorIdentity"]
    assert (one["xdm:sourceProperty"], one["xdm:isPrimary"]) == ("/_acme/visitorId", True)
    assert described("xdm-id", of_events) == {"xdm:descriptorIdentity": [one["@id"]]}
    assert described("xdm-link", of_events)["xdm:descriptorIdentity"][0].endswith(one["@id"])
    assert described("xdm-v2", of_events) == {"results": [one], "_page": {"next": None}}
    assert len(described("xdm-v2")["results"]) == 3
    assert get(caller, f"tenant/descriptors/{one['@id']}", None).json() == one
    assert get(caller, "tenant/descriptors/nothing", None).status == 404
    assert described("xed")["type"].endswith("/XDM-1008-400")
    assert get(caller, "stats", None).json()["tenantId"] == "acme"


def test_a_schema_that_changes_has_another_version_and_tag(caller: Caller) -> None:
    path = f"tenant/schemas/{MEMBERS['meta:altId']}"
    before = get(caller, path).json()
    caller.simulator.clock.advance(1000)
    caller.simulator.add_schema(caller.seed.ims_org, "prod", {**MEMBERS, "required": ["_id"]})
    after = get(caller, path).json()
    assert (before["version"], after["version"]) == ("1.0", "1.1")
    old, new = before["meta:registryMetadata"], after["meta:registryMetadata"]
    assert old["eTag"] != new["eTag"]
    assert old["repo:createdDate"] == new["repo:createdDate"] == NOW
    assert get(caller, path, x_sandbox_name="dev").json()["version"] == "1.0"


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "no id"},
        {"$id": "https://ns.adobe.com/acme/schemas/1", "properties": {"a": {"type": "text"}}},
    ],
)
def test_what_is_no_schema(caller: Caller, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\$id|text"):
        caller.simulator.add_schema(caller.seed.ims_org, "prod", wrong)


SET = {
    "outputSchema": {"schemaRef": {"id": MEMBERS["$id"], "contentType": FULL}},
    "mappings": [
        {"sourceType": "ATTRIBUTE", "source": "id", "destination": "_id"},
        {"sourceType": "ATTRIBUTE", "source": "tier", "destination": "_acme.tier"},
    ],
}


def test_mapping_sets(caller: Caller) -> None:
    def post(path: str = "", body: object = SET, method: str = "POST") -> Any:
        return caller.call(method, f"{MAPPING}{path}", body)

    made = post()
    assert (made.status, made.json()["version"]) == (200, 0)
    at = f"/{made.json()['id']}"
    assert caller.call("GET", f"{MAPPING}{at}").json()["mappings"] == SET["mappings"]
    assert post(at, method="PUT").json()["version"] == 1
    assert caller.call("GET", MAPPING).status == 400
    listed = caller.call("GET", f"{MAPPING}?limit=2&start=0").json()
    assert ([one["id"] for one in listed["data"]], listed["_page"]["count"]) == ([at[1:]], 1)
    assert caller.call("GET", f"{MAPPING}/nothing").status == 404
    told = post("/validate", {"mappings": [*SET["mappings"], {"source": "x"}]}).json()
    assert [one["status"] for one in told["validationResponse"]] == ["SUCCESS", "SUCCESS", "FAILED"]
    rows = [{"id": "1", "tier": "gold"}, {"id": "2"}]
    previewed = post("/preview", {"data": rows, "mappingSet": SET}).json()
    assert [one["data"] for one in previewed] == [
        {"_id": "1", "_acme": {"tier": "gold"}},
        {"_id": "2"},
    ]
    assert [one["errors"] for one in previewed] == [None, None]
    wrong: object
    for wrong in ([], {"mappings": "all"}, {"mappings": [1]}):
        assert post(body=wrong).status == 400
