"""One deployed stack for all tests of a worker; MiniStack, the simulator and the real SAM CLI."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from aep_intake.model import organizations

from local.aws import Aws
from local.stack import LocalStack

pytest.register_assert_rewrite("tests.stack.scene", "tests.stack.scenarios", "tests.stack.killing")

from tests.stack.scene import HEARD, SAMPLES, heard, keeps_the_contract  # noqa: E402
from tests.stack.written import Answers, leaks, written  # noqa: E402

SETTLE_SECONDS = 2


@pytest.fixture(scope="session")
def answers() -> Iterator[Answers]:
    """What the deployed APIs answer to anybody in this session."""
    kept, call = Answers(), Aws.call

    def remembered(self: Aws, *arguments: Any, **more: Any) -> requests.Response:
        return kept.keep(call(self, *arguments, **more))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Aws, "call", remembered)
        yield kept


@pytest.fixture(scope="session")
def deployed(answers: Answers) -> Iterator[LocalStack]:
    """The stack, with the samples' routes that map nothing. For tests: `stack`.

    After the last test, no event may have broken its contract, and nothing that was written
    anywhere may hold a secret.
    """
    # The pace is for AEP's sake, and has its own tests; here it would only make them slow.
    limits = {"settleSeconds": SETTLE_SECONDS, "batchesPerMinute": 100_000, "batchFiles": 1500}
    # What becomes of batches that are delivered is test_delivery's, and the journal, too.
    parameters = {"DeliverBatches": "false", "JournalDays": "0"}
    with LocalStack(parameters=parameters, limits=limits, seen=heard) as stack:
        table = stack.directory / "routes.json"
        table.write_bytes(SAMPLES)
        stack.publish_routes(table)
        yield stack
        for event in HEARD:
            keeps_the_contract(event)
        assert leaks(written(stack, answers)) == []


@pytest.fixture
def stack(deployed: LocalStack) -> Iterator[LocalStack]:
    """The deployed stack; the simulator's faults and switches are back in place afterwards."""
    switches = deployed.control("GET", "/switches")
    yield deployed
    deployed.control("DELETE", "/faults")
    deployed.control("PATCH", "/switches", switches)


@pytest.fixture
def operator(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which an operator types commands."""
    # What limits may be, as it is deployed here.
    relaxed = stack.layer / "aep_intake" / "model" / "limits.schema.json"
    monkeypatch.setattr(organizations, "SCHEMA", json.loads(relaxed.read_text("utf-8")))
    for name, value in stack.aws.identity.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.aws.endpoint)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(stack.aws.authority))
    monkeypatch.setenv("AEP_INTAKE_STACK", stack.name)
