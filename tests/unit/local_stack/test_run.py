"""What `make run` takes for expected: its exit status says whether the whole works, so it must not
say yes to anything else. How it looks is shown by the run itself, which tests/stack makes.
"""

import json
from hashlib import sha256
from typing import Any

import pytest
from aep_intake.model.errors import NoRoute
from aep_intake.model.files import Arrival
from aep_intake.routing import routes
from aep_intake.routing.table import InWindow
from rich.console import Console

from local.board import IGNORED, Board, Item, mapped_rows
from local.board import SAMPLES as FILES
from local.run import RunDisplay
from local.stack import Parked
from tests.matching import matched

MEMBERS = (FILES / "members.jsonl").read_bytes()
LATIN_1 = {"format": "csv", "delimiter": ";", "charset": "ISO-8859-1"}
CREATED, REJECTED = "Batch Created", "Arrival Rejected"
NEW = {"event": CREATED, "replacesBatchOf": "old", "inAep": "loading"}
SAMPLES: dict[str, Any] = {
    "objects": [
        {"key": "sent", "file": "members.jsonl", "expect": {"event": CREATED, "sandbox": "prod"}},
        {"key": "packed", "file": "members.jsonl.gz", "expect": {"event": CREATED}},
        {
            "key": "flat",
            "file": "customers.csv",
            "becomes": "customers.xdm.jsonl",
            "expect": {"event": CREATED, "inputFormat": {"format": "json"}},
        },
        {"key": "no", "expect": {"event": REJECTED, "reason": "no-route", "parked": True}},
        {
            "name": "many",
            "folder": "in/",
            "files": {"1": "", "2": "", "_SUCCESS": ""},
            "expect": {"event": CREATED, "fileCount": 2, "waited": 2},
            "end": None,
        },
        {
            "name": "shared",
            "folder": "both/",
            "files": {"1": "members.jsonl", "2": "members.jsonl.gz"},
            "expect": {"event": CREATED, "fileCount": 2},
        },
        {"name": "left", "folder": "in/", "files": {"a.crc": "", "b": ""}, "expect": IGNORED},
        {"name": "old", "key": "list", "expect": {"event": CREATED, "inAep": "aborted"}}
        | {"end": None},
        {"name": "new", "after": "old", "key": "list", "expect": NEW, "end": None},
    ],
    "requests": [
        {"name": "first", "expect": {"http": 201, "event": CREATED}},
        {"name": "again", "expect": {"http": 200, "batchOf": "first"}},
    ],
}
for sample in SAMPLES["requests"]:
    sample |= {"note": "", "method": "POST", "path": "/batches"}

type Step = tuple[str, Any]


def created(batch: str, *keys: str, **more: Any) -> Step:
    files = {"files": [{"key": key} for key in keys], "fileCount": len(keys)} if keys else {}
    return ("event", {CREATED: files | {"batchId": batch, "externalId": f"of-{batch}"} | more})


def rejected(key: str, reason: str, **more: Any) -> Step:
    return ("event", {REJECTED: {"files": [{"key": key}], "reason": reason} | more})


def ended(batch: str, kind: str = "Batch Succeeded") -> Step:
    return ("event", {kind: {"externalId": f"of-{batch}", "status": "so"}})


# All that comes, step by step, where everything works. A case below changes some of the steps.
STEPS: dict[str, Step] = {
    "sent": created("sent", "sent", sandbox="prod"),
    "sent ended": ended("sent"),
    "sent held": ("held", ("sent", MEMBERS)),
    "flat": created("flat", "flat", inputFormat={"format": "json"}, sourceFormat=LATIN_1),
    "flat ended": ended("flat"),
    "flat held": ("held", ("flat", (FILES / "customers.xdm.jsonl").read_bytes())),
    "packed": created("packed", "packed"),
    "packed ended": ended("packed"),
    "packed held": ("held", ("packed", MEMBERS)),
    "no": rejected("no", "no-route"),
    "parked": ("parked", {"no": "no-route"}),
    "many": created("many", "in/1", "in/2"),
    "shared": created("shared", "both/1", "both/2", inputFormat={"format": "json"}),
    "shared ended": ended("shared"),
    "shared held": ("held", ("shared", MEMBERS * 2)),
    "old": created("old", "list"),
    "new sent": ("sent", "new"),
    "new": created("new", "list", replaces={"externalId": "of-old", "batchId": "old"}),
    "answer": ("answer", ("first", 201, {"id": "asked"})),
    "asked": created("asked"),
    "answer again": ("answer", ("again", 200, {"id": "asked"})),
    "in AEP": ("batches", {"old": "aborted"}),
    "waited": ("waited", ["1", "2"]),
    "ignored": ("ignored", 2),
}
SWAPPED: dict[str, Step | None] = {"answer": STEPS["asked"], "asked": STEPS["answer"]}
BATCHES = ("sent", "flat", "packed", "many", "shared", "old", "new", "asked")


