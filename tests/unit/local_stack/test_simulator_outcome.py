"""What becomes of a batch once it is complete: states, verdicts, metrics, successors."""

import gzip
import json
from itertools import pairwise
from typing import Any

import pytest

from local.simulator import Clock, Mishap, Simulator, seed_defaults
from local.simulator.seed import LOYALTY, PRODUCTS, WEB_EVENTS
from tests.unit.local_stack.test_simulator import BATCHES, CATALOG, NOW
from tests.unit.local_stack.test_simulator_uploads import ROWS, Uploader

ERROR = {"code": "INGEST-1555-400", "description": "A required field is missing."}
CORRUPT = (
    "The row has corrupted data and cannot be read or parsed. Fix the corrupted data and try again."
)


class Client(Uploader):
    """A client that goes all the way."""

    def loaded(self, *bodies: bytes, dataset: str = LOYALTY, **members: object) -> str:
        batch_id = self.made(dataset, **{"inputFormat": {"format": "json"}} | members)
        for number, body in enumerate(bodies):
            assert self.put(batch_id, f"in/{number}", body, dataset=dataset).status == 200
        assert self.act(batch_id, "COMPLETE").status == 200
        return batch_id

    def promoted(self, *bodies: bytes, dataset: str = LOYALTY, **members: object) -> str:
        batch_id = self.loaded(*bodies, dataset=dataset, **members)
        self.simulator.clock.advance(4_000)
        return batch_id

    def batch(self, batch_id: str) -> dict[str, Any]:
        found = self.call("GET", f"{CATALOG}/batches/{batch_id}").json()[batch_id]
        assert isinstance(found, dict)
        return found

    def codes(self, batch_id: str) -> list[str]:
        return [error["code"] for error in self.batch(batch_id)["errors"]]


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def caller(clock: Clock) -> Client:
    simulator = Simulator(clock)
    return Client(simulator, seed_defaults(simulator))


class TestStates:
    def test_each_lasts_its_time(self, caller: Client, clock: Clock) -> None:
        batch_id = caller.loaded(ROWS)
        seen = []
        for _ in range(9):
            seen.append(caller.status(batch_id))
            clock.advance(500)
        loaded, staging, staged = ["loaded"] * 2, ["staging"] * 4, ["staged"] * 2
        assert seen == [*loaded, *staging, *staged, "success"]
        batch = caller.batch(batch_id)
        assert (batch["started"], batch["completed"]) == (NOW + 1_000, NOW + 4_000)
        assert (batch["updated"], batch["version"]) == (NOW + 4_000, "1.0.4")

    def test_what_nobody_looked_at_happened_in_its_time(self, caller: Client, clock: Clock) -> None:
        batch_id = caller.loaded(ROWS)
        clock.advance(10**7)
        assert caller.batch(batch_id)["completed"] == NOW + 4_000

    def test_without_complete_nothing_moves(self, caller: Client, clock: Clock) -> None:
        batch_id = caller.made()
        caller.put(batch_id, "a")
        clock.advance(10**7)
        assert caller.status(batch_id) == "loading"

    def test_times_and_names_are_switches(self, caller: Client, clock: Clock) -> None:
        switches = caller.simulator.switches
        switches.change(loaded_ms=0, staging_ms=0, staged_ms=0)
        switches.change(success_name="active", failure_name="failure")
        good, bad = caller.loaded(ROWS), caller.loaded(b"x")
        assert (caller.status(good), caller.status(bad)) == ("active", "failure")
        assert caller.batch(good)["completed"] == NOW
        switches.change(loaded_ms=10**6)
        slow = caller.loaded(ROWS)
        clock.advance(10**6 - 1)
        assert caller.status(slow) == "loaded"

    @pytest.mark.parametrize("moments", [0, 1_000, 3_000])
    def test_complete_may_be_repeated_on_the_way(
        self, caller: Client, clock: Clock, moments: int
    ) -> None:
        batch_id = caller.loaded(ROWS)
        clock.advance(moments)
        before = caller.batch(batch_id)
        again = caller.act(batch_id, "COMPLETE")
        assert (again.status, again.body) == (200, b"")
        assert caller.batch(batch_id) == before
        clock.advance(4_000)
        assert caller.act(batch_id, "COMPLETE").status == 200
        assert caller.batch(batch_id)["completed"] == NOW + 4_000

    def test_complete_is_too_late_after_another_end(self, caller: Client) -> None:
        failed = caller.promoted(b"x")
        assert caller.act(failed, "COMPLETE").status == 400
        for action in ("ABORT", "FAIL"):
            batch_id = caller.made()
            assert caller.act(batch_id, action).body == b""
            assert caller.act(batch_id, "COMPLETE").status == 400

    def test_an_abort_stops_promotion(self, caller: Client, clock: Clock) -> None:
        caller.simulator.switches.change(abort="lenient")
        batch_id = caller.loaded(ROWS)
        clock.advance(1_500)
        assert caller.act(batch_id, "ABORT").status == 200
        clock.advance(10**6)
        assert caller.status(batch_id) == "aborted"

    @pytest.mark.parametrize("status", ["loaded", "staging", "stalled", "abandoned", "loading"])
    def test_a_state_set_by_hand_stays(self, caller: Client, clock: Clock, status: str) -> None:
        batch_id = caller.loaded(ROWS)
        caller.simulator.set_status(batch_id, status)
        clock.advance(10**6)
        assert caller.status(batch_id) == status

    def test_success_set_by_hand_counts(self, caller: Client) -> None:
        batch_id = caller.loaded(ROWS)
        caller.simulator.set_status(batch_id, "success")
        assert caller.batch(batch_id)["metrics"]["outputRecordCount"] == 2

    def test_a_reverted_batch_is_deleted_later(self, caller: Client, clock: Clock) -> None:
        batch_id = caller.promoted(ROWS)
        assert caller.act(caller.loaded(ROWS), "REVERT").status == 400
        assert caller.act(batch_id, "REVERT").status == 200
        assert caller.status(batch_id) == "inactive"
        clock.advance(3_600_000)
        assert caller.status(batch_id) == "deleted"
        caller.simulator.switches.change(deleted_after_ms=None)
        kept = caller.promoted(ROWS)
        caller.act(kept, "REVERT")
        clock.advance(10**7)
        assert caller.status(kept) == "inactive"


