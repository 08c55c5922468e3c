"""Arrows point inward, and a cold start carries nothing it does not need."""

import ast
import gc
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "intake"
CODE = LAYER / "aep_intake"
MODULES = sorted(file for file in CODE.rglob("*.py") if file.name != "__init__.py")
LOCAL = sorted((ROOT / "local").rglob("*.py"))
FUNCTIONS = sorted(ROOT.glob("functions/*/on_*.py"))
FORBIDDEN = {"pydantic", "aws_xray_sdk", "fastjsonschema", "jsonschema"}
FORBIDDEN |= {"zoneinfo", "tzdata"}  # unless a route names a time zone
# Of the layer of dependencies and the runtime; urllib3 comes with requests, jmespath with boto3.
THERE = {"aws_lambda_powertools", "requests", "urllib3", "boto3", "botocore", "jmespath"}
# What the core may have beside the standard library: the language of a map's expressions.
LANGUAGES = {"content/expressions": {"jmespath"}}

CORE = {
    # A room: the rooms of which it may import.
    "model": set[str](),
    "content": {"model"},
    "routing": {"model", "content"},
    "create": {"model"},
    "clock": {"model"},
    "grouping": {"model", "routing", "create", "clock"},
    "delivery": {"model", "content"},
    "arrivals": {"model", "routing", "create", "clock", "grouping"},
}
EDGES = {
    "report": {*CORE},
    "adapters": {*CORE, "report"},
    "wiring": {*CORE, "report", "adapters", "settings"},
    "settings": set[str](),
    "cold_start": set[str](),
}
MAY_IMPORT = CORE | EDGES
# These speak through Powertools; the rest of the report is as pure as the core.
TELEMETRY = {"telemetry.py", "delivery_telemetry.py", "upload_telemetry.py"}


def imports(file: Path) -> set[str]:
    """Every module a file imports, however deep inside."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return names


def room(file: Path) -> str:
    """Where a module of the package lives; `settings` and `cold_start` live in none."""
    return file.relative_to(CODE).parts[0].removesuffix(".py")


NAMES = {".".join(file.relative_to(LAYER).with_suffix("").parts): file for file in MODULES}


@cache
def ours() -> dict[str, set[str]]:
    """Each module of the package, and which others it imports."""
    return {name: imports(file) & NAMES.keys() - {name} for name, file in NAMES.items()}


def test_the_table_names_every_room() -> None:
    assert {room(file) for file in MODULES} == MAY_IMPORT.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_room_imports_only_what_the_table_says(name: str) -> None:
    here = name.split(".")[1]
    there = {other.split(".")[1] for other in ours()[name]} - {here}
    assert there <= MAY_IMPORT[here]


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Not even for the type checker. Raises CycleError, which names the circle."""
    order = list(TopologicalSorter(ours()).static_order())
    assert len(order) == len(MODULES)


def test_no_two_classes_have_one_name() -> None:
    """In the package, the functions and the command: who reads a name knows what it is."""
    names = Counter(
        node.name if isinstance(node, ast.ClassDef) else node.name.id
        for file in (*MODULES, *FUNCTIONS, *(ROOT / "cli").rglob("*.py"))
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef | ast.TypeAlias)
    )
    assert [name for name, n in names.items() if n > 1 and not name.startswith("_")] == []


def test_every_value_says_what_it_is() -> None:
    """Else `dataclasses` says it, by a signature: half a millisecond of a start for each."""
    silent = [
        f"{name}.{node.name}"
        for name, file in NAMES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
        and ast.get_docstring(node) is None
    ]
    assert silent == []


def test_what_runs_on_this_machine_has_no_circle_either() -> None:
    """Of `local/`, where modules name each other in full; so all of the bench."""
    files = {".".join(f.relative_to(ROOT).with_suffix("").parts): f for f in LOCAL}
    files = {name.removesuffix(".__init__"): file for name, file in files.items()}
    arrows = {name: imports(file) & files.keys() - {name} for name, file in files.items()}
    assert "local.bench.workers" in arrows["local.bench.windows"]
    assert len(list(TopologicalSorter(arrows).static_order())) == len(files)


PURE = [f for f in MODULES if room(f) in CORE or (room(f) == "report" and f.name not in TELEMETRY)]