def board_after(changed: dict[str, Step | None]) -> tuple[Board, list[dict[str, Any]]]:
    """The board after all steps; and AEP's batches."""
    board, batches, waited, ignored = Board(SAMPLES), dict.fromkeys(BATCHES, "loading"), [], 0
    for name, item in (board.objects | board.requests).items():
        item.sent = None if name == "new" else 0.0
    for step in filter(None, (STEPS | changed).values()):
        match step:
            case "event", events:
                for kind, detail in events.items():
                    board.see({"detail-type": kind, "detail": detail})
            case "held", (name, content):
                files = [{"sha256": sha256(content).hexdigest()}]
                board.objects[name].held = {"files": files}
            case "parked", reasons:
                board.parked(Parked(json.dumps(k), {"reason": why}) for k, why in reasons.items())
            case "sent", name:
                board.objects[name].sent = 0.0
            case "answer", answer:
                board.answered(*answer)
            case "batches", statuses:
                batches |= statuses
            case "waited", names:
                uris = [{"S": f"s3://landing/in/{name}"} for name in names]
                waited = [{"uri": uri, "noted": {"S": "waiting"}} for uri in uris]
            case "ignored", ignored:
                pass
    made = [{"id": name, "status": status} for name, status in batches.items()]
    board.add_lookups(made, waited, ignored)
    return board, made


# What came otherwise, and the item that is not as expected then.
CASES: dict[str, tuple[dict[str, Step | None], str]] = {
    "all": ({}, ""),
    "an event before its answer": (SWAPPED, ""),
    "an old event again": ({"late": STEPS["old"]}, ""),
    "nothing came": ({"sent": None, "sent ended": None, "ignored": ("ignored", 3)}, "sent"),
    "another sandbox": ({"sent": created("sent", "sent", sandbox="dev")}, "sent"),
    "two batches": ({"more": created("more", "sent", sandbox="prod")}, "sent"),
    "not ended": ({"sent ended": None}, "sent"),
    "another end": ({"sent ended": ended("sent", "Batch Abandoned")}, "sent"),
    "not mapped": ({"flat held": ("held", ("flat", b"as it was"))}, "flat"),
    "other bytes": ({"packed held": ("held", ("packed", MEMBERS[:-1]))}, "packed"),
    "one file for two": ({"shared held": ("held", ("shared", MEMBERS))}, "shared"),
    "lost on its way": ({"x": rejected("sent", "object-gone", externalId="of-sent")}, "sent"),
    "another reason": ({"no": rejected("no", "empty-object")}, "no"),
    "parked for another reason": ({"parked": ("parked", {"no": "empty-object"})}, "no"),
    "two batches of a folder": (
        {"many": created("many", "in/1"), "more": created("more", "in/2")},
        "many",
    ),
    "a file too few": ({"many": created("many", "in/1")}, "many"),
    "a file rejected": ({"x": rejected("in/2", "no-route", externalId="one")}, "many"),
    "not waited for": ({"waited": ("waited", ["1"])}, "many"),
    "replaces nothing": ({"new": created("new", "list")}, "new"),
    "replaces another": ({"new": created("new", "list", replaces={"batchId": "many"})}, "new"),
    "not aborted": ({"in AEP": None}, "old"),
    "ignored too few": ({"ignored": ("ignored", 1)}, "left"),
    "ignored too many": ({"ignored": ("ignored", 3)}, "left"),
    "ignored, yet known": ({"waited": ("waited", ["1", "2", "a.crc"])}, "left"),
    "another batch of the key": (
        {"answer again": ("answer", ("again", 200, {"id": "b"}))},
        "again",
    ),
}


