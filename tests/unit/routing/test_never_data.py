"""What is never data on any route; how keys compare: in form C of Unicode, perhaps in any case."""

import json
import unicodedata
from typing import Any

import pytest
from aep_intake.model.errors import NoRoute
from aep_intake.model.files import Arrival
from aep_intake.routing.routes import parse
from aep_intake.routing.table import (
    Ignored,
    IsMarker,
    Match,
    OneBatch,
    RoutingTable,
    WaitsForMarker,
)
from aep_intake_cli.routing.explain import explain
from aep_intake_cli.routing.lint import lint

from tests.matching import matched

CSV = {"inputFormat": {"format": "csv"}}
ALL = {"match": "landing/**", "datasetId": "d"} | CSV


def document(*routes: dict[str, Any]) -> bytes:
    named = [{"name": f"route-{number}"} | written for number, written in enumerate(routes)]
    return json.dumps({"routes": named}).encode()


def table(*routes: dict[str, Any]) -> RoutingTable:
    return parse(document(*routes), "v7")


def arrival(key: str, size: int = 1) -> Arrival:
    return Arrival("landing", key, None, "etag", "00AF", size, 0)


NEVER = [
    "landing/loyalty/._orders.csv",  # macOS
    "landing/__MACOSX/orders.csv",
    "landing/.DS_Store",
    "landing/Thumbs.db",
    "landing/desktop.ini",
    "landing/~$orders.csv",
    "landing/orders.csv~",
    "landing/.orders.csv.swp",
    "landing/loyalty/_temporary/0/part-0.csv",  # Spark, Hadoop, Hive
    "landing/loyalty/_temporary/0/_temporary/attempt_1/part-0.csv",
    "landing/_SUCCESS",
    "landing/_committed_8172",
    "landing/dt=1_$folder$",
    "landing/.hive-staging_hive_2026/part-0.csv",
    "landing/part-0.csv._COPYING_",
    "landing/_delta_log/00000000000000000010.checkpoint.parquet",  # of tables
    "landing/.hoodie/x.parquet",
    "landing/.part-0-0.inprogress.5f1c",
    "landing/orders.csv.crc",  # checksums, signatures
    "landing/orders.csv.MD5",
    "landing/orders.sha256",
    "landing/orders.csv.sha256sum",
    "landing/manifest-summary.checksum",
    "landing/orders.csv.filepart",  # not finished
    "landing/orders.csv.part",
    "landing/orders.csv.5f1c.partial",
    "landing/orders.csv.TMP",
    "landing/.in.orders.csv.",
    "landing/._e\u0301.csv",
    "landing/orders.csv.download",
    "landing/orders.csv.LOCK",
    "landing/.orders.csv.swo",
    "landing/orders.csv.swo",
    "landing/#orders.csv#",
    "landing/SHA256SUMS",
    "landing/md5sums.txt",
    "landing/$RECYCLE.BIN/orders.csv",
    "landing/lost+found/orders.csv",
    "_SUCCESS",  # and no route fits
    "elsewhere/orders.csv.part",
]
DATA = [
    "landing/orders.csv",
    "landing/_year=2026/orders.csv",
    "landing/dt=__HIVE_DEFAULT_PARTITION__/orders.csv",
    "landing/x_y/a._b.csv",
    "landing/part-00000",
    "landing/0000_part_00",
    "landing/spare.part.csv",
    "landing/x_$folder$.csv",
    "landing/crc",
    "landing/#1.csv",
    "landing/lock",
    "landing/checksums.csv",
    "landing/lost+found.csv",
    "landing/tmp/orders.csv",
    "landing/orders.tmp/part-0.csv",  # what a folder is called says only whether it is hidden
    "landing/../orders.csv",
    "landing//orders.csv",
    "landing/./orders.csv",
]


@pytest.mark.parametrize("batch", [{}, {"batch": {"window": "1h"}}, {"batch": {"marker": "done"}}])
def test_it_is_left_out_on_every_route_and_all_else_is_taken(batch: dict[str, Any]) -> None:
    routes = table(ALL | batch)
    for key in NEVER:
        found = routes.match(arrival(key))
        assert isinstance(found, Ignored), key
        assert found.why == "not-data"
    for key in DATA:
        assert isinstance(routes.match(arrival(key)), Match), key


