"""What commands have in common: a stack, and whose credentials; files; JSON instead of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import boto3

    from aep_intake_cli.deployed import Deployed

STACK = "aep-intake"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

type Command[R] = Callable[..., R]


@dataclass(frozen=True)
class Access:
    """A stack, and the operator's AWS credentials; None: what the AWS configuration says."""

    stack: str = STACK
    region: str | None = None
    profile: str | None = None

    @cached_property
    def session(self) -> boto3.Session:
        """AWS as the operator. Raises botocore's ProfileNotFound."""
        import boto3

        return boto3.Session(profile_name=self.profile, region_name=self.region)

    def deployed(self) -> Deployed:
        """The stack. Raises CannotGoOn and botocore's errors."""
        from aep_intake_cli.deployed import PATIENCE, deployed

        return deployed(self.session.client("cloudformation", config=PATIENCE), self.stack)


def with_access[R](command: Command[R]) -> Command[R]:
    """The options of a command that asks AWS; it is called with an Access, `access`."""
    return _with_access(command, STACK)


def with_access_if_named[R](command: Command[R]) -> Command[R]:
    """As `with_access`, but nothing is asked unless a stack is named: `access` is None then."""
    return _with_access(command, None)


def _with_access[R](command: Command[R], default: str | None) -> Command[R]:
    which = "The stack." if default else "Ask this stack too; without it nothing is asked of AWS."

    @click.option(
        "--stack",
        envvar="AEP_INTAKE_STACK",
        show_envvar=True,
        default=default,
        show_default=True,
        metavar="NAME",
        help=which,
    )
    @click.option("--region", metavar="REGION", help="The stack's AWS region.")
    @click.option("--profile", metavar="PROFILE", help="A profile of your AWS configuration.")
    @wraps(command)
    def called(stack: str | None, region: str | None, profile: str | None, **given: Any) -> R:
        access = Access(stack, region, profile) if stack else None
        return command(access=access, **given)

    return called


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
