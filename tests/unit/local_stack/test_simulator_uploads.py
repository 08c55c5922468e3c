"""Files of a batch: what is taken, what is refused, and large files in parts."""

import hashlib
from typing import Any

import pytest

from local.simulator import AnswerLost, Clock, Fault, Request, Response, Simulator, seed_defaults
from local.simulator.seed import LOYALTY, PRODUCTS
from local.simulator.uploads import LONGEST_PART
from tests.unit.local_stack.test_simulator import BATCHES, NOW, Caller

ROWS = b'{"_id":"1"}\n{"_id":"2"}\n'


class Uploader(Caller):
    """A client that uploads, any part of which a test can spoil."""

    def file(
        self,
        method: str,
        batch_id: str,
        path: str,
        body: bytes = b"",
        *,
        dataset: str = LOYALTY,
        query: str = "",
        **headers: str | None,
    ) -> Response:
        url = f"{BATCHES}/{batch_id}/datasets/{dataset}/files/{path}"
        given = self.headers(**{"content_type": "application/octet-stream"} | headers)
        return self.simulator.handle(Request(method, url, query, given, body))

    def put(self, batch_id: str, path: str, body: bytes = ROWS, **more: Any) -> Response:
        return self.file("PUT", batch_id, path, body, **more)

    def part(self, batch_id: str, path: str, first: int, body: bytes) -> Response:
        span = f"bytes {first}-{first + len(body) - 1}"
        return self.file("PATCH", batch_id, path, body, content_range=span)

    def step(self, batch_id: str, path: str, action: str) -> Response:
        return self.file("POST", batch_id, path, query=f"action={action}", content_type=None)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def caller(clock: Clock) -> Uploader:
    simulator = Simulator(clock)
    return Uploader(simulator, seed_defaults(simulator))


@pytest.fixture
def batch_id(caller: Uploader) -> str:
    return caller.made(inputFormat={"format": "json"})