class TestVerdicts:
    def test_success_has_metrics(self, caller: Client) -> None:
        batch = caller.batch(caller.promoted(ROWS, b'{"_id":"3"}'))
        assert batch["status"] == "success"
        assert batch["errors"] == []
        assert batch["metrics"] == {
            "inputByteSize": len(ROWS) + 11,
            "inputFileCount": 2,
            "inputRecordCount": 3,
            "outputByteSize": len(ROWS) + 11,
            "outputFileCount": 2,
            "outputRecordCount": 3,
            "failedRecordCount": 0,
            "partitionCount": 1,
        }

    @pytest.mark.parametrize(
        ("input_format", "body", "status", "code"),
        [
            ({"format": "json"}, ROWS, "success", None),
            ({"format": "json"}, b'[{"_id":"1"}]', "failed", "INGEST-1211-400"),
            ({"format": "json", "isMultiLineJson": True}, b'[{"_id":"1"}]', "success", None),
            ({"format": "json", "isMultiLineJson": True}, ROWS, "failed", "INGEST-1211-400"),
            ({"format": "csv"}, b"a,b\n1,2\n", "success", None),
            ({"format": "csv"}, b"\n1,2\n", "failed", "118"),
            ({"format": "parquet"}, b"PAR1 ... PAR1", "success", None),
            ({"format": "parquet"}, ROWS, "failed", "INGEST-1401-400"),
            ({"format": "json"}, b"", "failed", "106"),
            ({"format": "csv"}, b"", "failed", "106"),
            ({"format": "parquet"}, b"", "failed", "106"),
            ({"format": "avro"}, b"Obj\x01", "success", None),
        ],
    )
    def test_by_what_the_bytes_are(
        self,
        caller: Client,
        input_format: dict[str, object],
        body: bytes,
        status: str,
        code: str | None,
    ) -> None:
        dataset = PRODUCTS if input_format == {"format": "csv"} else LOYALTY
        batch_id = caller.promoted(body, dataset=dataset, inputFormat=input_format)
        batch = caller.batch(batch_id)
        assert batch["status"] == status
        assert batch["completed"] == NOW + 4_000
        if code is not None:
            assert code in caller.codes(batch_id)
        with_metrics = status == "success" and input_format["format"] != "csv"
        assert ("metrics" in batch) == with_metrics
        if with_metrics:
            counted = input_format["format"] == "json"
            assert ("inputRecordCount" in batch["metrics"]) == counted

    def test_one_empty_file_fails_the_batch(self, caller: Client) -> None:
        batch = caller.batch(caller.promoted(ROWS, b"", partialIngestionPercent=100))
        assert batch["status"] == "failed"
        assert batch["errors"] == [
            {
                "code": "106",
                "description": "Dataset file is empty. Please upload file with data.",
                "rows": [],
            }
        ]

    def test_a_batch_without_files_is_a_switch(self, caller: Client) -> None:
        assert caller.codes(caller.promoted()) == ["133"]
        caller.simulator.switches.change(without_files="success")
        batch = caller.batch(caller.promoted())
        assert (batch["status"], "metrics" in batch) == ("success", False)

    def test_one_corrupt_row_fails_a_whole_batch(self, caller: Client) -> None:
        batch = caller.batch(caller.promoted(ROWS * 500 + b"{", enableErrorDiagnostics=True))
        assert batch["status"] == "failed"
        assert batch["errors"] == [
            {
                "code": "INGEST-1212-400",
                "description": "Encountered 1 errors in the data. Successfully ingested 0 rows. "
                "Please review the associated diagnostic files for more details.",
            },
            {"code": "INGEST-1401-400", "description": CORRUPT, "recordCount": 1},
        ]

    @pytest.mark.parametrize(
        ("percent", "bad", "status"),
        [
            (5, 5, "success"),
            (5, 6, "failed"),
            (4.9, 5, "failed"),
            (0, 1, "failed"),
            (0, 0, "success"),
            (100, 100, "success"),
        ],
    )
    def test_so_many_percent_may_be_corrupt(
        self, caller: Client, percent: float, bad: int, status: str
    ) -> None:
        body = b"{}\n" * (100 - bad) + b"{x\n" * bad
        batch = caller.batch(
            caller.promoted(body, partialIngestionPercent=percent, enableErrorDiagnostics=True)
        )
        assert batch["status"] == status
        if status == "success":
            metrics = batch["metrics"]
            assert metrics["failedRecordCount"] == bad
            assert (metrics["inputRecordCount"], metrics["outputRecordCount"]) == (100, 100 - bad)
        else:
            assert "metrics" not in batch
        if bad and status == "success":
            assert batch["errors"][0]["description"].startswith(
                f"Encountered {bad} errors in the data. Successfully ingested {100 - bad} rows."
            )
            assert batch["errors"][1]["recordCount"] == bad

    def test_without_diagnostics_no_more_is_said(self, caller: Client) -> None:
        body = b"{}\n" * 99 + b"{x\n"
        partial = caller.promoted(body, partialIngestionPercent=5)
        assert (caller.status(partial), caller.codes(partial)) == ("success", ["INGEST-1211-400"])
        assert caller.batch(partial)["metrics"]["failedRecordCount"] == 1
        assert caller.codes(caller.promoted(body)) == ["INGEST-1211-400"]

    @pytest.mark.parametrize("kind", [{"format": "csv"}, {"format": "json"}])
    def test_gzip_is_refused_whatever_its_name(self, caller: Client, kind: dict[str, str]) -> None:
        """Not a row of it is tolerated, and a CSV is not as many rows as its bytes have lines."""
        batch_id = caller.made(inputFormat=kind, partialIngestionPercent=100)
        caller.put(batch_id, "a.csv", gzip.compress(ROWS))
        caller.act(batch_id, "COMPLETE")
        caller.simulator.clock.advance(4_000)
        assert (caller.status(batch_id), caller.codes(batch_id)) == ("failed", ["INGEST-1401-400"])

    def test_gzipped_files_are_a_switch(self, caller: Client) -> None:
        packed, seen = gzip.compress(ROWS), []
        for position in ("corrupt", "read"):
            caller.simulator.switches.change(gzipped=position)
            batch_id = caller.made(inputFormat={"format": "json"})
            caller.put(batch_id, "a.json.gz", packed)
            caller.act(batch_id, "COMPLETE")
            caller.simulator.clock.advance(4_000)
            seen.append(caller.status(batch_id))
        assert seen == ["failed", "success"]
        assert caller.batch(batch_id)["metrics"]["inputRecordCount"] == 2