@pytest.mark.parametrize(("changed", "wrong"), CASES.values(), ids=CASES)
def test_what_is_as_expected(changed: dict[str, Step | None], wrong: str) -> None:
    board, _ = board_after(changed)
    every = board.objects | board.requests
    good = {
        name
        for name, item in every.items()
        if item.is_complete and item.has_ended and item.as_expected
    }
    assert set(every) - good == ({wrong} if wrong else set())


def test_rows_that_are_mapped_are_shown_before_and_after() -> None:
    board, _ = board_after({})
    header, first, second = mapped_rows(board.items)
    assert header.startswith("flat: Kundennr;Vorname;")
    for text, name in ((first, "Zoë"), (second, "Jörg")):
        before, after = text.split("\n  → ")
        assert f";{name};" in before
        assert json.loads(after)["person"]["name"]["firstName"] == name
    changed, _ = board_after({"flat held": ("held", ("flat", b"as it was"))})
    assert not list(mapped_rows(changed.items))


def test_what_belongs_to_nothing_that_was_sent_is_told() -> None:
    board, made = board_after({})
    assert (board.unexpected_events(), board.mismatched(made)) == ([], [])
    for step in (
        created("a", "nobody's"),
        created("b"),
        created("c", "in/1", "in/b"),
        ended("nobody's", "Batch Failed"),
    ):
        board, made = board_after({"more": step})
        assert len(board.unexpected_events()) == 1
    assert board.mismatched([*made, {"id": "more", "status": "loading"}]) == ["more"]
    assert board.mismatched([*made, {"id": "more", "status": "aborted"}]) == []
    assert board.mismatched(made[1:]) == ["sent"], "announced, and not there"


@pytest.mark.parametrize(("height", "width"), [(50, 140), (24, 80), (5, 30)])
def test_the_progress_fits_the_screen_and_says_what_it_waits_for(height: int, width: int) -> None:
    progress = RunDisplay(Board(json.loads((FILES / "samples.json").read_text("utf-8"))))
    progress.wait_for("the last window to close")
    console = Console(width=width, height=height)
    with console.capture() as captured:
        console.print(progress)
    lines = captured.get().splitlines()
    assert len(lines) == min(height - 2, 2 + 23)
    assert all(len(line) <= width for line in lines)
    assert lines[1].startswith("Waiting for the last window t")
    assert ("more" in lines[-1]) == (height < 27)


def test_what_became_of_a_batch_and_its_file_is_said_in_words() -> None:
    got = {"batchId": "B1", "lost": "object-gone", "inAep": "success"}
    console = Console(width=100)
    board = Board({"objects": [], "requests": []})
    board.objects["a"] = Item("a", {}, got=got)
    with console.capture() as captured:
        console.print(board)
    said = [line.split("│")[2].strip() for line in captured.get().splitlines() if "│" in line]
    assert said == ["B1", "then its own file was lost", "object-gone", "success in AEP"]


def test_before_it_is_known_the_progress_does_not_say_what_it_waits_for() -> None:
    console = Console(width=80, height=5)
    with console.capture() as captured:
        console.print(RunDisplay(Board(json.loads((FILES / "samples.json").read_text("utf-8")))))
    assert "Waiting" not in captured.get()


def test_the_samples_go_through_the_routes_they_name() -> None:
    samples = json.loads((FILES / "samples.json").read_text("utf-8"))
    table = routes.parse((FILES / "routes.json").read_bytes(), "v")
    board = Board(samples)
    names = list(board.objects)
    assert len(names) == len(samples["objects"])
    for sample, (name, item) in zip(samples["objects"], board.objects.items(), strict=True):
        assert all((FILES / file).is_file() for file in item.files.values())
        if "after" in sample:
            assert names.index(sample["after"]) < names.index(name)
        for key in item.files:
            arrival = Arrival("landing", key, None, "e", "0", 10, 0)
            if item.expect.get("reason") == "no-route":
                with pytest.raises(NoRoute):
                    table.match(arrival)
                continue
            match = table.match(arrival)
            assert match.route == item.expect.get("route", match.route)
            if "window" in sample:
                assert matched(table, arrival).batching == InWindow(sample["window"] * 1000)