class TestPut:
    @pytest.mark.parametrize(("answers", "first"), [("usual", 200), ("spec", 201), ("docs", 200)])
    def test_made_then_replaced(
        self, caller: Uploader, batch_id: str, answers: str, first: int
    ) -> None:
        """By default as the guide, the ETL reference and the Python SDK have it."""
        assert caller.simulator.switches.upload_answers == "usual"
        caller.simulator.switches.change(upload_answers=answers)
        made, again = caller.put(batch_id, "a.json"), caller.put(batch_id, "a.json", b"{}")
        assert (made.status, made.body, again.status, again.body) == (first, b"", 200, b"")
        assert {path: file.read() for path, file in caller.simulator.files(batch_id).items()} == {
            "a.json": b"{}"
        }

    @pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
    def test_what_came_is_known(self, caller: Uploader, batch_id: str, size: int) -> None:
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        caller.put(batch_id, "a", body)
        file = caller.simulator.files(batch_id)["a"]
        assert (file.size, file.read()) == (size, body)
        assert file.sha256 == hashlib.sha256(body).hexdigest()
        assert file.md5 == hashlib.md5(body, usedforsecurity=False).hexdigest()
        assert all(len(piece) <= 1024 * 1024 for piece in file.pieces())

    @pytest.mark.parametrize(
        ("path", "kept"),
        [
            ("part1=a/part2=b/x.json", "part1=a/part2=b/x.json"),
            ("a%20b%25/%E2%98%83%2B.json", "a b%/☃+.json"),
            ("a%2Fb", "a/b"),
            ("files/datasets/x", "files/datasets/x"),
        ],
    )
    def test_paths_are_decoded_by_segment(
        self, caller: Uploader, batch_id: str, path: str, kept: str
    ) -> None:
        assert caller.put(batch_id, path).status == 200
        assert list(caller.simulator.files(batch_id)) == [kept]

    @pytest.mark.parametrize("path", ["", "/a", "a//b", "a/", "..", "a/../b", "%2E%2E/a", "./a"])
    def test_other_paths_are_none(self, caller: Uploader, batch_id: str, path: str) -> None:
        assert caller.put(batch_id, path).status == 400
        assert caller.simulator.files(batch_id) == {}

    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            ("application/octet-stream", 200),
            ("Application/Octet-Stream; charset=binary", 200),
            ("application/json", 415),
            ("multipart/form-data; boundary=x", 415),
            (None, 415),
        ],
    )
    def test_bytes_are_an_octet_stream(
        self, caller: Uploader, batch_id: str, kind: str | None, status: int
    ) -> None:
        response = caller.put(batch_id, "a", content_type=kind)
        assert response.status == status
        assert len(caller.simulator.files(batch_id)) == (status == 200)
        if status == 415:
            assert response.json()["status"] == 415

    def test_unknown_batches_and_other_peoples(self, caller: Uploader, batch_id: str) -> None:
        assert caller.put("nothing", "a").status == 404
        assert caller.put(batch_id, "a", x_sandbox_name="dev").status == 404
        assert caller.simulator.files(batch_id) == {}

    @pytest.mark.parametrize("status", [400, 404])
    def test_another_dataset(self, caller: Uploader, batch_id: str, status: int) -> None:
        caller.simulator.switches.change(wrong_dataset=status)
        response = caller.put(batch_id, "a", dataset=PRODUCTS)
        assert (response.status, response.json()["status"]) == (status, status)

    @pytest.mark.parametrize("action", ["COMPLETE", "ABORT", "FAIL"])
    def test_only_while_loading(self, caller: Uploader, batch_id: str, action: str) -> None:
        caller.put(batch_id, "a")
        caller.act(batch_id, action)
        refused = [
            caller.put(batch_id, "b"),
            caller.put(batch_id, "a", b"changed"),
            caller.step(batch_id, "c", "INITIALIZE"),
        ]
        assert [response.status for response in refused] == [400, 400, 400]
        assert caller.simulator.files(batch_id)["a"].read() == ROWS
        assert caller.file("HEAD", batch_id, "a").status == 200

    def test_long_urls(self, caller: Uploader, batch_id: str) -> None:
        prefix = f"https://platform.adobe.io{BATCHES}/{batch_id}/datasets/{LOYALTY}/files/"
        fits = "x" * (2_000 - len(prefix) - 1)
        assert caller.put(batch_id, fits).status == 200
        assert caller.put(batch_id, f"{fits}xx").status == 414

    @pytest.mark.parametrize("status", [413, 400])
    def test_no_more_than_the_limit(self, caller: Uploader, batch_id: str, status: int) -> None:
        caller.simulator.switches.change(put_limit=100_000, too_large=status)
        assert caller.put(batch_id, "a", bytes(100_000)).status == 200
        refused = caller.put(batch_id, "b", bytes(100_001))
        assert refused.status == status
        assert refused.body.startswith(b"<html>")
        assert caller.simulator.received[-1].size == 100_001
        assert list(caller.simulator.files(batch_id)) == ["a"]

    def test_chunks_may_be_refused(self, caller: Uploader, batch_id: str) -> None:
        assert caller.put(batch_id, "a", transfer_encoding="chunked").status == 200
        caller.simulator.switches.change(chunked_upload="refused")
        assert caller.put(batch_id, "a", transfer_encoding="chunked").status == 411
        assert caller.put(batch_id, "a").status == 200

    def test_a_batch_of_more_files_than_the_guardrail_fails(
        self, caller: Uploader, batch_id: str, clock: Clock
    ) -> None:
        caller.simulator.switches.change(files_per_batch=2)
        assert {caller.put(batch_id, path).status for path in "abcb"} == {200}
        caller.act(batch_id, "COMPLETE")
        clock.advance(60_000)
        [error] = caller.simulator.batch(batch_id).members["errors"]
        assert caller.status(batch_id) == "failed"
        assert "guardrails hit: 3 files (over the 2 threshold)" in error["description"]

    def test_uploading_keeps_a_batch_from_being_abandoned(
        self, caller: Uploader, clock: Clock
    ) -> None:
        caller.simulator.switches.change(abandon_after_ms=1_000)
        batch_id = caller.made()
        for _ in range(3):
            clock.advance(999)
            assert caller.put(batch_id, "a").status == 200
        assert caller.simulator.batch(batch_id).members["version"] == "1.0.0"
        clock.advance(1_000)
        assert caller.put(batch_id, "a").status == 400
        assert caller.status(batch_id) == "abandoned"

    def test_no_body_is_remembered(self, caller: Uploader, batch_id: str) -> None:
        caller.put(batch_id, "a", bytes(200_000))
        received = caller.simulator.received[-1]
        assert (received.operation, received.size) == ("put-file", 200_000)
        assert received.request.body == b""
        assert received.request.content is None

    def test_faults_befall_uploads_too(self, caller: Uploader, batch_id: str, clock: Clock) -> None:
        faults = caller.simulator.faults
        faults.add(Fault("gateway", "put-file", code="429050", retry_after="9"))
        assert caller.put(batch_id, "a").status == 429
        assert caller.simulator.files(batch_id) == {}
        faults.add(Fault("answer-lost", "put-*"))
        with pytest.raises(AnswerLost):
            caller.put(batch_id, "a")
        assert caller.put(batch_id, "a").status == 200
        faults.add(Fault("late", path="*/files/b", delay_ms=500))
        with pytest.raises(AnswerLost):
            caller.put(batch_id, "b", bytes(100_000))
        clock.advance(500)
        caller.simulator.catch_up()
        assert caller.simulator.files(batch_id)["b"].read() == bytes(100_000)

    def test_unknown_batches_have_no_files(self, caller: Uploader) -> None:
        with pytest.raises(KeyError):
            caller.simulator.files("nothing")