class TestMishaps:
    def test_errors_for_one_dataset(self, caller: Client) -> None:
        caller.simulator.mishaps.add(Mishap(dataset=PRODUCTS, errors=[ERROR]))
        good = caller.promoted(ROWS)
        bad = caller.promoted(ROWS, dataset=PRODUCTS)
        again = caller.promoted(ROWS, dataset=PRODUCTS)
        assert [caller.status(one) for one in (good, bad, again)] == [
            "success",
            "failed",
            "success",
        ]
        assert caller.batch(bad)["errors"] == [ERROR]
        assert list(caller.simulator.mishaps) == []

    def test_errors_for_one_batch(self, caller: Client, clock: Clock) -> None:
        first, second = caller.loaded(ROWS), caller.loaded(ROWS, externalId="mine")
        caller.simulator.mishaps.add(Mishap(batch=first, errors=[ERROR]))
        caller.simulator.mishaps.add(Mishap(external_id="m*", errors=[ERROR]))
        third = caller.loaded(ROWS)
        clock.advance(4_000)
        seen = [caller.status(one) for one in (first, second, third)]
        assert seen == ["failed", "failed", "success"]

    def test_retries_take_time_and_pass(self, caller: Client, clock: Clock) -> None:
        caller.simulator.mishaps.add(Mishap(retries=2))
        batch_id, seen = caller.loaded(ROWS), list[str]()
        while not seen or seen[-1] != "success":
            seen.append(caller.status(batch_id))
            clock.advance(1_000)
        changes = [seen[0], *(after for before, after in pairwise(seen) if before != after)]
        assert changes == [
            "loaded",
            "staging",
            "retrying",
            "staging",
            "retrying",
            "staging",
            "staged",
            "success",
        ]
        assert caller.batch(batch_id)["started"] == NOW + 1_000
        assert caller.batch(batch_id)["completed"] == NOW + 12_000

    def test_stalled_until_somebody_helps(self, caller: Client, clock: Clock) -> None:
        caller.simulator.mishaps.add(Mishap(retries=1, stalled=True, count=0))
        batch_id = caller.loaded(ROWS)
        clock.advance(10**6)
        assert caller.status(batch_id) == "stalled"
        assert caller.act(batch_id, "COMPLETE").status == 200
        assert "completed" not in caller.batch(batch_id)
        caller.simulator.set_status(batch_id, "success")
        assert caller.status(batch_id) == "success"
        caller.simulator.mishaps.clear()
        assert caller.status(caller.promoted(ROWS)) == "success"

    def test_so_many_batches_as_it_says(self, caller: Client) -> None:
        caller.simulator.mishaps.add(Mishap(errors=[ERROR], count=2))
        seen = [caller.status(caller.promoted(ROWS)) for _ in range(3)]
        assert seen == ["failed", "failed", "success"]

    @pytest.mark.parametrize("wrong", [{"count": -1}, {"retries": -1}, {"errors": [{"code": "1"}]}])
    def test_what_makes_no_sense_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r".+"):
            Mishap(**wrong)


