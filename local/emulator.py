"""AWS on this machine: MiniStack, made as strict as the real one, on loopback."""

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import requests
import trustme

from local.aws import REGION, Aws, Identity
from local.children import LOOPBACK, Child, ChildFailed, environment
from local.strict_aws.client import Injector
from local.strict_aws.switches import HOLD_MS, OFF

ROOT = Path(__file__).resolve().parent.parent
ACCOUNT = "111122223333"


class Emulator:
    """A context manager: entering starts it, leaving ends it; what it writes is in `directory`.

    usual_port: is tried first; 0 for none.
    lenient: names of local/strict_aws/switches.py that are off; by default those that STRICT_OFF
    names. hold_ms: how long a transaction holds its items; by default STRICT_HOLD_MS.
    Entering raises ChildFailed where it does not start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        usual_port: int = 0,
        lenient: Iterable[str] | None = None,
        hold_ms: float | None = None,
    ) -> None:
        self.directory = directory
        self._usual_port = usual_port
        self._strictness = {
            OFF: os.environ.get(OFF, "") if lenient is None else ",".join(lenient),
            HOLD_MS: os.environ.get(HOLD_MS, "") if hold_ms is None else str(hold_ms),
        }
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self._cleanup = started
            self._start()
            self._cleanup = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _start(self) -> None:
        root = Identity("AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))
        self.authority = self._certify()
        for port in ports(self._usual_port):
            self.endpoint = f"{LOOPBACK}{port}"
            child = self._cleanup.enter_context(self._child(port, root))
            if answers(child, f"{self.endpoint}/_ministack/health", self.authority):
                self.aws = Aws(self.endpoint, self.authority, root)
                self.faults = Injector(self.endpoint, self.authority)
                return
            child.stop()
        raise ChildFailed(f"MiniStack did not start\n{child.tail()}")

    def _child(self, port: int, root: Identity) -> Child:
        env = environment(
            self.endpoint,
            path=[],
            more={
                **root.variables(),
                **self._strictness,
                "AWS_CA_BUNDLE": str(self.authority),
                "USE_SSL": "1",
                "MINISTACK_SSL_CERT": str(self.directory / "server.pem"),
                "MINISTACK_SSL_KEY": str(self.directory / "server.key"),
                "BIND_HOST": "127.0.0.1",
                "GATEWAY_PORT": str(port),
                "AUTH": "true",
                "SFTP_ENABLED": "0",
                "IOT_MTLS_ENABLED": "0",
                "MINISTACK_REGION": REGION,
                "MINISTACK_ACCOUNT_ID": ACCOUNT,
                "TMPDIR": str(self.directory),
                "S3_DATA_DIR": str(self.directory / "s3"),
                "STATE_DIR": str(self.directory / "state"),
            },
        )
        # As `ministack --detach` starts it; its other way also takes port 443 if it can.
        command = [
            str(ROOT / ".venv-stack/bin/python"),
            *("-m", "hypercorn", "local.strict_aws.app:app", "--workers", "0"),
            *("--bind", f"127.0.0.1:{port}", "--keep-alive", "75"),
            *("--certfile", str(self.directory / "server.pem")),
            *("--keyfile", str(self.directory / "server.key")),
        ]
        return Child(command, env=env, log=self.directory / "ministack.log", cwd=ROOT)

    def _certify(self) -> Path:
        """A certificate for 127.0.0.1 by an authority of this run. Returns the authority's."""
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        certificate.private_key_pem.write_to_path(str(self.directory / "server.key"))
        certificate.cert_chain_pems[0].write_to_path(str(self.directory / "server.pem"))
        trusted = self.directory / "authority.pem"
        authority.cert_pem.write_to_path(str(trusted))
        return trusted

    def identity(self, name: str, statements: list[dict[str, object]]) -> Aws:
        """An IAM user that may do what `statements` allow, and nothing else."""
        self.aws.iam.create_user(UserName=name)
        self.aws.iam.put_user_policy(
            UserName=name,
            PolicyName=name,
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )
        key = self.aws.iam.create_access_key(UserName=name)["AccessKey"]
        return Aws(
            self.endpoint, self.authority, Identity(key["AccessKeyId"], key["SecretAccessKey"])
        )


def ports(usual: int) -> Iterator[int]:
    """The usual port if it is free, then a few that were free a moment ago."""
    for port in (usual, 0, 0):
        free = 0
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free = probe.getsockname()[1]
        if free:
            yield free


def answers(child: Child, url: str, authority: Path | None = None, seconds: float = 20) -> bool:
    """Whether `url` answers before `child` ends; False also when another process took the port."""
    deadline = time.monotonic() + seconds
    with requests.Session() as session:
        session.trust_env = False
        while time.monotonic() < deadline and child.running():
            with contextlib.suppress(requests.RequestException):
                if session.get(url, verify=str(authority) if authority else True, timeout=2).ok:
                    return child.running()
            time.sleep(0.05)
    return False
