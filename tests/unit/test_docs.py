"""The pages say what the code does: names, tables, examples and commands in them are the code's.

`local/docs.py` makes some tables from the code; of those that people write, the first column is
compared with it. A name in code type that neither the code nor the lists below know is a mistake.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import click
import jsonschema
import pytest
from aep_intake.content.dates import EPOCHS
from aep_intake.model import organizations
from aep_intake.report.reasons import REASONS
from aep_intake_cli.routing.lint import lint
from botocore import xform_name
from botocore.validate import ParamValidator

from local import docs

ROOT = docs.ROOT
README = ROOT / "README.md"
each_page = pytest.mark.parametrize("page", docs.PAGES, ids=lambda page: page.name)

FENCED = re.compile(r"^ *```(?P<kind>\w*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
GENERATED = re.compile(r"<!-- table: ([a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)
ROWS = re.compile(r"<!-- rows: ([a-z-]+) -->\n(.*?)<!-- end -->", re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")

# The namespace of our metrics, which is no name of the template's.
THEIRS = {"AepIntake"}
# Names with hyphens that are no reasons: of headers, tools, values in examples.
HYPHENED = {"x-sandbox-name", "x-gw-ims-org-id", "execute-api", "aep-intake", "eu-west-1"}
HYPHENED |= {"not-data"}  # why the metric `Ignored` counted it
# Members of Adobe's and AWS's documents that none of our schemas has.
MEMBERS = {"externalId", "aepStatus", "aepErrorCode", "aepRequestId", "aepError", "replacedBy"}
MEMBERS |= {"supersededBy", "closesAt", "datasetId", "ledgerRestoredAt", "expiresAt", "splitInto"}
MEMBERS |= {"sameAs"}
MEMBERS |= {"identityMap", "minLength", "maxLength"}  # of XDM's, and of its schemas
HYPHENED |= {*EPOCHS, "date-time"}  # formats of dates, and a type
PROGRAMS = {"cd", "sha256sum", "unzip", "curl", "uv", "pipx", "pip"}  # which nothing here asks


def page_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def prose(text: str) -> str:
    """A page without what is made from the code, and without its examples."""
    return FENCED.sub("", GENERATED.sub("", text))


def fenced(page: Path, *kinds: str) -> list[str]:
    found = FENCED.finditer(page.read_text("utf-8"))
    return [one["text"] for one in found if one["kind"] in kinds]


def listed(name: str) -> list[str]:
    """The first column of the table that people write."""
    [text] = [
        table
        for page in docs.PAGES
        for kind, table in ROWS.findall(page_of(str(page)))
        if kind == name
    ]
    return [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]


# -- Tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", docs.FILES, ids=lambda file: file.name)
def test_what_is_made_from_the_code_is_up_to_date(file: Path) -> None:
    assert docs.made(file) == file.read_text("utf-8"), "make docs"


def test_every_table_is_on_one_page() -> None:
    """So every parameter, limit, alarm, event field, problem and right is documented."""
    shown = [name for page in docs.PAGES for name in GENERATED.findall(page_of(str(page)))]
    assert sorted(shown) == sorted(docs.TABLES)


MAIL = "A mail for everything that needs you"
PROFILE = "What Profile makes of a batch"
PARKED = {"batch-failed", "batch-abandoned", "tries-used-up"}  # that no error has as its reason


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("retried", lambda: docs.errors("TryAgain")),
        ("metrics", docs.metrics),
        ("states", docs.states),
    ],
)
def test_tables_that_people_write_name_what_the_code_has(
    table: str, names: Callable[[], Iterable[str]]
) -> None:
    assert len(listed(table)) == len(set(listed(table)))
    assert set(listed(table)) == set(names())


def test_every_reason_of_what_is_parked_is_explained() -> None:
    assert REASONS.keys() == docs.errors("Rejected").keys() | PARKED


def test_alarms_and_the_dashboard_look_at_metrics_that_are_counted() -> None:
    """And so the list of metrics, which is read from the code, misses none of theirs."""
    alarms = docs.resources("AWS::CloudWatch::Alarm").values()
    ours = {alarm["MetricName"] for alarm in alarms if alarm.get("Namespace") == "AepIntake"}
    assert ours
    assert ours <= docs.metrics()


def test_reasons_that_the_samples_of_rejections_name_are_documented() -> None:
    reason = docs.schema("arrival-rejected")["properties"]["reason"]
    assert set(reason["examples"]) <= {*REASONS, *listed("retried")}


def test_every_event_has_its_heading_and_its_schema() -> None:
    text = page_of("docs/events.md")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    told = {name for heading in headings for name in heading.split(", ")} - {"Rules", MAIL, PROFILE}
    titles = [docs.schema(name)["title"] for name in ("batch-created", "arrival-rejected")]
    titles += docs.schema("batch-ended")["title"].split(", ")
    titles += docs.schema("route-expected")["title"].split(", ")
    assert told == docs.detail_types() == set(titles)


# -- Names --------------------------------------------------------------------------------------


@cache
def known() -> set[str]:
    """Every name that the code gives to something."""
    template = docs.template()
    return {
        *template["Parameters"],
        *template["Outputs"],
        *template["Resources"],
        *docs.metrics(),
        *(alarm["MetricName"] for alarm in docs.resources("AWS::CloudWatch::Alarm").values()),
    }


@cache
def members() -> set[str]:
    """Every member of a document that the code describes by a schema."""

    def inside(schema: Any) -> Iterator[str]:
        if isinstance(schema, dict):
            yield from schema.get("properties", {})
            for value in schema.values():
                yield from inside(value)
        if isinstance(schema, list):
            for value in schema:
                yield from inside(value)

    names = ("routes", "limits", "batch-created", "batch-ended", "arrival-rejected", "manifest")
    return {member for name in names for member in inside(docs.schema(name))}


@cache
def kebab() -> set[str]:
    """Every reason, state and problem type."""
    types = {reason for several in docs.statuses().values() for reason in several}
    return {*docs.errors("Rejected"), *docs.errors("TryAgain"), *PARKED, *docs.states(), *types}


def unknown(span: str) -> bool:
    """Whether a text in code type looks like a name of ours, and is none."""
    kinds = (
        (r"([A-Z][a-z]+){2,}", lambda: span in known() | THEIRS),
        (r"[a-z]+(-[a-z0-9]+)+", lambda: span in kebab() | HYPHENED),
        (r"[a-z]+([A-Z][a-z]+)+", lambda: span in members() | MEMBERS),
        (r"(Batch|Arrival|Route|File) [A-Z][a-z]+", lambda: span in docs.detail_types()),
        (r"on_[a-z]+", lambda: list(ROOT.glob(f"functions/*/{span}.py"))),
        (r"make .+", lambda: runs(span)),
        (r"aep-intake (?!--help).+", lambda: intake_command(span)[0]),
    )
    return any(re.fullmatch(pattern, span) and not is_known() for pattern, is_known in kinds)


@each_page
def test_names_in_code_type_are_known(page: Path) -> None:
    spans = CODE.findall(prose(page.read_text("utf-8")))
    assert not [span for span in spans if unknown(span)]


@each_page
def test_files_and_folders_that_are_named_exist(page: Path) -> None:
    tops = {path.name for path in ROOT.iterdir()}
    for span in CODE.findall(prose(page.read_text("utf-8"))):
        path = re.fullmatch(r"[\w./-]+/[\w./-]*", span)
        if path and span.split("/")[0] in tops:
            assert (ROOT / span).exists(), span


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -- Examples -----------------------------------------------------------------------------------


def json_blocks() -> list[Any]:
    return [
        pytest.param(page, text, id=f"{page.name}-{place}")
        for page in docs.PAGES
        for place, text in enumerate(fenced(page, "json"))
    ]


@pytest.mark.parametrize(("page", "text"), json_blocks())
def test_json_in_the_pages_is_what_its_reader_takes(page: Path, text: str) -> None:
    match document := json.loads(text):
        case {"routes": _}:
            assert not lint(text.encode())
        case {"organizations": several}:
            secrets = [one["credential"] for one in several]
            assert organizations.parse(text.encode(), secrets)
        case {"schemaVersion": _}:
            jsonschema.validate(document, docs.schema("batch-created"))
        case {"source": ["aep.intake"], "detail-type": [*names]}:
            assert set(names) <= docs.detail_types()
        case {"Version": "2012-10-17"}:
            assert actions(document) <= actions(docs.resources("AWS::IAM::Role"))
        case {"IncludedObjectVersions": _}:
            shape = "InventoryConfiguration"
            model = botocore.session.get_session().get_service_model("s3").shape_for(shape)
            assert not ParamValidator().validate(document, model).has_errors()
        case _:
            raise AssertionError(f"{page.name} shows JSON that nothing here checks")


def actions(document: Any) -> set[str]:
    """All actions that policies name."""
    found: set[str] = set()
    if isinstance(document, dict):
        said = document.get("Action", [])
        found |= {said} if isinstance(said, str) else set(said)
        document = list(document.values())
    if isinstance(document, list):
        found = found.union(*map(actions, document))
    return found


def commands() -> list[Any]:
    found = []
    for page in docs.PAGES:
        for text in fenced(page, "sh", "bash"):
            for line in text.replace("\\\n", " ").splitlines():
                for command in shlex.join(shlex.split(line, comments=True)).split(" '&&' "):
                    found += [pytest.param(command, id=f"{page.name}: {command[:60]}")]
    return [one for one in found if one.values[0]]


@pytest.mark.parametrize("command", commands())
def test_commands_in_the_pages_can_be_typed(command: str) -> None:
    assert runs(command)


def test_what_cannot_be_typed_is_noticed() -> None:
    for typed in ("doctor --nonsense", "route check x", "routes checks x", "doctor extra"):
        assert not runs(f"aep-intake {typed}"), typed


def runs(command: str) -> bool:
    """Whether a program would take that, as far as can be told without doing it."""
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program, *given = words
    match program:
        case "make":
            return make_knows(*given)
        case "aep-intake":
            return intake_knows(command)
        case "aws":
            return aws_knows(*given)
        case "sam":
            return sam_knows(*given)
    return program in PROGRAMS


def make_knows(target: str, *variables: str) -> bool:
    """Whether `make help` lists the target, and the files that variables name are there."""
    paths = [word.partition("=")[2] for word in variables if "/" in word]
    listed = re.search(rf"^{re.escape(target)}:.*## ", page_of("Makefile"), re.MULTILINE)
    return listed is not None and all((ROOT / path).exists() for path in paths)


def sam_knows(command: str, *given: str) -> bool:
    """Whether it is one of those that the pages explain, with parameters of the template's."""
    named = [word.partition("=")[0] for word in given if re.match(r"[A-Z]\w+=", word)]
    return command in ("build", "deploy", "delete") and all(
        name in docs.template()["Parameters"] for name in named
    )