class TestReplay:
    def test_success_puts_an_end_to_what_it_replaces(self, caller: Client, clock: Clock) -> None:
        old = caller.promoted(ROWS)
        named = caller.promoted(ROWS, externalId="named")
        other = caller.promoted(ROWS)
        new = caller.loaded(
            ROWS,
            replay={
                "predecessors": [f"${{{old}}}", "unknown"],
                "predecessorsByExternalId": ["$named"],
                "reason": "replace",
            },
        )
        ids = (old, named, other, new)
        clock.advance(3_999)
        assert [caller.status(one) for one in ids] == ["success", "success", "success", "staged"]
        clock.advance(1)
        # the old ones are looked at before the new one
        assert [caller.status(one) for one in ids] == [
            "inactive",
            "inactive",
            "success",
            "success",
        ]
        assert caller.batch(old)["updated"] == caller.batch(new)["completed"]
        assert "acp_successor" not in caller.batch(old)["tags"]

    def test_a_failed_batch_replaces_nothing(self, caller: Client) -> None:
        old = caller.promoted(ROWS)
        caller.promoted(b"x", replay={"predecessors": [old], "reason": "replace"})
        assert caller.status(old) == "success"

    def test_only_what_is_served_in_the_same_sandbox(self, caller: Client) -> None:
        loading = caller.made()
        body = {"datasetId": LOYALTY}
        dev = caller.call("POST", BATCHES, body, x_sandbox_name="dev").json()["id"]
        caller.simulator.set_status(dev, "success")
        caller.promoted(ROWS, replay={"predecessors": [loading, dev]})
        assert caller.status(loading) == "loading"
        assert caller.simulator.batch(dev).status == "success"