@pytest.mark.parametrize("file", PURE, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_core_knows_only_the_standard_library_and_itself(file: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(file)}
    others = LANGUAGES.get(f"{file.parent.name}/{file.stem}", set[str]())
    assert tops <= sys.stdlib_module_names | {"aep_intake"} | others


@pytest.mark.parametrize(
    "file",
    [f for f in MODULES if room(f) in CORE],
    ids=lambda file: f"{file.parent.name}/{file.stem}",
)
def test_the_core_says_nothing_of_the_table_behind_its_ledger(file: Path) -> None:
    """How much fits into an item or a transaction is for the ledger to say."""
    assert "dynamo" not in file.read_text().lower()


def test_only_settings_reads_the_environment() -> None:
    readers = [file.name for file in MODULES if "os.environ" in file.read_text()]
    assert readers == ["settings.py"]


def test_every_folder_of_functions_is_looked_at() -> None:
    stages = [file.parent.name for file in FUNCTIONS]
    assert (stages.count("create_batch"), stages.count("deliver_batch")) == (5, 2)
    assert stages.count("report") == 3
    assert set(FUNCTIONS) == set(ROOT.glob("functions/*/*.py"))


@pytest.mark.parametrize("file", [*FUNCTIONS, *MODULES], ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_nothing_is_imported_that_lambda_does_not_have(file: Path) -> None:
    """Type stubs are, for the type checker alone: no cold start loads them."""
    tops = {name.partition(".")[0] for name in imports(file)}
    beside = {other.stem for other in file.parent.glob("*.py")} if file in FUNCTIONS else set()
    others = tops - sys.stdlib_module_names - THERE - {"aep_intake"} - beside
    assert {top for top in others if not top.startswith("mypy_boto3_")} == set()


# What a function has no need of; how many of our modules it loads at most.
LEAVES_OUT = {
    "on_arrival": ({"delivery"}, 87),
    "on_marker": ({"delivery"}, 87),
    "on_request": ({"content", "grouping", "delivery"}, 56),
    "on_due": ({"routing", "arrivals", "delivery", "content"}, 58),
    "on_tick": ({"routing", "arrivals", "grouping", "delivery", "content", "create"}, 33),
    "on_delivery": ({"routing", "arrivals", "grouping", "create"}, 65),
    "on_upload": ({"routing", "arrivals", "grouping", "create"}, 72),
    "on_journal": ({*CORE} - {"model"}, 16),
    "on_widget": ({"arrivals", "routing"}, 63),
    "on_reconcile": ({"content", "grouping", "delivery"}, 60),
}


_told: dict[Path, str] = {}


def told_after_import(file: Path, environment: dict[str, str]) -> list[str]:
    """What there is once a function is imported: figures of `gc`, and the names of all modules.

    The figures: how often it looked meanwhile, if it looks from now on, and what it leaves out.
    """
    if file not in _told:
        looks = "sum(each['collections'] for each in gc.get_stats())"
        told = f"{looks} - before, gc.isenabled(), gc.get_freeze_count(), *sys.modules"
        code = f"import gc, sys; before = {looks}; import {file.stem}; print({told})"
        _told[file] = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, "PYTHONPATH": f"{LAYER}:{file.parent}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return _told[file].split()


@pytest.mark.slow
@pytest.mark.parametrize("file", FUNCTIONS, ids=lambda file: file.stem)
def test_nobody_looks_for_garbage_while_a_function_starts_but_afterwards(
    file: Path, environment: dict[str, str]
) -> None:
    """40 looks otherwise, a tenth of the start."""
    looked, enabled, frozen, *_ = told_after_import(file, environment)
    assert int(looked) <= 8  # while what comes before is imported, and the function compiled
    assert enabled == "True"
    assert int(frozen) > 50_000


def test_only_functions_stop_the_garbage_collector() -> None:
    """A process that only imports the package, such as the tests', would keep all its garbage."""
    assert gc.isenabled()
    assert [name for name, others in ours().items() if "aep_intake.cold_start" in others] == []


@pytest.mark.slow
@pytest.mark.parametrize("file", FUNCTIONS, ids=lambda file: file.stem)
def test_a_cold_start_loads_nothing_heavy_and_no_room_it_has_no_need_of(
    file: Path, environment: dict[str, str]
) -> None:
    _, _, _, *loaded = told_after_import(file, environment)
    assert not FORBIDDEN & set(loaded)
    assert [name for name in loaded if name.startswith("mypy_boto3_")] == []
    ours_loaded = [name for name in loaded if name in ours()]
    assert "aep_intake.settings" in ours_loaded
    left_out, at_most = LEAVES_OUT[file.stem]
    assert {name.split(".")[1] for name in ours_loaded} & left_out == set()
    assert len(ours_loaded) <= at_most
