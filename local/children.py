"""Child processes of the local stack: bound to loopback endpoints, and gone when we are."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

LEASH = Path(__file__).with_name("leash.py")
# HTTPS, as the deployed policies refuse plain HTTP here too.
LOOPBACK = "https://127.0.0.1:"
# What a child needs of this machine. Nothing that could lead to a real account: no AWS_*.
PASSED_ON = ("HOME", "LANG", "LC_ALL", "USER", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
PASSED_ON_PREFIXES = ("PIP_", "UV_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@contextmanager
def ends_with_us() -> Iterator[None]:
    """Being told to end (SIGTERM, SIGHUP) unwinds the stack as Ctrl-C does, meanwhile."""

    def unwind(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, unwind) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class ChildFailed(Exception):
    """A child ended when it should not have, or badly; the message ends with its last words."""


def environment(endpoint: str, *, path: Sequence[Path], more: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a child: `path` first on PATH, AWS at `endpoint` and nowhere else.

    Raises ValueError unless `endpoint` is on loopback: with it unset or wrong, the code under
    test would call real AWS.
    """
    if not endpoint.startswith(LOOPBACK):
        raise ValueError(f"AWS_ENDPOINT_URL must start with {LOOPBACK}, not {endpoint!r}")
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    return {
        **passed,
        "PATH": os.pathsep.join([*map(str, path), os.environ.get("PATH", os.defpath)]),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


class Child:
    """One process with all its offspring. A context manager: leaving ends them.

    command: argv; env: from `environment`; log: file that gets its output.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path):
        if not env.get("AWS_ENDPOINT_URL", "").startswith(LOOPBACK):
            raise ValueError("refusing to start a child that could call real AWS")
        self.name = Path(command[0]).name
        self.log = log
        with log.open("ab") as out:
            self._leash = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LEASH), *command],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we end the child in order
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def running(self) -> bool:
        return self._leash.poll() is None

    def wait(self, timeout: float) -> None:
        """Wait at most `timeout` seconds for a good end. Raises ChildFailed otherwise."""
        try:
            status = self._leash.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"{self.name} took over {timeout:.0f} s\n{self.tail()}") from None
        if status:
            raise ChildFailed(f"{self.name} ended with status {status}\n{self.tail()}")

    def stop(self) -> None:
        """End the process and all its offspring, and wait for that."""
        assert self._leash.stdin
        self._leash.stdin.close()
        self._leash.wait()

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])