@pytest.mark.parametrize(
    ("match", "taken", "never"),
    [
        ("out/_raw/*", "out/_raw/a.csv", "out/_raw/_a.csv"),
        ("out/*/_*.csv", "out/x/_a.csv", "out/_x/_a=.csv"),
        ("**/.x/**", "a/.x/b.csv", "a/.x/.y/b.csv"),
        ("sftp/*.part", "sftp/a.part", "sftp/_a.part"),
        ("sftp/{file}.TMP", "sftp/a.TMP", "sftp/.a.TMP"),
    ],
)
def test_a_route_takes_what_it_writes_itself(match: str, taken: str, never: str) -> None:
    routes = table({"match": match, "datasetName": "{file}" if "{" in match else "d"} | CSV)
    assert isinstance(routes.match(arrival(taken)), Match)
    assert routes.match(arrival(never)) == Ignored("route-0", "v7", "not-data")


def test_a_route_that_ignores_says_so() -> None:
    routes = table({"match": "**/_temporary/**", "ignore": True}, ALL)
    assert routes.match(arrival("landing/_temporary/a.csv")) == Ignored("route-0", "v7")


def test_a_marker_is_one_whatever_it_is_called_but_in_no_folder_of_a_job() -> None:
    routes = table(ALL | {"batch": {"marker": "_SUCCESS"}})
    assert matched(routes, arrival("landing/a/_SUCCESS")).batching == IsMarker("landing/a/")
    found = routes.match(arrival("landing/_temporary/0/_SUCCESS"))
    assert found == Ignored("route-0", "v7", "not-data")


def test_what_no_route_fits_is_told_unless_it_is_never_data() -> None:
    with pytest.raises(NoRoute):
        table(ALL).match(arrival("elsewhere/orders.csv"))


def test_it_is_explained_and_is_no_example() -> None:
    routes = table(ALL | {"batch": {"marker": "_SUCCESS"}})
    keys = ["landing/a.csv.part", "_SUCCESS", "landing/_SUCCESS"]
    assert [(one.route, one.outcome) for one in explain(routes, keys)] == [
        ("route-0", "ignored: not-data"),
        (None, "ignored: not-data"),
        ("route-0", "all of landing/ → d in the default sandbox"),
    ]
    [problem] = lint(document(ALL | {"examples": ["landing/a.csv", "landing/a.crc"]}))
    assert (problem.field, "is never data" in problem.text) == ("routes[0].examples[1]", True)


# ---- How keys compare


NAMES = ["Umsätze_Köln", "données", "가나다", "Å"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pattern_form", ["NFC", "NFD"])
@pytest.mark.parametrize("key_form", ["NFC", "NFD"])
def test_keys_compare_in_form_c_of_unicode(name: str, pattern_form: Any, key_form: Any) -> None:
    """macOS writes file names in form D: the same for a reader, other bytes for S3."""
    folder = unicodedata.normalize(pattern_form, name)
    key = unicodedata.normalize(key_form, f"{name}/{name}.csv")
    found = matched(
        table({"match": f"{folder}/{{dataset}}.csv", "datasetName": "{dataset}"}), arrival(key)
    )
    assert found.dataset_name == unicodedata.normalize("NFC", name)
    routes = table({"match": f"{folder}/**", "datasetId": "d", "batch": {"marker": f"{folder}.ok"}})
    marker = matched(routes, arrival(f"{key}/{key.rpartition('/')[2][:-4]}.ok"))
    assert marker.batching == IsMarker(f"{key}/")  # as S3 has it, since it is listed by it


ANY = {"match": "in/{dataset}/*.csv", "datasetName": "{dataset}", "anyCase": True}


@pytest.mark.parametrize("key", ["in/Orders/a.csv", "IN/Orders/A.CSV", "In/Orders/É.Csv"])
def test_a_route_may_fit_in_any_case(key: str) -> None:
    assert matched(table(ANY), arrival(key)).dataset_name == "Orders", "as the key writes it"
    with pytest.raises(NoRoute):
        matched(table(ANY | {"anyCase": False}), arrival(key.upper()))


def test_so_do_its_markers_and_what_it_writes_of_what_is_never_data() -> None:
    routes = table(ANY | {"match": "in/_RAW/{dataset}/*.csv", "batch": {"marker": "_SUCCESS"}})
    marker = matched(routes, arrival("in/_raw/x/_success"))
    assert marker.batching == IsMarker("in/_raw/x/")
    assert isinstance(matched(routes, arrival("in/_Raw/x/1.CSV")).batching, WaitsForMarker)
    assert isinstance(routes.match(arrival("in/_raw/x/_other.csv")), Ignored)


def test_routes_for_one_case_and_for_any_stand_side_by_side() -> None:
    routes = table({"match": "in/x/*.csv", "datasetId": "lower"}, ANY)
    assert matched(routes, arrival("in/x/a.csv")).dataset_id == "lower"
    assert matched(routes, arrival("in/X/a.csv")).dataset_name == "X"
    assert matched(routes, arrival("in/x/A.CSV")).batching == OneBatch()