def intake_knows(typed: str) -> bool:
    """Whether the command exists, takes these options, and as many arguments."""
    command, given = intake_command(typed.partition(" > ")[0])
    if command is None:
        return given == ["--help"]
    try:
        command.make_context("aep-intake", given)
    except click.MissingParameter:
        return False
    except click.BadParameter as bad:  # files need not be there
        return bad.param is not None and isinstance(bad.param.type, click.Path)
    except click.UsageError:
        return False
    return True


def intake_command(typed: str) -> tuple[click.Command | None, list[str]]:
    """The command that this begins with, and what is given to it."""
    program, *words = shlex.split(typed)
    known = docs.commands()
    for length in (2, 1):
        command = known.get(" ".join([program, *words[:length]]))
        if command is not None:
            return command, words[length:]
    return None, words


def aws_knows(service: str, operation: str, *options: str) -> bool:
    """Whether AWS has that operation, with these options; or its command line itself."""
    if f"{service} {operation}" in ("s3 cp", "s3 sync", "cloudformation deploy"):
        return True
    api = botocore.session.get_session().get_service_model(service.removesuffix("api"))
    names = {xform_name(name, "-"): name for name in api.operation_names}
    shape = api.operation_model(names[operation]).input_shape
    takes = {xform_name(name, "-") for name in (shape.members if shape else ())} | {"query"}
    given = {word.removeprefix("--") for word in options if word.startswith("--")}
    return {name.removeprefix("no-") for name in given} <= takes


