"""The client of Schema Registry against the simulator, and against undocumented answers."""

import json
from typing import Any

import pytest
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.adapters.adobe.schemas import (
    Identity,
    NoSchema,
    SchemaForbidden,
    SchemaNotFound,
    Schemas,
    SchemaUnavailable,
)
from aep_intake.model.batches import Target
from aep_intake.model.errors import (
    CredentialUnusable,
    DatasetNotFound,
    IntakeError,
    PlatformUnavailable,
)

from local.simulator import Fault
from local.simulator.registry import sample
from local.simulator.seed import CLICKS, CLOSED, LOYALTY, PRODUCTS, SYSTEM
from tests.adobe_world import ARN, LEDGER, PLATFORM, Scripted, World, answer

MEMBERS = sample("loyalty-members")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def schemas(world: World) -> Schemas:
    return Schemas(world.adobe)


def target(world: World, dataset_id: str = LOYALTY, sandbox: str = "prod") -> Target:
    return Target(ARN, world.seed.ims_org, sandbox, dataset_id)


def test_a_datasets_schema_in_full_form(world: World, schemas: Schemas) -> None:
    found = schemas.of_dataset(target(world))
    assert (found.id, found.title, found.version) == (MEMBERS["$id"], "Loyalty Members", "1.0")
    assert found.document["properties"] == MEMBERS["properties"]
    assert found.etag
    assert not found.adhoc
    asked = world.simulator.received[-1].request.headers
    assert asked["accept"] == "application/vnd.adobe.xed-full+json; version=1"
    assert asked["x-sandbox-name"] == "prod"
    assert asked["x-gw-ims-org-id"] == world.seed.ims_org


def test_an_ad_hoc_schema_is_known(world: World, schemas: Schemas) -> None:
    assert schemas.of_dataset(target(world, PRODUCTS)).adhoc


def test_identities_are_those_of_the_schema(world: World, schemas: Schemas) -> None:
    assert schemas.identities(target(world), MEMBERS["$id"]) == (
        Identity("/_acme/memberId", primary=True),
        Identity("/personalEmail/address", primary=False),
    )
    assert schemas.identities(target(world), "https://ns.adobe.com/acme/schemas/0") == ()


def test_what_is_not_there_is_named(world: World, schemas: Schemas) -> None:
    with pytest.raises(DatasetNotFound, match="nothing"):
        schemas.of_dataset(target(world, "nothing"))
    with pytest.raises(NoSchema, match=CLOSED):
        schemas.of_dataset(target(world, CLOSED))
    with pytest.raises(SchemaNotFound, match=r"context/experienceevent.* in sandbox prod"):
        schemas.of_dataset(target(world, SYSTEM))  # a class, where others have a schema
    with pytest.raises(SchemaNotFound, match="version 2"):
        schemas.schema(target(world), MEMBERS["$id"], 2)


@pytest.mark.parametrize("family", ["today", "older"])
def test_both_families_of_errors(world: World, schemas: Schemas, family: str) -> None:
    world.simulator.switches.change(registry_errors=family)
    with pytest.raises(SchemaNotFound):
        schemas.schema(target(world), "https://ns.adobe.com/acme/schemas/0")
    with pytest.raises(SchemaNotFound):
        schemas.schema(target(world), MEMBERS["$id"], 2)


def test_a_credential_that_may_not_view_schemas(world: World, schemas: Schemas) -> None:
    world.simulator.switches.change(registry_access="denied")
    with pytest.raises(SchemaForbidden, match="View Schemas"):
        schemas.of_dataset(target(world, CLICKS))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("gateway", operation="get-schema", code="429050"), PlatformUnavailable),
        (Fault("gateway", operation="get-schema", code="403025", count=2), CredentialUnusable),
        (Fault("status", operation="get-schema", status=503), PlatformUnavailable),
        (Fault("status", operation="get-schema", status=429), PlatformUnavailable),
        (Fault("request-lost", operation="get-schema"), PlatformUnavailable),
        (Fault("status", operation="get-schema", status=400), SchemaUnavailable),
    ],
)
def test_other_failures(
    world: World, schemas: Schemas, fault: Fault, error: type[IntakeError]
) -> None:
    world.simulator.faults.add(fault)
    with pytest.raises(error):
        schemas.of_dataset(target(world))


def scripted(world: World, *bodies: object) -> tuple[Scripted, Schemas]:
    answers = iter(bodies)
    transport = Scripted(lambda _: answer(200, next(answers)))
    session = transport.session()
    adobe = Adobe(session, world.credentials, PLATFORM, lambda: LEDGER, world.clock)
    return transport, Schemas(adobe)


def described(number: int, **changes: object) -> dict[str, object]:
    one = {
        "@type": "xdm:descriptorIdentity",
        "xdm:sourceSchema": "s",
        "xdm:sourceProperty": f"/{number}",
    }
    return one | changes


def test_all_pages_of_descriptors_and_nothing_of_other_schemas(world: World) -> None:
    first = [described(1), described(2, **{"xdm:sourceSchema": "t"}), "nothing"]
    second = [described(3, **{"@type": "xdm:descriptorOneToOne"})]
    second += [described(4, **{"xdm:sourceProperty": ["/4", "/5"]})]
    transport, schemas = scripted(
        world,
        {"results": first, "_page": {"next": "abc"}},
        {"results": second, "_page": {"next": None}},
    )
    found = schemas.identities(target(world), "s")
    assert [one.path for one in found] == ["/1", "/4", "/5"]
    assert "start=abc" in str(transport.asked[1].url)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", json.dumps({"results": {}}).encode()])
def test_answers_that_nobody_documents(world: World, body: bytes) -> None:
    _, schemas = scripted(world, body)
    with pytest.raises(PlatformUnavailable):
        schemas.identities(target(world), "s")


def test_reference_with_another_major_version(world: World) -> None:
    reference: dict[str, Any] = {"id": "https://ns.adobe.com/acme/schemas/1"}
    reference["contentType"] = "application/vnd.adobe.xed-full-notext+json; version=3"
    transport, schemas = scripted(
        world, {LOYALTY: {"schemaRef": reference}}, {"title": "x", "version": "3.2"}
    )
    assert schemas.of_dataset(target(world)).version == "3.2"
    assert "version=3" in transport.asked[1].headers["Accept"]
