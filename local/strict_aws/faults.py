"""What AWS does wrong for a while, because a test wants it to."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Final

THROTTLED: Final = {
    "s3": (503, "SlowDown"),
    "dynamodb": (400, "ProvisionedThroughputExceededException"),
    "sqs": (400, "RequestThrottled"),
}
THROTTLED_ELSEWHERE: Final = (400, "ThrottlingException")


@dataclass(frozen=True)
class Call:
    """A request as far as faults are told apart.

    service: as boto3 names it; operation: as the API names it; resource: name of the bucket, table
    or queue, "" of others; key: of an object; caller: name of the role, or user, that signed it.
    """

    service: str
    operation: str
    resource: str = ""
    key: str = ""
    caller: str = ""


@dataclass(frozen=True)
class Fault:
    """What becomes of calls: late by `delay_ms`, and then refused, unless `status` is 0.

    operation, resource, caller: patterns with `*`; key_prefix: of objects. after: so many of these
    calls are answered well first. times: how often; None for as often as it comes. seconds: for
    how long, from the first call that it may befall; None until it is taken back.
    """

    service: str
    operation: str = "*"
    status: int = 0
    code: str = ""
    resource: str = "*"
    key_prefix: str = ""
    caller: str = "*"
    delay_ms: float = 0
    after: int = 0
    times: int | None = None
    seconds: float | None = None

    @classmethod
    def denied(cls, operation: str = "*", **more: object) -> "Fault":
        """S3 answers 403, as while a policy is wrong."""
        return cls("s3", operation, 403, "AccessDenied", **more)  # type: ignore[arg-type]

    @classmethod
    def slow(cls, service: str, operation: str, delay_ms: float, **more: object) -> "Fault":
        """It is done, but late."""
        return cls(service, operation, delay_ms=delay_ms, **more)  # type: ignore[arg-type]

    @classmethod
    def throttled(cls, service: str, operation: str = "*", **more: object) -> "Fault":
        """Too many requests, as the service says it; S3's is a 503."""
        status, code = THROTTLED.get(service, THROTTLED_ELSEWHERE)
        return cls(service, operation, status, code, **more)  # type: ignore[arg-type]

    def befalls(self, call: Call) -> bool:
        """Whether the call is one of those that are meant."""
        return (
            self.service == call.service
            and fnmatchcase(call.operation, self.operation)
            and fnmatchcase(call.resource, self.resource)
            and fnmatchcase(call.caller, self.caller)
            and call.key.startswith(self.key_prefix)
        )


@dataclass
class Standing:
    """A fault, since when it may befall calls (seconds of the clock), and how many of them passed
    it before that, or were befallen."""

    fault: Fault
    since: float
    passed: int = 0
    befallen: int = 0

    def over(self, now: float) -> bool:
        fault = self.fault
        return (fault.times is not None and self.befallen >= fault.times) or (
            fault.seconds is not None
            and (not fault.after or self.befallen > 0)
            and now >= self.since + fault.seconds
        )


@dataclass
class StandingFaults:
    """All that are injected, by id; the first one that befalls a call is the one it meets."""

    clock: Callable[[], float] = time.monotonic
    standing: dict[str, Standing] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def inject(self, fault: Fault) -> str:
        """Its id."""
        number = str(next(self._numbers))
        self.standing[number] = Standing(fault, self.clock())
        return number

    def met_by(self, call: Call) -> Fault | None:
        """The fault that befalls this call, which counts."""
        now = self.clock()
        for each in self.standing.values():
            if each.over(now) or not each.fault.befalls(call):
                continue
            if each.passed < each.fault.after:
                each.passed += 1
                continue
            if each.fault.after and not each.befallen:
                each.since = now
            each.befallen += 1
            return each.fault
        return None
