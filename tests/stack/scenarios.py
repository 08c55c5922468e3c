"""Scenes that take half a minute or two, since a message that must wait waits in real time.

Each is played in a thread of its own while the quick tests run; `test_promises.py` hears how it
ended. All deadlines are far beyond what AWS would take, for a busy machine.
"""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import IO, Any

import requests
from aep_intake.adapters.aws.state_objects import StateObjects
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.arrivals.envelopes import parse
from aep_intake.grouping import windows
from aep_intake.model.errors import LeaseLost
from aep_intake.model.files import Arrival, digest
from aep_intake.report import states
from aep_intake.report.states import Word
from aep_intake.wiring.worker import Worker

from local.simulator.faults import Fault
from local.simulator.ims import Client
from local.simulator.seed import CLOSED, LOYALTY
from local.stack import SEED, LocalStack
from tests.stack.scene import PATIENCE, SAMPLES, Scene, scene, until

SECOND, THIRD = "p8e-simulated-secret-two", "p8e-simulated-secret-three"
LATE_MS = 8_000  # shorter than the time-out of a POST, longer than it takes to kill


def _loyalty(n: int | str) -> str:
    return f"landing/loyalty/{n}.jsonl"


def _ask(
    played: Scene, dataset: str = LOYALTY, key: str = "of a caller who does not give up"
) -> requests.Response:
    body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
    headers = {"Idempotency-Key": key}
    return played.stack.sender.call("POST", f"{played.stack.api}/batches", body, headers)


def _wake_requests(played: Scene) -> None:
    """A POST must begin within eight seconds, and a busy machine starts workers slowly.

    So one that AEP refuses goes ahead, until it has reached AEP.
    """
    until(lambda: _ask(played, CLOSED, "wakes a worker").status_code not in (409, 503))
    [refused] = played.creates()
    assert refused.status == 403


def workers_are_killed_between_post_and_announcement(base: LocalStack) -> None:
    """One with ten arrivals, one with a request; nobody asks for either again."""
    with scene(base, "killed") as played:
        _wake_requests(played)
        played.aep.faults.add(Fault("delay", operation="create", delay_ms=LATE_MS, count=11))
        delivery = played.notification(*({"key": _loyalty(n)} for n in range(10)))
        left = {arrival.external_id for arrival in parse(played.send(delivery)).arrivals}
        until(lambda: len(played.batches()) == 10)
        assert played.kill("OnArrivalFunction")
        with ThreadPoolExecutor(1) as caller:
            asked = caller.submit(_ask, played)
            until(lambda: len(played.batches()) == 11)
            assert played.kill("OnRequestFunction")
            answer = asked.result()  # 409: on a slow machine it was not killed in time
            assert answer.status_code >= 500 or "not-yet" in answer.text, answer.text
        left |= {batch["externalId"] for batch in played.batches()}
        assert len(left) == 11

        # Who asks again meanwhile is told to wait, and nobody else is held up. Asked first: the
        # lease of a request ends after half a minute.
        meanwhile = _ask(played)
        assert meanwhile.status_code == 409
        assert int(meanwhile.headers["Retry-After"]) > 0
        played.put(_loyalty("next"))
        other = played.about(_loyalty("next"))["externalId"]
        assert {each["externalId"] for each in played.details("Batch Created")} == {other}

        def finished() -> bool:
            return {e["externalId"] for e in played.details("Batch Created")} == left | {other}

        # A lease outlasts the seconds that its worker could have lived.
        played.until_ticked(finished)
        batch_of = played.exactly_one_each(left | {other})
        assert len(played.creates()) == 1 + 12
        # That no POST was sent again shows that all were adopted; most by on_due, which counts it,
        # unless a slow machine lets their message come first.
        until(lambda: played.metric("on-due", "AdoptedBatches") > 0)
        again = _ask(played)
        assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
        assert again.json()["id"] == batch_of[again.headers["X-External-Id"]]


