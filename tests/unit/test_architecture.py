"""Arrows point inward, and a cold start carries nothing it does not need."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "intake"
CODE = LAYER / "aep_intake"
EDGES = {CODE / f"{name}.py" for name in ("telemetry", "delivery_telemetry", "wiring")}
CORE = sorted(set(CODE.glob("*.py")) - EDGES)
FUNCTIONS = sorted(ROOT.glob("functions/*/on_*.py"))
FORBIDDEN = {"pydantic", "aws_xray_sdk", "fastjsonschema", "jsonschema"}
# Of the layer of dependencies and the runtime; urllib3 comes with requests.
THERE = {"aws_lambda_powertools", "requests", "urllib3", "boto3", "botocore"}


def imports(file: Path) -> set[str]:
    """Every module a file imports, however deep inside."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return names


@pytest.mark.parametrize("file", CORE, ids=lambda file: file.name)
def test_the_core_knows_only_the_standard_library_and_itself(file: Path) -> None:
    for name in imports(file):
        top = name.partition(".")[0]
        assert top in sys.stdlib_module_names or top == "aep_intake", name
        assert not name.startswith(("aep_intake.adapters", "aep_intake.wiring")), name


@pytest.mark.parametrize("file", sorted(CODE.glob("adapters/*.py")), ids=lambda file: file.name)
def test_adapters_do_not_know_what_is_made_of_them(file: Path) -> None:
    assert not {n for n in imports(file) if n.startswith(("aep_intake.wiring", "on_"))}


def test_only_settings_reads_the_environment() -> None:
    readers = [f.name for f in CODE.rglob("*.py") if "os.environ" in f.read_text()]
    assert readers == ["settings.py"]


def test_both_stages_are_looked_at() -> None:
    stages = [file.parent.name for file in FUNCTIONS]
    assert (stages.count("create_batch"), stages.count("deliver_batch")) == (5, 2)
    assert set(FUNCTIONS) == set(ROOT.glob("functions/*/*.py"))


@pytest.mark.parametrize("file", [*FUNCTIONS, *sorted(CODE.rglob("*.py"))], ids=lambda f: f.stem)
def test_nothing_is_imported_that_lambda_does_not_have(file: Path) -> None:
    """Type stubs are, for the type checker alone: no cold start loads them."""
    tops = {name.partition(".")[0] for name in imports(file)}
    beside = {other.stem for other in file.parent.glob("*.py")} if file in FUNCTIONS else set()
    others = tops - sys.stdlib_module_names - THERE - {"aep_intake"} - beside
    assert {top for top in others if not top.startswith("mypy_boto3_")} == set()


@pytest.mark.parametrize("file", FUNCTIONS, ids=lambda file: file.stem)
def test_a_cold_start_imports_nothing_heavy(file: Path, environment: dict[str, str]) -> None:
    code = f"import {file.stem}, sys; print('\\n'.join(sys.modules))"
    path = f"{LAYER}:{file.parent}"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not FORBIDDEN & set(loaded)
    assert [name for name in loaded if name.startswith("mypy_boto3_")] == []
    assert "aep_intake.settings" in loaded
    delivers = file.parent.name == "deliver_batch"
    assert ("aep_intake.delivery" in loaded) is delivers
