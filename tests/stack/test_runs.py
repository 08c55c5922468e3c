"""`make run`, `make up` and `make down`, as programs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from local.stack import ROOT
from local.up import Up


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    home = str(tmp_path / "home")
    return {**os.environ, "TMPDIR": str(temporary), "AEP_INTAKE_HOME": home, "COLUMNS": "200"}


def run(module: str, *arguments: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=800,  # a busy machine needs minutes to deploy, and a window a minute to close
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_run(env: dict[str, str]) -> None:
    said = run("local.run", env=env)
    assert said.count("✗") == 0
    assert sum("✓" in line and line.endswith("│") for line in said.splitlines()) == 23
    assert said.splitlines()[-1] == "All 23 outcomes are as expected."
    assert "landing/updates/: its batch is made when its window closes, at" in said
    assert "  M500001;Zoë;Müller;28.02.1990;Zoe.Mueller@Example.com;1.234,50;G;Köln\n  → {" in said
    assert '"timestamp":"2026-11-23T07:02:30Z", "eventType":"web.webpagedetails.pageViews"' in said
    assert not list(Path(env["TMPDIR"]).iterdir())


@pytest.mark.parametrize("when", ["starting the simulator of Adobe", "sam deploy"])
def test_an_interrupted_run_leaves_nothing(env: dict[str, str], when: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "local.run"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if when in line or (when == "sam deploy" and "sam build" in line):
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().endswith("Interrupted.\n")
    assert process.returncode == 130
    assert not list(Path(env["TMPDIR"]).iterdir())


OPERATOR = [
    "aep-intake doctor",
    "aep-intake parked",
    "aep-intake routes publish local/samples/routes.json",
]


def typed(line: str, home: Path, env: dict[str, str]) -> str:
    """What an operator sees who types `line`."""
    done = subprocess.run(
        ["sh", "-ec", f". {home}/operator-env; {line}"],
        cwd=ROOT,
        env={name: value for name, value in env.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def look_at_the_page(said: str, up: Up) -> None:
    """In a browser, by the address that is printed last; and as CloudWatch asks for it."""
    page, control = said.splitlines()[-2:]
    assert requests.get(control, timeout=30).ok
    uri = f"s3://{up.outputs['LandingBucketName']}/landing/loyalty/a.jsonl"
    asked = {"view": "file", "uri": uri}
    answer = requests.get(page, asked, timeout=60)
    assert answer.status_code == 200
    assert uri in answer.text
    assert "Dataset" in answer.text, "the ledger knows it"
    assert requests.get(page.replace("127.0.0.1", "localhost"), timeout=30).status_code == 421
    functions = up.aws(up.root).functions
    for event, told in (
        ({"view": "today"}, "Needs attention"),
        (asked, uri),
        ({"view": "all"}, "is one of"),
        ({"describe": True}, "view: today"),
    ):
        called = functions.invoke(
            FunctionName=up.outputs["OnWidgetFunction"], Payload=json.dumps(event)
        )
        shown = json.loads(called["Payload"].read())
        assert isinstance(shown, str), shown
        assert told in shown
        assert "ledger-unavailable" not in shown


def look_at_the_console(home: Path, env: dict[str, str]) -> None:
    """The same page, by the operator's command, until Ctrl-C."""
    line = f". {home}/operator-env; exec {sys.executable} -m aep_intake_cli console"
    with subprocess.Popen(
        ["sh", "-ec", line], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as console:
        assert console.stdout
        assert "until Ctrl-C" in console.stdout.readline()
        assert "Needs attention" in requests.get(console.stdout.readline().strip(), timeout=60).text
        console.send_signal(signal.SIGINT)
    assert console.returncode == 130


@pytest.fixture
def taken_down(env: dict[str, str]) -> Iterator[None]:
    """What a failing test leaves running is taken down all the same."""
    yield
    subprocess.run([sys.executable, "-m", "local.down"], cwd=ROOT, env=env, check=False, timeout=60)


@pytest.mark.usefixtures("taken_down")
def test_up_and_down(env: dict[str, str]) -> None:
    home = Path(env["AEP_INTAKE_HOME"])
    assert "Nothing is running" in run("local.down", env=env)
    said = run("local.up", env=env)
    assert "aws s3 cp" in said
    assert said.index("try_it events") < said.index("aws s3 cp"), "or the events are over"
    assert run("local.up", env=env) == said  # it is up already
    body = '{"datasetId": "5c8c3c555033b814b69f947f"}'
    assert run("local.try_it", "call", "POST", "/batches", body, env=env).startswith("201")
    run("local.try_it", "put", "local/samples/members.jsonl", "landing/loyalty/a.jsonl", env=env)
    with subprocess.Popen(
        [sys.executable, "-m", "local.try_it", "events"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as events:
        assert events.stderr
        assert events.stdout
        assert "listening" in events.stderr.readline()
        run("local.try_it", "call", "POST", "/batches", body, env=env)
        assert events.stdout.readline().startswith("Batch Created")
        events.send_signal(signal.SIGINT)
    look_at_the_page(said, Up(**json.loads((home / "up.json").read_text())))
    look_at_the_console(home, env)
    for line in OPERATOR:
        assert line in said.splitlines()
    # A profile or session of the operator's own must not get in the way.
    theirs = env | {"AWS_PROFILE": "theirs", "AWS_SESSION_TOKEN": "theirs"}
    doctor, parked, publish = (typed(line, home, env=theirs) for line in OPERATOR)
    assert "IMS gives a token" in doctor
    assert "Nothing is parked." in parked
    assert "Unchanged: version 1" in publish
    for name in ("env", "operator-env", "up.json"):
        assert (home / name).stat().st_mode & 0o077 == 0, name
    assert "Everything is stopped" in run("local.down", env=env)
    assert not list(Path(env["TMPDIR"]).iterdir())
    assert {file.name for file in home.iterdir()} == {"up.lock", "up.log"}
