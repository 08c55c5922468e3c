"""One deployed stack for all tests of a worker; MiniStack, the simulator and the real SAM CLI."""

from collections.abc import Iterator

import pytest

from local.stack import ROOT, LocalStack

ROUTES = ROOT / "local" / "samples" / "routes.json"
SETTLE_SECONDS = 2


@pytest.fixture(scope="session")
def deployed() -> Iterator[LocalStack]:
    """The stack, with the routes of local/samples/routes.json. For tests: `stack`."""
    with LocalStack(parameters={"SettleSeconds": str(SETTLE_SECONDS)}) as stack:
        stack.publish_routes(ROUTES)
        yield stack


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
    for name, value in stack.aws.identity.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.aws.endpoint)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(stack.aws.authority))
    monkeypatch.setenv("STACK", stack.name)
