"""Organizations and limits: what a document may say, and what holds without one."""

import json
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from aep_intake.model.errors import TargetNotAllowed
from aep_intake.model.organizations import (
    SCHEMA,
    InvalidLimits,
    Limits,
    Organization,
    Organizations,
    covers,
    parse,
    undocumented,
    written,
)
from aep_intake.settings import Settings
from aep_intake.wiring.arrive import Arriving
from aep_intake.wiring.deliver import Delivering
from aep_intake_cli.limits import OLD_PARAMETERS, from_parameters, lint
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:aep/"
ACME, EMEA = f"{SECRET}acme-AbCdEf", f"{SECRET}emea-AbCdEf"
PREFIX = f"{SECRET}*"
LIMITS = SCHEMA["properties"]["limits"]["properties"]
OWN = SCHEMA["properties"]["organizations"]["items"]["properties"]["limits"]["properties"]


def document(**members: Any) -> bytes:
    return json.dumps(members).encode()


def test_without_a_document_each_secret_is_an_organization_with_the_code_s_own_limits() -> None:
    found = undocumented([ACME, EMEA])
    assert found == Organizations((Organization(ACME), Organization(EMEA)), Limits())
    assert found.of(None) == Organization(ACME, ("prod",))
    assert undocumented([PREFIX]) is None, "which of them, only a document can say"


def test_a_document_says_who_may_do_what_and_how_carefully() -> None:
    found = parse(
        document(
            limits={"settleSeconds": 300, "batchesPerMinute": 100, "replayBy": "predecessors"},
            organizations=[
                {"credential": EMEA, "sandboxes": ["dev", "prod"]},
                {"credential": ACME, "limits": {"batchesPerMinute": 10}},
            ],
        ),
        [PREFIX],
    )
    assert found.credentials == (EMEA, ACME)
    assert found.of(None).sandboxes == ("dev", "prod"), "the first of each is the default"
    assert found.of(ACME).sandboxes == ("prod",)
    shared = Limits(settle_seconds=300, batches_per_minute=100, replay_by="predecessors")
    assert found.limits == found.limits_of(EMEA) == shared
    assert found.limits_of(ACME) == replace(shared, batches_per_minute=10)
    assert found.limits_of("one that is no more") == shared
    with pytest.raises(TargetNotAllowed, match="who"):
        found.of("who")


def test_limits_alone_are_those_of_all_that_the_template_names() -> None:
    found = parse(document(limits={"gigabytesPerHour": 5}), [ACME, EMEA])
    assert found.credentials == (ACME, EMEA)
    assert found.limits_of(EMEA).gigabytes_per_hour == 5
    with pytest.raises(InvalidLimits, match="organizations"):
        parse(document(limits={"gigabytesPerHour": 5}), [PREFIX])


# What must not be said: each would be less careful than the stack is by itself.
WEAKER = [
    ("settleSeconds", 119),
    ("outcomeSeconds", 4),
    ("batchFiles", 25_000),
    ("batchGigabytes", 1000),
    ("fileMegabytes", 513),
    ("batchesPerMinute", Limits().batches_per_minute + 1),
    ("gigabytesPerHour", Limits().gigabytes_per_hour + 1),
    ("profileBatchesPerDay", Limits().profile_batches_per_day + 1),
]


@pytest.mark.parametrize(("name", "value"), WEAKER)
def test_limits_can_only_make_it_more_careful(name: str, value: int) -> None:
    with pytest.raises(InvalidLimits, match=rf"limits\.{name}: must be from"):
        parse(document(limits={name: value}), [ACME])
    if name in OWN:
        one = {"credential": ACME, "limits": {name: value}}
        with pytest.raises(InvalidLimits, match=rf"organizations\[0\]\.limits\.{name}"):
            parse(document(organizations=[one]), [ACME])


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (b"{", "JSON"),
        (b'{"limits": {}, "limits": {}}', "twice"),
        (b"[]", "must be object"),
        (document(limits={"settleSeconds": 120.5}), "must be integer"),
        (document(limits={"settleSeconds": True}), "must be integer"),
        (document(limits={"replayBy": "guess"}), "must be one of"),
        (document(limits={"bandwidth": 1}), "is not known here"),
        (document(organizations=[]), "is empty"),
        (document(organizations=[{"sandboxes": ["prod"]}]), "needs `credential`"),
        (document(organizations=[{"credential": "aep/acme"}]), "must be the full ARN of a secret"),
        (document(organizations=[{"credential": PREFIX}]), "must be the full ARN of a secret"),
        (document(organizations=[{"credential": ACME, "sandboxes": []}]), "is empty"),
        (
            document(organizations=[{"credential": ACME, "sandboxes": ["Prod"]}]),
            "the name of a sandbox",
        ),
        (document(organizations=[{"credential": ACME}] * 2), "an earlier entry has it"),
        (document(organizations=[{"credential": ACME, "limits": {"batchFiles": 1}}]), "not known"),
    ],
)
def test_what_makes_no_sense_is_refused(told: bytes, says: str) -> None:
    with pytest.raises(InvalidLimits, match=says):
        parse(told, [ACME])
    assert lint(told, (ACME,)), "and by the command, before it is published"


