"""The template as CloudFormation gets it: after the SAM transform, which adds things of its own.

Some mistakes are punished late or never (a rule whose target queue has no policy loses its events
in silence, a wildcard grants in silence), so they are looked for here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest
from aep_intake.delivery.pieces import CHUNK
from aep_intake.model.organizations import SCHEMA as ORGANIZATIONS
from aep_intake.model.organizations import Limits
from aep_intake.report.events import BATCH_CREATED, SOURCE
from aep_intake.settings import READ, Settings
from aep_intake_cli.command import aep_intake
from aep_intake_cli.doctor.examine import QUEUE_FED, REQUESTS_PER_SECOND
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local import docs

ROOT = Path(__file__).resolve().parents[3]
LAYER = ROOT / "layers/intake/aep_intake"
DAY = 86_400

# Every resource with a wildcard that a role may act on, and why it must be so. `{}` stands for
# something that CloudFormation fills in.
WILDCARDS = {
    ("xray:PutTraceSegments", "*"): "X-Ray has no resource to name",
    ("xray:PutTelemetryRecords", "*"): "X-Ray has no resource to name",
    ("ec2:CreateNetworkInterface", "*"): "Lambda's own call, of what is not there yet",
    ("ec2:DeleteNetworkInterface", "*"): "Lambda's own call, of what is not there yet",
    ("ec2:DescribeNetworkInterfaces", "*"): "takes no resource",
    ("ec2:DescribeSubnets", "*"): "takes no resource",
    ("ec2:AssignPrivateIpAddresses", "*"): "Lambda's own call, of what is not there yet",
    ("ec2:UnassignPrivateIpAddresses", "*"): "Lambda's own call, of what is not there yet",
    ("s3:PutObject", "{}/manifests/*"): "one key for each order, under one prefix",
    ("s3:PutObject", "{}/diagnostics/*"): "some keys for each batch that failed, under one prefix",
    ("s3:PutObject", "{}/badrows/*"): "some keys for each batch whose map leaves rows out",
    ("s3:PutObject", "{}/windows/*"): "one key for each window, under one prefix",
    ("s3:GetObject", "{}/windows/*"): "as that",
    ("s3:PutObject", "{}/contents/*"): "one key for each run of small files, under one prefix",
    ("s3:GetObject", "{}/contents/*"): "as that",
    ("s3:PutObject", "{}/journal/*"): "one key for each batch of events, under one prefix",
    ("s3:GetObject", "{}/journal/*"): "as that",
    ("s3:GetObject", "{}/maps/*"): "one key for each map of a routing table, named by its hash",
    ("s3:PutObject", "{}/*"): "any key of the landing bucket: a URL that is signed names one",
    ("s3:GetObject", "arn:*:s3:::{}/*"): "any object of the source buckets, in this partition",
    ("s3:GetObjectVersion", "arn:*:s3:::{}/*"): "as that: what is looked at, or uploaded, is the "
    "version that arrived",
    ("s3:ListBucketVersions", "arn:*:s3:::{}"): "any folder of the source buckets may be marked, "
    "and any version be gone",
    ("s3:GetBucketVersioning", "arn:*:s3:::{}"): "as that, of a bucket with an inventory",
    ("s3:GetInventoryConfiguration", "arn:*:s3:::{}"): "as that",
    ("s3:GetObject", "{}/inventory/*"): "S3 writes it, a key for each file of an inventory",
    ("s3:ListBucket", "arn:*:s3:::{}"): "any object of the source buckets may be gone",
}


class _NoManagedPolicies:
    """Stands in for IAM: the transform may not need a managed policy."""

    def load(self) -> dict[str, str]:
        return {}


@pytest.fixture(scope="module")
def source() -> dict[str, Any]:
    """As written."""
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return parsed


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """As CloudFormation gets it."""
    parsed = yaml_parse((ROOT / "template.yaml").read_text())
    parsed["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    for resource in parsed["Resources"].values():
        resource["Properties"].pop("CodeUri", None)
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            resource["Properties"]["ContentUri"] = "s3://bucket/key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        transformed = transform(parsed, {}, _NoManagedPolicies())
    filled: dict[str, Any] = fixed(transformed, transformed["Mappings"]["Fixed"])
    return filled


def fixed(value: Any, numbers: Mapping[str, Mapping[str, str]]) -> Any:
    """With what the mapping of that name holds filled in."""
    match value:
        case {"Fn::FindInMap": ["Fixed", str(what), str(unit)]}:
            return numbers[what][unit]
        case dict():
            return {key: fixed(inner, numbers) for key, inner in value.items()}
        case list():
            return [fixed(inner, numbers) for inner in value]
    return value


def of_type(template: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Properties by logical id; never none, so that no test passes for want of things to test."""
    found = {
        key: resource.get("Properties", {})
        for key, resource in template["Resources"].items()
        if resource["Type"] == name
    }
    assert found, f"no {name} in the template"
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def arn_of(value: Any) -> str | None:
    """Logical id, where `value` is the Arn of a resource of this template."""
    match value:
        case {"Fn::GetAtt": [str(name), "Arn"]} | {"Fn::GetAtt": str(name)}:
            return name.removesuffix(".Arn")
    return None


def unconditional(items: list[Any]) -> Iterator[dict[str, Any]]:
    """Statements of a policy, those under `Fn::If` as if their condition held."""
    for item in items:
        yield item["Fn::If"][1] if "Fn::If" in item else item


def role_statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for role, properties in of_type(template, "AWS::IAM::Role").items():
        for policy in properties["Policies"]:
            for statement in unconditional(policy["PolicyDocument"]["Statement"]):
                yield role, statement
    for policy in of_type(template, "AWS::IAM::Policy").values():
        for role in policy["Roles"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield role["Ref"], statement


def queue_statements(template: dict[str, Any], queue: str) -> list[dict[str, Any]]:
    return [
        statement
        for policy in of_type(template, "AWS::SQS::QueuePolicy").values()
        if {"Ref": queue} in policy["Queues"]
        for statement in unconditional(policy["PolicyDocument"]["Statement"])
    ]


def resource_texts(value: Any) -> Iterator[str]:
    """The literal text of each resource of a statement, `{}` for what CloudFormation fills in."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from resource_texts(item)
        case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), _]}:
            yield re.sub(r"\$\{[^}]+\}", "{}", text)
        case {"Fn::Split": [",", inner]} | {"Fn::If": [_, inner, _]}:
            yield from resource_texts(inner)
        case {"Fn::GetAtt": _} | {"Ref": _}:
            yield "{}"
        case _:
            pytest.fail(f"a resource written in a new way: {value}")


def functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return of_type(template, "AWS::Lambda::Function")


def chosen(value: Any, holds: Mapping[str, bool]) -> Any:
    """As CloudFormation sees it where those conditions hold, and no others."""
    match value:
        case {"Fn::If": [condition, this, that]}:
            return chosen(this if holds[condition] else that, holds)
        case dict():
            return {key: chosen(inner, holds) for key, inner in value.items()}
        case list():
            picked = [chosen(inner, holds) for inner in value]
            return [inner for inner in picked if inner != {"Ref": "AWS::NoValue"}]
    return value


def references(value: Any) -> Iterator[str]:
    """Everything that it refers to: resources, parameters and CloudFormation's own."""
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), _]}:
            yield name
        case {"Fn::GetAtt": str(name)}:
            yield name.partition(".")[0]
        case {"Fn::Sub": str(text)}:
            yield from (name.partition(".")[0] for name in re.findall(r"\$\{([^!}][^}]*)\}", text))
        case {"Fn::Sub": [str(text), dict(own)]}:
            yield from set(references({"Fn::Sub": text})) - set(own)
            yield from references(own)
        case dict():
            yield from listed(value.get("DependsOn", []))
            for inner in value.values():
                yield from references(inner)
        case list():
            for inner in value:
                yield from references(inner)


