"""Routes against AppConfig: published, read, rolled back; and none goes live that is no good."""

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from aep_intake.adapters.aws.appconfig import FRESH_SECONDS, InForce
from aep_intake.model.errors import RoutesUnavailable
from aep_intake.routing.table import RoutingTable
from aep_intake.wiring.request import ROUTING_TABLE
from aep_intake_cli.command import main
from aep_intake_cli.documents import DocumentRefused, PublishedDocument
from aep_intake_cli.routing.lint import lint
from aep_intake_cli.versions import history

from local.aws import REGION
from local.children import ChildFailed
from local.stack import LocalStack
from tests.stack.scene import SAMPLES


def document(name: str) -> bytes:
    return json.dumps({"routes": [{"name": name, "match": "**", "ignore": True}]}).encode()


@pytest.fixture
def published(stack: LocalStack) -> PublishedDocument:
    """A profile of this test's own, so that the deployed functions keep their routes."""
    client = stack.aws.appconfig
    application = client.create_application(Name=uuid.uuid4().hex)["Id"]
    strategy = client.create_deployment_strategy(
        Name=uuid.uuid4().hex, DeploymentDurationInMinutes=0, GrowthFactor=100, ReplicateTo="NONE"
    )
    return PublishedDocument(
        client,
        application,
        client.create_environment(ApplicationId=application, Name="live")["Id"],
        client.create_configuration_profile(
            ApplicationId=application, Name="routes", LocationUri="hosted"
        )["Id"],
        strategy["Id"],
    )


@pytest.fixture
def worker(stack: LocalStack, published: PublishedDocument) -> Callable[[], InForce[RoutingTable]]:
    """Starts workers to which every table is stale at once."""
    client = boto3.client(
        "appconfigdata",
        region_name=REGION,
        endpoint_url=stack.aws.endpoint,
        verify=str(stack.aws.authority),
        aws_access_key_id=stack.aws.identity.access_key,
        aws_secret_access_key=stack.aws.identity.secret_key,
    )

    def start() -> InForce[RoutingTable]:
        times = iter(range(0, 10**9, FRESH_SECONDS * 1000))
        return InForce(
            client,
            ROUTING_TABLE,
            application=published.application,
            environment=published.environment,
            profile=published.profile,
            now=lambda: next(times),
        )

    return start


def in_force(tables: InForce[RoutingTable]) -> str:
    table = tables.current()
    return f"{table.routes[0].name} {table.version}"


def test_a_worker_follows_what_is_published_and_rolled_back(
    published: PublishedDocument, worker: Callable[[], InForce[RoutingTable]]
) -> None:
    tables = worker()
    with pytest.raises(RoutesUnavailable, match="aep-intake routes publish"):
        tables.current()
    assert published.publish(document("first"), lint) == 1
    assert in_force(tables) == "first v1"
    assert published.publish(document("second"), lint) == 2
    assert in_force(tables) == "second v2"
    assert in_force(tables) == "second v2"
    assert published.roll_back(None, lint) == 1
    assert in_force(tables) == in_force(worker()) == "first v1"
    with pytest.raises(DocumentRefused, match="no earlier version"):
        published.roll_back(None, lint)
    assert published.roll_back(2, lint) == 2
    assert in_force(tables) == "second v2"


def test_publishing_the_same_again_changes_nothing(published: PublishedDocument) -> None:
    assert published.publish(document("same"), lint) == published.publish(document("same"), lint)
    assert published.live_versions() == [1]


def test_a_broken_table_is_not_even_uploaded(published: PublishedDocument) -> None:
    published.publish(document("good"), lint)
    with pytest.raises(DocumentRefused):
        published.publish(b'{"routes": []}', lint)
    hosted = published.client.list_hosted_configuration_versions(
        ApplicationId=published.application, ConfigurationProfileId=published.profile
    )
    assert [item["VersionNumber"] for item in hosted["Items"]] == [1]


def test_a_broken_table_that_got_past_everybody_replaces_no_good_one(
    published: PublishedDocument, worker: Callable[[], InForce[RoutingTable]]
) -> None:
    published.publish(document("good"), lint)
    tables = worker()
    assert in_force(tables) == "good v1"
    published.publish(b"{}", lambda _: [])
    assert in_force(tables) == "good v1"
    with pytest.raises(RoutesUnavailable, match="needs `routes`"):
        worker().current()
    published.publish(document("mended"), lint)
    assert in_force(tables) == "mended v3"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sandbox": "somebody-elses"}, "does not allow sandbox"),
        ({"credential": "somebody-elses"}, "0 credentials named"),
        ({"match": "["}, "nothing closes"),
    ],
)
def test_the_command_refuses_what_the_deployment_cannot_do(
    stack: LocalStack, tmp_path: Path, change: dict[str, str], says: str
) -> None:
    route = {"name": "a", "match": "*", "datasetId": "d"} | change
    table = tmp_path / "routes.json"
    table.write_text(json.dumps({"routes": [route]}))
    with pytest.raises(ChildFailed) as refusal:
        stack.publish_routes(table)
    assert says in str(refusal.value)


def test_the_command_publishes_the_samples_table_once(stack: LocalStack, tmp_path: Path) -> None:
    table = tmp_path / "routes.json"
    table.write_bytes(SAMPLES)
    stack.publish_routes(table)
    # Other files of tests may have published theirs in between.
    told = (stack.directory / "publish.log").read_text().rstrip()
    assert told.startswith("Version 1 of the routes is live.")
    [*_, live] = re.findall(r"^Version (\d+) of the routes is live\.", told, re.MULTILINE)
    assert told.splitlines()[-1] == f"Unchanged: version {live} of the routes is live already."


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published table, as a file where the command is typed."""
    monkeypatch.chdir(tmp_path)
    Path("samples.json").write_bytes(SAMPLES)


@pytest.mark.usefixtures("operator", "samples")
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["rollback", "1"], 0, "Version 1 of the routes is live"),
        (["live"], 0, '"name": "loyalty"'),
        (["history"], 0, "UTC"),
        (["diff", "samples.json"], 0, ""),
        (["diff", "--version", "99"], 1, "there is no version 99"),
        (["rollback"], 1, "no earlier version"),
        (["rollback", "99"], 1, "there is no version 99; these were live: 1"),
        (["rollback", "--stack", "nowhere"], 1, "there is no stack nowhere in eu-west-1"),
        (["publish", "no-such-file.json"], 2, "'no-such-file.json' does not exist"),
    ],
)
def test_the_command_rolls_back_or_says_why_not(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, says: str
) -> None:
    assert main(["routes", *arguments]) == status
    said = capsys.readouterr()
    assert says in (said.err if status else said.out)


def test_who_published_what_is_told(published: PublishedDocument) -> None:
    alice = replace(published, by="user/alice")
    alice.publish(document("first"), lint)
    replace(published, by="assumed-role/Ops/bob").publish(document("second"), lint)
    alice.roll_back(1, lint)
    found = list(history(published, 2))
    assert [(one.version, one.by) for one in found] == [
        (1, "user/alice"),
        (2, "assumed-role/Ops/bob"),
    ]
    assert found[0].at >= found[1].at
