"""The layers as their makefiles build them for `sam build`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LAYERS = Path(__file__).resolve().parents[3] / "layers"
# Second word of a .pyc: 1 says that it goes by the source's hash, 2 would be to check that hash.
# https://docs.python.org/3/reference/import.html#pyc-invalidation
UNCHECKED_HASH = 1


def build(layer: str, target: str, artifacts: Path) -> dict[str, bytes]:
    """Content by path of what the makefile leaves in `artifacts`."""
    artifacts.mkdir()
    subprocess.run(
        ["make", "--silent", f"PYTHON={sys.executable}", target],
        cwd=LAYERS / layer,
        env={**os.environ, "ARTIFACTS_DIR": str(artifacts)},
        check=True,
    )
    return {
        str(file.relative_to(artifacts)): file.read_bytes()
        for file in artifacts.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return build("intake", "build-IntakeLayer", tmp_path_factory.mktemp("intake") / "built")


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    where = tmp_path_factory.mktemp("dependencies") / "built"
    return build("dependencies", "build-DependenciesLayer", where)


def assert_compiled(layer: dict[str, bytes]) -> None:
    """Every module has bytecode, of this Python, that Lambda uses whatever the files' times."""
    modules = [name for name in layer if name.endswith(".py")]
    assert modules
    for module in modules:
        folder, _, name = module.rpartition("/")
        bytecode = layer[f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-313.pyc"]
        assert bytecode[:4] == importlib.util.MAGIC_NUMBER, module
        assert int.from_bytes(bytecode[4:8], "little") == UNCHECKED_HASH, module
        assert bytecode[8:16] == importlib.util.source_hash(layer[module]), module
    assert sum(name.endswith(".pyc") for name in layer) == len(modules)


def test_our_code_is_all_there_and_compiled(intake: dict[str, bytes]) -> None:
    assert_compiled(intake)
    source = {
        f"python/{file.relative_to(LAYERS / 'intake')}"
        for file in (LAYERS / "intake/aep_intake").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in intake if not name.endswith(".pyc")} == source


def test_dependencies_are_pure_python_and_compiled(dependencies: dict[str, bytes]) -> None:
    assert_compiled(dependencies)
    packages = {name.split("/")[1] for name in dependencies if "." not in name.split("/")[1]}
    # typing_extensions is a single module. boto3 comes with the runtime.
    assert packages == {
        "__pycache__",
        "aws_lambda_powertools",
        "certifi",
        "charset_normalizer",
        "idna",
        "jmespath",
        "requests",
        "tzdata",
        "urllib3",
    }
    assert "python/tzdata/zoneinfo/Europe/Paris" in dependencies
    assert [name for name in dependencies if name.endswith((".so", ".pyd", ".exe"))] == []


def test_no_address_of_this_machine_is_in_them(
    intake: dict[str, bytes],
    dependencies: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    here = [str(tmp_path_factory.getbasetemp()).encode(), str(LAYERS).encode(), sys.prefix.encode()]
    for name, content in {**intake, **dependencies}.items():
        assert not [path for path in here if path in content], name
    assert (
        b"/opt/python/aep_intake/model/orders.py"
        in intake["python/aep_intake/model/__pycache__/orders.cpython-313.pyc"]
    )


def test_the_same_source_makes_the_same_bytes(
    intake: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anywhere, whatever people have in their environment; else each build were a new version."""
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    monkeypatch.setenv("PYTHONHASHSEED", "1234")
    assert build("intake", "build-IntakeLayer", tmp_path / "again") == intake
