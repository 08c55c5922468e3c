"""A deployed stack, as CloudFormation tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import ClientError

from aep_intake_cli.failures import CannotGoOn

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

# For people who wait.
PATIENCE = Config(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 3})


@dataclass(frozen=True)
class Deployed:
    """A stack's outputs and parameters, by name."""

    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    def output(self, name: str) -> str:
        """The output of that name. Raises CannotGoOn."""
        if name not in self.outputs:
            raise CannotGoOn(
                f"{self.name}: the stack has no output {name}: is it one of aep-intake?"
            )
        return self.outputs[name]

    def listed(self, parameter: str) -> tuple[str, ...]:
        """The items of a parameter that is a list."""
        return tuple(filter(None, self.parameters.get(parameter, "").split(",")))


def deployed(cloudformation: CloudFormationClient, stack: str) -> Deployed:
    """The stack of that name. Raises CannotGoOn if there is none, and botocore's errors."""
    try:
        (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        # CloudFormation has no code of its own for it.
        if "does not exist" not in str(error):
            raise
        region = cloudformation.meta.region_name
        raise CannotGoOn(
            f"there is no stack {stack} in {region} in the account of your AWS credentials: give "
            "--stack and --region, or --profile for another account"
        ) from error
    return Deployed(
        name=stack,
        outputs={item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", ())},
        parameters={
            item["ParameterKey"]: item["ParameterValue"] for item in found.get("Parameters", ())
        },
    )
