"""What `make` says to whoever forgets an argument, and what it lists."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile, with environments that are ready and whose Python tells what it was given."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    for name in ("bootstrap.sh", "dev.txt"):
        (tmp_path / "requirements" / name).touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()
    return tmp_path


def make(checkout: Path, *arguments: str) -> tuple[int, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=checkout,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["routes"], "TABLE="),
        (["publish-routes"], "TABLE="),
        (["publish-routes", "ARGS=--stack-name x"], "TABLE="),
        (["connect"], "BUCKET="),
    ],
)
def test_what_is_missing_is_said_as_one_types_it(
    checkout: Path, arguments: list[str], says: str
) -> None:
    status, said = make(checkout, *arguments)
    assert status == 2
    assert f"give {says}" in said
    assert "-m tools" not in said


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["routes", "TABLE=t.json"], "-m tools.routes t.json"),
        (["routes", "TABLE=t.json", "KEYS=a b"], "-m tools.routes t.json a b"),
        (["publish-routes", "TABLE=t.json"], "-m tools.publish_routes t.json"),
        (["publish-routes", "ARGS=--rollback"], "-m tools.publish_routes --rollback"),
        (["publish-limits", "DOCUMENT=l.json"], "-m tools.publish_limits l.json"),
        (["publish-limits", "ARGS=--rollback 3"], "-m tools.publish_limits --rollback 3"),
        (["publish-limits", "ARGS=--from-parameters"], "-m tools.publish_limits --from-parameters"),
        (["connect", "BUCKET=b"], "-m tools.connect b"),
        (["connect", "BUCKET=b", "ARGS=--direct"], "-m tools.connect b --direct"),
        (["redrive", "ARGS=--queue rule"], "-m tools.redrive --queue rule"),
    ],
)
def test_what_is_given_is_passed_on(checkout: Path, arguments: list[str], runs: str) -> None:
    status, said = make(checkout, *arguments)
    assert (status, said.split()) == (0, runs.split())


def test_help_lists_every_section_and_what_needs_an_argument(checkout: Path) -> None:
    status, said = make(checkout, "help")
    assert status == 0
    lines = said.splitlines()
    sections = [line for line in lines if not line.startswith(" ") and line]
    assert sections == [
        "on this machine",
        "against a deployed stack (STACK=aep-intake), with your AWS credentials",
        "this checkout",
    ]
    assert any(line.split()[:1] == ["run"] for line in lines)
