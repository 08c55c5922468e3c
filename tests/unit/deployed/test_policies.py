"""The policies for people: valid, small enough, and for all that their tasks take.

What an operator's and a deployer's commands do with them is tried on the stack.
"""

import ast
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from local import policies
from local.docs import resources, template

ROOT = Path(__file__).resolve().parents[3]
CLI = ROOT / "cli" / "aep_intake_cli"
NAMES = ("deployer", "operator")

FILLED = dict.fromkeys(policies.PLACEHOLDERS, "filled") | {
    "ACCOUNT": "111122223333",
    "REGION": "eu-west-1",
    "ALARM_TOPIC_ARN": "arn:aws:sns:eu-west-1:111122223333:alarms",
}


def actions(name: str) -> set[str]:
    """All that a policy allows, wildcards as they are."""
    return {
        action
        for statement in policies.statements(name, **FILLED)
        for action in statement["Action"]
    }


def allows(name: str, action: str) -> bool:
    return any(fnmatchcase(action.lower(), each.lower()) for each in actions(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_placeholder_is_explained(name: str) -> None:
    told = (policies.FOLDER / "README.md").read_text("utf-8")
    text = (policies.FOLDER / f"{name}.json").read_text("utf-8")
    used = {word for word in policies.PLACEHOLDERS if re.search(rf"\b{word}\b", text)}
    assert used
    for word in used:
        assert f"`{word}`" in told, word
    # And none is left that nobody fills in.
    verbs = {"DELETE", "GET", "PATCH", "POST", "PUT"}  # API Gateway's actions
    assert set(re.findall(r"\b[A-Z][A-Z_]{2,}\b", text)) - verbs == used


# -- The deployer's -----------------------------------------------------------------------------

# What CloudFormation says that it may do with resources of these types, and does not with ours.
# By service and action, why.
NEVER = {
    "kms:*": "none of them has a key of ours; what a function decrypts, its role does",
    "kinesis:*": "the ledger has no stream",
    "s3tables:*": "no bucket has metadata tables",
    "s3files:*": "no function has a file system",
    "elasticfilesystem:*": "as that",
    "firehose:*": "no log is delivered elsewhere",
    "dynamodb:*Item": "only a table that is imported, or replicated",
    "dynamodb:Scan": "as that",
    "dynamodb:Query": "as that",
    "dynamodb:*Replica": "as that",
    "dynamodb:ImportTable": "as that",
    "dynamodb:*ResourcePolicy": "the table has no policy of its own",
    "dynamodb:UpdateContributorInsights": "it is left off",
    "dynamodb:*KinesisStreamingDestination": "as Kinesis",
    "iam:CreateServiceLinkedRole": "for replicas alone",
    "iam:*tachRolePolicy": "roles have no managed policies",
    "iam:*GroupPolicy": "policies are for roles",
    "iam:*UserPolicy": "as that",
    "events:*Permission": "the bus admits nobody from outside",
    "apigateway:UpdateRestApiPolicy": "the API has no policy of its own",
    "logs:*": "log groups have a name and a retention",
    "lambda:*CodeSigningConfig": "functions are not signed",
    "lambda:*ScalingConfig": "no capacity is provided",
    "lambda:PassCapacityProvider": "as that",
    "lambda:AssociateRuntimeAlias": "the runtime is Lambda's choice",
    "lambda:PutRuntimeManagementConfig": "as that",
    "s3:*Object*": "buckets come and go empty, without locks",
    "s3:REST*": "no log is delivered elsewhere",
    "s3:Put*Configuration": "buckets have encryption and a lifecycle",
    "s3:CreateBucketMetadata*": "no bucket has metadata tables",
    "s3:UpdateBucketMetadata*": "no bucket has metadata tables",
    "s3:*Resource": "buckets have no tags but the stack's, by PutBucketTagging",
    "s3:DeleteBucket*": "nothing is taken from a bucket that it once had",
}
# Of what NEVER leaves out by pattern, what is done all the same.
STILL = {
    *("logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy"),
    *("logs:DescribeLogGroups", "logs:DeleteRetentionPolicy", "logs:TagResource"),
    *("s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:DeleteBucket"),
    *("s3:DeleteBucketPolicy", "lambda:GetFunctionCodeSigningConfig", "s3:GetObject"),
}


@cache
def specification(name: str) -> dict[str, Any]:
    """One of AWS's own that cfn-lint brings along."""
    spec = find_spec("cfnlint")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "data" / f"{name}.json"
    read: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return read


def handlers(kind: str) -> Iterator[str]:
    """What AWS's schema of a resource type says that CloudFormation calls to keep one."""
    schema = specification(
        f"schemas/resources/{specification('schemas/providers/us-east-1')[kind]}"
    )
    for verb in ("create", "read", "update", "delete"):
        yield from schema["handlers"].get(verb, {}).get("permissions", ())


# What SAM makes of its own types here.
MADE = {
    "AWS::Serverless::Function": ["Lambda::Function", "Lambda::EventSourceMapping"],
    "AWS::Serverless::LayerVersion": ["Lambda::LayerVersion"],
    "AWS::Serverless::Api": ["ApiGateway::RestApi", "ApiGateway::Stage", "ApiGateway::Deployment"],
}


def kinds() -> set[str]:
    """All types of the template, as CloudFormation gets it."""
    found = {"AWS::Lambda::Permission", "AWS::Lambda::EventInvokeConfig"}
    for resource in template()["Resources"].values():
        kind = resource["Type"]
        found |= {f"AWS::{each}" for each in MADE[kind]} if kind in MADE else {kind}
    return found


def done(kind: str) -> set[str]:
    """What it does with ours of a type."""
    return {
        action
        for action in handlers(kind)
        if action in STILL or not any(fnmatchcase(action, never) for never in NEVER)
    }


def deployed_with() -> set[str]:
    return {action for kind in kinds() for action in done(kind)}


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_a_deployer_may_do_what_cloudformation_does_for_it(kind: str) -> None:
    needed = done(kind)
    assert needed, "all of it is said to be never done"
    assert {action for action in needed if not allows("deployer", action)} == set()


def test_a_deployer_touches_what_is_the_stacks_alone() -> None:
    for statement in policies.statements("deployer", **FILLED | {"STACK": "the-stack"}):
        several = statement["Resource"]
        for resource in [several] if isinstance(several, str) else several:
            if resource == "*":
                assert statement["Sid"] == "WhatHasNoResource"
                continue
            ours = ("the-stack", "aws-sam-cli-managed-default", "Layer*", "Serverless-2016-10-31")
            # Ids that AWS gives: nobody knows them before.
            given = ("apigateway:", "appconfig:", "event-source-mapping:")
            assert any(each in resource for each in (*ours, *given)), resource


# -- The operator's -----------------------------------------------------------------------------

# Where IAM's action is not called like the operation.
CALLED = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "lambda:Invoke": "lambda:InvokeFunction",
}
FREE = {"sts:GetCallerIdentity"}  # everybody may
OTHERS = {"appconfig:GetAccountSettings"}  # Lambda's is called so, too
# By adapters of the functions: a token for Adobe, objects of a bucket, and the ledger.
BY_ADAPTERS = {"secretsmanager:GetSecretValue", "s3:ListBucketVersions", "dynamodb:BatchGetItem"}
BY_ADAPTERS |= {f"dynamodb:{each}" for each in ("Query", "GetItem", "PutItem", "UpdateItem")}
BY_ADAPTERS |= {"dynamodb:DeleteItem", "dynamodb:Scan", "s3:GetInventoryConfiguration"}


@cache
def operations(service: str) -> dict[str, str]:
    """Operations of a service, by the name of the client's method."""
    names = botocore.session.get_session().get_service_model(service).operation_names
    return {xform_name(name): name for name in names}


def called() -> set[str]:
    """Actions of all calls of AWS in the command's code."""
    trees = [ast.parse(file.read_text("utf-8")) for file in CLI.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    services, names = set(), set()
    for call in calls:
        match call:
            case ast.Call(func=ast.Attribute(attr="client"), args=[ast.Constant(str(name)), *_]):
                services.add(name)
            case ast.Call(func=ast.Attribute(attr="get_paginator"), args=[ast.Constant(str(op))]):
                names.add(op)
            case ast.Call(func=ast.Attribute(attr=name)) if name not in own:
                names.add(name)
    assert {"sqs", "appconfig", "s3", "lambda", "cloudformation"} <= services
    found = {
        f"{service}:{operations(service)[name]}"
        for service in services
        for name in names & operations(service).keys()
    }
    return {CALLED.get(action, action) for action in found} - FREE - OTHERS


def test_an_operator_may_do_what_the_commands_call_and_no_more() -> None:
    assert actions("operator") == called() | BY_ADAPTERS


def test_who_publishes_routes_need_not_publish_limits() -> None:
    """The two rights are statements of their own, of which one may be left out."""
    applications = {"RoutesApplication", "LimitsApplication"}
    assert applications <= resources("AWS::AppConfig::Application").keys()
    filled = FILLED | {"ROUTES_APPLICATION_ID": "routes1", "LIMITS_APPLICATION_ID": "limits1"}
    found: dict[str, Any] = {
        statement["Sid"]: json.dumps(statement["Resource"])
        for statement in policies.statements("operator", **filled)
    }
    assert "limits1" not in found["PublishRoutes"]
    assert "routes1" not in found["PublishLimits"]


# -- Both ---------------------------------------------------------------------------------------


def resourceless(action: str) -> bool:
    """Whether IAM knows no resource for it, so that only "*" allows it."""
    service, _, name = action.partition(":")
    known = specification("AdditionalSpecs/Policies")[service]["Actions"].get(name.lower())
    return known is not None and not known.get("Resources")


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_resource_is_allowed_for_any(name: str) -> None:
    """A statement that names one for such an action allows nothing, and says nothing of it.

    https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
    """
    everywhere = [
        action
        for statement in policies.statements(name, **FILLED)
        if statement["Resource"] == "*"
        for action in statement["Action"]
    ]
    wanted = actions("operator") if name == "operator" else deployed_with()
    for action in sorted(wanted):
        if resourceless(action):
            assert any(fnmatchcase(action, each) for each in everywhere), action
