"""What cfn-lint finds in what we hand out, beside the template: see `make check`.

It takes seconds to load: so all of its tests are in one process, and no module imports it.
"""

import importlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from local import policies
from tests.unit.deployed.test_example_consumer import TEMPLATE
from tests.unit.deployed.test_policies import FILLED, NAMES

type Lint = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def lint() -> Lint:
    """What it finds, beyond mere information."""
    lint_all = importlib.import_module("cfnlint.api").lint_all

    def found(text: str) -> list[str]:
        return [str(each) for each in lint_all(text) if each.rule.severity != "informational"]

    return found


def test_the_example_of_a_consumer_is_valid(lint: Lint) -> None:
    assert lint(TEMPLATE) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_is_one_that_iam_takes(name: str, lint: Lint) -> None:
    """6,144 characters are the most; cfn-lint knows the grammar, and all actions there are."""
    document: dict[str, Any] = {
        "Version": "2012-10-17",
        "Statement": policies.statements(name, **FILLED),
    }
    assert len(json.dumps(document, separators=(",", ":"))) <= 6_144
    kind = "AWS::IAM::ManagedPolicy"
    made = {"Resources": {"P": {"Type": kind, "Properties": {"PolicyDocument": document}}}}
    assert lint(json.dumps(made)) == []
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        assert {"Sid", "Effect", "Action", "Resource"} <= set(statement)
