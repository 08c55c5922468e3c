"""Check a routing table, explain which rule each key hits, and forecast the batches of a day.

    python -m tools.routes TABLE [KEY …] [--files-per-day RULE=NUMBER …] [--stack-name NAME]
    (make routes TABLE=… KEYS=… ARGS="--files-per-day loyalty=1440 --stack-name aep-intake")

Without keys, the table's own examples are explained. A key may be `s3://bucket/key`. Without a
stack nothing is asked of anybody; with one, its sandboxes and credentials count, and Catalog tells
which datasets are enabled for Profile.
Exit status 1 if the table has problems, or the stack cannot be asked; never for a forecast.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from aep_intake import globs, routes
from aep_intake.arrivals import Arrival
from aep_intake.errors import IntakeError, Rejected, TargetNotAllowed
from aep_intake.folders import left_out
from aep_intake.schemas import dotted, faults
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from tools import checks, forecast
from tools.deployed import Deployed, NotOurs, deployed
from tools.failures import in_words
from tools.forecast import Place
from tools.published import Problem, listed, organizations_of
from tools.words import several

if TYPE_CHECKING:
    from aep_intake.adapters.credentials import Credentials
    from aep_intake.organizations import Organizations

# A character that no pattern names: what it reaches, a rule catches whatever stands there.
ANYTHING = "\U0010fffd"


def lint(document: bytes, organizations: Organizations | None = None) -> list[Problem]:
    """Everything wrong with `document`, empty if it may go live.

    `organizations` are those the deployment works for; None: not known, not checked.
    """
    try:
        table = routes.parse(document, "draft")
    except routes.InvalidTable as fault:
        # `parse` names the first thing that is wrong; of the shape, tell everything.
        return list(_schema_problems(document)) or [Problem(fault.rule, fault.field, fault.problem)]
    problems = [*_astray(table), *_shadowed(table), *_unmarked(table)]
    for index, route in enumerate(table.routes):
        if organizations is None:
            continue
        try:
            name = route.rule.get("credential")
            arn = routes.credential_arn(name, organizations.credentials)
        except TargetNotAllowed as why:
            problems.append(Problem(route.name, f"routes[{index}].credential", str(why)))
            continue
        sandbox, allowed = route.rule.get("sandbox", "{"), organizations.of(arn).sandboxes
        if "{" not in sandbox and sandbox not in allowed:
            text = f"the deployment does not allow sandbox {sandbox!r}, only {', '.join(allowed)}"
            problems.append(Problem(route.name, f"routes[{index}].sandbox", text))
    return problems


def arrival_of(key: str) -> Arrival:
    """An arrival of that key, or `s3://bucket/key`; its bucket is empty if none is given."""
    bucket, key = key[5:].split("/", 1) if key.startswith("s3://") and "/" in key[5:] else ("", key)
    return Arrival(bucket, key, None, "", None, 1, 0)


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
        outcome = _outcome(route, table.match(arrival), arrival)
    except Rejected as why:
        outcome = f"rejected: {why.reason}"
    return (route.name, outcome, ", ".join(f"{name}={value}" for name, value in found.items()))


def shape(match: routes.Match, arrival: Arrival) -> Mapping[str, Any]:
    """The input format of an object. Raises FormatUnknown."""
    told: Mapping[str, Any] | None = match.options.get("inputFormat")
    return told or routes.format_by_name(arrival.uri)


def _outcome(route: routes.Route, match: routes.Match, arrival: Arrival) -> str:
    if match.ignore or (match.waits and left_out(arrival, match.root)):
        return "ignored"
    batch = route.rule.get("batch", {})
    if match.folder is not None:
        what = f"all of {match.folder or 'the bucket'}"
    else:
        what = shape(match, arrival)["format"]
    dataset = match.dataset_id or repr(match.dataset_name)
    sandbox = f"sandbox {match.sandbox}" if match.sandbox else "the default sandbox"
    when = f", each {batch['window']}" if match.window else ""
    when = f", once {batch['marker']} comes" if match.waits else when
    return f"{what} → {dataset} in {sandbox}{when}"


def _schema_problems(document: bytes) -> Iterator[Problem]:
    try:
        table = json.loads(document)
    except (ValueError, RecursionError):
        return
    for path, text in faults(table, routes.SCHEMA, ()):
        yield Problem(routes.rule_name(table, path), dotted(path), text)


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
        match = table.match(arrival)
        if match.waits and left_out(arrival, match.root):
            return "would not count as one of its folder's files"
        if match.folder is None and not match.ignore:
            shape(match, arrival)
    except Rejected as why:
        return f"would be rejected: {why.reason}"
    return None


def _shadowed(table: routes.RoutingTable) -> Iterator[Problem]:
    """Rules that rules before them leave nothing to, as far as samples of their keys can tell."""
    for index, route in enumerate(table.routes):
        hits = [hit[0] for bucket, key in _reaching(route) if (hit := table.find(bucket, key))]
        if hits and route not in hits:
            text = f"rule `{hits[0].name}` takes everything; an example that reaches this one?"
            yield Problem(route.name, f"routes[{index}].match", text)


def _unmarked(table: routes.RoutingTable) -> Iterator[Problem]:
    """Rules whose markers another rule takes, as far as samples can tell: files wait for ever."""
    for index, route in enumerate(table.routes):
        if route.marker is None:
            continue
        name = route.rule["batch"]["marker"]
        tried = [(bucket, f"{key[: key.rfind('/') + 1]}{name}") for bucket, key in _reaching(route)]
        markers = [(bucket, key) for bucket, key in tried if route.marker.fullmatch(key)]
        hits = [hit[0] for bucket, key in markers if (hit := table.find(bucket, key))]
        if hits and route not in hits:
            text = f"rule `{hits[0].name}` takes the markers, so that files wait for ever"
            yield Problem(route.name, f"routes[{index}].batch.marker", text)


def _reaching(route: routes.Route) -> list[tuple[str, str]]:
    """Bucket and key of what a rule fits: its examples and samples."""
    return [
        *((arrival.bucket, arrival.key) for arrival in map(arrival_of, _examples(route))),
        *product(_samples(route.rule.get("bucket", "*")), _samples(route.rule["match"])),
    ]


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


def told(
    stack: Deployed,
    allowed: Organizations,
    session: boto3.Session,
    rules: Iterable[routes.Route],
    given: Mapping[str, int],
) -> Iterator[tuple[forecast.Share, str | None]]:
    """What each rule makes, as the stack and Catalog know it, and what to warn of.

    `allowed` are the organizations in force. `given`: objects (or markers) a day, by rule. Raises
    NotOurs.
    """
    credentials, adobe = checks.adobe_of(stack, session)
    ims_orgs = {arn: _organization(credentials, arn) for arn in allowed.credentials}
    for route in rules:
        arn = routes.credential_arn(route.rule.get("credential"), allowed.credentials)
        place = Place(
            route.rule.get("sandbox", allowed.of(arn).sandboxes[0]), _whose(arn, ims_orgs)
        )
        share = forecast.share(route, place, volume=given.get(route.name))
        try:
            found = checks.found_dataset(adobe, route, allowed, ims_orgs)
        except (checks.NotLookedUp, IntakeError) as why:
            yield share, f"counts as if its dataset were enabled for Profile: {why}"
        else:
            judged = found.judged
            profile = None if judged is None else judged.profile and not judged.system
            share = replace(share, profile=profile)
            yield share, _warning(found, share)


def _organization(credentials: Credentials, arn: str) -> str | None:
    try:
        return credentials.ims_org(arn)
    except IntakeError:
        return None


def _whose(arn: str, organizations: Mapping[str, str | None]) -> str | None:
    """What tells a sandbox from another organization's of that name; None if there is no other."""
    same = [other for other, ims_org in organizations.items() if ims_org == organizations[arn]]
    return None if len(same) == len(organizations) else checks.secret_name(same[0])