def dead_letter_queues(template: dict[str, Any]) -> set[str]:
    """Whatever a queue, a rule's target or a function sends its failures to."""
    found: set[str | None] = {
        arn_of(queue["RedrivePolicy"]["deadLetterTargetArn"])
        for queue in of_type(template, "AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue
    }
    for rule in of_type(template, "AWS::Events::Rule").values():
        found |= {arn_of(target["DeadLetterConfig"]["Arn"]) for target in rule["Targets"]}
    for config in of_type(template, "AWS::Lambda::EventInvokeConfig").values():
        found.add(arn_of(config["DestinationConfig"]["OnFailure"]["Destination"]))
    assert None not in found
    return {name for name in found if name}


# -- Parameters ---------------------------------------------------------------------------------


def test_a_deployment_needs_one_answer(source: dict[str, Any]) -> None:
    """And asks no more than 18 questions, each in one group of the console's form."""
    parameters = source["Parameters"]
    assert len(parameters) <= 18
    asked = [name for name, parameter in parameters.items() if "Default" not in parameter]
    assert asked == ["CredentialSecrets"] == list(parameters)[:1]
    groups = source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert [name for group in groups for name in group["Parameters"]] == list(parameters)
    assert all(group["Label"]["default"] for group in groups)


def test_every_parameter_says_what_it_is_and_what_it_may_be(template: dict[str, Any]) -> None:
    for name, parameter in template["Parameters"].items():
        assert len(parameter["Description"]) > 30, name
        if parameter["Type"] == "Number":
            assert "AllowedValues" in parameter or {"MinValue", "MaxValue"} <= set(parameter), name
        else:
            assert re.fullmatch(r"\^.*\$", parameter["AllowedPattern"]), name
            assert parameter["ConstraintDescription"], name


def test_every_default_is_allowed(template: dict[str, Any]) -> None:
    for name, parameter in template["Parameters"].items():
        if "AllowedPattern" in parameter and "Default" in parameter:
            default = parameter["Default"]  # of a list, each element must fit
            several = parameter["Type"] == "CommaDelimitedList"
            for one in default.split(",") if several else [default]:
                assert re.fullmatch(parameter["AllowedPattern"], one), name


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "PlatformUrl",
            ["https://platform.adobe.io", "http://127.0.0.1:4570", "http://localhost:1"],
            ["http://platform.adobe.io", "https://a/b", "http://127.0.0.1.evil.org", "ftp://a"],
        ),
        (
            "ImsUrl",
            ["https://ims-na1.adobelogin.com", "http://[::1]:80"],
            ["http://ims-na1.adobelogin.com", "https://user@host", ""],
        ),
        (
            "KeyPattern",
            [
                *(
                    "*",
                    "in/*.csv",
                    "a b+c%",
                    "*/in/*/x*",
                    "\\*\\*\\*\\*",
                    "a\\\\b",
                    "\\**",
                    "x" * 1024,
                ),
                "\\*" * 512,
            ],
            ["", "a**b", "x" * 1025, "a\\b", "a\\", "*a*b*c*", "*a*b*c*d", "a\nb"],
        ),
        ("ArrivalPath", ["EventBridge", "Direct"], ["", "direct", "SNS"]),
        ("LandingDays", ["0", "30", "99", "365", "9999"], ["", "1", "29", "030", "-30", "10000"]),
        ("SourceBucketNames", ["", "my-bucket.eu"], ["s3://my-bucket", "My", "a", "b/c"]),
        (
            "CredentialSecrets",
            [
                "arn:aws:secretsmanager:eu-west-1:111122223333:secret:aep/acme-AbCdEf",
                "arn:aws:secretsmanager:eu-west-1:111122223333:secret:aep/*",
            ],
            [
                *("", "aep/acme", "arn:aws:s3:::bucket"),
                "arn:aws:secretsmanager:eu-west-1:111122223333:secret:*",
                "arn:aws:secretsmanager:eu-west-1:111122223333:secret:aep/*/a",
            ],
        ),
        (
            "KmsKeyArns",
            ["", "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234"],
            ["arn:aws:kms:eu-west-1:111122223333:alias/mine", "*"],
        ),
        ("ExistingLedgerTable", ["", "aep-intake-Ledger-1"], ["a", "arn:aws:dynamodb:x"]),
        ("SubnetIds", ["", "subnet-0a1b2c3d"], ["vpc-0a1b2c3d"]),
        ("DeliverBatches", ["true", "false"], ["", "yes", "True", "false,"]),
    ],
)
def test_patterns_admit_what_they_should(
    template: dict[str, Any], name: str, good: list[str], bad: list[str]
) -> None:
    pattern = re.compile(template["Parameters"][name]["AllowedPattern"])
    assert [value for value in good if not pattern.fullmatch(value)] == []
    assert [value for value in bad if pattern.fullmatch(value)] == []


def test_the_ledger_remembers_for_longer_than_a_message_can_live(template: dict[str, Any]) -> None:
    """A week in its queue and, counted anew where nobody but SQS moved it, two with the dead."""
    longest = max(
        queue["MessageRetentionPeriod"]
        + of_type(template, "AWS::SQS::Queue")[
            arn_of(queue["RedrivePolicy"]["deadLetterTargetArn"]) or ""
        ]["MessageRetentionPeriod"]
        for queue in of_type(template, "AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue
    )
    assert template["Parameters"]["RetentionDays"]["MinValue"] * DAY > longest


# -- Permissions --------------------------------------------------------------------------------


def test_roles_are_written_out(template: dict[str, Any]) -> None:
    roles = of_type(template, "AWS::IAM::Role")
    of_functions = {arn_of(function["Role"]) for function in functions(template).values()}
    assert of_functions == set(roles) - {"LandingRole"}
    for name, role in roles.items():
        assert "ManagedPolicyArns" not in role, name
        assert role["PermissionsBoundary"]["Fn::If"][0] == "Bounded", name
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        on_request = {"AWS": {"Fn::GetAtt": ["OnRequestRole", "Arn"]}}
        trusted = on_request if name == "LandingRole" else {"Service": "lambda.amazonaws.com"}
        assert trust["Principal"] == trusted, name


def test_who_signs_uploads_may_put_into_the_landing_bucket_and_nowhere_else(
    template: dict[str, Any],
) -> None:
    """And only by way of a session that nobody else can take, and that lasts."""
    of = {role: set[tuple[str, str]]() for role, _ in role_statements(template)}
    for role, statement in role_statements(template):
        for action in listed(statement["Action"]):
            if action.startswith(("s3:Put", "s3:Delete", "sts:")):
                of[role].add((action, named(statement["Resource"])))
    assert of["LandingRole"] == {("s3:PutObject", "${LandingBucket.Arn}/*")}
    assert of["OnRequestRole"] == {
        ("s3:PutObject", "${StateBucket.Arn}/manifests/*"),
        ("sts:AssumeRole", "LandingRole"),
    }
    assert [role for role, rights in of.items() if dict(rights).get("sts:AssumeRole")] == [
        "OnRequestRole"
    ]


def test_nobody_may_do_everything(template: dict[str, Any]) -> None:
    for role, statement in role_statements(template):
        assert statement["Effect"] == "Allow", role
        for action in listed(statement["Action"]):
            assert re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action), (role, action)
        assert not {"NotAction", "NotResource"} & set(statement), role


