"""What is paused and what waits, as people and programs see it."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from aep_intake.model.errors import CredentialUnusable, LedgerUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order, WindowPart
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Record
from aep_intake.model.times import DAY_MS, HOUR_MS
from aep_intake.routing import routes
from aep_intake_cli import clock, documents, options, pauses, publishing, standing
from aep_intake_cli.command import main
from aep_intake_cli.commands import pause as command
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.stack import Stack
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from rich.console import Console

from tests.builders import order
from tests.memory_ledger import MemoryLedger

NOW = 1_795_435_200_000  # 2026-11-23T12:00:00Z
ARN = "arn:aws:sts::111122223333:assumed-role/operators/ana"
PAUSE = Pause("route#crm", NOW, ARN, "prices are in the wrong column")
OVER = Pause("dataset#5c8c3c555033b814b69f947f", NOW - DAY_MS, ARN, "x", resumed_at=NOW)
FILE = Arrival("landing", "crm/1.csv", "v1", "e", "01", 1, NOW + HOUR_MS)
TABLE = json.dumps({"routes": [{"name": "crm", "match": "crm/*", "datasetId": "d"}]}).encode()
STACK = Stack("aep-intake", {"SourceBuckets": "landing,other"}, {})

Output = pytest.CaptureFixture[str]


def keep_back(ledger: MemoryLedger, pause: Pause, *orders: Order, since: int = NOW) -> None:
    ledger.pauses.put(pause)
    for one in orders:
        ledger.open(Record.waiting(one, since).paused_by(pause.name, since))


def part(files: int, left_out: tuple[int, ...] = ()) -> Order:
    return replace(order(), excerpt=WindowPart("window-1", 0, files, 10), left_out=left_out)


def client(service: Any) -> Any:
    return boto3.client(
        service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryLedger]:
    """Of the stack, whose landing bucket deletes files after 30 days; its operator is Ana."""
    found = MemoryLedger()
    s3 = SimpleNamespace()
    sts = SimpleNamespace(get_caller_identity=lambda: {"Arn": ARN})
    clients = {"s3": s3, "sts": sts, "appconfig": None}
    session = SimpleNamespace(client=clients.__getitem__)
    access = SimpleNamespace(stack=lambda: STACK, session=session)
    monkeypatch.setattr(options, "Access", lambda *_: access)
    monkeypatch.setattr(command, "_ledger", lambda *_: found)
    monkeypatch.setattr(documents, "live_routes", lambda *_: TABLE)
    ours = SimpleNamespace(ims_org=lambda _: "O@AdobeOrg")
    monkeypatch.setattr(command, "_credentials", lambda *_: (ours, ["arn"]))
    monkeypatch.setattr(pauses, "kept_in", lambda *_: pauses.BucketRetention(30, ("other",)))
    monkeypatch.setattr(clock, "now", lambda: NOW)
    yield found


def test_files_are_counted_and_the_oldest_says_until_when_they_are_kept() -> None:
    ledger: Any = MemoryLedger()
    younger = replace(FILE, key="crm/2.csv", time=NOW + 2 * HOUR_MS)
    keep_back(ledger, PAUSE, order(FILE), since=NOW + 1)
    keep_back(ledger, PAUSE, order(younger), part(50), part(7, left_out=(1, 2)), since=NOW + DAY_MS)
    found = pauses.waiting(PAUSE, ledger, pauses.BucketRetention(30))
    assert (found.orders, found.files) == (4, 1 + 1 + 50 + 5)
    assert found.oldest == FILE.time
    assert found.kept_until == FILE.time + 30 * DAY_MS
    assert pauses.waiting(PAUSE, ledger, pauses.BucketRetention(None)).kept_until is None
    nothing = pauses.PausedWork(OVER, 0, 0, None, None)
    assert pauses.waiting(OVER, ledger, pauses.BucketRetention(30)) == nothing


RULES = [
    {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "crm/"}, "Expiration": {"Days": 30}},
    {"ID": "b", "Status": "Disabled", "Filter": {}, "Expiration": {"Days": 3}},
    {"ID": "c", "Status": "Enabled", "Filter": {}, "NoncurrentVersionExpiration": {}},
]


def test_the_first_rule_to_delete_files_counts() -> None:
    """Of a bucket of another account, nobody here may read them."""
    with Stubber(client("s3")) as s3:
        stubbed: Any = s3.client
        name = "get_bucket_lifecycle_configuration"
        s3.add_response(name, {"Rules": RULES}, {"Bucket": "a"})
        s3.add_client_error(name, "NoSuchLifecycleConfiguration", expected_params={"Bucket": "b"})
        s3.add_client_error(name, "AccessDenied", expected_params={"Bucket": "c"})
        assert pauses.kept_in(stubbed, ["a", "b", "c"]) == pauses.BucketRetention(30, ("c",))
        s3.add_client_error(name, "NoSuchLifecycleConfiguration")
        assert pauses.kept_in(stubbed, ["b"]) == pauses.BucketRetention(None)
        s3.add_client_error(name, "NoSuchBucket")
        with pytest.raises(ClientError, match="NoSuchBucket"):
            pauses.kept_in(stubbed, ["b"])


GOLDEN = {
    80: """\
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┓
┃                            ┃                   ┃   files ┃                   ┃
┃ paused                     ┃ since             ┃ waiting ┃ kept until        ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━┩
│ route crm                  │ 2026-11-23 12:00Z │ 120,000 │ 2026-12-23 12:00Z │
│ by operators/ana           │                   │         │                   │
│ prices are in the wrong    │                   │         │                   │
│ column                     │                   │         │                   │
├────────────────────────────┼───────────────────┼─────────┼───────────────────┤
│ route web                  │ 2026-11-23 12:00Z │       1 │ for ever          │
│ by operators/ana           │                   │         │                   │
├────────────────────────────┼───────────────────┼─────────┼───────────────────┤
│ dataset                    │ 2026-11-22 12:00Z │       0 │ -                 │
│ 5c8c3c555033b814b69f947f   │                   │         │                   │
│ by operators/ana           │                   │         │                   │
│ x                          │                   │         │                   │
│ resumed 2026-11-23 12:00Z  │                   │         │                   │
└────────────────────────────┴───────────────────┴─────────┴───────────────────┘
""",
    140: """\
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┓
┃                                  ┃                   ┃   files ┃                   ┃
┃ paused                           ┃ since             ┃ waiting ┃ kept until        ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━┩
│ route crm                        │ 2026-11-23 12:00Z │ 120,000 │ 2026-12-23 12:00Z │
│ by operators/ana                 │                   │         │                   │
│ prices are in the wrong column   │                   │         │                   │
├──────────────────────────────────┼───────────────────┼─────────┼───────────────────┤
│ route web                        │ 2026-11-23 12:00Z │       1 │ for ever          │
│ by operators/ana                 │                   │         │                   │
├──────────────────────────────────┼───────────────────┼─────────┼───────────────────┤
│ dataset 5c8c3c555033b814b69f947f │ 2026-11-22 12:00Z │       0 │ -                 │
│ by operators/ana                 │                   │         │                   │
│ x                                │                   │         │                   │
│ resumed 2026-11-23 12:00Z        │                   │         │                   │
└──────────────────────────────────┴───────────────────┴─────────┴───────────────────┘
""",
}


@pytest.mark.parametrize("width", [80, 140])
def test_a_row_says_all_of_a_pause(width: int) -> None:
    until = NOW + 30 * DAY_MS
    rows = [
        pauses.PausedWork(PAUSE, 100_000, 120_000, NOW, until),
        pauses.PausedWork(replace(PAUSE, name="route#web", note=""), 1, 1, NOW, None),
        pauses.PausedWork(OVER, 0, 0, None, None),
    ]
    text = io.StringIO()
    Console(width=width, file=text, color_system=None).print(pauses.table(rows))
    assert text.getvalue() == GOLDEN[width]


def test_a_pause_says_who_made_it_and_what_waits(ledger: MemoryLedger, capsys: Output) -> None:
    keep_back(ledger, PAUSE, order(FILE))
    assert main(["pause", "crm", "--note", "prices are wrong", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "what": "route",
            "name": "crm",
            "since": "2026-11-23T12:00:00.000Z",
            "by": ARN,
            "note": "prices are wrong",
            "resumedAt": None,
            "files": 1,
            "batches": 1,
            "oldestFile": "2026-11-23T13:00:00.000Z",
            "keptUntil": "2026-12-23T13:00:00.000Z",
        }
    ]
    assert main(["pause"]) == 0
    said = capsys.readouterr().out
    assert "route crm" in said
    assert "A rule of a bucket deletes files 30 days after they came." in said
    assert "You may not read the rules of other (s3:GetLifecycleConfiguration)" in said


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (["crm"], "route#crm"),
        (["--dataset", "d"], "dataset#d"),
        (["--organization", "O@AdobeOrg"], "organization#O@AdobeOrg"),
    ],
)
def test_what_is_paused_is_resumed_by_the_same_name(
    ledger: MemoryLedger, capsys: Output, typed: list[str], name: str
) -> None:
    assert main(["pause", *typed]) == 0
    assert ledger.pauses.kept == {name: Pause(name, NOW, ARN)}
    assert main(["resume", *typed]) == 0
    assert ledger.pauses.kept == {name: Pause(name, NOW, ARN, resumed_at=NOW)}
    assert "goes on; waiting: 0 files" in capsys.readouterr().out
    assert main(["resume", *typed]) == 1
    assert "is not paused; paused: nothing" in capsys.readouterr().err


def test_a_route_that_is_not_there_cannot_be_paused(ledger: MemoryLedger, capsys: Output) -> None:
    assert main(["pause", "crn"]) == 1
    assert "no route of the live table is called crn: did you mean crm?" in capsys.readouterr().err
    assert main(["pause", "loyalty"]) == 1
    assert "is called loyalty: there are crm" in capsys.readouterr().err
    assert not ledger.pauses.kept


DATASETS = routes.parse(
    json.dumps(
        {
            "routes": [
                {"name": "a", "match": "a/*", "datasetId": "5c8c3c555033b814b69f947f"},
                {"name": "b", "match": "b/{dataset}/*", "datasetId": "{dataset}"},
                {"name": "c", "match": "c/*", "datasetName": "clicks"},
            ]
        }
    ).encode(),
    "live",
)


def test_a_dataset_that_no_route_names_is_paused_with_a_warning(
    ledger: MemoryLedger, capsys: Output
) -> None:
    """Nobody can know it: a request names any, a name and a placeholder stand for many."""
    assert pauses.doubt_of_dataset("5c8c3c555033b814b69f947f", DATASETS) is None
    doubt = pauses.doubt_of_dataset("5c8c3c555033b814b69f947e", DATASETS) or ""
    assert "(did you mean 5c8c3c555033b814b69f947f?)" in doubt
    assert main(["pause", "--dataset", "another", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["name"] == "another"
    assert "warning: no route names the dataset another by its id (there are d)" in said.err
    assert ledger.pauses.kept


def test_an_organization_that_is_not_the_stacks_is_refused() -> None:
    orgs = {"arn:a": "A@AdobeOrg", "arn:b": "B@AdobeOrg"}
    credentials: Any = SimpleNamespace(ims_org=orgs.__getitem__)
    assert pauses.doubt_of_organization("B@AdobeOrg", credentials, orgs) is None
    with pytest.raises(CommandFailed, match="C@AdobeOrg is not an organization of this stack"):
        pauses.doubt_of_organization("C@AdobeOrg", credentials, orgs)

    def fails(_: str) -> str:
        raise CredentialUnusable("the secret cannot be read")

    credentials.ims_org = fails
    doubt = pauses.doubt_of_organization("C@AdobeOrg", credentials, orgs) or ""
    assert "the secret cannot be read" in doubt


def test_a_pause_of_a_route_that_is_gone_is_told_at_publishing(
    ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new name is not paused."""
    ledger.pauses.put(PAUSE)
    ledger.pauses.put(replace(PAUSE, name="route#a"))
    ledger.pauses.put(replace(PAUSE, name="dataset#crm"))
    monkeypatch.setattr(standing, "opened", lambda *_: ledger)
    access: Any = SimpleNamespace(stack=lambda: STACK, session=None)
    table = json.dumps({"routes": [{"name": "a", "match": "*", "datasetId": "d"}]}).encode()
    said = str(publishing._is_live(access, publishing.KINDS["routes"], 3, table))
    first, warning = said.splitlines()
    assert first.startswith("Version 3 of the routes is live.")
    assert warning.startswith("warning: route crm is paused, and no route has this name any more")

    def down() -> None:
        raise LedgerUnavailable("no right to Query")

    monkeypatch.setattr(ledger.pauses, "standing", down)
    assert "no right to Query" in str(
        publishing._is_live(access, publishing.KINDS["routes"], 3, table)
    )
    assert not publishing._is_live(access, publishing.KINDS["limits"], 3, b"{}").warnings


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["pause", "crm", "--dataset", "d"], "give one of: a route, --dataset, --organization"),
        (["pause", "--dataset", "d" * 300], "200 at most"),
        (["resume", "--organization", "two words"], "200 at most"),
        (["resume"], "say what to resume"),
    ],
)
def test_it_is_said_what_is_paused(capsys: Output, typed: list[str], says: str) -> None:
    assert main(typed) == 2
    assert says in capsys.readouterr().err


def test_a_pause_that_is_over_and_holds_nothing_is_not_shown(
    ledger: MemoryLedger, capsys: Output
) -> None:
    """The clock deletes it within an hour or so."""
    keep_back(ledger, replace(PAUSE, resumed_at=NOW), order(FILE))
    ledger.pauses.put(OVER)
    assert main(["pause", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["crm"]


@pytest.mark.usefixtures("ledger")
def test_nothing_may_be_paused(capsys: Output) -> None:
    assert main(["pause"]) == 0
    assert capsys.readouterr().out == "Nothing is paused.\n"