def _warning(found: checks.Found, share: forecast.Share) -> str | None:
    judged = found.judged
    if judged is None:
        return f"{found}: {checks.SLOW}"
    if judged.system:
        return f"{found} {checks.SYSTEM}"
    if judged.profile and share.alone:
        return f"{found} is {checks.for_profile(share)}"
    return None


def _volume(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form RULE=NUMBER")
    return name, int(number)


def _pace(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _options() -> argparse.ArgumentParser:
    asked = argparse.ArgumentParser(prog="tools.routes", description=(__doc__ or "").split("\n")[0])
    asked.add_argument("table", type=Path, metavar="TABLE", help="the routing table, a JSON file")
    asked.add_argument("keys", nargs="*", metavar="KEY", help="object key, or s3://bucket/key")
    asked.add_argument(
        "--files-per-day",
        action="append",
        default=[],
        type=_volume,
        metavar="RULE=NUMBER",
        help="how many objects (or markers) come for a rule; may be repeated",
    )
    asked.add_argument(
        "--batches-per-minute",
        type=_pace,
        metavar="NUMBER",
        help=f"the deployment's pace, if not the stack's or {forecast.PER_MINUTE}",
    )
    asked.add_argument(
        "--stack-name",
        metavar="NAME",
        help="a deployed stack: with your AWS credentials, ask it and Catalog",
    )
    return asked


def _forecast(
    given: argparse.Namespace,
    rules: list[routes.Route],
    stack: Deployed | None,
    allowed: Organizations | None,
) -> Iterator[RenderableType]:
    """For people. `rules` are those that make batches. Raises NotOurs."""
    volumes, per_minute = dict(given.files_per_day), given.batches_per_minute
    if stack is None or allowed is None:
        shares = [forecast.share(route, volume=volumes.get(route.name)) for route in rules]
        yield forecast.shown(shares, per_minute=per_minute or forecast.PER_MINUTE)
        return
    answers = list(told(stack, allowed, boto3.Session(), rules, volumes))
    shares = [share for share, _ in answers]
    yield forecast.shown(
        shares,
        per_minute=per_minute or allowed.limits.batches_per_minute,
        allowed=[
            Place(name, whose)
            for whose in dict.fromkeys(share.place.credential for share in shares)
            for name in dict.fromkeys(name for one in allowed.all for name in one.sandboxes)
        ],
    )
    for share, warning in answers:
        if warning:
            yield Text(f"{share.rule}: ", "bold yellow").append(warning, "not bold")


def main(arguments: list[str] | None = None) -> int:
    asked = _options()
    given = asked.parse_args(arguments)
    console = Console()
    stack = allowed = None
    try:
        document = given.table.read_bytes()
        if given.stack_name is not None:
            session = boto3.Session()
            client = session.client("cloudformation", config=checks.PATIENCE)
            stack = deployed(client, given.stack_name)
            appconfig = session.client("appconfig", config=checks.PATIENCE)
            allowed = organizations_of(stack, appconfig)
        problems = lint(document, allowed)
        if problems:
            console.print(listed(problems))
            return 1
        table = routes.parse(document, given.table.name)
        working = [route for route in table.routes if "ignore" not in route.rule]
        for name in dict(given.files_per_day).keys() - {route.name for route in working}:
            asked.error(f"--files-per-day: no rule called {name} makes batches")
        keys = given.keys or [example for route in table.routes for example in _examples(route)]
        rules = several(len(table.routes), "rule")
        console.print(f"{given.table}: {rules}, no problems", markup=False)
        console.print(explain(table, keys) if keys else "There are no keys to explain: give KEYS=…")
        if working:
            console.print()
            with console.status("asking Catalog" if stack else "adding up"):
                for part in _forecast(given, working, stack, allowed):
                    console.print(part)
    except (BotoCoreError, ClientError) as error:
        console.print(in_words(error), style="red", markup=False)
        return 1
    except NotOurs as error:
        console.print(f"{given.stack_name}: {error}", style="red", markup=False)
        return 1
    except OSError as error:
        console.print(f"{error}", style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