def the_secret_is_rotated(base: LocalStack) -> None:
    """First as Adobe says it should be done; then the old one is gone before we know the new."""
    arn = base.aws.secrets.create_secret(Name="aep/rotated", SecretString=base.credential())["ARN"]

    def told(secret: str) -> None:
        base.aws.secrets.put_secret_value(SecretId=arn, SecretString=base.credential(secret))

    with scene(base, "rotated", CredentialSecrets=arn) as played:

        def only(secret: str) -> None:
            played.aep.add_client(Client(SEED.client_id, frozenset({secret}), SEED.ims_org))
            played.aep.ims.revoke()

        for n in range(30):
            if n == 15:
                played.about(_loyalty(0))
                told(SECOND)
                only(SECOND)
            played.put(_loyalty(n))
        made = {played.about(_loyalty(n))["externalId"] for n in range(30)}
        # A worker mints a token when it starts, and one when that is refused.
        workers = played.aws.functions.list_event_source_mappings(
            FunctionName=played.outputs["OnArrivalFunction"]
        )["EventSourceMappings"][0]["ScalingConfig"]["MaximumConcurrency"]
        minted = played.aep.ims.minted[SEED.client_id]
        assert 2 <= minted <= 2 * workers
        assert any(post.status == 401 for post in played.creates())
        assert "credential-unusable" not in {line["reason"] for line in played.put_off()}

        def without_a_token() -> list[dict[str, Any]]:
            return [e for e in played.put_off() if e["reason"] == "credential-unusable"]

        only(THIRD)
        late = [_loyalty(f"late-{n}") for n in range(3)]
        for key in late:
            played.put(key)
        until(lambda: len(without_a_token()) >= 3)
        told(THIRD)
        made |= {played.about(key)["externalId"] for key in late}
        assert len(made) == 33
        played.exactly_one_each(made)
        assert played.stack.parked() == []


def the_platform_throttles_and_recovers(base: LocalStack) -> None:
    """Arrivals are left alone for as long as it asks; a request nobody repeats is found in time."""
    with scene(base, "throttled") as played:
        _wake_requests(played)
        # Two wait for longer than a message is hidden for: theirs is sent anew.
        for seconds, count in (("40", 3), ("150", 2)):
            played.aep.faults.add(
                Fault(
                    "gateway", operation="create", code="429050", retry_after=seconds, count=count
                )
            )
        delivery = played.notification(*({"key": _loyalty(n)} for n in range(5)))
        ids = {arrival.external_id for arrival in parse(played.send(delivery)).arrivals}
        until(lambda: len(played.creates()) == 1 + 5)
        until(lambda: played.waiting("Delayed") == 1, "nothing was sent anew")
        played.aep.faults.add(Fault("gateway", operation="create", code="429050", retry_after="20"))
        # Again where a busy machine had too little time left for a POST.
        [answer] = until(lambda: [each for each in [_ask(played)] if each.status_code != 409])
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) == answer.json()["retryAfter"] >= 20
        # The rule ticks in real time here.
        asked = answer.headers["X-External-Id"]
        played.stack.listener.wait(lambda e: e["detail"]["externalId"] == asked, timeout=PATIENCE)
        until(lambda: played.stack.logged("on-tick"), "nothing but the rule was to tick")
        for n in range(5):
            played.about(_loyalty(n))
        played.quiet()
        played.exactly_one_each(ids | {asked})
        for external_id in (*ids, asked):
            refused, accepted = played.creates(external_id)
            assert (refused.status, accepted.status) == (429, 201)
            assert accepted.at - refused.at >= (20_000 if external_id == asked else 40_000)
        assert played.stack.parked() == []


