"""How Adobe is told what a batch replaces, and what Catalog tells of a dataset in a moment."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from aep_intake.adapters.adobe import platform
from aep_intake.adapters.adobe.platform import OPTIONAL_TIMEOUTS, Adobe
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.model.batches import Dataset, Target
from aep_intake.model.errors import DatasetNotFound, TargetNotAllowed
from aep_intake.model.orders import Order, Replaced
from aep_intake.model.progress import OutcomeKind

from local.simulator import Fault
from local.simulator.seed import LOYALTY, PRODUCTS, PROFILES, SYSTEM
from tests.adobe_world import ARN, LEDGER, PLATFORM, Scripted, World, answer
from tests.faults import harness
from tests.faults.test_schedules import ONE
from tests.unit.adapters.test_platform import Tokens

MINUTE = 60_000


@pytest.fixture
def world() -> World:
    return World()


def sent(world: World) -> Any:
    """The body of the last POST."""
    *_, last = (one for one in world.simulator.received if one.operation == "create")
    return json.loads(last.request.body)


# ---- replay


def speaking(world: World, replay_by: str) -> Adobe:
    return Adobe(
        world.session,
        world.credentials,
        PLATFORM,
        lambda: LEDGER,
        world.clock,
        replay_by=lambda: replay_by,
    )


@pytest.mark.parametrize(
    ("replay_by", "member", "sign"),
    [
        ("predecessors", "predecessors", ""),
        ("$predecessors", "predecessors", "$"),
        ("predecessorsByExternalId", "predecessorsByExternalId", ""),
        ("$predecessorsByExternalId", "predecessorsByExternalId", "$"),
    ],
)
def test_a_batch_names_the_one_it_replaces_as_the_deployment_says(
    world: World, replay_by: str, member: str, sign: str
) -> None:
    adobe = speaking(world, replay_by)
    before = adobe.create(world.order("intake-0001"))
    assert "replay" not in sent(world)
    world.simulator.set_status(before.id, "success")
    replaced = Replaced("intake-0001", before.id)
    batch = adobe.create(world.order("intake-0002", replaces=replaced))
    name = before.id if member == "predecessors" else "intake-0001"
    assert sent(world)["replay"] == {member: [f"{sign}{name}"], "reason": "replace"}
    world.simulator.set_status(batch.id, "success")
    assert world.simulator.batch(before.id).status == "inactive", "and Adobe understood"


def test_unless_told_otherwise_it_names_the_batch(world: World) -> None:
    world.adobe.create(world.order(replaces=Replaced("intake-0001", "01B")))
    assert sent(world)["replay"] == {"predecessors": ["$01B"], "reason": "replace"}


def test_what_the_ledger_says_it_replaces_counts(world: World) -> None:
    asked = {"inputFormat": {"format": "json"}, "replay": {"predecessors": ["x"], "reason": "fix"}}
    world.adobe.create(world.order(options=asked))
    assert sent(world)["replay"] == asked["replay"]
    world.adobe.create(world.order(options=asked, replaces=Replaced("intake-0001", "01B")))
    assert sent(world)["replay"] == {"predecessors": ["$01B"], "reason": "replace"}


# ---- datasets


def told(world: World, dataset_id: str = LOYALTY) -> Dataset | None:
    return world.adobe.dataset_info(world.order(dataset_id=dataset_id).target)


def looks(world: World) -> int:
    return world.operations().count("get-dataset")


def test_what_matters_of_a_dataset(world: World) -> None:
    assert told(world) == Dataset(profile=False, system=False)
    assert told(world, PROFILES) == Dataset(profile=True, system=False)
    assert told(world, SYSTEM) == Dataset(profile=False, system=True)


def described(members: dict[str, Any]) -> Dataset | None:
    adapter = Scripted(lambda _: answer(200, {LOYALTY: members}))
    adobe = Adobe(adapter.session(), Tokens(), PLATFORM, lambda: LEDGER, lambda: 0)
    found = adobe.dataset_info(Target(ARN, "O@AdobeOrg", "prod", LOYALTY))
    [options] = adapter.options
    assert_quick(options["timeout"])
    return found


def assert_quick(timeout: Any) -> None:
    """A check before the POST must not wait for what the POST does not need."""
    connect, read = (
        (timeout.connect_timeout, timeout.read_timeout)
        if hasattr(timeout, "connect_timeout")
        else timeout
    )
    assert connect + read <= sum(OPTIONAL_TIMEOUTS)


@pytest.mark.parametrize(
    ("tags", "profile"),
    [
        # Adobe's samples, with and without a blank.
        ({"unifiedProfile": ["enabled:true"]}, True),
        ({"unifiedProfile": ["enabled: true"]}, True),
        ({"unifiedProfile": "enabled:true"}, True),
        ({"unifiedProfile": ["enabledAt:2026-11-23 10:00:00", "enabled: true"]}, True),
        ({"unifiedProfile": ["enabled:false"]}, False),
        ({"unifiedProfile": ["enabled: false"]}, False),
        ({"unifiedProfile": []}, False),
        ({"unifiedProfile": None}, False),
        ({"unifiedIdentity": ["enabled:true"]}, False),
        ({}, False),
        (["unifiedProfile"], False),
        (None, False),
    ],
)
def test_whether_a_dataset_feeds_profile(tags: object, profile: bool) -> None:
    assert described({"name": "x", "tags": tags}) == Dataset(profile=profile, system=False)


@pytest.mark.parametrize(
    ("about", "system"),
    [
        ({"managedBy": "SYSTEM"}, True),
        ({"managedBy": "system"}, True),
        ({"managedBy": "CUSTOMER"}, False),
        ({"managedBy": None}, False),
        ({}, False),
        ("SYSTEM", False),
        (None, False),
    ],
)
def test_whether_a_dataset_is_adobe_s_own(about: object, system: bool) -> None:
    assert described({"name": "x", "classification": about}) == Dataset(False, system)


def test_a_dataset_without_members_is_still_there() -> None:
    """But nothing is known of it."""
    assert described({}) is None


def test_what_catalog_told_is_kept_for_ten_minutes(world: World) -> None:
    assert told(world, PROFILES) is told(world, PROFILES)
    assert looks(world) == 1
    world.clock.advance(10 * MINUTE - 1)
    told(world, PROFILES)
    assert looks(world) == 1
    seed = world.seed
    world.simulator.add_dataset(seed.ims_org, "prod", PROFILES, "profiles", profile_enabled=False)
    world.clock.advance(1)
    assert told(world, PROFILES) == Dataset(profile=False, system=False)
    assert looks(world) == 2


def test_each_target_is_looked_up_by_itself(world: World) -> None:
    for changes in ({}, {"dataset_id": PRODUCTS}, {"sandbox": "dev"}):
        for _ in range(2):
            world.adobe.dataset_info(world.order(**changes).target)
    assert looks(world) == 3


@pytest.mark.parametrize("switch", ["empty", "not-found"])
def test_a_dataset_that_is_not_there(world: World, switch: str) -> None:
    world.simulator.switches.change(nothing_found=switch)
    for _ in range(2):
        with pytest.raises(DatasetNotFound, match="no dataset 'new' in sandbox prod"):
            told(world, "new")
    # Somebody makes it now, and nobody waits for it.
    world.simulator.add_dataset(world.seed.ims_org, "prod", "new", "new")
    assert told(world, "new") == Dataset(profile=False, system=False)


SILENCES = [
    Fault("answer-lost", operation="get-dataset", how="timeout", count=0),
    Fault("request-lost", operation="get-dataset", count=0),
    Fault("status", operation="get-dataset", status=500, count=0),
    Fault("status", operation="get-dataset", status=502, body="html", count=0),
    Fault("gateway", operation="get-dataset", code="429050", retry_after="900", count=0),
    Fault("status", operation="get-dataset", status=403, count=0),
    Fault("gateway", operation="get-dataset", code="403025", count=0),
]


@pytest.mark.parametrize("silence", SILENCES, ids=lambda fault: fault.fault)
def test_a_catalog_that_does_not_tell_is_left_alone_for_ten_seconds_or_as_it_asks(
    world: World, silence: Fault
) -> None:
    told(world, PRODUCTS)  # so that a token is there
    asked = looks(world)
    world.simulator.faults.add(silence)
    assert told(world) is None
    after = world.clock()
    silent = looks(world)
    assert silent in (asked + 1, asked + 2), "once, or with another token"
    rest = 900_000 if silence.retry_after else 10_000
    world.clock.advance(after + rest - 1 - world.clock())
    assert told(world) is None
    assert looks(world) == silent
    world.simulator.faults.clear()
    world.clock.advance(1)
    assert told(world) == Dataset(profile=False, system=False)
    assert looks(world) == silent + 1


def test_what_was_told_before_counts_while_catalog_does_not_tell(world: World) -> None:
    """Whether it is enabled for Profile, which decides how its batches are counted."""
    assert told(world, PROFILES) == Dataset(profile=True, system=False)
    world.clock.advance(10 * MINUTE)
    world.simulator.faults.add(SILENCES[2])
    assert told(world, PROFILES) == Dataset(profile=True, system=False)


def test_datasets_without_end_are_not_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 keys may name datasets without end."""

    def any_dataset(request: requests.PreparedRequest) -> requests.Response:
        return answer(200, {str(request.url).rpartition("/")[2]: {"name": "x"}})

    monkeypatch.setattr(platform, "_MAX_CACHED", 50)
    adapter = Scripted(any_dataset)
    adobe = Adobe(adapter.session(), Tokens(), PLATFORM, lambda: LEDGER, lambda: 0)
    often = Target(ARN, "O@AdobeOrg", "prod", "often")
    for number in range(60):
        adobe.dataset_info(Target(ARN, "O@AdobeOrg", "prod", f"d{number}"))
        adobe.dataset_info(often)
    assert len(adobe._datasets._answers) == 50
    assert len(adapter.asked) == 61, "what is used stays"


