"""The one state of each version and batch, for whatever the ledger can have of it."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Verdict
from aep_intake.model.files import Arrival
from aep_intake.model.history import Seen
from aep_intake.model.progress import PutOff, Record, Rejection, State
from aep_intake.model.windows import Window, WindowStage
from aep_intake.report import states
from aep_intake.report.states import UNFINISHED, Standing, Word

from tests.builders import batch, lease, order

NOW = 1_795_000_000_000
LATER = NOW + 60_000
GIVEN_UP = NOW + 86_400_000
FILE = Arrival("landing", "in/a.json", "v1", "e", "0061", 10, NOW)
OPENED = Record.opened(order(FILE), lease(LATER), NOW)
UNAVAILABLE = PutOff("platform-unavailable", "AEP answered 503", NOW)
PUT_OFF = OPENED.given_back(LATER, why=UNAVAILABLE)
CREATED = OPENED.created(batch(NOW, "b"))
ANNOUNCED = CREATED.announced(delivers=True)
REFUSAL = Rejection("batch-refused", "AEP refuses: no such dataset", NOW)
REFUSED, HELD = (OPENED.rejected(state, REFUSAL) for state in (State.REFUSED, State.HELD))
FOLLOWED = OPENED.followed(None, NOW)[0]


def verdict(end: End, **more: Any) -> Verdict:
    return Verdict(end, "x", "batch b is x (118)", NOW + 5, **more)


def delivery(stage: DeliveryStage, told: Verdict | None = None, **more: Any) -> Delivery:
    begun = replace(Delivery.of(ANNOUNCED, (FILE,), 10, LATER), deadline=GIVEN_UP)
    due = None if stage is DeliveryStage.ENDED else LATER
    return replace(begun, stage=stage, verdict=told, due=due, total=3, **more)


def ended(end: End, **more: Any) -> Delivery:
    return delivery(DeliveryStage.ENDED, verdict(end, **more))


PARTLY = ended(End.SUCCEEDED, rows=7, metrics={"outputRecordCount": 0, "failedRecordCount": 7})
ORDERS: list[tuple[str, Record, Delivery | None, Word, str]] = [
    ("opened", OPENED, None, Word.LOADING, "is being made"),
    ("to be opened", Record.waiting(OPENED.order, NOW), None, Word.LOADING, "is being made"),
    ("put off", PUT_OFF, None, Word.RETRYING, "AEP answered 503"),
    ("tried again", PUT_OFF.leased(lease(LATER)), None, Word.RETRYING, "AEP answered 503"),
    ("put off by an early release", OPENED.given_back(LATER), None, Word.RETRYING, "earlier try"),
    ("unknown", OPENED.given_back(LATER, NOW, UNAVAILABLE), None, Word.RETRYING, "503"),
    ("refused, not yet told", REFUSED, None, Word.REJECTED, "no such dataset"),
    ("refused", REFUSED.announced(), None, Word.REJECTED, "no such dataset"),
    ("refused and tried again", REFUSED.announced().leased(lease(1)), None, Word.LOADING, "made"),
    ("held", HELD.announced(), None, Word.HELD, "no such dataset"),
    ("created", CREATED, None, Word.LOADING, "not announced yet"),
    ("the bus is down", CREATED.given_back(9, why=UNAVAILABLE), None, Word.LOADING, ": AEP answe"),
    ("announced", ANNOUNCED, None, Word.LOADING, "about to begin"),
    ("others fill it", CREATED.announced(), None, Word.LOADING, "those who fill it"),
    (
        "a caller's",
        ANNOUNCED,
        delivery(DeliveryStage.FOLLOWING),
        Word.LOADING,
        "the caller who asked",
    ),
    ("cut", ANNOUNCED, delivery(DeliveryStage.PLANNING), Word.LOADING, "looked through"),
    ("going up", ANNOUNCED, delivery(DeliveryStage.UPLOADING), Word.LOADING, "go up"),
    ("up", ANNOUNCED, delivery(DeliveryStage.COMPLETING), Word.LOADING, "files are up"),
    ("ingested", ANNOUNCED, delivery(DeliveryStage.INGESTING), Word.LOADING, "is ingesting"),
    (
        "given up",
        ANNOUNCED,
        delivery(DeliveryStage.ABORTING, verdict(End.ABANDONED)),
        Word.LOADING,
        "being aborted: batch b",
    ),
    ("succeeded", ANNOUNCED, ended(End.SUCCEEDED, rows=7), Word.LOADED, "with 7 rows"),
    ("of one row", ANNOUNCED, ended(End.SUCCEEDED, rows=1), Word.LOADED, "with 1 row"),
    ("succeeded in part", ANNOUNCED, PARTLY, Word.LOADED, "with 0 of 7 rows"),
    ("uncounted", ANNOUNCED, ended(End.SUCCEEDED), Word.LOADED, "has ingested its batch"),
    ("not all of it", ANNOUNCED, ended(End.SUCCEEDED, lost=(2,)), Word.LOST, "without all"),
    (
        "not all of them",
        ANNOUNCED,
        replace(ended(End.SUCCEEDED, lost=(2,)), file_count=2),
        Word.LOADED,
        "1 of its 3 uploads",
    ),
    ("failed", ANNOUNCED, ended(End.FAILED), Word.FAILED, "(118)"),
    ("abandoned", ANNOUNCED, ended(End.ABANDONED), Word.ABANDONED, "given up: batch b"),
    (
        "split",
        replace(ANNOUNCED, split_into=("h1", "h2")),
        ended(End.FAILED),
        Word.FAILED,
        "other batches",
    ),
    ("let go", replace(ANNOUNCED, split_into=()), ended(End.FAILED), Word.FAILED, "AEP failed"),
    ("another follows", FOLLOWED, None, Word.ABANDONED, "others follow"),
    ("replaced before", FOLLOWED.replaced("n"), None, Word.REPLACED, "took its place"),
    ("replaced", ANNOUNCED.replaced("n"), ended(End.ABANDONED), Word.REPLACED, "took its place"),
    ("an early release's", replace(ANNOUNCED, delivers=None), None, Word.LOADING, "those who"),
]


@pytest.mark.parametrize(
    ("record", "begun", "word", "why"), [row[1:] for row in ORDERS], ids=[row[0] for row in ORDERS]
)
def test_the_state_of_an_order(
    record: Record, begun: Delivery | None, word: Word, why: str
) -> None:
    told = states.of_order(record, begun)
    assert told.word is word
    assert why in told.why
    assert told.since is not None or word in (Word.REPLACED, Word.ABANDONED)
    # Its event starts the rest; and only AEP knows when it has ingested what it has.
    elsewhere = record.state is State.ANNOUNCED and (begun is None or begun.stage == "ingesting")
    assert (told.until is not None) is (word in UNFINISHED and not elsewhere)
    if begun is not None and begun.stage in ("following", "planning", "uploading"):
        assert told.until == GIVEN_UP


def test_every_combination_has_a_state() -> None:
    """Whatever a release, a crash or a restored ledger leaves there."""
    stages = [None, *DeliveryStage]
    records = [OPENED, PUT_OFF, CREATED, ANNOUNCED, REFUSED, HELD, FOLLOWED, CREATED.announced()]
    for record, stage, end in product(records, stages, [None, *End]):
        if (stage in (DeliveryStage.ENDED, DeliveryStage.ABORTING)) is (end is None):
            continue
        begun = stage and delivery(stage, end and verdict(end))
        for newer in (None, Standing(Word.LOADED, ""), Standing(Word.RETRYING, "")):
            told = states.of_order(
                replace(record, replaced_by="n" if newer else None), begun, newer
            )
            assert told.why and told.members()["state"] in set(Word)


def test_what_is_loaded_is_replaced_once_the_newer_one_is() -> None:
    record, begun = ANNOUNCED.replaced("n"), ended(End.SUCCEEDED)
    told = states.of_order(record, begun, Standing(Word.RETRYING, "503"))
    assert (told.word, told.since) == (Word.LOADED, NOW + 5)
    assert "retrying, is to replace it" in told.why
    told = states.of_order(record, begun, Standing(Word.LOADED, "", NOW + 9))
    assert (told.word, told.since) == (Word.REPLACED, NOW + 9)
    assert states.of_order(record, begun).word is Word.REPLACED  # nobody knows the newer one


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("success", Word.LOADED),
        ("failed", Word.FAILED),
        ("aborted", Word.ABANDONED),
        ("loading", None),
        (None, None),
    ],
)
def test_how_a_batch_ended_that_others_fill(status: str | None, word: Word | None) -> None:
    told = states.told_by_catalog({"status": status, "updated": NOW})
    assert told is None if word is None else (told and (told.word, told.since)) == (word, NOW)


@pytest.mark.parametrize("length", [60_000, 0])
@pytest.mark.parametrize("stage", list(WindowStage)[:3])
def test_the_state_of_a_file_in_a_window(length: int, stage: WindowStage) -> None:
    pattern = order(external_id="window-1")
    window = replace(Window(pattern, length, NOW), stage=stage, due=LATER, until=LATER)
    told = states.of_window(window, NOW + 1)
    opened = stage is WindowStage.OPEN
    assert told.word is (Word.GATHERING if opened else Word.LOADING)
    assert (told.since, told.until) == (NOW + 1, LATER)


SEEN = Seen("v:v1", route="r", time=NOW)
WHY = Rejection("no-route", "no route fits", NOW)


@pytest.mark.parametrize(
    ("changes", "word", "why"),
    [
        ({"rejection": WHY}, Word.REJECTED, "no route fits"),
        ({"rejection": WHY, "lost": True}, Word.LOST, "no route fits"),
        ({"rejection": replace(WHY, reason="batch-failed"), "lost": True}, Word.FAILED, "no route"),
        (
            {"rejection": replace(WHY, reason="batch-abandoned"), "lost": True},
            Word.ABANDONED,
            "no route",
        ),
        (
            {"noted": "waiting", "waits_for": "the marker _SUCCESS", "until": LATER},
            Word.WAITING,
            "route `r` lets it wait for the marker _SUCCESS",
        ),
        ({"noted": "waiting"}, Word.WAITING, "route `r` lets it wait"),
        (
            {"noted": "retrying", "trouble": "S3 answered 403", "until": LATER},
            Word.RETRYING,
            "S3 answered 403",
        ),
        ({"noted": "ready"}, Word.LEFT_OUT, "ready file"),
        ({"noted": "not-the-newest"}, Word.LEFT_OUT, "`replace`"),
        ({"noted": "not-the-first"}, Word.LEFT_OUT, "`ignore`"),
        ({"noted": "nothing-new"}, Word.LEFT_OUT, "no new file"),
        ({"discarded": "by arn:me: not to be loaded"}, Word.DISCARDED, "not to be loaded"),
        ({"noted": "of-the-next-release"}, Word.LEFT_OUT, "of-the-next-release"),
    ],
)
def test_the_state_of_what_has_no_order(changes: dict[str, Any], word: Word, why: str) -> None:
    told = states.of_note(replace(SEEN, **changes))
    assert (told.word, told.since) == (word, NOW)
    assert why in told.why
    assert told.until == changes.get("until")


def test_the_state_of_what_another_version_stands_for() -> None:
    told = states.superseded(SEEN, "v2")
    assert (told.word, told.why) == (Word.SUPERSEDED, "the newer version v2 takes its place")
    told = states.same_bytes(SEEN, "v0", Word.LOADING)
    assert (told.word, told.since) == (Word.SAME_BYTES, NOW)
    assert told.why == "its bytes are those of version v0, which is loading"
    assert states.same_bytes(SEEN, "v0", None).why == "its bytes are those of version v0"


def test_of_several_batches_the_least_advanced_counts() -> None:
    loaded, failed, loading = (Standing(w, "") for w in (Word.LOADED, Word.FAILED, Word.LOADING))
    assert states.of_several([loaded, failed, loading]) is loading
    assert states.of_several([loaded, failed]) is failed
    assert states.of_several([loaded]) is loaded


def test_why_an_order_is_put_off_is_told_since_the_first_error() -> None:
    again = PUT_OFF.leased(lease(LATER)).given_back(
        LATER, why=PutOff("not-yet", "too fast", NOW + 500)
    )
    assert again.put_off == PutOff("not-yet", "too fast", NOW)
    assert again.leased(lease(LATER)).created(batch(NOW)).put_off is None
    assert again.rejected(State.REFUSED, REFUSAL).put_off is None
