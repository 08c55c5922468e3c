"""Markers, corrected objects, and windows that AEP refuses: on a deployed stack of their own."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from aep_intake.model.messages import of_order

from local.simulator.seed import CLOSED, LOYALTY
from local.stack import SEED, LocalStack, Parked
from tests.stack.scene import Scene, scene, until

ROUTES = {
    "routes": [
        {
            "name": "spark",
            "match": "spark/{table}/**",
            "datasetName": "{table}",
            "batch": {"marker": "_SUCCESS"},
        },
        {
            "name": "forgotten",
            "match": "forgotten/**",
            "datasetId": LOYALTY,
            "batch": {"marker": "_SUCCESS", "within": "1m"},
        },
        {
            "name": "graced",
            "match": "graced/**",
            "datasetId": LOYALTY,
            "batch": {"marker": "_SUCCESS", "grace": "1m"},
        },
        {"name": "quiet", "match": "quiet/**", "datasetId": LOYALTY, "batch": {"quiet": "1m"}},
        {
            "name": "snapshot",
            "match": "snapshot/**",
            "datasetId": LOYALTY,
            "batch": {"marker": "manifest.json"},
            "inputFormat": {"format": "json"},
            "onNewVersion": "replace",
        },
        {
            "name": "corrected",
            "match": "corrected/**",
            "datasetId": LOYALTY,
            "onNewVersion": "replace",
        },
        {
            "name": "ready",
            "match": "ready/**/*.json",
            "datasetId": LOYALTY,
            "ready": "{file}.done",
        },
        {"name": "first", "match": "first/**", "datasetId": LOYALTY, "onNewVersion": "ignore"},
        {"name": "looked", "match": "looked/**", "datasetId": LOYALTY, "lookInside": True},
        {"name": "own", "match": "own/**", "datasetName": "system"},
        {
            "name": "refused",
            "match": "refused/**",
            "datasetId": CLOSED,
            "batch": {"window": "1m"},
        },
    ]
}


# What waits for a minute to pass: it is put first, and asked for last.
FORGOTTEN = tuple(f"forgotten/day/year=2026/{n}.json" for n in range(3))
REFUSED = tuple(f"refused/day/{n}.json" for n in range(3))
GRACED = tuple(f"graced/day/{n}.json" for n in range(2))
QUIET = tuple(f"quiet/day/hour={n}/a.json" for n in range(3))


@pytest.fixture(scope="module")
def grouping(deployed: LocalStack) -> Iterator[Scene]:
    routes = json.dumps(ROUTES).encode()
    with scene(deployed, "grouping", routes=routes) as played:
        put(played, *FORGOTTEN, *REFUSED, *QUIET, GRACED[0])
        put(played, "graced/day/_SUCCESS", body=b"")
        put(played, GRACED[1])
        yield played


@pytest.fixture
def folder() -> str:
    return uuid.uuid4().hex


def put(played: Scene, *keys: str, body: bytes = b'{"a": 1}\n') -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: played.put(key, body), keys))


def of(played: Scene, prefix: str, files: int) -> list[dict[str, Any]]:
    """The announcements for a folder, once they hold `files` files."""

    def found() -> list[dict[str, Any]]:
        details = {d["externalId"]: d for d in played.details("Batch Created")}
        ours = [d for d in details.values() if listed(played, d)[0]["key"].startswith(prefix)]
        return ours if sum(detail["fileCount"] for detail in ours) >= files else []

    return until(found, f"{files} files of {prefix}")


def listed(played: Scene, detail: dict[str, Any]) -> list[dict[str, Any]]:
    if "files" in detail:
        return list(detail["files"])
    place = detail["manifest"]
    body = played.aws.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"]
    return list(json.loads(body.read())["files"])


def says(played: Scene, message: str, **members: object) -> list[dict[str, Any]]:
    """Lines of the logs of on_arrival and on_marker."""
    return [
        line
        for logs in ("on-arrival", "on-marker")
        for line in played.stack.logged(logs)
        if line.get("message") == message and members.items() <= line.items()
    ]


def test_a_marker_of_2000_parts(grouping: Scene, folder: str) -> None:
    """More than S3 lists at once, than a batch takes, and than an event can name."""
    prefix = f"spark/loyalty/{folder}/"
    parts = [f"{prefix}dt={n % 3}/part-{n:05}.jsonl" for n in range(2000)]
    junk = [
        f"{prefix}_temporary/0/part-00000.jsonl",
        f"{prefix}.part-00000.jsonl.crc",
        f"{prefix}_metadata",
    ]
    put(grouping, *parts, *junk)
    put(grouping, f"{prefix}part-of-an-empty-partition.jsonl", body=b"")
    grouping.quiet()
    marker = f"{prefix}_SUCCESS"
    put(grouping, marker, body=b"")
    batches = of(grouping, prefix, 2000)
    assert sorted(batch["fileCount"] for batch in batches) == [500, 1500]
    assert any("manifest" in batch for batch in batches)
    held = [file["key"] for batch in batches for file in listed(grouping, batch)]
    assert sorted(held) == sorted(parts)
    assert {batch["datasetId"] for batch in batches} == {LOYALTY}
    assert {batch["inputFormat"]["format"] for batch in batches} == {"json"}
    # A copy of the delivery is a copy; a marker dropped again holds what is new.
    late = [f"{prefix}dt=9/late-{n}.jsonl" for n in range(3)]
    put(grouping, *late)
    put(grouping, marker, body=b"")
    batches = of(grouping, prefix, 2003)
    assert len(batches) == 3
    assert {f["key"] for b in batches for f in listed(grouping, b)} == {*parts, *late}
    put(grouping, marker, body=b"")
    until(lambda: [d for d in says(grouping, "duplicate") if d["belongs_to"].startswith("window-")])
    assert len(of(grouping, prefix, 2003)) == 3


def test_a_marker_is_one_arrival_though_two_functions_receive_it(
    grouping: Scene, folder: str
) -> None:
    prefix = f"spark/loyalty/{folder}/"
    grouping.quiet()

    def counted() -> float:
        return sum(grouping.metric(log, "Arrivals") for log in ("on-arrival", "on-marker"))

    def gathered() -> int:
        return len(says(grouping, "gathered"))

    arrivals, markers = counted(), gathered()
    put(grouping, f"{prefix}part.jsonl")
    put(grouping, f"{prefix}_SUCCESS", body=b"")
    until(lambda: gathered() > markers)
    grouping.quiet()
    assert counted() == arrivals + 2


def test_a_file_waits_for_its_ready_file_whichever_comes_first(
    grouping: Scene, folder: str
) -> None:
    first, second = (f"ready/{folder}/{name}.json" for name in "ab")
    put(grouping, first, f"{second}.done", body=b'{"a": 1}\n')
    until(lambda: state(grouping, first) == ("waiting", None))
    until(lambda: state(grouping, f"{second}.done") == ("left-out", None))
    put(grouping, f"{first}.done", body=b"1\n")
    put(grouping, second)
    of(grouping, f"ready/{folder}/", 2)
    other = f"ready/{folder}/c.json"
    put(grouping, other)
    put(grouping, f"{other}.done", body=b"7\n")
    until(lambda: state(grouping, other) == ("rejected", "rows-differ"))


def test_a_folder_without_files_is_rejected_and_may_come_again(
    grouping: Scene, folder: str
) -> None:
    marker = f"spark/loyalty/{folder}/_SUCCESS"
    put(grouping, marker, body=b"")
    assert grouping.about(marker, kind="Arrival Rejected")["reason"] == "no-files"
    [parked] = until(lambda: [m for m in grouping.stack.parked() if folder in m.body])
    assert parked.attributes["reason"] == "no-files"
    part = f"spark/loyalty/{folder}/part.jsonl"
    put(grouping, part)
    grouping.send(parked.body)
    assert grouping.about(part)["fileCount"] == 1


def test_a_manifest_names_the_files_and_a_new_one_replaces_them(
    grouping: Scene, folder: str
) -> None:
    prefix = f"snapshot/{folder}/"
    put(grouping, *(f"{prefix}{name}" for name in ("a.json", "b.json", "c.json")))
    marker = f"{prefix}manifest.json"
    put(grouping, marker, body=b'{"files": ["a.json", "nowhere.json"]}')
    assert grouping.about(marker, kind="Arrival Rejected")["reason"] == "malformed-manifest"
    put(grouping, marker, body=b'{"files": ["a.json", "b.json"]}')
    [first] = of(grouping, prefix, 2)
    grouping.aep.set_status(first["batchId"], "success")
    url = f"s3://{grouping.bucket}/{prefix}"
    entries = [{"url": f"{url}b.json"}, {"url": f"{url}c.json"}]
    put(grouping, marker, body=json.dumps({"entries": entries}).encode())
    batches = of(grouping, prefix, 4)
    [second] = [batch for batch in batches if batch["batchId"] != first["batchId"]]
    assert [f["key"] for f in listed(grouping, second)] == [f"{prefix}b.json", f"{prefix}c.json"]
    assert second["replaces"] == {"externalId": first["externalId"], "batchId": first["batchId"]}
    [made] = grouping.batches(second["externalId"])
    assert made["replay"] == {"predecessors": [first["batchId"]], "reason": "replace"}


def test_a_corrected_object_takes_the_place_of_the_one_before(grouping: Scene, folder: str) -> None:
    key = f"corrected/{folder}.json"

    def version(number: int) -> dict[str, Any]:
        put(grouping, key, body=f'{{"version": {number}}}\n'.encode())
        found = until(
            lambda: [
                d
                for d in grouping.details("Batch Created")
                if d.get("files", [{}])[0].get("key") == key
            ][number - 1 :]
        )
        return found[0]

    first = version(1)
    grouping.aep.set_status(first["batchId"], "success")
    second = version(2)
    assert second["replaces"]["batchId"] == first["batchId"]
    third = version(3)  # while the second one is still loading
    status = {batch["id"]: batch["status"] for batch in grouping.batches()}
    assert status[second["batchId"]] == "aborted"
    assert status[first["batchId"]] == "success"
    assert third["replaces"]["batchId"] == first["batchId"]
    # What is overtaken on its way changes nothing.
    late = grouping.object_created(key, sequencer="0000", etag="old", size=5)
    grouping.send(late)
    until(lambda: grouping.metric("on-arrival", "Ignored"))
    grouping.quiet()
    assert len(grouping.batches(third["externalId"])) == 1


def test_where_only_the_first_version_counts_others_are_ignored(
    grouping: Scene, folder: str
) -> None:
    key = f"first/{folder}.json"
    put(grouping, key)
    first = grouping.about(key)
    put(grouping, key, body=b'{"a": 2}\n')
    grouping.quiet()
    made = [b for b in grouping.batches() if b["externalId"] == first["externalId"]]
    assert len(made) == 1
    about = [d for d in grouping.details("Batch Created") if key in json.dumps(d)]
    assert len(about) == 1


def test_what_aep_would_reject_in_hours_is_rejected_now(grouping: Scene, folder: str) -> None:
    good, rows, bad = (f"looked/{folder}/{name}.json" for name in ("array", "rows", "bad"))
    put(grouping, good, body=b'[{"a": 1},\n {"a": 2}]\n')
    put(grouping, rows, body=b'{"a": 1}\n{"a": 2}\n')
    put(grouping, bad, body=b"PAR1\0\0")
    assert grouping.about(good)["inputFormat"] == {"format": "json", "isMultiLineJson": True}
    assert grouping.about(rows)["inputFormat"] == {"format": "json"}
    assert grouping.about(bad, kind="Arrival Rejected")["reason"] == "format-mismatch"
    adobes = f"own/{folder}.json"
    put(grouping, adobes)
    rejected = grouping.about(adobes, kind="Arrival Rejected")
    assert rejected["reason"] == "target-not-allowed"


def test_files_without_their_marker_are_told_of_and_it_takes_them_when_it_comes(
    grouping: Scene,
) -> None:
    prefix, keys = "forgotten/day/", list(FORGOTTEN)

    def rejected() -> list[dict[str, Any]]:
        details = grouping.details("Arrival Rejected")
        return [d for d in details if any(f["key"] in keys for f in d.get("files", []))]

    told = grouping.until_ticked(rejected)[0]
    assert told["reason"] == "marker-missing"
    assert sorted(file["key"] for file in told["files"]) == keys

    def there() -> list[Parked]:
        found = grouping.stack.parked()
        return [m for m in found if m.attributes.get("externalId") == told["externalId"]]

    [parked] = until(there)
    assert parked.attributes["reason"] == "marker-missing"
    assert "missing" in json.loads(parked.body)
    assert {state(grouping, key) for key in keys} == {("rejected", "marker-missing")}

    put(grouping, f"{prefix}_SUCCESS", body=b"")
    [batch] = of(grouping, prefix, 3)
    assert {file["key"] for file in batch["files"]} == set(keys)
    grouping.send(parked.body)  # as `aep-intake redrive` does
    grouping.quiet()
    assert len(there()) == 1
    assert {state(grouping, key) for key in keys} == {("loading", None)}


def test_what_comes_within_a_marker_s_grace_is_in_its_batch(grouping: Scene) -> None:
    [batch] = grouping.until_ticked(lambda: announced(grouping, "graced"))
    assert [file["key"] for file in batch["files"]] == list(GRACED)


def test_a_folder_that_has_been_quiet_is_one_batch(grouping: Scene) -> None:
    [batch] = grouping.until_ticked(lambda: announced(grouping, "quiet"))
    assert [file["key"] for file in batch["files"]] == list(QUIET)


def announced(played: Scene, route: str) -> list[dict[str, Any]]:
    return [d for d in played.details("Batch Created") if d["route"] == route]


def state(played: Scene, key: str) -> tuple[str | None, str | None]:
    """What GET /objects says of the newest version of an object."""
    uri = quote(f"s3://{played.bucket}/{key}", safe="")
    answer = played.stack.sender.call("GET", f"{played.stack.api}/objects?uri={uri}")
    version, *_ = answer.json().get("versions", [{}])  # 404 before its event has come
    return version.get("state"), version.get("reason")


def test_a_window_that_aep_refuses_is_parked_and_comes_again(grouping: Scene) -> None:
    keys = REFUSED

    def rejected() -> list[dict[str, Any]]:
        return [d for d in grouping.details("Arrival Rejected") if d.get("route") == "refused"]

    told = grouping.until_ticked(rejected)
    held = {file["key"] for detail in told for file in detail["files"]}
    assert held == set(keys)
    assert {detail["status"] for detail in told} == {403}
    bodies = {of_order(detail["externalId"]) for detail in told}
    for body in bodies:
        assert grouping.parked(body).attributes["reason"] == "batch-refused"
    # Somebody gives the credential the permission it lacked.
    grouping.aep.add_dataset(SEED.ims_org, "prod", CLOSED, "closed")
    for body in bodies:
        grouping.send(body)
    batches = of(grouping, "refused/day/", 3)
    assert {file["key"] for batch in batches for file in listed(grouping, batch)} == set(keys)