# ---- and what an arrival makes of it


@pytest.fixture
def played() -> Iterator[harness.World]:
    world = harness.World(harness.Tape(b""))
    world.calm = True
    yield world


def asking(played: harness.World) -> IntakePorts:
    """An intake that asks Catalog, as the deployed one does."""
    intake = played.intake(0)
    adobe: Any = intake.creating.platform
    return replace(intake, targets=replace(intake.targets, dataset=adobe.dataset_info))


def routed(played: harness.World, dataset_id: str) -> None:
    played.table = harness._table("r", datasetId=dataset_id, inputFormat={"format": "json"})


def order_of(played: harness.World) -> Order:
    return played.ledger.records[ONE.external_id].order


@pytest.mark.parametrize(("dataset_id", "profile"), [(PROFILES, True), (LOYALTY, False)])
def test_a_batch_for_profile_is_counted(
    played: harness.World, dataset_id: str, profile: bool
) -> None:
    routed(played, dataset_id)
    assert harness.take(ONE, asking(played)).kind is OutcomeKind.CREATED
    assert order_of(played).profile is profile
    counted = {(played.seed.ims_org, "prod"): 1}
    assert played.ledger.profile_batches == (counted if profile else {})


@pytest.mark.parametrize(
    ("lookup", "is_counted"),
    [(True, True), ([PRODUCTS, LOYALTY], True), ([PRODUCTS], False), (False, False)],
)
def test_a_batch_of_a_lookup_dataset_is_counted_if_its_route_says_so(
    played: harness.World, lookup: bool | list[str], is_counted: bool
) -> None:
    """By its id, where its dataset depends on the key."""
    played.table = harness._table("r", datasetId=LOYALTY, lookup=lookup)
    assert harness.take(ONE, asking(played)).kind is OutcomeKind.CREATED
    counted = {(played.seed.ims_org, "prod", LOYALTY): 1}
    assert played.ledger.profile_batches == (counted if is_counted else {})


@pytest.mark.parametrize("silence", SILENCES, ids=lambda fault: fault.fault)
def test_where_catalog_does_not_tell_the_batch_is_made_all_the_same(
    played: harness.World, silence: Fault
) -> None:
    routed(played, PROFILES)
    played.simulator.faults.add(silence)
    assert harness.take(ONE, asking(played)).kind is OutcomeKind.CREATED
    assert not order_of(played).profile


def test_what_catalog_tells_costs_no_batch(played: harness.World) -> None:
    routed(played, SYSTEM)
    with pytest.raises(TargetNotAllowed, match=f"{SYSTEM} is Adobe's own"):
        harness.take(ONE, asking(played))
    routed(played, "no-such-dataset")
    with pytest.raises(DatasetNotFound):
        harness.take(ONE, asking(played))
    assert [one for one in played.simulator.received if one.operation == "create"] == []
    assert played.ledger.rejections[ONE.object_id, ONE.version].reason == "dataset-not-found"
    assert played.events == [(ONE.external_id, None)] * 2
    assert played.ledger.claimant(ONE) is None
