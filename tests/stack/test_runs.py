"""`make run`, `make up` and `make down`, as programs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.stack import ROOT


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
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_run(env: dict[str, str]) -> None:
    said = run("local.run", env=env)
    assert said.count("✗") == 0
    assert said.count("│ ✓") == 12
    assert not list(Path(env["TMPDIR"]).iterdir())


@pytest.mark.parametrize("when", ["starting the AEP simulator", "sam deploy"])
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
        assert process.stdout.read().endswith("interrupted\n")
    assert process.returncode == 130
    assert not list(Path(env["TMPDIR"]).iterdir())


def test_up_and_down(env: dict[str, str]) -> None:
    assert "Nothing is up" in run("local.down", env=env)
    said = run("local.up", env=env)
    assert "aws s3 cp" in said
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
    assert "All is down" in run("local.down", env=env)
    assert not list(Path(env["TMPDIR"]).iterdir())
    assert not (Path(env["AEP_INTAKE_HOME"]) / "up.json").exists()
