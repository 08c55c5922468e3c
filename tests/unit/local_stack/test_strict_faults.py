"""Which calls an injected fault befalls, and for how long."""

from dataclasses import replace

import pytest

from local.strict_aws.faults import Call, Fault, StandingFaults
from local.strict_aws.switches import SWITCHES, hold_ms, switched_off

READ = Call("s3", "GetObject", "landing", "in/a.json", "stack-OnUploadRole-1")


@pytest.mark.parametrize(
    "fault, befalls",
    [
        (Fault("s3"), True),
        (Fault("sqs"), False),
        (Fault("s3", "GetObject"), True),
        (Fault("s3", "Get*"), True),
        (Fault("s3", "HeadObject"), False),
        (Fault("s3", resource="landing"), True),
        (Fault("s3", resource="land"), False),
        (Fault("s3", key_prefix="in/"), True),
        (Fault("s3", key_prefix="out/"), False),
        (Fault("s3", caller="*OnUpload*"), True),
        (Fault("s3", caller="*OnDelivery*"), False),
    ],
)
def test_a_fault_befalls_the_calls_that_are_meant(fault: Fault, befalls: bool) -> None:
    assert fault.befalls(READ) is befalls


def test_the_first_fault_that_befalls_a_call_is_the_one_it_meets() -> None:
    faults = StandingFaults()
    for fault in (Fault("s3", "Put*"), Fault.denied("Get*"), Fault.throttled("s3")):
        faults.inject(fault)
    assert faults.met_by(READ) == Fault.denied("Get*")
    assert faults.met_by(replace(READ, operation="HeadObject")) == Fault.throttled("s3")
    assert faults.met_by(replace(READ, service="sqs")) is None


def test_a_fault_is_over_after_so_many_calls() -> None:
    faults = StandingFaults()
    number = faults.inject(Fault.denied(times=2))
    assert [faults.met_by(READ) is not None for _ in range(3)] == [True, True, False]
    assert faults.standing[number].befallen == 2


def test_a_fault_is_over_after_its_time() -> None:
    now = 100.0
    faults = StandingFaults(lambda: now)
    faults.inject(Fault.denied(seconds=30))
    now += 29
    assert faults.met_by(READ) is not None
    now += 1
    assert faults.met_by(READ) is None


def test_a_fault_may_come_in_the_midst_of_work_and_its_time_begins_there() -> None:
    now = 100.0
    faults = StandingFaults(lambda: now)
    number = faults.inject(Fault.denied(after=2, seconds=30))
    now += 100
    assert faults.met_by(READ) is None
    now += 100
    assert faults.met_by(READ) is None
    now += 100
    assert [faults.met_by(READ) is not None for _ in range(2)] == [True, True]
    now += 30
    assert faults.met_by(READ) is None
    assert faults.standing[number].befallen == 2


def test_every_service_throttles_in_its_own_words() -> None:
    told = {name: Fault.throttled(name) for name in ("s3", "dynamodb", "sqs", "events")}
    assert {name: (fault.status, fault.code) for name, fault in told.items()} == {
        "s3": (503, "SlowDown"),
        "dynamodb": (400, "ProvisionedThroughputExceededException"),
        "sqs": (400, "RequestThrottled"),
        "events": (400, "ThrottlingException"),
    }


def test_all_is_strict_unless_it_is_switched_off() -> None:
    assert switched_off({}) == switched_off({"STRICT_OFF": ""}) == frozenset()
    assert switched_off({"STRICT_OFF": "ranges,conflicts"}) == {"ranges", "conflicts"}
    assert switched_off({"STRICT_OFF": ",".join(SWITCHES)}) == SWITCHES.keys()
    with pytest.raises(ValueError, match="conflict'"):
        switched_off({"STRICT_OFF": "conflict"})


def test_transactions_hold_their_items_for_ten_milliseconds_or_as_long_as_asked() -> None:
    assert hold_ms({}) == hold_ms({"STRICT_HOLD_MS": ""}) == 10
    assert hold_ms({"STRICT_HOLD_MS": "0"}) == 0
    assert hold_ms({"STRICT_HOLD_MS": "2.5"}) == 2.5
