"""The command as an operator installs it: built from this checkout, with what it says it needs."""

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path

import pytest
from aep_intake import __version__
from aep_intake.adapters.aws import appconfig
from aep_intake_cli import documents

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Every module of the command, so that none needs what is not there.
ALL_MODULES = (
    "import pkgutil, importlib, aep_intake_cli as ours;"
    "names = [found.name for found in pkgutil.walk_packages(ours.__path__, 'aep_intake_cli.')];"
    "[importlib.import_module(name) for name in names]"
)


def needed(*requirements: str) -> dict[str, metadata.Distribution]:
    """The distributions that these ask for, and all that those ask for, as they are here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(requirements)
    while waiting:
        name, _, marker = waiting.pop().partition(";")
        name = re.split(r"[^\w.-]", name.strip())[0].lower()
        if "extra" not in marker and name not in found and _is_installed(name):
            found[name] = metadata.distribution(name)
            waiting += found[name].requires or ()
    return found


def _is_installed(name: str) -> bool:
    # What another Python or system would need is not.
    return bool(list(metadata.distributions(name=name)))


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`aep-intake` in an environment of nothing but its dependencies, made without network."""
    home = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps"]
    subprocess.run(
        [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(home), str(ROOT)],
        check=True,
    )
    (wheel,) = home.glob("aep_intake-*.whl")
    venv.create(home / "venv")
    python = home / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", *offline, str(wheel)], check=True)
    (packages,) = (home / "venv").glob("lib/python*/site-packages")
    for distribution in needed(*PROJECT["dependencies"]).values():
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            (packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    return home / "venv" / "bin" / "aep-intake"


def run(command: Path, *typed: str, path: str = "") -> subprocess.CompletedProcess[str]:
    aws = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}
    return subprocess.run(
        [command, *typed],
        cwd=command.parent,
        env={"PATH": path, "HOME": str(command.parent), **aws},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_needs_nothing_that_only_the_functions_have() -> None:
    """As `test_it_brings_all_that_it_needs` finds too, but in a moment."""
    without = "import sys; sys.modules['aws_lambda_powertools'] = None;"
    done = subprocess.run(
        [sys.executable, "-c", without + ALL_MODULES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_knows_when_functions_read_what_was_published() -> None:
    assert documents.FRESH_SECONDS == appconfig.FRESH_SECONDS


@pytest.mark.slow
def test_it_brings_all_that_it_needs(command: Path) -> None:
    done = run(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: aep-intake")
    assert run(command, "--version").stdout == f"aep-intake, version {__version__}\n"
    sample = ROOT / "local" / "samples" / "routes.json"
    done = run(command, "routes", "check", str(sample))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{sample}: 11 routes, no problems\n"
    assert json.loads(run(command, "routes", "explain", "--json", str(sample)).stdout)
    done = subprocess.run(
        [command.parent / "python", "-c", ALL_MODULES],
        env={},
        cwd=command.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_aws_it_says_what_it_lacks(command: Path) -> None:
    done = run(command, "doctor")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "Error: You must specify a region: give --region, or set AWS_REGION to the stack's region\n"
    )
    done = run(command, "doctor", "--region", "eu-west-1")
    assert done.returncode == 1
    assert "sign in to AWS" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_shell_can_complete_it(command: Path) -> None:
    done = subprocess.run(
        [command],
        env={"_AEP_INTAKE_COMPLETE": "zsh_source", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "compdef" in done.stdout


def test_what_is_pinned_is_what_it_asks_for() -> None:
    asked = {re.split(r"[^\w-]", text)[0] for text in PROJECT["dependencies"]}
    pinned = (ROOT / "requirements" / "cli.in").read_text()
    assert {line.partition("==")[0] for line in pinned.splitlines() if "==" in line} == asked
