"""`make up`: start everything here, leave it running, and print lines to copy.

A keeper process holds the `LocalStack`; `make down` tells it to end. What other programs need to
know while it runs stands in .local/up.json, readable by its owner alone.
"""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from urllib.parse import quote

from aep_intake_cli.site import Site, of_stack
from rich.console import Console

from local.aws import REGION, Aws, Identity
from local.children import ends_with_us
from local.stack import ROOT, LocalStack

# Another directory, for another stack beside the first.
HOME = Path(os.environ.get("AEP_INTAKE_HOME", ROOT / ".local"))
STATE = HOME / "up.json"
SHELL = HOME / "env"
OPERATOR_SHELL = HOME / "operator-env"
LOG = HOME / "up.log"
LOCK = HOME / "up.lock"
# So that `aep-intake` is the one of this checkout.
OURS_FIRST = f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n'


@dataclass(frozen=True)
class Up:
    """A running stack, for programs that use it."""

    endpoint: str
    authority: str
    api: str
    platform: str
    page: str
    outputs: dict[str, str]
    root: tuple[str, str]
    sender: tuple[str, str]

    def aws(self, identity: tuple[str, str]) -> Aws:
        return Aws(self.endpoint, Path(self.authority), Identity(*identity))


def read() -> Up | None:
    """The running stack; None: there is none."""
    return Up(**json.loads(STATE.read_text("utf-8"))) if keeper() and STATE.exists() else None


def keeper() -> int | None:
    """Process id of the keeper. It holds a lock, so a stale file never names a stranger."""
    if not LOCK.exists():
        return None
    with LOCK.open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read() or 0) or None
    return None


def keep() -> None:
    """Hold a stack until told to end."""
    with ends_with_us(), _locked(), ExitStack() as started:
        stack = started.enter_context(LocalStack(usual_ports=True, say=_say))
        _say("publishing the routes")
        stack.publish_routes(ROOT / "local" / "samples" / "routes.json")
        show = of_stack(stack.operator().dynamodb, stack.outputs["LedgerTable"], stack.name)
        page = started.enter_context(Site(show))
        Thread(target=page.serve_forever, daemon=True).start()
        up = Up(
            stack.endpoint,
            str(stack.authority),
            stack.api,
            stack.platform,
            page.address,
            stack.outputs,
            (stack.aws.identity.access_key, stack.aws.identity.secret_key),
            (stack.sender.identity.access_key, stack.sender.identity.secret_key),
        )
        try:
            _write(SHELL, _exports(up, up.sender))
            _write(OPERATOR_SHELL, _exports(up, up.root) + OURS_FIRST)
            _write(STATE, json.dumps(asdict(up)))
            signal.pause()
        finally:
            for file in (STATE, SHELL, OPERATOR_SHELL):
                file.unlink(missing_ok=True)


def lines(up: Up) -> str:
    """What to type, printed by `make up`."""
    bucket = up.outputs["LandingBucketName"]
    uri = quote(f"s3://{bucket}/landing/updates/a.jsonl", safe="")
    return f"""\
# in another terminal: watch the events
.venv/bin/python -m local.try_it events

. {_typed(SHELL)}

# a file, and a signed request
aws s3 cp local/samples/members.jsonl s3://{bucket}/landing/loyalty/2026/11/members.jsonl
curl --aws-sigv4 aws:amz:{REGION}:execute-api --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\
  --cacert "$AWS_CA_BUNDLE" -H 'Content-Type: application/json' \\
  -d '{{"datasetId": "5c8c3c555033b814b69f947f"}}' {up.api}/batches

# the same, if you have no aws command or an old curl
.venv/bin/python -m local.try_it put local/samples/members.jsonl landing/loyalty/2026/11/a.jsonl
.venv/bin/python -m local.try_it call POST /batches '{{"datasetId": "5c8c3c555033b814b69f947f"}}'

# a file that shares a batch with others of the same minute; then ask where it is
.venv/bin/python -m local.try_it put local/samples/members.jsonl landing/updates/a.jsonl
.venv/bin/python -m local.try_it call GET '/objects?uri={uri}'

# batches in the AEP simulator, and the requests it received
curl {up.platform}/_control/batches
curl {up.platform}/_control/requests

# in another terminal: the operator's commands
. {_typed(OPERATOR_SHELL)}
aep-intake doctor
aep-intake parked
aep-intake routes publish local/samples/routes.json

# stop everything
make down

# in a browser: the page of the dashboard, and the control of the AEP simulator
{up.page}
{up.platform}/_control/"""


def _typed(path: Path) -> str:
    # With a slash: the shell looks for a name without one on PATH.
    return f"./{path.relative_to(ROOT, walk_up=True)}"


def main() -> int:
    console = Console()
    up = read()
    if up is None:
        HOME.mkdir(parents=True, exist_ok=True)
        with LOG.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "local.up", "--keep"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            up = _wait(process, console)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            return 130
    if up is None:
        console.print(LOG.read_text("utf-8"), style="red", markup=False)
        return 1
    # Plain, so that long lines stay whole for copying.
    print(lines(up))
    return 0


def _wait(process: subprocess.Popen[bytes], console: Console) -> Up | None:
    with console.status("starting") as status:
        while process.poll() is None:
            if up := read():
                return up
            if steps := LOG.read_text("utf-8").splitlines():
                status.update(f"{steps[-1]} …")
            time.sleep(0.1)
    return None


@contextmanager
def _locked() -> Iterator[None]:
    with LOCK.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _exports(up: Up, identity: tuple[str, str]) -> str:
    variables = {
        **Identity(*identity).variables(),
        "AWS_ENDPOINT_URL": up.endpoint,
        "AWS_CA_BUNDLE": up.authority,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    # Settings for a real account must not get in the way.
    theirs = "AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN AEP_INTAKE_STACK"
    return "".join([f"unset {theirs}\n", *exports])


def _write(path: Path, text: str) -> None:
    """Write the whole file at once, readable by its owner only."""
    part = path.with_suffix(".part")
    part.touch(0o600)
    part.write_text(text, "utf-8")
    part.replace(path)


def _say(step: str) -> None:
    print(step, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--keep"]:
        keep()
    else:
        sys.exit(main())