# -- The README, and numbers --------------------------------------------------------------------


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = README.read_text("utf-8")
    assert len(text.splitlines()) <= 200
    links = {link.partition("#")[0] for link in LINK.findall(text)}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= links


def test_the_readme_shows_what_make_run_sends() -> None:
    samples = page_of("local/samples/samples.json") + page_of("local/samples/routes.json")
    [table] = [text for text in fenced(README, "") if "expected" in text]
    rows = [line.split("│")[1:] for line in table.splitlines() if line.startswith("│")]
    assert rows
    for cell in (row[0].strip() for row in rows):
        # A request's line is its method and its path.
        assert all(json.dumps(part)[1:-1] in samples for part in cell.split(" /")), cell


def test_costs_add_up() -> None:
    text = page_of("docs/cost.md")
    sums = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
        numbers = [
            float(row[-1].strip(" |*")) for row in rows if re.search(r"\d *$", row[-1].strip("*| "))
        ]
        if "**together**" in section:
            *parts, together = numbers
            assert sum(parts) == pytest.approx(together, abs=0.0051)
            sums.append(together)
    assert sums == [10.68, 9.61, 3.82, 0.54, 0.0855, 0.54]
    assert all(f"${total}" in page_of("README.md") for total in sums[:4])
    assert sums[-1] <= 0.70  # a million events of the journal


def test_the_cost_page_counts_the_alarms() -> None:
    alarms = docs.resources("AWS::CloudWatch::Alarm")
    number = len(alarms)
    assert f"{number} alarms ${number / 10:.2f}" in page_of("docs/cost.md")
    delivering = [
        n for n in alarms if docs.template()["Resources"][n].get("Condition") == "Deliver"
    ]
    assert f"there are {len(delivering)} alarms" in page_of("docs/cost.md")


def test_the_longest_name_of_a_stack_is_the_one_that_is_told() -> None:
    """Names of 64 characters are made of the stack's; CloudFormation says so late."""
    text = json.dumps(docs.template()["Resources"], default=str)
    made = re.findall(r'"Name": \{"Fn::Sub": "\$\{AWS::StackName\}([^"]*)"', text)
    assert made
    longest = 64 - max(map(len, made))
    assert f"at most {longest} characters for the stack" in page_of("docs/configuration.md")
