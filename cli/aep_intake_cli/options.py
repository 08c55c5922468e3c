"""Options that commands share: a stack and AWS credentials, files, JSON output."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import boto3

    from aep_intake_cli.stack import Stack

DEFAULT_STACK = "aep-intake"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

type Command[R] = Callable[..., R]


_AGE = re.compile(r"([0-9]{1,6})([mhd])")
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _age(text: str) -> int | None:
    found = _AGE.fullmatch(text)
    return None if found is None else int(found[1]) * _UNITS_MS[found[2]]


class Age(click.ParamType[int]):
    """`30m`, `12h` or `2d`, as milliseconds."""

    name = "age"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        age = _age(str(value))
        if age is None:
            self.fail(f"{value!r} is not an age such as 30m, 12h or 2d", param, ctx)
        return age


class Time(click.ParamType[datetime]):
    """A time in ISO 8601, in UTC unless it has an offset; or how long ago it was, as an `Age`."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if (age := _age(str(value))) is not None:
            return datetime.now(UTC) - timedelta(milliseconds=age)
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is not a time such as 2026-11-28T09:00:00Z, or an age such as 12h",
                param,
                ctx,
            )
        return time if time.tzinfo else time.replace(tzinfo=UTC)


class CalendarDay(click.ParamType[datetime]):
    """The begin of a day in UTC, such as 2026-11-28."""

    name = "day"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            return datetime.strptime(str(value), "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            self.fail(f"{value!r} is not a day such as 2026-11-28", param, ctx)


@dataclass(frozen=True)
class Access:
    """The name of a stack, and the operator's AWS credentials; None: the AWS configuration's."""

    stack_name: str = DEFAULT_STACK
    region: str | None = None
    profile: str | None = None

    @cached_property
    def session(self) -> boto3.Session:
        """The operator's AWS session. Raises botocore's ProfileNotFound."""
        import boto3
        from botocore.config import Config
        from botocore.session import get_session

        core = get_session()
        # Seconds; short, since a person waits for the answer.
        timeouts = Config(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 3})
        core.set_default_client_config(timeouts)
        return boto3.Session(
            region_name=self.region, botocore_session=core, profile_name=self.profile
        )

    def stack(self) -> Stack:
        """Read the stack. Raises CommandFailed and botocore's errors."""
        from aep_intake_cli.stack import describe_stack

        return describe_stack(self.session.client("cloudformation"), self.stack_name)


def with_access[R](command: Command[R]) -> Command[R]:
    """Add the options of a command that calls AWS; the command gets an Access as `access`."""
    return _with_access(command, DEFAULT_STACK)


def with_access_if_named[R](command: Command[R]) -> Command[R]:
    """As `with_access`; but without --stack, `access` is None and the command calls no AWS."""
    return _with_access(command, None)


def _with_access[R](command: Command[R], default: str | None) -> Command[R]:
    text = "The stack." if default else "Use what this stack knows; else the command calls no AWS."

    @click.option(
        "--stack",
        envvar="AEP_INTAKE_STACK",
        show_envvar=True,
        default=default,
        show_default=True,
        metavar="NAME",
        help=text,
    )
    @click.option(
        "--region", envvar="AWS_REGION", metavar="REGION", help="The AWS region of the stack."
    )
    @click.option("--profile", metavar="PROFILE", help="A profile of your AWS configuration.")
    @wraps(command)
    def run(stack: str | None, region: str | None, profile: str | None, **arguments: Any) -> R:
        access = Access(stack, region, profile) if stack else None
        return command(access=access, **arguments)

    return run


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