def test_the_defaults_are_within_what_may_be_said() -> None:
    """One place says what holds, another what may be said: they agree."""
    names = {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name): schema
        for name, schema in LIMITS.items()
    }
    assert set(names) == {field.name for field in fields(Limits)}
    for name, schema in names.items():
        assert list(Draft4Validator(schema).iter_errors(getattr(Limits(), name))) == [], name
    for name, schema in OWN.items():
        assert schema == LIMITS[name], "what an organization may be told is what all may be"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from(schema["enum"])
            if "enum" in schema
            else st.booleans()
            if schema["type"] == "boolean"
            else st.integers(schema["minimum"], schema["maximum"])
            for name, schema in LIMITS.items()
        },
    ),
    st.fixed_dictionaries(
        {}, optional={name: st.integers(1, schema["maximum"]) for name, schema in OWN.items()}
    ),
)
def test_what_is_in_force_can_be_written_down(shared: dict[str, Any], own: dict[str, Any]) -> None:
    one = {"credential": ACME, "sandboxes": ["dev"], "limits": own}
    told = document(limits=shared, organizations=[one, {"credential": EMEA}])
    Draft4Validator(SCHEMA).validate(json.loads(told))
    found = parse(told, [PREFIX])
    assert parse(json.dumps(written(found)).encode(), [PREFIX]) == found


def test_a_secret_that_the_template_does_not_name_is_told_before_it_is_live() -> None:
    told = document(organizations=[{"credential": ACME}, {"credential": EMEA}])
    assert lint(told, (PREFIX,)) == lint(told, (ACME, EMEA)) == []
    (problem,) = lint(told, (ACME,))
    assert problem.field == "organizations[1].credential"
    assert covers((f"{SECRET}a*",), ACME)
    assert not covers((f"{SECRET}b*", EMEA), ACME)


def test_a_hundred_organizations_are_a_small_document() -> None:
    some = [
        {"credential": f"{SECRET}customer-{n:03}-AbCdEf", "sandboxes": ["prod", "dev"]}
        for n in range(100)
    ]
    told = document(organizations=some)
    assert len(parse(told, [PREFIX]).all) == 100
    assert len(told) < 64 * 1024


# ---- from the release before

BEFORE = {
    "CredentialSecretArns": f"{ACME},{EMEA}",
    "DefaultSandbox": "dev",
    "AllowedSandboxes": "prod,dev",
    **{name: default for name, (default, _) in OLD_PARAMETERS.items()},
}


def test_what_was_the_default_stays_the_default() -> None:
    told, remarks = from_parameters(BEFORE)
    assert remarks == []
    assert told == {
        "organizations": [{"credential": arn, "sandboxes": ["dev", "prod"]} for arn in (ACME, EMEA)]
    }


def test_what_was_chosen_is_kept_as_far_as_it_may_be() -> None:
    told, remarks = from_parameters(
        BEFORE
        | {"SettleSeconds": "30", "BatchesPerMinute": "138", "ReplayBy": "$predecessors"}
        | {"GigabytesPerHour": "200"}
    )
    assert told["limits"] == {
        "settleSeconds": 120,
        "batchesPerMinute": 138,
        "replayBy": "$predecessors",
        "gigabytesPerHour": 20,
    }
    assert sorted(remarks) == [
        "GigabytesPerHour was 200; gigabytesPerHour is 20, the nearest allowed value",
        "SettleSeconds was 30; settleSeconds is 120, the nearest allowed value",
    ]
    assert lint(json.dumps(told).encode(), (ACME, EMEA)) == []


def test_what_is_no_parameter_any_more_is_told_where_it_was_chosen() -> None:
    """`sam deploy` itself says nothing of a value for a parameter that is gone."""
    _, remarks = from_parameters(
        BEFORE | {"UploadSeconds": "300", "RequestsPerSecond": "50", "SourceTopicArn": "arn:x"}
    )
    assert [remark.partition(";")[0] for remark in remarks] == [
        "RequestsPerSecond was 50",
        "SourceTopicArn was arn:x",
    ]


# ---- as a worker goes by them


def test_a_worker_goes_by_what_is_in_force_when_it_is_invoked(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    worker = Arriving(Settings.of("on_arrival", environment))
    filling = Delivering(Settings.of("on_upload", environment))
    careful = Limits(batch_files=10, batch_gigabytes=1, file_megabytes=5, settle_seconds=600)
    own = Organization(ACME, limits=replace(careful, gigabytes_per_hour=3))
    in_force = [Organizations((Organization(EMEA),))]
    fakes = {"organizations": SimpleNamespace(current=lambda: in_force[-1]), "ledger": Mock()}
    for name, fake in fakes.items():
        monkeypatch.setitem(worker.__dict__, name, fake)
        monkeypatch.setitem(filling.__dict__, name, fake)
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    before = worker.intake(context)
    in_force.append(Organizations((own,), careful))
    after = worker.intake(context)
    assert (before.windows.limits.files, after.windows.limits.files) == (Limits().batch_files, 10)
    assert (after.checks.batch_bytes, after.checks.unsplit_bytes) == (10**9, 5 * 10**6)
    assert after.creating.settle_ms - before.creating.settle_ms == 480_000
    assert worker._per_minute(EMEA) == Limits().batches_per_minute
    own = replace(own, limits=replace(own.limits, batches_per_minute=1))
    in_force.append(Organizations((own, Organization(EMEA))))
    assert (worker._per_minute(ACME), worker._per_minute(EMEA)) == (1, Limits().batches_per_minute)
    assert filling._hourly(ACME) == 3 * 10**9
    assert filling._hourly(EMEA) == 20 * 10**9, "one that is none any more"
