"""The parts of pages and template that follow from the code: `make docs` writes them again.

A generated table stands between `<!-- table: NAME -->` and `<!-- end -->`; TABLES says how each is
made. `tests/unit/test_docs.py` fails where one is out of date, and where a page names something
that the code does not have. In the template, AppConfig's validators have the rules of our schemas,
without the descriptions and hints, which are for people and editors.

    python -m local.docs            say which files are out of date; status 1 if any is
    python -m local.docs --write    write them
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from dataclasses import fields
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from aep_intake import __version__
from aep_intake.adapters.dynamodb import ledger
from aep_intake.model import errors as tree
from aep_intake.model.organizations import Limits
from aep_intake.report import meanings, problems, reasons
from aep_intake.report.states import Word
from aep_intake_cli.command import aep_intake
from aep_intake_cli.probe.questions import QUESTIONS
from samtranslator.yaml_helper import (  # type: ignore[import-untyped]
    intrinsics_multi_constructor,
)
from yaml import CSafeLoader, load  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
# As `yaml_parse` of samtranslator, but in a tenth of the time.
CSafeLoader.add_multi_constructor("!", intrinsics_multi_constructor)
LAYER = ROOT / "layers" / "intake"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FILES = [*PAGES, ROOT / "template.yaml"]

_TABLE = re.compile(r"<!-- table: (?P<name>[a-z-]+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)
# In the template, from `# The rules of FILE …` on: AppConfig's copy of a schema.
_VALIDATOR = re.compile(
    r"(?P<head> +# The rules of (?P<file>\S+) .*\n(?P<indent> +)Content: \|\n)"
    r"(?P<text>(?:(?P=indent) +\S.*\n)+)"
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,"\s]+')
_COLUMNS = 180
_VERSION = re.compile(r'(?<=  Version: {Value: ")[^"]*')
_EVERYWHERE = {"--stack", "--region", "--profile"}
_COMPARISONS = {
    "GreaterThanThreshold": ">",
    "GreaterThanOrEqualToThreshold": "≥",
    "LessThanThreshold": "<",
    "LessThanOrEqualToThreshold": "≤",
}


@cache
def template() -> dict[str, Any]:
    """The template as written, its anchors resolved."""
    parsed: dict[str, Any] = load((ROOT / "template.yaml").read_text("utf-8"), CSafeLoader)
    return parsed


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The properties of the template's resources of one type, by name."""
    found = template()["Resources"].items()
    return {name: one["Properties"] for name, one in found if one["Type"] == kind}


def schema(name: str) -> dict[str, Any]:
    """A JSON Schema of the layer, or of `events/`."""
    [file] = [*LAYER.rglob(f"{name}.schema.json"), *(ROOT / "events").glob(f"{name}.schema.json")]
    read: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return read


def groups() -> dict[str, list[str]]:
    """The names of the template's parameters, as the console groups them."""
    interface = template()["Metadata"].get("AWS::CloudFormation::Interface", {})
    found = {
        one["Label"]["default"]: list(one["Parameters"])
        for one in interface.get("ParameterGroups", ())
    }
    grouped = {name for names in found.values() for name in names}
    return found | {"Others": [n for n in template()["Parameters"] if n not in grouped]}


@cache
def errors(base: str) -> dict[str, type[Exception]]:
    """The errors under `Rejected` or `TryAgain`, by their reason."""
    found: list[type[Exception]] = [getattr(tree, base)]
    for one in found:
        found += one.__subclasses__()
    return {one.reason: one for one in found[1:]}  # type: ignore[attr-defined]


@cache
def statuses() -> dict[int, list[str]]:
    """The problem types that the HTTP endpoint can answer with, by status."""
    found: dict[int, list[str]] = {}
    for reason, error in (errors("Rejected") | errors("TryAgain")).items():
        status = next(s for kind, s in problems.STATUSES.items() if issubclass(error, kind))
        found.setdefault(status, []).append(reason)
    for file in (ROOT / "functions/create_batch/on_request.py", Path(inspect.getfile(problems))):
        for call in _calls(file, {"problem"}):
            match call.args:
                case [ast.Constant(int(status)), ast.Constant(str(reason)), *_]:
                    found.setdefault(status, []).append(reason)
    return {status: sorted(set(reasons)) for status, reasons in sorted(found.items())}


