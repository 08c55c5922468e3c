"""A deployed stack, as CloudFormation describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from aep_intake_cli.failures import CommandFailed

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


@dataclass(frozen=True)
class Stack:
    """A stack's outputs and parameters, by name."""

    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    def output(self, name: str) -> str:
        """The output of that name. Raises CommandFailed."""
        if name not in self.outputs:
            raise CommandFailed(
                f"stack {self.name} has no output {name}: is it a stack of aep-intake?"
            )
        return self.outputs[name]

    @property
    def delivers(self) -> bool:
        """Whether it fills the batches itself."""
        return self.parameters.get("DeliverBatches") != "false"

    def list_parameter(self, name: str) -> tuple[str, ...]:
        """The items of a parameter that is a list."""
        return tuple(filter(None, self.parameters.get(name, "").split(",")))


def describe_stack(cloudformation: CloudFormationClient, name: str) -> Stack:
    """Read the stack of that name. Raises CommandFailed if there is none, and botocore's errors."""
    try:
        (found,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        # CloudFormation has no error code of its own for it.
        if "does not exist" not in str(error):
            raise
        region = cloudformation.meta.region_name
        raise CommandFailed(
            f"there is no stack {name} in {region} in the account of your AWS credentials: give "
            "--stack and --region, or --profile for another account"
        ) from error
    return Stack(
        name=name,
        outputs={item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", ())},
        parameters={
            item["ParameterKey"]: item["ParameterValue"] for item in found.get("Parameters", ())
        },
    )
