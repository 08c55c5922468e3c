"""Check a routing table, and explain which rule each key hits.

    python -m tools.routes TABLE [KEY …]        (make routes TABLE=… KEYS=…)

Without keys, the table's own examples are explained. A key may be `s3://bucket/key`.
Exit status 1 if the table has problems.
"""

import argparse
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from aep_intake import globs, routes
from aep_intake.arrivals import Arrival
from aep_intake.errors import Rejected, TargetNotAllowed
from aep_intake.schemas import faults
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tools.words import several

# A character that no pattern names: what it reaches, a rule catches whatever stands there.
ANYTHING = "\U0010fffd"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a table: in which rule (None: the whole table), at which member."""

    rule: str | None
    field: str
    text: str


def lint(
    document: bytes,
    *,
    sandboxes: Collection[str] = (),
    credentials: Collection[str] = (),
) -> list[Problem]:
    """Everything wrong with `document`, empty if it may go live.

    `sandboxes` and `credentials` (secret ARNs) are those the deployment allows; empty: not known,
    not checked.
    """
    try:
        table = routes.parse(document, "draft")
    except routes.InvalidTable as fault:
        # `parse` names the first thing that is wrong; of the shape, tell everything.
        return list(_schema_problems(document)) or [Problem(fault.rule, fault.field, fault.problem)]
    problems = [*_astray(table), *_shadowed(table)]
    for index, route in enumerate(table.routes):
        sandbox = route.rule.get("sandbox", "{")
        if sandboxes and "{" not in sandbox and sandbox not in sandboxes:
            allowed = ", ".join(sandboxes)
            text = f"the deployment does not allow sandbox {sandbox!r}, only {allowed}"
            problems.append(Problem(route.name, f"routes[{index}].sandbox", text))
        if credentials and "credential" in route.rule:
            try:
                routes.credential_arn(route.rule["credential"], list(credentials))
            except TargetNotAllowed as why:
                problems.append(Problem(route.name, f"routes[{index}].credential", str(why)))
    return problems


def arrival_of(key: str) -> Arrival:
    """An arrival of that key, or `s3://bucket/key`; its bucket is empty if none is given."""
    bucket, key = key[5:].split("/", 1) if key.startswith("s3://") and "/" in key[5:] else ("", key)
    return Arrival(bucket, key, None, "", None, 1, 0)


def listed(problems: Iterable[Problem]) -> Table:
    """For people: the problems."""
    shown = _table("rule", "member", "problem", title="This routing table cannot go live")
    for problem in problems:
        shown.add_row(Text(problem.rule or ""), Text(problem.field), Text(problem.text))
    return shown


def explain(table: routes.RoutingTable, keys: Iterable[str]) -> Table:
    """For people: which rule each key hits, and what comes of it."""
    shown = _table("key", "rule", "outcome", "placeholders")
    for key in keys:
        # Text, since brackets in a key would be markup to rich.
        shown.add_row(Text(key), *map(Text, _verdict(table, key)))
    return shown


def _table(*columns: str, title: str | None = None) -> Table:
    return Table(*(Column(column, overflow="fold") for column in columns), title=title)


def _verdict(table: routes.RoutingTable, key: str) -> tuple[str, ...]:
    arrival = arrival_of(key)
    hit = table.find(arrival.bucket, arrival.key)
    if hit is None:
        return ("no route",)
    route, found = hit
    try:
        match = table.match(arrival)
    except Rejected as why:
        outcome = f"rejected: {why.reason}"
    else:
        shape = match.options.get("inputFormat", {}).get("format")
        dataset = match.dataset_id or repr(match.dataset_name)
        sandbox = f"sandbox {match.sandbox}" if match.sandbox else "the default sandbox"
        outcome = "ignored" if match.ignore else f"{shape} → {dataset} in {sandbox}"
    return (route.name, outcome, ", ".join(f"{name}={value}" for name, value in found.items()))


def _schema_problems(document: bytes) -> Iterator[Problem]:
    try:
        table = json.loads(document)
    except (ValueError, RecursionError):
        return
    for path, text in faults(table, routes.SCHEMA, ()):
        yield Problem(routes.rule_name(table, path), routes.dotted(path), text)


def _astray(table: routes.RoutingTable) -> Iterator[Problem]:
    """Examples that do not end where their rule says."""
    for index, route in enumerate(table.routes):
        for place, example in enumerate(route.rule.get("examples", ())):
            text = _trouble(table, route, example)
            if text:
                where = f"routes[{index}].examples[{place}]"
                yield Problem(route.name, where, f"{example!r} {text}")


def _trouble(table: routes.RoutingTable, route: routes.Route, example: str) -> str | None:
    arrival = arrival_of(example)
    if route.bucket and not arrival.bucket:
        return "needs the form s3://bucket/key, since the rule has `bucket`"
    hit = table.find(arrival.bucket, arrival.key)
    if hit is None:
        return "reaches no rule"
    if hit[0] is not route:
        return f"reaches rule `{hit[0].name}`"
    try:
        table.match(arrival)
    except Rejected as why:
        return f"would be rejected: {why.reason}"
    return None


def _shadowed(table: routes.RoutingTable) -> Iterator[Problem]:
    """Rules that rules before them leave nothing to, as far as samples of their keys can tell."""
    for index, route in enumerate(table.routes):
        tried = [
            *((arrival.bucket, arrival.key) for arrival in map(arrival_of, _examples(route))),
            *product(_samples(route.rule.get("bucket", "*")), _samples(route.rule["match"])),
        ]
        hits = [hit[0] for bucket, key in tried if (hit := table.find(bucket, key))]
        if hits and route not in hits:
            text = f"rule `{hits[0].name}` takes everything; an example that reaches this one?"
            yield Problem(route.name, f"routes[{index}].match", text)


def _samples(pattern: str) -> Iterator[str]:
    """Texts that the pattern fits, with little and with much in place of its wildcards."""
    fits = globs.compile_glob(pattern).fullmatch
    for folders, filling in product((0, 1, 3), (ANYTHING, ANYTHING * 3)):

        def filled(token: re.Match[str], filling: str = filling) -> str:
            if token["star"] or token["name"]:
                return filling
            if token["set"] and not token["not"]:
                return token["set"][0]
            return token["text"] or ANYTHING

        segments: list[str] = []
        for segment in pattern.split("/"):
            segments += (
                [ANYTHING] * folders if segment == "**" else [globs.TOKEN.sub(filled, segment)]
            )
        sample = "/".join(segments)
        if fits(sample):
            yield sample


def _examples(route: routes.Route) -> list[str]:
    return list(route.rule.get("examples", ()))


def main() -> int:
    asked = argparse.ArgumentParser(prog="tools.routes", description=(__doc__ or "").split("\n")[0])
    asked.add_argument("table", type=Path, metavar="TABLE", help="the routing table, a JSON file")
    asked.add_argument("keys", nargs="*", metavar="KEY", help="object key, or s3://bucket/key")
    given = asked.parse_args()
    console = Console()
    try:
        document = given.table.read_bytes()
    except OSError as error:
        console.print(f"{error}", style="red", markup=False)
        return 1
    problems = lint(document)
    if problems:
        console.print(listed(problems))
        return 1
    table = routes.parse(document, given.table.name)
    keys = given.keys or [example for route in table.routes for example in _examples(route)]
    rules = several(len(table.routes), "rule")
    console.print(f"{given.table}: {rules}, no problems", markup=False)
    console.print(explain(table, keys) if keys else "There are no keys to explain: give KEYS=…")
    return 0


if __name__ == "__main__":
    sys.exit(main())