@cache
def metrics() -> set[str]:
    """The names of all metrics that the functions count in."""
    name = re.compile(r"([A-Z][a-z]+){1,4}")
    found: set[str] = set()
    for file in [*LAYER.rglob("*.py"), *ROOT.glob("functions/*/*.py")]:
        text = file.read_text("utf-8")
        for call in _calls(file, {"count", "add_metric", "single_metric", "age"}):
            texts = [node for arg in call.args[:1] for node in ast.walk(arg)]
            found |= {
                t.value for t in texts if isinstance(t, ast.Constant) and isinstance(t.value, str)
            }
        for keyword in re.findall(r'\bage="(\w+)"', text):
            found.add(keyword)
        if "MetricUnit" in text:  # names that are looked up in tables
            for node in ast.walk(ast.parse(text)):
                for value in ast.walk(node) if isinstance(node, ast.Dict) else ():
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        found |= {value.value} if name.fullmatch(value.value) else set()
    return set(filter(name.fullmatch, found))


@cache
def detail_types() -> set[str]:
    """The events that the layer announces."""
    name = re.compile(r"(Batch|Arrival|Route) [A-Z][a-z]+")
    return {
        node.value
        for file in LAYER.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and name.fullmatch(node.value)
    }


def states() -> set[str]:
    """What `GET /objects` and `GET /batches/{id}` say of a version or a batch: its `state`."""
    return {str(word) for word in Word}