def arrivals_wait_for_the_first_routes(base: LocalStack) -> None:
    """In a bucket that was there before; each wait is longer than the one before."""
    bucket = "acme-was-here-before"
    base.aws.s3.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    base.aws.s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    with scene(base, "existing", routes=b"", SourceBucketNames=bucket) as played:
        assert (played.bucket, "LandingBucketName" in played.outputs) == (bucket, False)
        played.put(_loyalty("early"), b"{}\n\n\n")
        until(lambda: len(played.put_off()) == 2)
        assert {line["reason"] for line in played.put_off()} == {"routes-unavailable"}
        assert (played.batches(), played.stack.listener.events()) == ([], [])
        table = played.outputs["LedgerTable"]
        ledger = DynamoLedger(played.stack.aws.dynamodb, table, lambda: 0, 0)
        [known] = ledger.seen(digest(bucket, _loyalty("early")))
        assert states.of_note(known).word is Word.RETRYING, "who asks for it is told why"
        played.publish(SAMPLES)
        detail = played.about(_loyalty("early"))
        assert [(f["bucket"], f["size"]) for f in detail["files"]] == [(bucket, 5)]
        assert "versionId" not in detail["files"][0]
        played.exactly_one_each({detail["externalId"]})
        tries = [line["timestamp"].replace(",", ".") for line in played.put_off()]
        first, second, third = map(datetime.fromisoformat, [*tries, detail["createdAt"]])
        assert (second - first).total_seconds() >= 29.5  # the line is written after the try
        assert (third - second).total_seconds() >= 59.5
        assert played.stack.parked() == []


def permissions_are_missing(base: LocalStack) -> None:
    """Each in turn: its arrival waits, and gets through by itself once the role has it again."""
    with scene(base, "unpermitted") as played:
        waiting: dict[str, str] = {}

        def waits(sid: str, reason: str, *others: str, key: str = "") -> str:
            """The external id of an arrival that cannot go on without `sid`."""
            key = key or _loyalty(sid)
            with played.without(sid, "OnArrivalRole", *others):
                body = played.send(played.object_created(key))
                [arrival] = parse(body).arrivals
                # On a slow machine too little time may be left for a POST first.
                until(lambda: reason in {x["reason"] for x in played.put_off(arrival.external_id)})
            waiting[key] = arrival.external_id
            return arrival.external_id

        # First, as a worker that has read the secret needs no permission to. Without ReadRoutes
        # nothing would happen: MiniStack does not enforce IAM where AppConfig's data is read.
        waits("ReadCredentials", "credential-unusable")
        assert played.kill("OnArrivalFunction")  # a worker leaves a bad secret alone for a while
        waits("KeepTheLedger", "ledger-unavailable")
        assert (played.batches(), played.stack.listener.events()) == ([], [])
        # on_due would announce it, as on_arrival may not.
        silent = waits("Announce", "not-announced", "OnDueRole")
        # Another may have got through by itself since: a slow machine takes that long.
        assert len(played.batches(silent)) == 1
        stray = played.object_created("nowhere/unparked.txt")
        with played.without("Park", "OnArrivalRole"):
            played.send(stray)
            played.about("nowhere/unparked.txt", kind="Arrival Rejected")
            until(
                lambda: [e for e in played.put_off() if e["reason"] == "storage-unavailable"],
                "nobody is told that a message could not be parked",
            )
            assert played.stack.parked() == []

        # The order that could not be announced stays leased for as long as its worker might live.
        for key, external_id in waiting.items():
            assert played.about(key)["externalId"] == external_id
        played.exactly_one_each(set(waiting.values()))
        assert len(played.creates()) == len(waiting)
        assert played.parked(stray).attributes["reason"] == "no-route"


def two_hundred_arrive_at_once(base: LocalStack) -> None:
    """Nothing is lost, nothing is doubled, and AEP is asked once for each."""
    with scene(base, "burst") as played:
        keys = [_loyalty(n) for n in range(200)]
        with ThreadPoolExecutor(4) as senders:
            list(senders.map(played.put, keys))

        def announced() -> dict[str, dict[str, Any]]:
            return {each["externalId"]: each for each in played.details("Batch Created")}

        until(lambda: len(announced()) == 200)
        played.quiet()
        details = announced().values()
        assert sorted(file["key"] for each in details for file in each["files"]) == sorted(keys)
        played.exactly_one_each({each["externalId"] for each in details})
        assert len(details) == len(played.creates()) == 200
        assert played.stack.parked() == []
        until(lambda: '"due"' not in json.dumps(played.stack.ledger()), "something is due still")


MANY = {
    "name": "many",
    "match": "many/**",
    "datasetId": LOYALTY,
    "inputFormat": {"format": "json"},
    "batch": {"window": "1m"},
}


def _many(n: int) -> str:
    return f"many/{n:04}.json"


