"""The page: what stands on it, what never does, and what CloudWatch takes."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.model.errors import LedgerUnavailable, NoRoute
from aep_intake.model.files import Arrival
from aep_intake.model.progress import Rejection
from aep_intake.report import view
from aep_intake.report.counts import HourCounts, RouteCounts
from aep_intake.report.html import fill
from aep_intake.report.page.frame import Frame, InBrowser, InDashboard, document
from aep_intake.report.reasons import REASONS
from aep_intake.report.visible import visible
from hypothesis import given
from hypothesis import strategies as st

from tests.memory_ledger import MemoryLedger
from tests.pages import ARN, BUCKET, DAY, HOSTILE, HOUR, LONG_ROUTE, NOW, Read, known_files, ports

DASHBOARD = Frame("aep-intake", InDashboard(ARN), "light")
BROWSER = Frame("aep-intake", InBrowser())
ASKED: dict[str, dict[str, object]] = {
    "today": {},
    "another day": {"view": "today", "day": "2026-02-28"},
    "route": {"view": "route", "route": LONG_ROUTE},
    "no such route": {"view": "route", "route": "none"},
    "unknown file": {"view": "file", "uri": f"s3://{BUCKET}/nothing"},
    "wrong": {"view": "<script>"},
    **{
        f"file {name}": {"view": "file", "uri": f"s3://{BUCKET}/{key}"}
        for name, key in HOSTILE.items()
    },
}
each_page = pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
each_frame = pytest.mark.parametrize("frame", [DASHBOARD, BROWSER], ids=["widget", "browser"])


@each_frame
@each_page
def test_a_page_is_markup_of_ours_and_nothing_else(asked: dict[str, object], frame: Frame) -> None:
    shown = view.show(asked, ports(), frame)
    read = Read(document(shown, "x"))
    assert read.unclosed == []
    tags = {tag for tag, _ in read.elements}
    assert not tags & {
        "script",
        "iframe",
        "use",
        "object",
        "embed",
        "link",
        "img",
        "base",
        "b",
        "i",
    }
    for tag, attributes in read.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        assert not attributes.get("href", "?").startswith(("javascript", "data", "//")), tag
    assert all(ord(letter) >= 32 or letter == "\n" for letter in shown)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", shown)


@each_page
def test_cloudwatch_can_act_on_each_action(asked: dict[str, object]) -> None:
    read = Read(view.show(asked, ports(), DASHBOARD))
    actions = [attributes for tag, attributes in read.elements if tag == "cwdb-action"]
    assert len(actions) == len(read.actions) > 0
    assert all(one == {"action": "call", "endpoint": ARN} for one in actions)
    for before, text in read.actions:
        assert before == "button"
        assert view.wanted({"uri": "s3://bucket/key", "route": "r"} | json.loads(text))
    # A button that submits would leave the console, and a form with one field does by Enter.
    assert all(a["type"] == "button" for tag, a in read.elements if tag == "button")
    assert all(a["method"] == "dialog" for tag, a in read.elements if tag == "form")


@each_frame
@pytest.mark.parametrize("asked", [ASKED["today"], ASKED["route"], *list(ASKED.values())[6:]])
def test_words_of_others_and_arns_are_not_shown(asked: dict[str, object], frame: Frame) -> None:
    shown = view.show(asked, ports(), frame).replace(ARN, "")
    for word in ("arn:", "jane", "Adobe says", "not for the page", "OTHER-1", "order-1"):
        assert word not in shown


def test_a_day_says_what_happened_and_what_to_do() -> None:
    text = Read(view.show({}, ports(), BROWSER)).text
    assert "Saturday 28 November 2026" in text
    for reason in ("no-route", "batch-failed", "bad-rows"):
        assert reason in text
        assert REASONS[reason].todo.replace("`", "")[1:] in text
    assert "INGEST-1401-400: Rows are corrupt" in text
    assert f"aep-intake resume {LONG_ROUTE}" in text
    assert "aep-intake status --route crm" in text
    assert "aep-intake parked --reason batch-failed --route route-001" in text
    assert "crm overdue" in text
    assert "route-001 next by 23:05" in text
    assert "quiet" in text, "it has had no file for long"
    assert (
        "overdue"
        not in Read(view.show({"day": "2026-11-27"}, ports(), BROWSER)).text.partition("Routes")[2]
    )
    assert "124 windows" in text
    assert "(no route)" in text


def test_files_that_are_late_and_not_yet_told_of_are_due() -> None:
    late = replace(ports(), now=lambda: NOW + 2 * HOUR, counts=lambda _: [])
    assert "route-001 due since 23:05" in Read(view.show({"day": DAY}, late, BROWSER)).text


def test_a_large_deployment_has_a_page_of_less_than_100_kilobytes() -> None:
    many = ports(routes=200, needs=400)
    for asked in ({}, {"view": "route", "route": "route-001"}):
        shown = view.show(asked, many, DASHBOARD)
        assert len(json.dumps(shown)) < 100_000
    assert "151 more are not shown" in view.show({}, many, DASHBOARD)


def test_an_empty_deployment_has_a_page_without_empty_tables() -> None:
    empty = ports(routes=0, needs=0, waits=(), ledger=MemoryLedger())
    read = Read(view.show({}, replace(empty, meters=lambda: ()), BROWSER))
    assert "table" not in {tag for tag, _ in read.elements}
    assert "Nothing" in read.text
    assert "No file of this day is counted" in read.text


def test_the_page_of_what_no_route_took_is_called_so() -> None:
    read = Read(view.show({"view": "route", "route": "-"}, ports(), BROWSER))
    assert read.text.lstrip().startswith("No route")


def test_tables_say_what_their_cells_are() -> None:
    read = Read(view.show({}, ports(), BROWSER))
    tables = [tag for tag, _ in read.elements].count("table")
    assert [tag for tag, _ in read.elements].count("caption") == tables == 5
    assert {a.get("scope") for tag, a in read.elements if tag == "th"} == {"col", "row"}
    labels = {a["for"] for tag, a in read.elements if tag == "label"}
    fields = {a["id"] for tag, a in read.elements if tag in ("input", "select") and "id" in a}
    assert labels == fields


@pytest.mark.parametrize(
    ("files", "rejected", "bar", "red"),
    [
        (1, 5, "M1 24v-4h8V24z", "M1 20v-20h8V20z"),
        (1000, 1, "M1 24v-23h8V24z", "M1 1v-1h8V1z"),
        (1, 1000, "M1 24v-1h8V24z", "M1 23v-23h8V23z"),
        (3, 0, "M1 24v-24h8V24z", ""),
        (0, 3, "", "M1 24v-24h8V24z"),
    ],
)
def test_in_a_bar_trouble_stands_on_what_went_well(
    files: int, rejected: int, bar: str, red: str
) -> None:
    hours = [HourCounts(f"{DAY}T00", 1, {"r": RouteCounts(files, rejected={"bad-rows": rejected})})]
    shown = view.show({}, replace(ports(), counts=lambda _: hours), BROWSER)
    drawn = [(a["class"], a["d"]) for tag, a in Read(shown).elements if tag == "path" and a["d"]]
    found = {kind: d for kind, d in drawn if kind != "base"}
    assert found == {kind: d for kind, d in (("bar", bar), ("trouble", red)) if d}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_is_found_by_its_key_whatever_is_in_it(name: str) -> None:
    read = Read(
        view.show({"view": "file", "uri": f"s3://{BUCKET}/{HOSTILE[name]}"}, ports(), BROWSER)
    )
    assert visible(HOSTILE[name]) in read.text
    assert "rejected" in read.text
    assert REASONS["no-route"].todo.replace("`", "")[1:-1] in read.text


WRONG: dict[str, dict[str, object]] = {
    "view": {"view": "all"},
    "a view that is not text": {"view": ["today"]},
    "day": {"day": "2026-02-30"},
    "day in other digits": {"day": "\u0662\u0660\u0662\u0666-02-28"},
    "a day that is a number": {"day": 20261128},
    "route": {"view": "route", "route": "a b"},
    "a long route": {"view": "route", "route": "r" * 65},
    "the first day there is": {"day": "0001-01-01"},
    "the last day there is": {"day": "9999-12-31"},
    "no route": {"view": "route"},
    "no uri": {"view": "file"},
    "a uri without a key": {"view": "file", "uri": "s3://bucket/"},
    "a bucket that is none": {"view": "file", "uri": "s3://UPPER_case/key"},
    "another scheme": {"view": "file", "uri": "https://bucket/key"},
    "a key that is too long": {"view": "file", "uri": "s3://bucket/" + "東" * 342},
    "half a character": {"view": "file", "uri": "s3://bucket/\ud83d"},
    "a list": {"view": "file", "uri": ["s3://bucket/key"]},
}


@pytest.mark.parametrize("asked", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_answered_by_a_page_that_repeats_nothing(asked: dict[str, object]) -> None:
    nobody = replace(ports(), counts=None, parked=None, pauses=None, status=None)  # type: ignore[arg-type]
    read = Read(view.show(asked, nobody, DASHBOARD))
    assert [a for _, a in read.elements if a.get("role") == "alert"]
    assert len(read.text) < 250


@each_frame
def test_an_address_that_is_none_is_corrected_where_it_was_written(frame: Frame) -> None:
    read = Read(view.show({"view": "file", "uri": "landing/<x>"}, ports(), frame))
    assert "Write the address as s3://bucket/folder/file.csv" in read.text
    assert [a["value"] for _, a in read.elements if a.get("name") == "uri"] == ["landing/<x>"]


def test_a_space_that_was_pasted_behind_an_address_is_none_of_the_key() -> None:
    kept = known_files()
    for key in ("in/a.csv", "in/b.csv "):
        kept.reject(
            Arrival(BUCKET, key, "v1", "e", "0061", 10, NOW),
            Rejection.of(NoRoute("no route fits"), NOW),
        )

    def shown(key: str) -> str:
        asked = {"view": "file", "uri": f"s3://{BUCKET}/{key}"}
        return Read(view.show(asked, ports(ledger=kept), BROWSER)).text

    for key in ("in/a.csv", "in/a.csv  ", "in/b.csv "):
        assert "rejected" in shown(key)
    for key in ("in/b.csv", "in/c.csv ", "  "):
        assert "Nothing is known of it" in shown(key)


def test_of_a_file_that_is_never_data_the_page_says_so() -> None:
    for name, said in {"_SUCCESS": True, "a.csv.md5": True, "a.csv": False}.items():
        asked = {"view": "file", "uri": f"s3://{BUCKET}/in/{name}"}
        text = Read(view.show(asked, ports(), BROWSER)).text
        assert ("by its name it is never data, so it is left out" in text) is said


def test_a_ledger_that_does_not_answer_is_said_without_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> Any:
        raise LedgerUnavailable("the ledger said AccessDeniedException of arn:aws:iam::1:role/x")

    for asked in ({}, {"view": "file", "uri": "s3://bucket/key"}):
        kept = MemoryLedger()
        monkeypatch.setattr(kept, "seen", fails)
        broken = replace(ports(ledger=kept), counts=fails)
        text = Read(view.show(asked, broken, DASHBOARD)).text
        assert "ledger-unavailable" in text
        assert "arn" not in text


@given(st.text(), st.text())
def test_no_text_becomes_markup(name: str, value: str) -> None:
    shown = fill('<p title="{name}">{value}</p>', name=name, value=value)
    read = Read(shown)
    assert read.elements == [("p", {"title": visible(name)})]
    assert read.text == visible(value)


@given(
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "Cc", "Cf", "Cs"])), st.booleans()
)
def test_no_uri_breaks_a_page(key: str, known: bool) -> None:
    frame = DASHBOARD if known else BROWSER
    read = Read(view.show({"view": "file", "uri": f"s3://bucket/{key}"}, ports(), frame))
    assert read.unclosed == []
    assert "script" not in {tag for tag, _ in read.elements}


def test_only_what_is_plain_goes_into_an_action() -> None:
    with pytest.raises(ValueError, match="cannot be in an action"):
        InDashboard(ARN).button("x", view='"}<')


# -- What CloudWatch sends -----------------------------------------------------------------------


def event(**top: Any) -> dict[str, Any]:
    fields = top.pop("fields", {})
    params = top.pop("params", {"view": "today"})
    context = {
        "dashboardName": "aep-intake",
        "theme": top.pop("theme", "light"),
        "timeRange": {"mode": "relative", "start": NOW - 10**7, "end": NOW},
        "forms": {"all": fields},
        "params": params,
        "width": 588,
    }
    return {**top, "widgetContext": context}


EVENTS: dict[str, tuple[dict[str, Any], view.PageQuery]] = {
    "the first call": (event(view="today"), view.PageQuery()),
    "nothing": ({}, view.PageQuery()),
    "a refresh, with fields filled in": (
        event(view="today", fields={"uri": "not a uri", "route": "crm"}),
        view.PageQuery(),
    ),
    "the form of a file": (
        event(view="file", fields={"uri": " s3://bucket/a b.csv\n"}),
        view.PageQuery(view.View.FILE, place=("bucket", "a b.csv")),
    ),
    "the form of a route": (
        event(view="route", day=DAY, fields={"route": "crm", "uri": ""}),
        view.PageQuery(view.View.ROUTE, DAY, "crm"),
    ),
    "a widget of one route": (
        event(params={"view": "route", "route": "crm"}),
        view.PageQuery(view.View.ROUTE, None, "crm"),
    ),
    "a context that is none": ({"widgetContext": [1]}, view.PageQuery()),
}


@pytest.mark.parametrize(("sent", "wanted"), EVENTS.values(), ids=EVENTS)
def test_what_an_event_asks_for(sent: dict[str, Any], wanted: view.PageQuery) -> None:
    assert view.wanted(view.of_widget(sent)) == wanted


def test_the_widget_has_the_theme_of_the_console() -> None:
    assert view.theme_of_widget(event(theme="dark")) == "dark"
    assert view.theme_of_widget(event(theme='dark"><script>')) == "light"
    assert view.theme_of_widget({}) == "light"
    assert [view.mapping(sent) for sent in ([1], "describe", None)] == [{}, {}, {}]