def _calls(file: Path, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in names:
                yield node


def commands(of: click.Command = aep_intake, above: str = "") -> dict[str, click.Command]:
    """What can be typed, by its words: `aep-intake routes check`."""
    name = f"{above} {of.name}".strip() if above else "aep-intake"
    if not isinstance(of, click.Group):
        return {name: of}
    return {k: v for one in of.commands.values() for k, v in commands(one, name).items()}


# -- Tables ------------------------------------------------------------------------------------


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _prose(text: str) -> str:
    """Text of the code as Markdown shows it: nothing in it is markup but code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    shown = [
        part if place % 2 else re.sub(r"([*<\[\]])", r"\\\1", part)
        for place, part in enumerate(parts)
    ]
    return "".join(shown).replace("|", "\\|")


def _code(value: object) -> str:
    if value in ("", None):
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`".replace("|", "\\|")


def _parameters() -> str:
    def rows() -> Iterator[tuple[str, ...]]:
        for label, names in groups().items():
            if names:
                yield (f"**{label}**", "", "")
            for name in names:
                one = template()["Parameters"][name]
                yield (f"`{name}`", _code(one.get("Default")), _prose(one["Description"]))

    return _rows(("parameter", "default", "what it decides"), rows())


def _commands() -> str:
    def row(name: str, command: click.Command) -> tuple[str, ...]:
        arguments = [one for one in command.params if isinstance(one, click.Argument)]
        options = [one for one in command.params if isinstance(one, click.Option)]
        usage = " ".join([name, *(one.make_metavar(click.Context(command)) for one in arguments)])
        said = inspect.cleandoc(command.help or "").split("\n\n")[0]
        own = [one.opts[0] for one in options if one.opts[0] not in _EVERYWHERE]
        return (f"`{usage}`", _prose(said), ", ".join(f"`{option}`" for option in own))

    return _rows(
        ("command", "what it does", "options of its own"),
        (row(name, command) for name, command in commands().items()),
    )


def _outputs() -> str:
    found = template()["Outputs"].items()
    return _rows(
        ("output", "what it is"), ((f"`{name}`", _prose(one["Description"])) for name, one in found)
    )


def _routes() -> str:
    route = schema("routes")["properties"]["routes"]["items"]
    return _members(route, "")


def _members(of: Mapping[str, Any], above: str) -> str:
    def rows(of: Mapping[str, Any], above: str) -> Iterator[tuple[str, ...]]:
        for name, one in of["properties"].items():
            values = one.get("enum", ())
            said = _prose(one["description"])
            if len(values) > 1 and not all(f"`{value}`" in said for value in values):
                said += f" One of {', '.join(map(_code, values))}."
            yield (f"`{above}{name}`", said, _code(one.get("default")))
            if "properties" in one:
                yield from rows(one, f"{above}{name}.")

    return _rows(("member", "what it says", "default"), rows(of, above))


def _limits() -> str:
    document = schema("limits")["properties"]
    defaults = {
        re.sub(r"_(.)", lambda found: found[1].upper(), one.name): one.default
        for one in fields(Limits)
    }
    own = document["organizations"]["items"]["properties"]["limits"]["properties"]

    def allowed(one: Mapping[str, Any]) -> str:
        if "enum" in one:
            return ", ".join(map(_code, one["enum"]))
        if one["type"] == "boolean":
            return "`true`, `false`"
        return f"{one['minimum']:,} to {one['maximum']:,}"

    return _rows(
        ("limit", "default", "allowed", "what it bounds"),
        (
            (
                f"`{name}`" + (" ¹" if name in own else ""),
                _code(defaults[name]),
                allowed(one),
                _prose(one["description"]),
            )
            for name, one in document["limits"]["properties"].items()
        ),
    )


def _alarms() -> str:
    return "\n".join(
        f"**{name}**: {_prose(_filled(one['AlarmDescription']))} {_when(one)}\n"
        for name, one in resources("AWS::CloudWatch::Alarm").items()
    )


def _filled(value: Any) -> str:
    """What CloudFormation makes of it, of a stack called STACK."""
    match value:
        case {"Fn::Sub": str(text)}:
            return text.replace("${AWS::StackName}", "STACK")
        case {"Fn::FindInMap": [name, what, unit]}:
            return str(template()["Mappings"][name][what][unit])
    return str(value)


def _when(alarm: Mapping[str, Any]) -> str:
    threshold = _filled(alarm["Threshold"])
    if "Age" in alarm["MetricName"]:  # in seconds
        threshold = _duration(int(threshold))
    times = alarm["EvaluationPeriods"]
    return (
        f"*{alarm['Statistic']} of `{alarm['MetricName']}` ({alarm['Namespace']}) in "
        f"{_duration(alarm['Period'])} {_COMPARISONS[alarm['ComparisonOperator']]} {threshold}"
        + (f", {times} times in a row*" if times > 1 else "*")
    )


def _duration(seconds: int) -> str:
    """`5 minutes`, in the largest unit of which there is a whole number."""
    units = {"day": 86_400, "hour": 3600, "minute": 60}
    unit = next(name for name, length in units.items() if seconds % length == 0)
    number = seconds // units[unit]
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _events(name: str) -> str:
    document = schema(name)

    def rows(of: Mapping[str, Any], above: str) -> Iterator[tuple[str, ...]]:
        for member, one in of["properties"].items():
            always = "always" if not above and member in document["required"] else ""
            kind = one.get("type", "object")
            yield (f"`{above}{member}`", kind, always, _prose(one["description"]))
            inner = one.get("items", one)
            if "properties" in inner:
                yield from rows(inner, f"{above}{member}{'[]' if inner is not one else ''}.")

    return _rows(("field", "type", "there", "what it says"), rows(document, ""))


def _file() -> str:
    one = schema("batch-created")["$defs"]["file"]
    return _rows(
        ("field", "type", "there", "what it says"),
        (
            (
                f"`{name}`",
                member["type"],
                "always" if name in one["required"] else "",
                _prose(member["description"]),
            )
            for name, member in one["properties"].items()
        ),
    )


def _problems() -> str:
    return _rows(
        ("status", "types: the last part of `urn:aep-intake:problem:…`"),
        (
            (str(status), ", ".join(f"`{reason}`" for reason in reasons))
            for status, reasons in statuses().items()
        ),
    )


def _rejected() -> str:
    return _rows(
        ("reason", "what it means", "what to do"),
        (
            (_code(name), _prose(one.means), _prose(one.todo))
            for name, one in reasons.REASONS.items()
        ),
    )


def _adobe_errors() -> str:
    known = {_code(code): one for code, one in meanings.MEANINGS.items()}
    known.update(meanings.PATTERNS)
    return _rows(
        ("AEP's code", "what it means", "what to do", "source"),
        (
            (name, _prose(one.means), _prose(one.todo), _prose(one.source))
            for name, one in known.items()
        ),
    )


def _probe() -> str:
    """The questions of `aep-intake probe`, and each expected answer."""

    def rows() -> Iterator[tuple[str, ...]]:
        for one in QUESTIONS:
            where = f" ({one.only} schemas)" if one.only else ""
            for place, (answer, (verdict, means)) in enumerate(one.expected.items()):
                asks = "" if place else f"{one.asks}{where}"
                yield (asks, answer, str(verdict), _prose(means))

    return _rows(("question", "AEP's answer", "", "what it means"), rows())


def _roles() -> str:
    rights: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    apart = resources("AWS::IAM::Policy").values()
    for name, role in resources("AWS::IAM::Role").items():
        function = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Role")).lower()
        function = {"landing": "the URLs of uploads"}.get(function, function)
        for policy in [*role["Policies"], *(p for p in apart if {"Ref": name} in p["Roles"])]:
            for statement in policy["PolicyDocument"]["Statement"]:
                said = statement.get("Fn::If", ("", statement))[1]
                actions = said["Action"]
                actions = (actions,) if isinstance(actions, str) else tuple(sorted(actions))
                rights.setdefault((said["Sid"], actions), []).append(function)
    return _rows(
        ("right", "actions", "functions"),
        (
            (sid, ", ".join(f"`{action}`" for action in actions), ", ".join(functions))
            for (sid, actions), functions in rights.items()
        ),
    )


def _rooms() -> str:
    """The folders of the package, each below those that it imports from."""
    folders = {path.parent.name: path for path in (LAYER / "aep_intake").glob("*/__init__.py")}
    imported = {
        name: {
            other
            for file in path.parent.rglob("*.py")
            for other in re.findall(r"from aep_intake\.(\w+)", file.read_text("utf-8"))
            if other in folders and other != name
        }
        for name, path in folders.items()
    }
    order = TopologicalSorter({name: sorted(imported[name]) for name in sorted(imported)})
    return _rows(
        ("folder", "what it is about", "imports from"),
        (
            (
                f"`{name}/`",
                _prose(ast.get_docstring(ast.parse(folders[name].read_text("utf-8"))) or ""),
                ", ".join(sorted(imported[name])),
            )
            for name in order.static_order()
        ),
    )


def _ledger() -> str:
    said = inspect.getdoc(ledger) or ""
    return "".join(f"{line}\n" for line in said.splitlines() if line.startswith("|"))


TABLES: Mapping[str, Callable[[], str]] = {
    "probe": _probe,
    "commands": _commands,
    "parameters": _parameters,
    "outputs": _outputs,
    "routes": _routes,
    "limits": _limits,
    "alarms": _alarms,
    "batch-created": lambda: _events("batch-created"),
    "arrival-rejected": lambda: _events("arrival-rejected"),
    "batch-ended": lambda: _events("batch-ended"),
    "route-expected": lambda: _events("route-expected"),
    "file": _file,
    "problems": _problems,
    "rejected": _rejected,
    "adobe-errors": _adobe_errors,
    "rights": _roles,
    "rooms": _rooms,
    "ledger": _ledger,
}


def written(page: str) -> str:
    """A page with its tables as they are now. Raises KeyError of a table that nobody makes."""
    return _TABLE.sub(
        lambda found: f"<!-- table: {found['name']} -->\n{TABLES[found['name']]()}<!-- end -->",
        page,
    )


def rules(schema: Any, *, names: bool = False) -> Any:
    """A schema without what is for people alone. `names`: it is an object of members by name."""
    if isinstance(schema, list):
        return [rules(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: rules(value, names=name == "properties" and not names)
        for name, value in schema.items()
        if names or name not in {"title", "description", "default", "hint"}
    }


def with_rules(template: str) -> str:
    """The template with the rules of the schemas, and the version, as they are now."""

    def replaced(found: re.Match[str]) -> str:
        schema = json.loads((ROOT / found["file"]).read_text("utf-8"))
        indent, lines = found["indent"] + "  ", [""]
        for token in _TOKEN.findall(json.dumps(rules(schema))):
            if len(indent + lines[-1] + token) > _COLUMNS:
                lines.append("")
            lines[-1] += token
        return found["head"] + "".join(f"{indent}{line}\n" for line in lines)

    return _VERSION.sub(__version__, _VALIDATOR.sub(replaced, template))


def made(file: Path) -> str:
    """A page or the template, with the parts that are made from the code as they are now."""
    text = file.read_text("utf-8")
    return written(text) if file.suffix == ".md" else with_rules(text)


def main(typed: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.docs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what is out of date")
    write = parser.parse_args(typed).write
    old = False
    for file in FILES:
        now = made(file)
        if now == file.read_text("utf-8"):
            continue
        old = True
        if write:
            file.write_text(now, "utf-8")
        print(f"{file.relative_to(ROOT)}: {'written' if write else 'out of date'}")
    return int(old and not write)


if __name__ == "__main__":
    sys.exit(main())