def _held(played: Scene) -> Counter[str]:
    """How many orders hold each key, by what was announced of them."""
    details = {each["externalId"]: each for each in played.details("Batch Created")}
    return Counter(file["key"] for each in details.values() for file in each["files"])


def _unread(file: Arrival, start: int, end: int) -> IO[bytes]:
    raise AssertionError(f"{file.uri} is small: nobody need know what is in it")


def _each_is_in_one_batch(played: Scene, keys: list[str]) -> None:
    """Once the last window has ended too, which it does now: that saves most of a minute."""
    played.quiet()
    ledger = DynamoLedger(
        played.aws.dynamodb,
        played.outputs["LedgerTable"],
        Worker.now,
        60 * 86_400_000,
        lists=StateObjects(lambda: played.aws.s3, played.outputs["StateBucketName"]),
    )
    limits = windows.BatchLimits()
    ports = windows.WindowPorts(ledger.windows, ledger, lambda _: None, Worker.now, limits, _unread)
    for window_id in set(_joined(played)):
        with suppress(LeaseLost):  # just now it has ended by itself
            windows.close_now(window_id, ports)

    def batched() -> bool:
        return _held(played).total() >= len(keys)

    played.until_ticked(batched, f"of {len(keys)} files, not all are in a batch")
    played.quiet()
    assert _held(played) == dict.fromkeys(keys, 1)
    orders = {each["externalId"] for each in played.details("Batch Created")}
    played.exactly_one_each(orders)
    assert len(played.creates()) == len(orders) >= 2
    assert played.stack.parked() == []
    until(lambda: '"due"' not in json.dumps(played.stack.ledger()), "something is due still")


def _joined(played: Scene) -> list[str]:
    """The window of each file that joined one, by on_arrival's log."""
    logged = played.stack.logged("on-arrival")
    joined = [line for line in logged if line.get("message") == "registered"]
    return [line["window"] for line in joined for _ in line["arrivals"]]


def windows_pass_while_nobody_takes_arrivals(base: LocalStack) -> None:
    """An operator stops a function for some minutes: windows end without it, and files wait."""
    routes = json.dumps({"routes": [MANY]}).encode()
    with scene(base, "passed", routes=routes) as played:
        functions = played.aws.functions
        [mapping] = functions.list_event_source_mappings(
            FunctionName=played.outputs["OnArrivalFunction"]
        )["EventSourceMappings"]
        keys = [_many(n) for n in range(5)]
        for key in keys:
            played.put(key)
        until(lambda: len(_joined(played)) == 5)
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        early, enough = list(keys), time.time() // 60 * 60 + 120
        while time.time() < enough + 1:
            keys.append(_many(len(keys)))
            played.put(keys[-1])
            time.sleep(1)
        # The first window ended meanwhile, without those that came too late for it.
        played.until_ticked(lambda: _held(played).total() >= len(early))
        assert _held(played) == dict.fromkeys(early, 1)
        assert len(_joined(played)) == 5
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
        until(lambda: len(_joined(played)) == len(keys))
        _each_is_in_one_batch(played, keys)
        assert len(_joined(played)) == len(keys) > len(early)


def windows_are_sealed_under_fire(base: LocalStack) -> None:
    """Eight files a second, across the end of a window, while the clock ticks twice a second."""
    routes = json.dumps({"routes": [MANY]}).encode()
    with scene(base, "fire", routes=routes) as played:
        keys: list[str] = []

        def fire() -> bool:
            for _ in range(30):
                keys.append(_many(len(keys)))
                played.put(keys[-1])
                time.sleep(1 / 8)
            return len(set(_joined(played))) >= 2

        time.sleep((50 - time.time()) % 60)
        with played.ticking(0.5):
            until(fire, "no file joined a second window")
            fire()
        until(lambda: len(_joined(played)) == len(keys))
        _each_is_in_one_batch(played, keys)


# The longest first, as they start in this order.
SCENARIOS = (
    windows_pass_while_nobody_takes_arrivals,
    workers_are_killed_between_post_and_announcement,
    arrivals_wait_for_the_first_routes,
    windows_are_sealed_under_fire,
    permissions_are_missing,
    the_platform_throttles_and_recovers,
    the_secret_is_rotated,
    two_hundred_arrive_at_once,
)