class TestHead:
    def test_tells_what_came(self, caller: Uploader, batch_id: str) -> None:
        caller.put(batch_id, "a", bytes(10))
        caller.put(batch_id, "empty", b"")
        told = caller.file("HEAD", batch_id, "a")
        assert (told.status, told.headers["Range"], told.body) == (200, "bytes=0-9", b"")
        assert "Range" not in caller.file("HEAD", batch_id, "empty").headers
        assert caller.file("HEAD", batch_id, "b").status == 404
        assert caller.file("HEAD", "nothing", "a").status == 404


class TestLargeFiles:
    def test_in_parts_in_any_order(self, caller: Uploader, batch_id: str) -> None:
        body = b'{"_id":"' + b"x" * 100_000 + b'"}\n' + ROWS
        cuts = [(60_000, len(body)), (0, 10), (10, 60_000)]
        started = caller.step(batch_id, "big/a.json", "initialize")
        assert (started.status, started.body) == (200, b"")
        assert "Range" not in caller.file("HEAD", batch_id, "big/a.json").headers
        for first, end in cuts:
            taken = caller.part(batch_id, "big/a.json", first, body[first:end])
            assert taken.status == 200
        assert taken.json() == {"name": "big/a.json", "sizeInBytes": len(body)}
        spans = f"bytes=0-9,10-59999,60000-{len(body) - 1}"
        assert taken.headers["Range"] == spans
        assert caller.file("HEAD", batch_id, "big/a.json").headers["Range"] == spans
        assert caller.simulator.files(batch_id) == {}
        done = caller.step(batch_id, "big/a.json", "COMPLETE")
        assert (done.status, done.json()["sizeInBytes"]) == (200, len(body))
        file = caller.simulator.files(batch_id)["big/a.json"]
        assert (file.read(), file.findings.rows, file.findings.bad) == (body, 3, 0)
        assert file.sha256 == hashlib.sha256(body).hexdigest()

    def test_answers_by_the_guide(self, caller: Uploader, batch_id: str) -> None:
        caller.simulator.switches.change(upload_answers="docs")
        answers = [
            caller.step(batch_id, "a", "INITIALIZE"),
            caller.part(batch_id, "a", 0, ROWS),
            caller.step(batch_id, "a", "COMPLETE"),
        ]
        assert [(answer.status, answer.body) for answer in answers] == [
            (201, b""),
            (200, b""),
            (201, b""),
        ]

    @pytest.mark.parametrize(
        "spans",
        [
            [],
            [(1, 5)],
            [(0, 5), (6, 5)],
            [(0, 5), (4, 5)],
            [(0, 5), (0, 3)],
            [(0, 5), (5, 5), (9, 2)],
        ],
    )
    def test_gaps_and_overlaps_are_found_in_the_end(
        self, caller: Uploader, batch_id: str, spans: list[tuple[int, int]]
    ) -> None:
        caller.step(batch_id, "a", "INITIALIZE")
        for first, length in spans:
            assert caller.part(batch_id, "a", first, bytes(length)).status == 200
        assert caller.step(batch_id, "a", "COMPLETE").status == 400
        assert caller.simulator.files(batch_id) == {}

    def test_a_part_may_be_sent_again(self, caller: Uploader, batch_id: str) -> None:
        caller.step(batch_id, "a", "INITIALIZE")
        for body in (b"{x}", b"{ }"):
            caller.part(batch_id, "a", 0, body)
        assert caller.step(batch_id, "a", "COMPLETE").status == 200
        assert caller.simulator.files(batch_id)["a"].read() == b"{ }"

    @pytest.mark.parametrize(
        "span", [None, "", "bytes 0-2", "bytes 0-1", "0-3", "bytes=0-3", "bytes */4", "bytes 3-0"]
    )
    def test_ranges_must_fit(self, caller: Uploader, batch_id: str, span: str | None) -> None:
        caller.step(batch_id, "a", "INITIALIZE")
        assert caller.file("PATCH", batch_id, "a", b"1234", content_range=span).status == 400

    @pytest.mark.parametrize("total", ["4", "9999", "*"])
    def test_a_total_is_not_looked_at(self, caller: Uploader, batch_id: str, total: str) -> None:
        caller.step(batch_id, "a", "INITIALIZE")
        span = f"bytes 0-3/{total}"
        assert caller.file("PATCH", batch_id, "a", b"1234", content_range=span).status == 200

    def test_parts_need_a_start_and_a_media_type(self, caller: Uploader, batch_id: str) -> None:
        assert caller.part(batch_id, "a", 0, ROWS).status == 404
        assert caller.step(batch_id, "a", "COMPLETE").status == 404
        assert caller.step(batch_id, "a", "EXPLODE").status == 400
        assert caller.step(batch_id, "a", "").status == 400
        caller.step(batch_id, "a", "INITIALIZE")
        wrong = caller.file("PATCH", batch_id, "a", ROWS, content_type="multipart/form-data")
        assert wrong.status == 415
        caller.put(batch_id, "a")  # which is no large file any more
        assert caller.part(batch_id, "a", 0, ROWS).status == 404

    def test_a_part_may_be_larger_than_a_put(self, caller: Uploader, batch_id: str) -> None:
        caller.simulator.switches.change(put_limit=10)
        caller.step(batch_id, "a", "INITIALIZE")
        assert caller.part(batch_id, "a", 0, ROWS).status == 200
        assert caller.step(batch_id, "a", "COMPLETE").status == 200
        assert LONGEST_PART == 512_000_000

    def test_operations_have_names(self, caller: Uploader, batch_id: str) -> None:
        caller.step(batch_id, "a", "INITIALIZE")
        caller.part(batch_id, "a", 0, ROWS)
        caller.file("HEAD", batch_id, "a")
        caller.step(batch_id, "a", "COMPLETE")
        operations = [received.operation for received in caller.simulator.received]
        assert operations[-4:] == ["initialize-file", "patch-file", "head-file", "complete-file"]