class TestConsolidation:
    def test_one_batch_for_several(self, caller: Client) -> None:
        parts = [caller.promoted(ROWS), caller.promoted(ROWS)]
        whole = caller.simulator.consolidate(*parts)
        for part in parts:
            batch = caller.batch(part)
            assert (batch["status"], batch["tags"]["acp_successor"]) == ("inactive", [whole])
        batch = caller.batch(whole)
        assert batch["status"] == "success"
        assert batch["replay"] == {"predecessors": parts, "reason": "consolidation"}
        assert batch["metrics"]["outputRecordCount"] == 4
        assert caller.found(dataSet=LOYALTY, status="success") == [whole]

    def test_by_the_clock_where_the_switch_says_so(self, caller: Client, clock: Clock) -> None:
        caller.simulator.switches.change(consolidated_after_ms=60_000)
        batch_id = caller.promoted(ROWS)
        clock.advance(59_999)
        assert caller.status(batch_id) == "success"
        clock.advance(1)
        batch = caller.batch(batch_id)
        assert batch["status"] == "inactive"
        [whole] = batch["tags"]["acp_successor"]
        clock.advance(10**6)  # once, not over and over
        assert caller.status(whole) == "success"

    def test_only_served_batches_of_one_dataset(self, caller: Client) -> None:
        one, other = caller.promoted(ROWS), caller.promoted(ROWS, dataset=WEB_EVENTS)
        for wrong in ((), (one, other), (one, caller.loaded(ROWS))):
            with pytest.raises(ValueError, match="one dataset"):
                caller.simulator.consolidate(*wrong)
        with pytest.raises(KeyError):
            caller.simulator.consolidate("nothing")