def test_wildcard_resources_have_a_reason(template: dict[str, Any]) -> None:
    found = {
        (action, resource)
        for _, statement in role_statements(template)
        for resource in resource_texts(statement["Resource"])
        if "*" in resource
        for action in listed(statement["Action"])
    }
    assert found == set(WILDCARDS)


def test_the_code_of_a_function_in_a_vpc_cannot_touch_its_network(
    template: dict[str, Any],
) -> None:
    allowed = [
        statement
        for _, statement in role_statements(template)
        if any(action.startswith("ec2:") for action in listed(statement["Action"]))
    ]
    assert len(allowed) == len(functions(template))
    for statement in allowed:
        assert statement["Condition"] == {"Null": {"lambda:SourceFunctionArn": "true"}}


def named(resource: Any) -> str:
    """One resource of a statement: by its logical id, else as it is written."""
    match resource:
        case {"Ref": str(name)}:
            return name
        case {"Fn::Split": [",", inner]}:
            return named(inner)
        case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), _]}:
            return text
    return arn_of(resource) or pytest.fail(f"a resource written in a new way: {resource}")


def test_who_needs_a_part_of_the_ledger_gets_that_part(template: dict[str, Any]) -> None:
    """By partition keys: for whatever names them, `ForAllValues` holds if all of them fit.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    parts: dict[str, list[tuple[set[str], set[str]]]] = {}
    for role, statement in role_statements(template):
        if "dynamodb:LeadingKeys" not in json.dumps(statement.get("Condition")):
            continue
        assert set(statement["Condition"]) == {"ForAllValues:StringLike"}, role
        # A Scan names no keys, and ForAllValues holds for none; an index has other ones.
        actions = set(listed(statement["Action"]))
        writes = {f"dynamodb:{name}Item" for name in ("Put", "Update", "Delete")}
        assert actions <= {"dynamodb:Query", *writes}, role
        assert named(statement["Resource"]).endswith(":table/${Table}"), role
        keys = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        parts.setdefault(role, []).append((actions, set(listed(keys))))
    writes = {"dynamodb:PutItem", "dynamodb:UpdateItem"}
    due = {"order#*", "window#*", "folder#*", "delivery#*"}
    anew = (writes, {"order#*"})
    lost = ({"dynamodb:PutItem", "dynamodb:DeleteItem"}, {"object#*"})  # their claims
    parked = (lost[0], {"parked#*"})
    assert parts == {
        "OnTickRole": [
            ({"dynamodb:UpdateItem"}, due | {"routes"}),
            ({"dynamodb:Query"}, {"made#*", "paused", "routes"}),
            ({"dynamodb:DeleteItem"}, {"paused"}),
            ({"dynamodb:PutItem"}, {"made#limit"}),
        ],
        "OnDeliveryRole": [(writes, {"delivery#*", "routes"}), anew, parked, lost],
        "OnUploadRole": [(writes, {"delivery#*", "sent#*", "routes"}), anew, parked, lost],
        "OnJournalRole": [({"dynamodb:PutItem"}, {"counts#*"})],
        "OnReconcileRole": [({"dynamodb:PutItem"}, {"reconcile"})],
    }
    # The keys are the ledger's.
    adapters = ROOT / "layers/intake/aep_intake/adapters"
    code = "".join(file.read_text() for file in adapters.rglob("*.py"))
    for _, keys in chain.from_iterable(parts.values()):
        written = {f'"{key.replace("*", "{")}' if "*" in key else f'"{key}"' for key in keys}
        assert all(key in code for key in written)


def test_the_page_reads_the_ledger_and_nothing_else(template: dict[str, Any]) -> None:
    """A shared dashboard lets everybody with its link call its function."""
    own = {"AskTheLedger", "SeeAllThatIsUnfinished"}
    others = {"WriteLogs", "WriteTraces", "LetLambdaAttachTheVpc"}  # as of every function
    found = {s["Sid"]: s for role, s in role_statements(template) if role == "OnWidgetRole"}
    assert found.keys() == own | others
    assert {a for sid in own for a in listed(found[sid]["Action"])} == {
        *("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"),
    }
    [index] = listed(found["SeeAllThatIsUnfinished"]["Resource"])  # keys and times alone
    assert json.dumps(index).count("/index/due") == 1


def test_who_reads_objects_learns_what_is_gone(template: dict[str, Any]) -> None:
    """Without s3:ListBucket, S3 says 403 of an object that is not there, as of one that is.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    rights: dict[str, set[str]] = {}
    for role, statement in role_statements(template):
        if "${Buckets}" in json.dumps(statement["Resource"]):
            rights.setdefault(role, set()).update(listed(statement["Action"]))
    readers = {role for role, may in rights.items() if "s3:GetObject" in may}
    assert readers
    for role in readers:
        assert "s3:ListBucket" in rights[role], role
        versions = {"s3:GetObjectVersion", "s3:ListBucketVersions"} & rights[role]
        assert len(versions) in (0, 2), role
    # Another account's bucket must let them in by name.
    told = json.dumps(template["Outputs"]["ReadingRoles"]["Value"])
    assert readers == set(re.findall(r'"(On\w+Role)"', told))


def test_nobody_may_scan_the_ledger(template: dict[str, Any]) -> None:
    """The page scans an index of keys and times, which is cheaper than a query of each shard."""
    statements = [s for _, s in role_statements(template) if s["Sid"] != "SeeAllThatIsUnfinished"]
    actions = {a for statement in statements for a in listed(statement["Action"])}
    assert "dynamodb:Query" in actions
    assert not {"dynamodb:Scan", "dynamodb:PartiQLSelect"} & actions


def test_keys_are_used_only_through_the_services_that_hold_the_data(
    template: dict[str, Any],
) -> None:
    using = [s for _, s in role_statements(template) if s["Action"] == "kms:Decrypt"]
    assert using
    for statement in using:
        assert statement["Condition"]["StringEquals"]["kms:ViaService"]


# -- Events and queues --------------------------------------------------------------------------


def test_every_queue_a_rule_sends_to_admits_that_rule(template: dict[str, Any]) -> None:
    queues = of_type(template, "AWS::SQS::Queue")
    for rule, properties in of_type(template, "AWS::Events::Rule").items():
        for target in properties["Targets"]:
            for arn in (target["Arn"], target["DeadLetterConfig"]["Arn"]):
                queue = arn_of(arn)
                if queue not in queues:
                    continue
                assert [
                    statement
                    for statement in queue_statements(template, queue)
                    if statement["Effect"] == "Allow"
                    and statement["Principal"] == {"Service": "events.amazonaws.com"}
                    and statement["Action"] == "sqs:SendMessage"
                    and statement["Resource"] == "*"  # the queues that have the policy
                    and names_rule(
                        template,
                        statement["Condition"]["ArnEquals"]["aws:SourceArn"],
                        rule,
                        properties,
                    )
                ], f"{queue} does not admit {rule}"


