"""`aep-intake watch`: each event of the journal once, as it is written."""

import json
from typing import Any

import pytest
from aep_intake.model.times import HOUR_MS, hour_of, iso
from aep_intake.report.journal import folder, line, written
from aep_intake_cli import options
from aep_intake_cli.command import main
from aep_intake_cli.journal_tail import Tail
from aep_intake_cli.journal_tail import line as shown
from aep_intake_cli.stack import Stack

from local.bench.status import NOON

Output = pytest.CaptureFixture[str]


class Objects:
    """The journal's objects."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, key: str, content: bytes) -> None:
        self.kept[key] = content

    def names(self, prefix: str) -> list[str]:
        return [key for key in self.kept if key.startswith(prefix)]

    def get(self, key: str) -> bytes:
        return self.kept[key]

    def write(self, *events: tuple[str, str, int], **detail: Any) -> None:
        """Kind, external id, and when: one object, in the hour of the first."""
        lines = [
            line(
                json.dumps(
                    {
                        "id": "e",
                        "time": iso(at),
                        "detail-type": kind,
                        "detail": {"externalId": name, "endedAt": iso(at), **detail},
                    }
                )
            )
            for kind, name, at in events
        ]
        name, content = written(lines)
        self.put(folder(hour_of(events[0][2])) + name, content)


def names(tail: Tail, now: int) -> list[str]:
    return [event["detail"]["externalId"] for _, event in tail.look(now)]


def test_what_is_written_from_now_on_is_told_once_and_in_order() -> None:
    objects = Objects()
    objects.write(("Batch Failed", "before", NOON))
    tail = Tail(objects, NOON)
    assert names(tail, NOON) == []
    objects.write(("Batch Failed", "later", NOON + 9), ("Batch Failed", "sooner", NOON + 3))
    objects.write(("Batch Failed", "last-hour", NOON - 5))
    assert names(tail, NOON) == ["last-hour", "sooner", "later"]
    objects.write(("Batch Failed", "sooner", NOON + 3), ("Batch Failed", "new", NOON + 4))
    assert names(tail, NOON) == ["new"]
    objects.write(("Batch Failed", "next-hour", NOON + HOUR_MS))
    assert names(tail, NOON + HOUR_MS) == ["next-hour"]
    assert names(tail, NOON + 3 * HOUR_MS) == []


def test_what_s3_did_not_give_is_told_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects()
    tail = Tail(objects, NOON)
    objects.write(("Batch Failed", "one", NOON))
    objects.write(("Batch Failed", "two", NOON + 1))
    last = list(objects.kept)[-1]
    content = objects.kept.pop(last)
    monkeypatch.setattr(
        objects, "names", lambda prefix: [k for k in (*objects.kept, last) if k.startswith(prefix)]
    )
    with pytest.raises(KeyError):
        tail.look(NOON)
    objects.kept[last] = content
    monkeypatch.undo()
    assert names(tail, NOON) == ["one", "two"]
    assert names(tail, NOON) == []


def test_each_file_that_an_order_has_lost_is_told() -> None:
    objects = Objects()
    tail = Tail(objects, NOON)
    for key in "xyx":
        told = {"datasetId": "d", "files": [{"bucket": "b", "key": key}]}
        objects.write(("Arrival Rejected", "of-one-order", NOON), **told)
    assert names(tail, NOON) == ["of-one-order"] * 2


def test_an_event_is_a_line() -> None:
    event = {
        "detail-type": "Arrival Rejected",
        "detail": {
            "route": "crm",
            "reason": "no-route",
            "detail": "no route\nfits\x1b[1m",
            "files": [{"bucket": "landing", "key": "a\u202e.csv"}],
            "fileCount": 3,
        },
    }
    assert shown(NOON, event).plain == (
        "12:00:00  Arrival Rejected  crm  no-route  s3://landing/a\\u202e.csv  and 2 more files  "
        "no route\\nfits\\x1b[1m"
    )
    ended = {"batchId": "B1", "fileCount": 1, "ingestedRecordCount": 7}
    assert shown(NOON, {"detail-type": "Batch Succeeded", "detail": ended}).plain == (
        "12:00:00  Batch Succeeded   -  batch B1  1 file  7 rows"
    )


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Objects:
    """Of a stack whose command looks three times: in the second an event came."""
    objects, looks = Objects(), iter(range(3))

    def pause(_: float) -> None:
        match next(looks):
            case 0:
                at = NOON + 1000
                objects.write(("Batch Failed", "a", at), route="crm")
                objects.write(("Batch Failed", "b", at), route="web")
            case 1:
                raise KeyboardInterrupt

    stack = Stack("aep-intake", {"StateBucketName": "state"}, {"JournalDays": "400"})
    monkeypatch.setattr(options.Access, "stack", lambda _: stack)
    monkeypatch.setattr(options.Access, "session", type("Session", (), {"client": str}))
    table = b'{"routes": [{"name": "crm", "match": "crm/*.csv", "datasetId": "d"}]}'
    monkeypatch.setattr("aep_intake_cli.documents.live_routes", lambda *_: table)
    monkeypatch.setattr("aep_intake.adapters.aws.journal.JournalBucket", lambda *_: objects)
    monkeypatch.setattr("aep_intake_cli.clock.now", lambda: NOON)
    monkeypatch.setattr("aep_intake_cli.commands.watch.time.sleep", pause)
    return objects


@pytest.mark.usefixtures("journal")
def test_it_goes_on_until_it_is_stopped(capsys: Output) -> None:
    assert main(["watch", "--route", "crm", "--json"]) == 130
    said = capsys.readouterr()
    [only] = said.out.splitlines()
    assert json.loads(only)["detail"]["externalId"] == "a"
    assert "up to a minute late" in said.err


@pytest.mark.usefixtures("journal")
def test_it_does_not_wait_for_events_of_a_route_that_is_not_there(capsys: Output) -> None:
    assert main(["watch", "--route", "crn"]) == 1
    assert "no route of the live table is called crn: did you mean crm?" in capsys.readouterr().err


def test_without_a_journal_it_says_so(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack("aep-intake", {"StateBucketName": "state"}, {"JournalDays": "0"})
    monkeypatch.setattr(options.Access, "stack", lambda _: stack)
    assert main(["watch"]) == 1
    assert "keeps no journal" in capsys.readouterr().err
