"""A deployed stack, as CloudFormation tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


class NotOurs(Exception):
    """A stack that lacks an output ours has; the text names it."""


@dataclass(frozen=True)
class Deployed:
    """A stack's outputs and parameters, by name."""

    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    def output(self, name: str) -> str:
        """The output of that name. Raises NotOurs."""
        if name not in self.outputs:
            raise NotOurs(f"the stack has no output {name}: is it one of aep-intake?")
        return self.outputs[name]

    def listed(self, parameter: str) -> tuple[str, ...]:
        """The items of a parameter that is a list."""
        return tuple(filter(None, self.parameters.get(parameter, "").split(",")))


def deployed(cloudformation: CloudFormationClient, stack: str) -> Deployed:
    """The stack of that name. Raises botocore's ClientError if there is none."""
    (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return Deployed(
        name=stack,
        outputs={item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", ())},
        parameters={
            item["ParameterKey"]: item["ParameterValue"] for item in found.get("Parameters", ())
        },
    )