def names_rule(
    template: dict[str, Any], source: Any, rule: str, properties: dict[str, Any]
) -> bool:
    """Whether a policy's condition means that rule, by its resource or by its name.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
    """
    if isinstance(source, list):
        return any(arn_of(one) == rule for one in source)
    if arn_of(source) == rule:
        return True
    place = ""
    if "EventBusName" in properties:
        bus = template["Resources"][properties["EventBusName"]["Ref"]]["Properties"]
        place = f"${{{bus['Name']['Ref']}}}/"
    text: str = source["Fn::Sub"]
    return text.endswith(f":rule/{place}{properties['Name']['Fn::Sub']}")


def test_events_are_admitted_before_they_can_come(template: dict[str, Any]) -> None:
    """EventBridge does not try again what a queue refuses: it drops it."""
    for rule, policies in {
        "ArrivalRule": {"ArrivalsQueuePolicy", "ArrivalsDlqPolicy"},
        "DeliveriesRule": {"DeliveriesQueuePolicy", "DeliveriesDlqPolicy"},
        "JournalRule": {"JournalQueuePolicy"},
    }.items():
        assert set(listed(template["Resources"][rule]["DependsOn"])) == policies


def test_what_is_created_is_followed_to_its_end(template: dict[str, Any]) -> None:
    rule = of_type(template, "AWS::Events::Rule")["DeliveriesRule"]
    assert rule["EventBusName"] == {"Ref": "IntakeBus"}
    # Also where `files` is too long for an event, and what the caller of a request fills.
    assert rule["EventPattern"] == {"source": [SOURCE], "detail-type": [BATCH_CREATED]}


def test_only_who_is_named_may_send_to_the_queues_of_the_upload_stage(
    template: dict[str, Any],
) -> None:
    for queue, rules in {
        "DeliveriesQueue": 1,
        "DeliveriesDlq": 1,
        "UploadsQueue": 0,
        "UploadsDlq": 0,
    }.items():
        allowed = [s for s in queue_statements(template, queue) if s["Effect"] == "Allow"]
        assert len(allowed) == rules, queue


def test_every_function_a_rule_calls_admits_that_rule(template: dict[str, Any]) -> None:
    called = {
        (arn_of(target["Arn"]), rule)
        for rule, properties in of_type(template, "AWS::Events::Rule").items()
        for target in properties["Targets"]
        if arn_of(target["Arn"]) in functions(template)
    }
    admitted = {
        (permission["FunctionName"]["Ref"], arn_of(permission["SourceArn"]))
        for permission in of_type(template, "AWS::Lambda::Permission").values()
        if permission["Principal"] == "events.amazonaws.com"
    }
    by_the_clock = {("OnTick", "TickRule"), ("OnReconcile", "OnReconcileHourly")}
    assert called == admitted == by_the_clock


def test_arrivals_are_gathered_only_where_that_is_asked_for(template: dict[str, Any]) -> None:
    """More than ten at once need a second; and with no wait, nobody waits.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html
    """
    parameter = template["Parameters"]["ArrivalBatchSeconds"]
    assert parameter["Default"] == 0
    batches = template["Mappings"]["ArrivalBatches"]
    assert set(batches) == {str(value) for value in parameter["AllowedValues"]}
    for seconds, batch in batches.items():
        assert batch["Seconds"] == int(seconds)
        assert (batch["Size"] > 10) == (batch["Seconds"] > 0)
    assert batches["0"]["Size"] == 10
    assert batches["10"]["Size"] == 50
    mapping = template["Resources"]["OnArrivalArrivals"]["Properties"]
    for member, name in (("BatchSize", "Size"), ("MaximumBatchingWindowInSeconds", "Seconds")):
        found = ["ArrivalBatches", {"Ref": "ArrivalBatchSeconds"}, name]
        assert mapping[member] == {"Fn::FindInMap": found}


@pytest.mark.parametrize(
    ("direct", "own", "sends", "state"),
    [
        (False, True, "EventBridgeConfiguration", "ENABLED"),
        (False, False, None, "ENABLED"),
        # S3 may send on through EventBridge for minutes: what it sends must still be taken.
        (True, True, "QueueConfigurations", "ENABLED"),
        (True, False, None, "DISABLED"),
    ],
)
def test_arrivals_come_one_way(
    template: dict[str, Any], direct: bool, own: bool, sends: str | None, state: str
) -> None:
    holds = {"Direct": direct, "OwnBucket": own, "Expires": False}
    assert template["Conditions"]["PastTheRule"] == {
        "Fn::And": [{"Condition": "Direct"}, {"Fn::Not": [{"Condition": "OwnBucket"}]}]
    }
    holds["PastTheRule"] = direct and not own
    assert chosen(of_type(template, "AWS::Events::Rule")["ArrivalRule"]["State"], holds) == state
    if sends is not None:
        bucket = chosen(of_type(template, "AWS::S3::Bucket")["LandingBucket"], holds)
        assert set(bucket["NotificationConfiguration"]) == {sends}
    # S3 asks the queue before it sends there, so the policy is there first, and names no bucket
    # that waits for it.
    assert template["Resources"]["LandingBucket"]["DependsOn"] == "ArrivalsQueuePolicy"
    policy = template["Resources"]["ArrivalsQueuePolicy"]
    assert "LandingBucket" not in set(references(policy))


def test_what_lies_in_the_landing_bucket_expires_only_when_asked(template: dict[str, Any]) -> None:
    """And what was overwritten is kept as long: until it is delivered, it is read there."""
    bucket = of_type(template, "AWS::S3::Bucket")["LandingBucket"]
    for expires in (True, False):
        rules = chosen(bucket["LifecycleConfiguration"], {"Expires": expires})["Rules"]
        removing = [rule for rule in rules if "NoncurrentVersionExpiration" in rule]
        assert len(removing) == expires
        for rule in removing:
            assert rule["ExpirationInDays"] == {"Ref": "LandingDays"}
            assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": {"Ref": "LandingDays"}}
        assert [rule for rule in rules if "AbortIncompleteMultipartUpload" in rule]
    assert template["Parameters"]["LandingDays"]["Default"] == "0"