class TestDiagnostics:
    EXPORT = "/data/foundation/export/batches"
    BAD = b"{}\n{missingQuotes: 'v1'}\n"

    def export(self, caller: Client, batch_id: str, what: str) -> Any:
        return caller.call("GET", f"{self.EXPORT}/{batch_id}/{what}")

    def test_rows_that_were_corrupt(self, caller: Client) -> None:
        batch_id = caller.promoted(
            self.BAD, self.BAD, enableErrorDiagnostics=True, partialIngestionPercent=50
        )
        assert caller.status(batch_id) == "success"
        listed = self.export(caller, batch_id, "meta?path=row_errors")
        [file] = listed.json()["data"]
        assert listed.json()["_page"] == {"limit": 100, "count": 1}
        assert file["name"] == "parsing_errors_0.json"
        href = file["_links"]["self"]["href"]
        assert href == (
            f"https://platform.adobe.io:443{self.EXPORT}/{batch_id}/meta"
            "?path=row_errors%2Fparsing_errors_0.json"
        )
        told = caller.call("GET", href.removeprefix("https://platform.adobe.io:443"))
        assert file["length"] == str(len(told.body))
        rows = told.body.splitlines()
        assert len(rows) == 2
        assert json.loads(rows[0]) == {
            "_corrupt_record": "{missingQuotes: 'v1'}",
            "_errors": [
                {
                    "code": "1401",
                    "message": "Row is corrupted and cannot be read, please fix and resend.",
                }
            ],
            "_filename": "parsing_errors_0.json",
        }
        sample = self.export(caller, batch_id, "meta?path=row_errors_sample.json")
        assert sample.body == told.body

    def test_the_files_that_came_in(self, caller: Client) -> None:
        batch_id = caller.promoted(ROWS, ROWS)
        [file] = self.export(caller, batch_id, "meta?path=input_files").json()["data"]
        assert file["name"] == "fileMetaData1.json"
        told = self.export(caller, batch_id, f"meta?path=input_files/{file['name']}")
        assert told.body == b'{"path": "in/0"}\n{"path": "in/1"}\n'
        listed = self.export(caller, batch_id, "meta").json()["data"]
        assert [each["name"] for each in listed] == ["input_files/fileMetaData1.json"]

    def test_rejected_rows(self, caller: Client) -> None:
        batch_id = caller.promoted(self.BAD)
        mark, part = self.export(caller, batch_id, "failed").json()["data"]
        assert (mark["name"], mark["length"]) == ("_SUCCESS", "0")
        assert part["name"].startswith("part-00000-")
        told = self.export(caller, batch_id, f"failed?path={part['name']}")
        assert (told.status, str(len(told.body))) == (200, part["length"])
        assert b"_errors" in told.body
        assert self.export(caller, batch_id, "failed?path=_SUCCESS").body == b""

    def test_what_is_not_there_is_404(self, caller: Client, clock: Clock) -> None:
        loading, good = caller.made(), caller.promoted(ROWS, enableErrorDiagnostics=True)
        undiagnosed = caller.promoted(self.BAD)
        for batch_id, what in (
            (loading, "meta?path=input_files"),
            (good, "meta?path=row_errors"),
            (good, "meta?path=nothing"),
            (good, "failed"),
            (undiagnosed, "meta?path=row_errors"),
            (undiagnosed, "failed?path=nothing"),
            ("nothing", "meta?path=input_files"),
            ("nothing", "files"),
        ):
            assert self.export(caller, batch_id, what).status == 404, what
        clock.advance(30 * 86_400_000)
        caller.token = ""
        assert self.export(caller, good, "meta?path=input_files").status == 404

    def test_a_file_of_a_promoted_batch_leads_to_its_bytes(self, caller: Client) -> None:
        """By the links alone, as a client follows them."""

        def follow(href: str) -> Any:
            return caller.call("GET", href.removeprefix("https://platform.adobe.io:443"))

        batch_id = caller.promoted(ROWS, b"{}\n")
        listed = self.export(caller, batch_id, "files").json()["data"]
        bytes_ = []
        for file in listed:
            href = file["_links"]["self"]["href"]
            [inside] = follow(href).json()["data"]
            bytes_.append(follow(inside["_links"]["self"]["href"]).body)
            assert inside["length"] == str(len(bytes_[-1]))
        assert bytes_ == [ROWS, b"{}\n"]
        for none in (href.replace("-1", "-2"), href.replace("-1", "-x"), href.replace("-", "_")):
            assert follow(none).status == 404
        loading = href.replace(batch_id, caller.loaded(ROWS))
        assert follow(loading).status == 404

    def test_files_of_a_promoted_batch_by_the_page(self, caller: Client) -> None:
        batch_id = caller.promoted(*[ROWS] * 5)
        whole = self.export(caller, batch_id, "files").json()
        assert whole["_page"] == {"limit": 100, "count": 5}
        assert "_links" not in whole
        first = whole["data"][0]
        assert (first["size"], first["records"], first["isValid"]) == (str(len(ROWS)), "2", True)
        assert first["_links"]["self"]["href"].startswith("https://platform.adobe.io:443/")
        seen, what = [], "files?limit=2"
        while what:
            page = self.export(caller, batch_id, what).json()
            seen += page["data"]
            further = page.get("_links", {}).get("next", {}).get("href", "")
            what = further.rpartition(f"/{batch_id}/")[2]
        assert seen == whole["data"]
        for wrong in ("limit=0", "limit=101", "limit=many", "start=-1"):
            assert self.export(caller, batch_id, f"files?{wrong}").status == 400
        assert self.export(caller, caller.loaded(ROWS), "files").json()["data"] == []
