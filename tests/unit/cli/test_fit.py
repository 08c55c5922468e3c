"""What `routes publish` says of routes whose files do not fit their datasets."""

import json
from typing import Any

import pytest
from aep_intake.model.organizations import Organization, Organizations
from aep_intake.routing import routes
from aep_intake_cli.routing import fit

from local.simulator.registry import sample
from local.simulator.seed import CLICKS, LOYALTY, PRODUCTS, WEB_EVENTS
from local.stack import ROOT
from tests.adobe_world import ARN, World

OTHER = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:other-AbCdEf"


@pytest.fixture
def world() -> World:
    return World()


def said(world: World, *written: dict[str, Any], others: bool = False) -> list[str]:
    known = [Organization(ARN, ("prod", "dev")), *([Organization(OTHER)] if others else [])]
    table = {"routes": [{"name": f"r{n}", "match": "*"} | one for n, one in enumerate(written)]}
    parsed = routes.parse(json.dumps(table), "1")
    return list(fit.misfits(world.adobe, world.credentials, Organizations(tuple(known)), parsed))


def test_csv_for_a_schema_that_is_not_ad_hoc(world: World) -> None:
    [text] = said(world, {"match": "*.csv", "datasetId": LOYALTY})
    assert text == (
        "r0: it sends CSV, which AEP takes for ad-hoc schemas only, and 'Loyalty Members' is none: "
        "give the route a `map`, or send JSON Lines instead, its rows in the shape of the schema "
        "'Loyalty Members' "
        "(`_acme`, `_id`, `_repo`, `createdByBatchID` …)"
    )


def test_a_pattern_that_a_map_does_not_match(world: World) -> None:
    schema = json.loads(json.dumps(sample("loyalty-members")))
    tenant = schema["properties"]["_acme"]["properties"]
    tenant["interests"]["items"]["pattern"] = tenant["memberId"]["pattern"] = "(a+)+$"
    world.simulator.add_schema(world.seed.ims_org, "prod", schema)
    some = {"_acme.memberId": "id", "_acme.interests[0]": "one", "person.name.firstName": "first"}
    [text] = said(world, {"match": "*.csv", "datasetId": LOYALTY, "map": some})
    assert text == (
        "r0: only AEP checks the pattern of `_acme.memberId`, `_acme.interests[0]`: "
        "it could take forever here, or Python does not know it"
    )


@pytest.mark.parametrize(
    ("batch", "advice"),
    [
        ({}, 'it makes one for each object: set "batch": {"window": "6h"}'),
        ({"window": "1h"}, 'one for each 1h, at most 24 a day: set "batch": {"window": "6h"}'),
        ({"marker": "_SUCCESS"}, "one for each _SUCCESS: send files 4 times a day at most"),
        ({"window": "6h"}, None),
    ],
)
def test_a_lookup_dataset_gets_four_batches_a_day(
    world: World, batch: dict[str, str], advice: str | None
) -> None:
    """Which Adobe advises; of other datasets nothing is said here."""
    written = {"match": "*.jsonl", "datasetId": LOYALTY} | ({"batch": batch} if batch else {})
    assert said(world, written) == []
    schema = json.loads(json.dumps(sample("loyalty-members")))
    schema["meta:class"] = "https://ns.adobe.com/acme/classes/5b1e"
    world.simulator.add_schema(world.seed.ims_org, "prod", schema)
    found = said(world, written)
    if advice is None:
        assert found == []
    else:
        [text] = found
        assert text.startswith("r0: its dataset is a lookup (dimension) dataset, for which Adobe")
        assert text.endswith(advice)


def test_a_dataset_that_is_not_there(world: World) -> None:
    by_id, by_name = said(world, {"datasetId": "00aa"}, {"datasetName": "nobody's"})
    assert by_id.startswith("r0: no dataset 00aa in sandbox prod")
    assert by_name.startswith("r1: no datasets called")
    assert "rejected" in by_id


def test_routes_of_which_nothing_can_be_said(world: World) -> None:
    quiet = (
        {"match": "*.csv", "datasetId": WEB_EVENTS},
        {"match": "*.csv", "datasetId": PRODUCTS, "sandbox": "dev"},
        {"match": "*.jsonl", "datasetId": CLICKS},
        {"match": "*.parquet", "datasetId": LOYALTY},
        {"match": "{a}/*.csv", "datasetId": "{a}"},
        {"match": "b/*.csv", "ignore": True},
    )
    assert said(world, *quiet) == []


def test_the_samples_fit(world: World) -> None:
    table = json.loads((ROOT / "local/samples/routes.json").read_text())
    assert said(world, *table["routes"]) == []


def test_what_cannot_be_checked_is_said_once(world: World) -> None:
    world.secrets.others[OTHER] = "no document"
    csv = {"match": "*.csv", "datasetId": LOYALTY, "credential": "other"}
    [text] = said(world, csv, csv | {"name": "again"}, others=True)
    assert text.startswith(f"{fit.NOT_CHECKED} with the credential other-AbCdEf: ")
    world.simulator.switches.change(registry_access="denied")
    [text] = said(world, {"match": "*.csv", "datasetId": LOYALTY})
    assert "View Schemas" in text


def test_a_mapping_set_that_is_not_there(world: World) -> None:
    """With one, AEP maps the rows itself, and whether they fit is not for us to say."""
    gone = {"match": "*.csv", "datasetId": LOYALTY, "mapping": {"set": "nothing"}}
    [text] = said(world, gone)
    assert text.startswith("r0: there is no mapping set nothing, version 0 in sandbox prod")