def test_the_arrivals_queue_admits_the_rule_and_the_buckets_alone(
    template: dict[str, Any],
) -> None:
    admitted = {
        statement["Principal"]["Service"]: statement
        for statement in queue_statements(template, "ArrivalsQueue")
        if statement["Effect"] == "Allow"
    }
    assert set(admitted) == {"events.amazonaws.com", "s3.amazonaws.com"}
    s3 = admitted["s3.amazonaws.com"]["Condition"]
    assert s3["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert "SourceBucketNames" in json.dumps(s3["ArnLike"]["aws:SourceArn"])


@pytest.mark.parametrize(
    ("things", "policies", "names"),
    [
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
    ],
)
def test_plain_http_is_refused(
    template: dict[str, Any], things: str, policies: str, names: str
) -> None:
    refusing = {
        thing["Ref"]
        for policy in of_type(template, policies).values()
        for statement in unconditional(policy["PolicyDocument"]["Statement"])
        if statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for thing in listed(policy[names])
    }
    assert refusing == set(of_type(template, things))


def test_arrivals_are_never_filtered_by_size(template: dict[str, Any]) -> None:
    pattern = of_type(template, "AWS::Events::Rule")["ArrivalRule"]["EventPattern"]
    assert set(pattern) == {"source", "detail-type", "detail"}
    assert pattern["source"] == ["aws.s3"]
    assert pattern["detail-type"] == ["Object Created"]
    assert set(pattern["detail"]) == {"bucket", "object"}
    assert pattern["detail"]["object"] == {"key": [{"wildcard": {"Ref": "KeyPattern"}}]}


def test_queues_encrypt_with_their_own_key(template: dict[str, Any]) -> None:
    # EventBridge and S3 may not use the key alias/aws/sqs: what they send would be lost.
    for name, queue in of_type(template, "AWS::SQS::Queue").items():
        assert queue["SqsManagedSseEnabled"] is True, name
        assert "KmsMasterKeyId" not in queue, name


def test_queues_keep_messages_a_week_and_dead_letters_two(template: dict[str, Any]) -> None:
    dead = dead_letter_queues(template)
    assert dead == {"ArrivalsDlq", "DueDlq", "DeliveriesDlq", "UploadsDlq", "JournalDlq"}
    for name, queue in of_type(template, "AWS::SQS::Queue").items():
        days = 14 if name in dead else 7
        assert queue["MessageRetentionPeriod"] == days * DAY, name
        assert name in dead or "RedrivePolicy" in queue, name


LEASE_ENDS_AFTER = 30  # seconds after a worker's time-out


def fed(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Each queue that feeds a function: the queue's name, the mapping, the function's time-out."""
    for mapping in of_type(template, "AWS::Lambda::EventSourceMapping").values():
        queue = arn_of(mapping["EventSourceArn"]) or ""
        yield queue, mapping, functions(template)[mapping["FunctionName"]["Ref"]]["Timeout"]


def numbers(template: dict[str, Any], *values: Any) -> list[tuple[int, ...]]:
    """What these values of the template are together, for all that the parameters may be."""
    text = json.dumps(values)
    names = {name for name in template["Parameters"] if json.dumps({"Ref": name}) in text}
    allowed = [template["Parameters"][name]["AllowedValues"] for name in sorted(names)]
    return [
        tuple(
            _number(template, value, dict(zip(sorted(names), choice, strict=True)))
            for value in values
        )
        for choice in product(*allowed)
    ]


def _number(template: dict[str, Any], value: Any, chosen: Mapping[str, int]) -> int:
    match value:
        case {"Ref": str(name)}:
            return chosen[name]
        case {"Fn::FindInMap": [name, {"Ref": str(key)}, member]}:
            value = template["Mappings"][name][str(chosen[key])][member]
    return int(value)


def leases(template: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Each queue, its visibility, and how long it can take from a receipt to a worker's end."""
    for queue, mapping, timeout in fed(template):
        visibility = of_type(template, "AWS::SQS::Queue")[queue]["VisibilityTimeout"]
        window = mapping.get("MaximumBatchingWindowInSeconds", 0)
        for lease, gathering, working in numbers(template, visibility, window, timeout):
            yield queue, lease, gathering + working


def test_a_message_is_leased_for_as_long_as_its_worker_can_live(template: dict[str, Any]) -> None:
    """And little longer, so that what a dead worker left goes on soon.

    AWS advises six time-outs, since Lambda tries a batch that was throttled again until its
    visibility ends, and then it counts as received: for that `maxReceiveCount` is large.
    """
    names = set()
    for queue, lease, working in leases(template):
        assert lease == working + LEASE_ENDS_AFTER, queue
        names.add(queue)
    assert names == set(of_type(template, "AWS::SQS::Queue")) - dead_letter_queues(template)


def test_one_bad_message_does_not_take_its_neighbours_along(template: dict[str, Any]) -> None:
    for _, mapping, _ in fed(template):
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_how_many_work_at_the_same_time_is_one_list(template: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/lambda/latest/api/API_ScalingConfig.html"""
    listed = {
        queue: mapping["ScalingConfig"]["MaximumConcurrency"] for queue, mapping, _ in fed(template)
    }
    places = {
        "ArrivalsQueue": 0,
        "MarkersQueue": 1,
        "DueQueue": 1,
        "DueOrdersQueue": 1,
        "DueFoldersQueue": 1,
        "DeliveriesQueue": 2,
        "DueDeliveriesQueue": 2,
        "UploadsQueue": 3,
    }
    assert listed.pop("JournalQueue") == 2  # the least that Lambda takes
    assert listed == {
        queue: {"Fn::Select": [place, {"Ref": "Concurrency"}]} for queue, place in places.items()
    }
    parameter = template["Parameters"]["Concurrency"]
    assert len(parameter["Default"].split(",")) == max(places.values()) + 1
    for number in range(1100):
        fits = re.fullmatch(parameter["AllowedPattern"], str(number)) is not None
        assert fits is (2 <= number <= 1000), number


def test_a_message_is_tried_for_a_day(template: dict[str, Any]) -> None:
    """It comes back when its lease ends, also where no worker starts; what alarms say is true.

    What is put off is hidden three times before it is sent anew, and has counts to spare.
    """
    most = 1000  # SQS takes no more
    queues = of_type(template, "AWS::SQS::Queue")
    for queue, lease, _ in leases(template):
        tries = queues[queue]["RedrivePolicy"]["maxReceiveCount"]
        assert tries == most or (lease * tries >= DAY and tries < most), queue
    for name in ("DeliveriesDlqNotEmpty", "DueDlqNotEmpty"):
        alarm = of_type(template, "AWS::CloudWatch::Alarm")[name]
        assert "for a day" in advice(alarm)


@pytest.mark.parametrize("function", ["OnArrival", "OnMarker", "OnDelivery", "OnUpload"])
def test_what_sends_to_its_own_queue_is_no_loop(template: dict[str, Any], function: str) -> None:
    """Lambda stops one after 16 rounds unless told otherwise.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    """
    assert functions(template)[function]["RecursiveLoop"] == "Allow"


@pytest.mark.parametrize("alarm", ["UploadsStalled", "UploadsKeepRetrying"])
def test_an_upload_that_waits_is_told_of_before_its_batch_is_given_up(
    template: dict[str, Any], alarm: str
) -> None:
    properties = of_type(template, "AWS::CloudWatch::Alarm")[alarm]
    assert properties["Threshold"] == 6 * 3600
    assert "for six hours" in advice(properties)
    assert Limits().upload_hours > 6


def test_every_age_that_is_told_is_watched(template: dict[str, Any]) -> None:
    """SQS leaves out of its own what was received three times, which is all that is put off.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """
    code = "".join(file.read_text() for file in ROOT.glob("functions/*/*.py"))
    told = set(re.findall(r'age="(\w+)"', code))
    assert told == {"RetryingArrivalAge", "RetryingDeliveryAge", "RetryingUploadAge"}
    alarms = of_type(template, "AWS::CloudWatch::Alarm").values()
    watched = {alarm["MetricName"]: alarm for alarm in alarms}
    for name in told:
        assert watched[name]["Threshold"] >= 3600, name
        assert watched[name]["Period"] >= 3600, "tries come up to half an hour apart"
        assert "tried again for" in advice(watched[name]), name


def test_there_is_room_to_unpack_what_is_uploaded_side_by_side(template: dict[str, Any]) -> None:
    (mapping,) = [
        mapping
        for mapping in of_type(template, "AWS::Lambda::EventSourceMapping").values()
        if mapping["FunctionName"] == {"Ref": "OnUpload"}
    ]
    largest = ORGANIZATIONS["properties"]["limits"]["properties"]["fileMegabytes"]["maximum"]
    piece = largest + CHUNK // 2**20
    storage = functions(template)["OnUpload"]["EphemeralStorage"]["Size"]
    assert storage >= mapping["BatchSize"] * 2 * piece, "one goes up, and one is unpacked"


# -- What stays ---------------------------------------------------------------------------------


def test_what_remembers_outlives_the_stack(template: dict[str, Any]) -> None:
    kept = {
        name
        for name, resource in template["Resources"].items()
        if resource.get("DeletionPolicy") in ("Retain", "RetainExceptOnCreate")
        and resource.get("UpdateReplacePolicy") == "Retain"
    }
    assert kept == {"LandingBucket", "Ledger", "StateBucket"}


def test_a_first_deployment_that_fails_leaves_only_what_is_protected(
    template: dict[str, Any],
) -> None:
    """CloudFormation would fail to delete that too, and the stack would hang in its rollback."""
    protected = {
        name
        for name, resource in template["Resources"].items()
        if resource.get("Properties", {}).get("DeletionProtectionEnabled")
    }
    left = {
        name
        for name, resource in template["Resources"].items()
        if resource.get("DeletionPolicy") == "Retain"
    }
    assert left == protected == {"Ledger"}


def test_only_what_users_may_bring_themselves_is_conditional(template: dict[str, Any]) -> None:
    conditional = {
        name: resource["Condition"]
        for name, resource in template["Resources"].items()
        if "Condition" in resource
    }
    delivers = [name for name, condition in conditional.items() if condition == "Deliver"]
    journal = {name for name, condition in conditional.items() if condition == "Journal"}
    assert {n: held for n, held in conditional.items() if n not in {*delivers, *journal}} == {
        "LandingBucket": "OwnBucket",
        "LandingBucketPolicy": "OwnBucket",
        "LandingRole": "OwnBucket",
        "LetOnRequestSign": "OwnBucket",
        "Ledger": "OwnLedger",
    }
    # The journal and deliveries: all of each or nothing.
    assert journal == {name for name in template["Resources"] if "Journal" in name}
    belongs = re.compile(
        r"Deliver|Upload|FilesLost|RowsMissing|BatchesFail|BatchesAbandoned|BatchesUnfinished"
    )
    assert set(delivers) == {name for name in template["Resources"] if belongs.search(name)}


@pytest.mark.parametrize("delivers", [True, False])
def test_nothing_refers_to_what_is_not_there(template: dict[str, Any], delivers: bool) -> None:
    guards = {resource.get("Condition") for resource in template["Resources"].values()} - {None}
    others = set(template["Conditions"]) - guards
    for bucket, ledger, journal, rest in product([True, False], repeat=4):
        holds = {"Deliver": delivers, "OwnBucket": bucket, "OwnLedger": ledger, "Journal": journal}
        assert guards == set(holds)
        holds |= dict.fromkeys(others, rest)
        there = {
            (section, name): chosen(thing, holds)
            for section in ("Resources", "Outputs")
            for name, thing in template[section].items()
            if holds.get(thing.get("Condition"), True)
        }
        known = {name for section, name in there if section == "Resources"}
        known |= set(template["Parameters"]) | {"AWS"}
        for (_, name), thing in there.items():
            for reference in references(thing):
                assert reference.partition("::")[0] in known, (name, reference)


def test_the_ledger_can_be_restored_and_asked(template: dict[str, Any]) -> None:
    (ledger,) = of_type(template, "AWS::DynamoDB::Table").values()
    assert ledger["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert ledger["DeletionProtectionEnabled"] is True
    assert ledger["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert [index["IndexName"] for index in ledger["GlobalSecondaryIndexes"]] == ["due", "batch"]


def test_logs_are_kept_for_longer_than_the_ledger_remembers(template: dict[str, Any]) -> None:
    logs = of_type(template, "AWS::Logs::LogGroup")
    used = {
        function["LoggingConfig"]["LogGroup"]["Ref"] for function in functions(template).values()
    }
    assert used == set(logs)
    for name, group in logs.items():
        assert int(group["RetentionInDays"]) >= template["Parameters"]["RetentionDays"]["Default"]
        assert group["LogGroupName"]["Fn::Sub"].startswith("/aws/lambda/${AWS::StackName}/"), name


def test_all_but_rows_compiled_maps_and_the_journal_is_kept_as_long_as_the_ledger_remembers(
    template: dict[str, Any],
) -> None:
    """A routing table may be live for years, and names its compiled maps."""
    bucket = of_type(template, "AWS::S3::Bucket")["StateBucket"]["LifecycleConfiguration"]
    rules = chosen(bucket["Rules"], {"Journal": True})
    others: dict[str, Any] = {"journal/": {"Ref": "JournalDays"}}
    others |= dict.fromkeys(["badrows/", "diagnostics/", "inventory/"], 14)
    for rule in rules:
        days = others.get(rule["Prefix"], {"Ref": "RetentionDays"})
        assert (rule["ExpirationInDays"], rule["Status"]) == (days, "Enabled")
    written = {
        found
        for _, statement in role_statements(template)
        for found in re.findall(r"\$\{StateBucket\.Arn\}/([a-z]+/)", str(statement["Resource"]))
    }
    assert {rule["Prefix"] for rule in rules} == written - {"maps/"}
    assert "maps/" in written
    ended = json.loads((ROOT / "events/batch-ended.schema.json").read_text())["properties"]
    table = json.loads((LAYER / "routing/routes.schema.json").read_text())
    kept = table["properties"]["routes"]["items"]["properties"]["keepBadRows"]
    for member in (ended["badRows"], ended["diagnostics"], kept):
        assert "for 14 days" in member["description"]


def test_what_is_in_a_bucket_is_encrypted(template: dict[str, Any]) -> None:
    for name, bucket in of_type(template, "AWS::S3::Bucket").items():
        [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}, name


def test_the_landing_bucket_is_versioned_closed_and_tells_eventbridge(
    template: dict[str, Any],
) -> None:
    bucket = of_type(template, "AWS::S3::Bucket")["LandingBucket"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert chosen(bucket["NotificationConfiguration"], {"Direct": False}) == {
        "EventBridgeConfiguration": {"EventBridgeEnabled": True}
    }
    for name, any_bucket in of_type(template, "AWS::S3::Bucket").items():
        assert set(any_bucket["PublicAccessBlockConfiguration"].values()) == {True}, name


# -- HTTP ---------------------------------------------------------------------------------------


def test_the_api_is_regional_signed_and_throttled(template: dict[str, Any]) -> None:
    (api,) = of_type(template, "AWS::ApiGateway::RestApi").values()
    assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    # With credentials, API Gateway would call the function in the caller's name.
    assert "credentials" not in json.dumps(api["Body"])
    methods = {
        (path, method): operation
        for path, operations in api["Body"]["paths"].items()
        for method, operation in operations.items()
    }
    assert set(methods) == {
        ("/batches", "post"),
        ("/data/foundation/import/batches", "post"),  # Adobe's own
        ("/uploads", "post"),
        ("/batches", "get"),
        ("/batches/{id}", "get"),
        ("/batches/{id}/attempts", "post"),
        ("/objects", "get"),
    }
    for operation in methods.values():
        assert operation["security"] == [{"AWS_IAM": []}]
    (stage,) = of_type(template, "AWS::ApiGateway::Stage").values()
    (settings,) = stage["MethodSettings"]
    # As doctor reckons, and so that at their fastest they leave arrivals half of the batches.
    fastest = {settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]}
    assert fastest == {str(REQUESTS_PER_SECOND)}
    assert Limits().batches_per_minute >= 2 * 60 * REQUESTS_PER_SECOND
    # Twenty metrics by method, of which neither alarm nor graph shows one.
    assert "MetricsEnabled" not in settings
    # A log of bodies would hold the URLs of uploads, and they are credentials.
    assert not settings.keys() & {"DataTraceEnabled", "LoggingLevel"}
    assert "AccessLogSetting" not in stage


def test_the_gateways_own_answers_are_whole_problems(template: dict[str, Any]) -> None:
    (api,) = of_type(template, "AWS::ApiGateway::RestApi").values()
    answers = api["Body"]["x-amazon-apigateway-gateway-responses"]
    told = {}
    for name, answer in answers.items():
        headers = answer["responseParameters"]
        assert headers["gatewayresponse.header.Content-Type"] == "'application/problem+json'", name
        text = answer["responseTemplates"]["application/json"]
        problem = json.loads(text.replace("$context.error.messageString", '"said"'))
        assert (problem["type"], problem["title"]) == ("about:blank", "said"), name
        told[name] = problem.get("status")
    # API Gateway has no variable for the status; these are the kinds whose status is known.
    assert told == {
        "ACCESS_DENIED": 403,
        "EXPIRED_TOKEN": 403,
        "INVALID_SIGNATURE": 403,
        "MISSING_AUTHENTICATION_TOKEN": 403,
        "THROTTLED": 429,
        "DEFAULT_4XX": None,
        "DEFAULT_5XX": None,
    }


# -- Functions ----------------------------------------------------------------------------------


def test_functions_get_exactly_the_environment_they_read(template: dict[str, Any]) -> None:
    powertools = {
        "POWERTOOLS_SERVICE_NAME",
        "POWERTOOLS_METRICS_NAMESPACE",
        "POWERTOOLS_LOG_LEVEL",
    }
    for name, function in functions(template).items():
        variables = function["Environment"]["Variables"]
        read = READ[function["Handler"].removesuffix(".handler")]
        assert set(variables) == {each.upper() for each in read} | powertools, name
        # CloudFormation refuses anything but text here, and MiniStack fails on it much later.
        assert all(isinstance(value, str | dict) for value in variables.values()), name


STACK = "aep-intake-of-the-whole-company-in-production"
BUCKETS = [f"acme-customer-landing-{n:02}" for n in range(20)]
SECRETS = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:aep/*"


def resolved(template: dict[str, Any], value: Any) -> str:  # noqa: PLR0911
    """A variable as a large stack has it: long names, twenty buckets, secrets by prefix."""
    parameters = template["Parameters"]
    match value:
        case {"Ref": "SourceBucketNames"}:
            return ",".join(BUCKETS)
        case {"Ref": "CredentialSecrets"}:
            return SECRETS
        case {"Ref": str(name)} if name in parameters:
            return str(parameters[name].get("Default", f"some-{name}"))
        case {"Fn::Join": [",", inner]}:
            return resolved(template, inner)
        case {"Fn::Select": [int(place), inner]}:
            return resolved(template, inner).split(",")[place]
        case {"Fn::If": ["OwnBucket", _, inner]} | {"Fn::If": [_, inner, _]}:
            return resolved(template, inner)
        case {"Ref": str(name)} if "::" not in name:
            kind = template["Resources"][name]["Type"]
            if kind.startswith("AWS::AppConfig::"):
                return "abc1234"
            made = f"{STACK}-{name}-1A2B3C4D5E6F7"
            queue = f"https://sqs.eu-central-1.amazonaws.com/111122223333/{made}"
            return queue if kind == "AWS::SQS::Queue" else made
    return str(value)


def test_the_environment_makes_settings_and_leaves_room(template: dict[str, Any]) -> None:
    """With each parameter's default the functions start; Lambda takes 4 KB of names and values.

    A hundred organizations are a document, not an environment.
    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    """
    for name, function in functions(template).items():
        variables = {
            key: resolved(template, value)
            for key, value in function["Environment"]["Variables"].items()
        }
        settings = Settings.of(function["Handler"].removesuffix(".handler"), variables)
        assert settings.ledger_table
        assert len(json.dumps(variables)) < 2048, name


def test_functions_run_what_is_there(source: dict[str, Any]) -> None:
    folder = source["Globals"]["Function"]["CodeUri"]
    run = {
        f"{function.get('CodeUri', folder)}/{function['Handler']}"
        for function in of_type(source, "AWS::Serverless::Function").values()
    }
    there = {
        f"{file.parent.relative_to(ROOT)}/{file.stem}.handler"
        for file in ROOT.glob("functions/*/*.py")
        if "\ndef handler(" in file.read_text()
    }
    assert run == there
    assert len(run) == 10


def test_functions_run_alike(template: dict[str, Any]) -> None:
    # A folder of 100,000 files is registered; to cut a large CSV, all of it is read; and a file of
    # 512 MB goes at 5 Mbit/s; a million events of an hour are read again.
    long = {"OnMarker": 900, "OnDelivery": 300, "OnUpload": 900, "OnJournal": 300}
    long["OnReconcile"] = 900  # a page of a thousand objects takes a second
    for name, function in functions(template).items():
        assert function["Runtime"] == "python3.13", name
        assert function["Architectures"] == ["arm64"], name
        assert function["TracingConfig"] == {"Mode": "Active"}, name
        assert function["LoggingConfig"]["LogFormat"] == "JSON", name
        assert int(function["Timeout"]) <= long.get(name, 60), name


# -- Routes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["routes", "limits"])
def test_appconfig_validates_with_the_schema_of_the_functions(
    template: dict[str, Any], name: str
) -> None:
    profiles = of_type(template, "AWS::AppConfig::ConfigurationProfile")
    assert {profile["Name"] for profile in profiles.values()} == {"routes", "limits"}
    (validator,) = profiles[f"{name.title()}Profile"]["Validators"]
    assert validator["Type"] == "JSON_SCHEMA"
    schema = json.loads(validator["Content"])
    complete = json.loads(next(LAYER.rglob(f"{name}.schema.json")).read_text())
    assert schema == docs.rules(complete), "make docs"
    # https://docs.aws.amazon.com/appconfig/latest/userguide/appconfig-creating-configuration-profile-validators.html
    assert schema["$schema"] == "http://json-schema.org/draft-04/schema#"
    assert len(validator["Content"]) <= 32_768


def test_who_may_publish_routes_may_not_thereby_publish_limits(template: dict[str, Any]) -> None:
    """Rights to publish name an application, its environment or its profile: nothing is shared.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsappconfig.html
    """
    for kind in ("ConfigurationProfile", "Environment"):
        of = {
            name: properties["ApplicationId"]["Ref"]
            for name, properties in of_type(template, f"AWS::AppConfig::{kind}").items()
        }
        assert of == {
            f"Routes{kind.removeprefix('Configuration')}": "RoutesApplication",
            f"Limits{kind.removeprefix('Configuration')}": "LimitsApplication",
        }


def test_who_does_not_route_may_not_read_routes(template: dict[str, Any]) -> None:
    readers: dict[str, set[str]] = {"RoutesProfile": set(), "LimitsProfile": set()}
    for role, statement in role_statements(template):
        if "appconfig:GetLatestConfiguration" in listed(statement["Action"]):
            (profile,) = set(readers) & set(references(statement["Resource"]))
            readers[profile].add(role)
    routing = {"OnArrivalRole", "OnMarkerRole", "OnRequestRole", "OnReconcileRole"}
    assert readers["RoutesProfile"] == routing | {"OnTickRole"}  # what they expect
    assert readers["LimitsProfile"] == set(of_type(template, "AWS::IAM::Role")) - {
        "LandingRole",
        "OnJournalRole",
        "OnWidgetRole",
    }


def test_no_table_is_published_by_the_template(template: dict[str, Any]) -> None:
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert {kind for kind in kinds if kind.startswith("AWS::AppConfig::")} == {
        "AWS::AppConfig::Application",
        "AWS::AppConfig::ConfigurationProfile",
        "AWS::AppConfig::DeploymentStrategy",
        "AWS::AppConfig::Environment",
    }


def test_doctor_reckons_with_every_function_that_has_a_queue(template: dict[str, Any]) -> None:
    mappings = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    assert {f"{each['FunctionName']['Ref']}Function" for each in mappings} == set(QUEUE_FED)
    assert set(QUEUE_FED) <= template["Outputs"].keys()


# -- Alarms and outputs -------------------------------------------------------------------------


def advice(alarm: Mapping[str, Any]) -> str:
    """What an alarm says, with the stack's name in it as CloudFormation fills it in."""
    match alarm["AlarmDescription"]:
        case {"Fn::Sub": str(text)}:
            return text.replace("${AWS::StackName}", STACK)
        case text:
            return str(text)


def test_every_alarm_says_what_to_do(template: dict[str, Any]) -> None:
    """And whatever it names is there: outputs, logs, commands, and words that the logs have."""
    urges = re.compile(r"(^|[.:;] |\band )(Read|Check|Find|Look for|read|check|find|fix)\b")
    outputs, resources = template["Outputs"], template["Resources"]
    ours = {"EventBridge", *template["Parameters"], *outputs, *resources}
    groups = {
        group["LogGroupName"]["Fn::Sub"].replace("${AWS::StackName}", STACK)
        for group in of_type(template, "AWS::Logs::LogGroup").values()
    }
    speakers = [*LAYER.rglob("*telemetry*.py"), *ROOT.glob("functions/report/*.py")]
    logged = "".join(file.read_text() for file in speakers)
    topic = {"Fn::If": ["TellSomebody", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        said = advice(alarm)
        assert 80 < len(said) <= 1024, name
        assert urges.search(said), name
        assert alarm["AlarmActions"] == alarm["OKActions"] == topic, name
        for output in re.findall(r"output (\w+)", said):
            assert output in outputs, (name, output)
        for group in re.findall(r"/aws/lambda/[\w/-]+[\w-]", said):
            assert group in groups or group == f"/aws/lambda/{STACK}", (name, group)
        for command in re.findall(r"aep-intake ([a-z]+)", said):
            assert command in aep_intake.commands, (name, command)
        for word in re.findall(r"`([a-z_ ]+)`", said):
            assert f'"{word}"' in logged, (name, word)
        # What is written so, is of the template.
        for word in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", said):
            assert word in ours, (name, word)


def test_everything_that_can_go_wrong_has_an_alarm(template: dict[str, Any]) -> None:
    watched = {
        (alarm["MetricName"], json.dumps(dimension["Value"]))
        for alarm in of_type(template, "AWS::CloudWatch::Alarm").values()
        for dimension in alarm["Dimensions"]
    }
    waiting = "ApproximateNumberOfMessagesVisible"
    service = functions(template)["OnTick"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]

    def queue(name: str) -> str:
        return json.dumps({"Fn::GetAtt": [name, "QueueName"]})

    def ref(name: str) -> str:
        return json.dumps({"Ref": name})

    expected = {(waiting, queue(name)) for name in dead_letter_queues(template)}
    # Queues that somebody else feeds; what is in the due queue, the ledger knows.
    expected |= {
        ("ApproximateAgeOfOldestMessage", queue(name))
        for name in ("ArrivalsQueue", "DeliveriesQueue", "UploadsQueue")
    }
    # What a rule could not deliver is in a dead-letter queue; a tick that is lost need not be
    # repeated. What Lambda throttles comes again, and is late.
    expected |= {
        (
            "InvocationsFailedToBeSentToDlq",
            json.dumps(rule["Name"]) if "EventBusName" in rule else ref(name),
        )
        for name, rule in of_type(template, "AWS::Events::Rule").items()
        if name not in ("TickRule", "OnReconcileHourly")
    }
    expected |= {("Errors", ref(name)) for name in functions(template)}
    expected |= {
        ("5XXError", ref("AWS::StackName")),
        ("RetryingArrivalAge", json.dumps(service)),
        ("RetryingDeliveryAge", json.dumps(service)),
        ("RetryingUploadAge", json.dumps(service)),
        ("OverdueOrders", json.dumps(service)),
        ("ProfileQuotaUsed", json.dumps(service)),
        ("RoutesOverdue", json.dumps(service)),
        ("BatchesFailed", json.dumps(service)),
        ("BatchesMiscounted", json.dumps(service)),
        ("BatchesAbandoned", json.dumps(service)),
        ("LostFiles", json.dumps(service)),
        ("UnfinishedBatchHours", json.dumps(service)),
    }
    assert expected <= watched


def test_a_rule_of_another_bus_is_watched_as_cloudwatch_calls_it(template: dict[str, Any]) -> None:
    """By bus and name; `Ref` of such a rule is `bus|name`, which no metric has.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
    https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1131
    """
    rule = of_type(template, "AWS::Events::Rule")["DeliveriesRule"]
    alarm = of_type(template, "AWS::CloudWatch::Alarm")["DeliveriesRuleLosesEvents"]
    assert alarm["Dimensions"] == [
        {"Name": "EventBusName", "Value": rule["EventBusName"]},
        {"Name": "RuleName", "Value": rule["Name"]},
    ]


def test_every_output_is_one_that_somebody_reads(template: dict[str, Any]) -> None:
    """A tool, the local stack, a test of it, an alarm, or who reads a page."""
    read = "".join(
        file.read_text(encoding="utf-8")
        for pattern in ("cli/**/*.py", "local/**/*.py", "tests/stack/*.py")
        for file in ROOT.glob(pattern)
    )
    # But not in the table of all of them.
    generated = re.compile(r"<!-- table: outputs -->.*?<!-- end -->", re.DOTALL)
    read += "".join(generated.sub("", page.read_text("utf-8")) for page in docs.PAGES)
    for name, output in template["Outputs"].items():
        assert re.search(rf"\b{name}\b", read), name
        assert len(output["Description"]) > 10, name


# -- Portability --------------------------------------------------------------------------------


def test_no_partition_account_or_region_is_written_down(source: dict[str, Any]) -> None:
    for section in ("Globals", "Resources", "Outputs"):
        text = json.dumps(source[section], default=str)
        assert not re.findall(r"arn:aws[^\"]*|\b\d{12}\b|\b[a-z]{2}-[a-z]+-\d\b", text), section


def test_the_layer_is_pinned_by_hash_and_names_no_index() -> None:
    layer = ROOT / "layers/dependencies"
    pins = (layer / "requirements.txt").read_text()
    names = re.findall(r"^([a-z0-9-]+)==", pins, re.MULTILINE)
    assert {"aws-lambda-powertools", "requests", "urllib3"} <= set(names)
    # boto3 comes with the runtime; pydantic and the X-Ray SDK would double the cold start.
    assert not {"boto3", "botocore", "pydantic", "aws-xray-sdk"} & set(names)
    assert pins.count("--hash=sha256:") >= len(names)
    assert not re.search(r"https?:|file:|--index|--find-links|/", pins)
