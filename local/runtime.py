"""AWS's own runtime around what `sam build` made, without a container.

The Runtime Interface Emulator comes in the aws-sam-cli wheel, and runs the runtime's interface
client, `awslambdaric`, as Lambda does: real start, time-out, exit and error behaviour.
`.venv-runtime` stands for what the runtime has installed (boto3 and that client) and has nothing
else, so whatever a function lacks in its build is missing here as well.
"""

import fcntl
import json
import os
import platform
import re
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import requests

from local.aws import Identity
from local.children import Child, ChildFailed, environment
from local.stack import ROOT, LocalStack, relax

AVAILABLE = sys.platform == "linux"
PYTHON = ROOT / ".venv-runtime" / "bin" / "python"
RAPID = ROOT / ".venv-sam" / "lib" / "python3.13" / "site-packages" / "samcli" / "local" / "rapid"
EMULATOR = RAPID / f"aws-lambda-rie-{'arm64' if platform.machine() == 'aarch64' else 'x86_64'}"

FUNCTIONS = ("OnArrival", "OnMarker", "OnRequest", "OnDue", "OnTick")
LAYERS = ("DependenciesLayer", "IntakeLayer")
INSIDE = ROOT / "local" / "bench" / "inside"


@dataclass(frozen=True)
class Function:
    """A function as built and as deployed.

    `code`: its folder, Lambda's /var/task. `layers`: what Lambda has in /opt. `timeout` in seconds.
    `variables` as the template sets them, `statements` of its role.
    """

    code: Path
    layers: tuple[Path, ...]
    handler: str
    timeout: int
    variables: Mapping[str, str]
    statements: tuple[dict[str, object], ...]
    memory_mb: int
    disk_mb: int

    @property
    def path(self) -> str:
        """PYTHONPATH: as on Lambda, what was built comes before what the runtime has."""
        return os.pathsep.join(map(str, (self.code, *self.layers)))

    def with_probe(self) -> Self:
        """The same with `local/bench/inside` on its path, after all its own."""
        return replace(self, layers=(*self.layers, INSIDE))

    def with_resources(self, others: Mapping[str, str]) -> Self:
        """The same with other queues or tables: old name → new, in variables and role alike."""

        def renamed(text: str) -> str:
            for old, new in others.items():
                text = text.replace(old, new)
            return text

        variables = {name: renamed(value) for name, value in self.variables.items()}
        statements = json.loads(renamed(json.dumps(self.statements)))
        return replace(self, variables=variables, statements=tuple(statements))


def copy_of_build(to: Path) -> None:
    """Copy `.aws-sam/build`, so that no import writes bytecode next to what is measured."""
    with (ROOT / ".local" / "build.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        shutil.copytree(ROOT / ".aws-sam" / "build", to)
    relax(to)


def function(stack: LocalStack, name: str, built: Path) -> Function:
    """The function of that logical id (one of FUNCTIONS); `built` by `copy_of_build`."""
    found = stack.aws.functions.get_function_configuration(
        FunctionName=stack.outputs[f"{name}Function"]
    )
    role = found["Role"].rpartition("/")[2]
    policies: list[Any] = [
        stack.aws.iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        for policy in stack.aws.iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    return Function(
        built / name,
        tuple(built / layer / "python" for layer in LAYERS),
        found["Handler"],
        found["Timeout"],
        found["Environment"]["Variables"],
        tuple(statement for policy in policies for statement in policy["Statement"]),
        found["MemorySize"],
        found["EphemeralStorage"]["Size"],
    )


def variables(function: Function, stack: LocalStack, identity: Identity) -> dict[str, str]:
    """The whole environment of the function's process."""
    return environment(
        stack.endpoint,
        path=[],
        more={
            **function.variables,
            **identity.variables(),
            "AWS_CA_BUNDLE": str(stack.authority),
            "AWS_LAMBDA_FUNCTION_NAME": function.handler.partition(".")[0],
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "LAMBDA_TASK_ROOT": str(function.code),
            "PYTHONPATH": function.path,
            # As on Lambda, where /var/task and /opt are read-only.
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )


class Runtime:
    """One worker of a function. A context manager: leaving ends its processes.

    `env` by `variables`; `log` gets what the worker and the emulator write.
    """

    def __init__(
        self, function: Function, *, env: Mapping[str, str], log: Path, handler: str | None = None
    ) -> None:
        self._log = log
        self._timeout = function.timeout
        with ExitStack() as started:
            # Both held at once, so that they differ.
            sockets = [started.enter_context(socket.socket()) for _ in range(2)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            invoke, api = (f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
        self._url = f"http://{invoke}/2015-03-31/functions/function/invocations"
        self._child = Child(
            [
                str(EMULATOR),
                *("--log-level", "info"),  # of the emulator: makes it report the init
                # Both: it listens on every address otherwise.
                *("--runtime-interface-emulator-address", invoke),
                *("--runtime-api-address", api),
                *(str(PYTHON), "-m", "awslambdaric", handler or function.handler),
            ],
            env=env,
            log=log,
            cwd=function.code,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def invoke(self, event: object) -> Any:
        """What the handler returns; the first call starts the worker.

        Raises ChildFailed where the function fails, or the emulator does not answer.
        """
        deadline = time.monotonic() + 10
        with requests.Session() as session:
            session.trust_env = False
            while True:
                try:
                    answer = session.post(self._url, json=event, timeout=self._timeout + 10)
                    break
                except requests.ConnectionError:  # not listening yet
                    if time.monotonic() > deadline or not self._child.running():
                        raise ChildFailed(self._child.tail()) from None
                    time.sleep(0.02)
        found = answer.json() if answer.content else None
        if isinstance(found, dict) and "errorType" in found:
            raise ChildFailed(f"{answer.text}\n{self._child.tail()}")
        return found

    @property
    def init(self) -> float:
        """Milliseconds from starting the worker's process until it asked for its first event."""
        with suppress(StopIteration):
            report = re.finditer(r"INIT REPORT\(durationMs: ([\d.]+)\)", self._log.read_text())
            return float(next(report)[1])
        raise ChildFailed(f"no init was reported\n{self._child.tail()}")

    def tail(self) -> str:
        """The last lines of the log."""
        return self._child.tail()
