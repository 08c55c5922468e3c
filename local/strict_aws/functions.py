"""What Lambda refuses, and how it gathers messages of a queue into batches."""

import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

from ministack.core.responses import error_response_json
from ministack.services import lambda_svc, sqs
from ministack.services.cloudformation import provisioners

from local.strict_aws.patches import Answer, Function, instead_of

type Properties = dict[str, Any]

ENVIRONMENT_BYTES: Final = 4096
# MiniStack's poller takes no more at once, as SQS gives no more.
AT_ONCE: Final = 10
UNWINDOWED: Final = 10
INVALID: Final = "InvalidParameterValueException"

_of_functions: Final = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
_of_mappings: Final = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]


# Environments


@instead_of(lambda_svc, "_create_function", switch="environments")
def create_with_small_environment(create: Function, data: Properties) -> Answer:
    answer: Answer = _too_large(data) or create(data)
    return answer


@instead_of(lambda_svc, "_update_config", switch="environments")
def update_with_small_environment(update: Function, name: str, data: Properties) -> Answer:
    answer: Answer = _too_large(data) or update(name, data)
    return answer


@instead_of(_of_functions, "create", switch="environments")
def provision_with_small_environment(
    create: Function, logical_id: str, properties: Properties, stack: str
) -> Any:
    if refused := _too_large(properties):
        raise ValueError(refused[2].decode())
    return create(logical_id, properties, stack)


def _too_large(data: Properties) -> Answer | None:
    variables = (data.get("Environment") or {}).get("Variables") or {}
    # Lambda measures the JSON of it, as its own error message shows.
    if len(json.dumps(variables, separators=(",", ":")).encode()) <= ENVIRONMENT_BYTES:
        return None
    refused: Answer = error_response_json(
        INVALID,
        "Lambda was unable to configure your environment variables because the environment "
        "variables you have provided exceeded the 4KB limit.",
        400,
    )
    return refused


# Mappings that cannot be


@instead_of(lambda_svc, "_create_esm", switch="mappings")
def create_possible_mapping(create: Function, data: Properties) -> Answer:
    answer: Answer = _impossible(data) or create(data)
    return answer


@instead_of(lambda_svc, "_update_esm", switch="mappings")
def update_possible_mapping(update: Function, mapping_id: str, data: Properties) -> Answer:
    answer: Answer = _impossible((lambda_svc._esms.get(mapping_id) or {}) | data) or update(
        mapping_id, data
    )
    return answer


@instead_of(_of_mappings, "create", switch="mappings")
def provision_possible_mapping(
    create: Function, logical_id: str, properties: Properties, stack: str
) -> Any:
    _raise_impossible(properties)
    return create(logical_id, properties, stack)


@instead_of(_of_mappings, "update", switch="mappings")
def provision_changed_mapping(
    update: Function, physical_id: str, old: Properties, new: Properties, stack: str
) -> Any:
    _raise_impossible(new)
    return update(physical_id, old, new, stack)


def _raise_impossible(properties: Properties) -> None:
    if refused := _impossible(properties):
        raise ValueError(refused[2].decode())


def _impossible(mapping: Properties) -> Answer | None:
    why = _why_impossible(mapping)
    refused: Answer | None = error_response_json(INVALID, why, 400) if why else None
    return refused


def _why_impossible(mapping: Properties) -> str | None:
    queue = sqs._queue_by_arn(mapping.get("EventSourceArn", ""))
    if queue is None:
        return None
    size = int(mapping.get("BatchSize") or AT_ONCE)
    window = int(mapping.get("MaximumBatchingWindowInSeconds") or 0)
    if size > UNWINDOWED and window < 1:
        return (
            f"Maximum batch window in seconds must be greater than 0 if maximum batch size is "
            f"greater than {UNWINDOWED}"
        )
    name, _ = lambda_svc._resolve_name_and_qualifier(mapping.get("FunctionName", ""))
    function = lambda_svc._functions.get(name)
    visibility = int(queue["attributes"].get("VisibilityTimeout", 30))
    if function is not None and visibility < int(function["config"]["Timeout"]):
        return (
            f"Queue visibility timeout: {visibility} seconds is less than Function timeout: "
            f"{function['config']['Timeout']} seconds"
        )
    return None


@instead_of(_of_mappings, "create", switch=None)
def provision_with_numbers(
    create: Function, logical_id: str, properties: Properties, stack: str
) -> Any:
    return create(logical_id, _numbers(properties), stack)


@instead_of(_of_mappings, "update", switch=None)
def provision_change_with_numbers(
    update: Function, physical_id: str, old: Properties, new: Properties, stack: str
) -> Any:
    return update(physical_id, _numbers(old), _numbers(new), stack)


def _numbers(properties: Properties) -> Properties:
    """CloudFormation makes numbers of the text that !Ref gives; MiniStack would poll no queue."""
    made = dict(properties)
    for name in ("BatchSize", "MaximumBatchingWindowInSeconds"):
        if name in made:
            made[name] = int(made[name])
    if scaling := made.get("ScalingConfig"):
        made["ScalingConfig"] = scaling | {"MaximumConcurrency": int(scaling["MaximumConcurrency"])}
    return made


# Batches


@dataclass
class Gathering:
    """Messages that a mapping received and did not hand over yet: hidden, as on AWS.

    `since`: when the first of them came, in epoch seconds.
    """

    since: float
    messages: list[dict[str, Any]] = field(default_factory=list)


_gathered: dict[str, Gathering] = {}


@instead_of(sqs, "_receive_messages_for_esm", switch="batches")
def gather(receive: Function, queue_url: str, most: int) -> list[dict[str, Any]]:
    """A batch for the one mapping of a queue, when it is full or its window has ended.

    Called by MiniStack's one poller, about once a second where nothing comes.
    """
    now = time.time()
    gathering = _gathered.setdefault(queue_url, Gathering(now))
    # While a mapping is off, what it held becomes visible again.
    held = [each for each in gathering.messages if each["visible_at"] > now]
    if not held:
        gathering.since = now
    while len(held) < most and (more := receive(queue_url, min(AT_ONCE, most - len(held)))):
        held += more
    gathering.messages = held
    if not held:
        return []
    if len(held) < most and now < gathering.since + _window_seconds(queue_url):
        return []
    del _gathered[queue_url]
    return held


def _window_seconds(queue_url: str) -> int:
    arn = sqs._get_q(queue_url)["attributes"]["QueueArn"]
    return max(
        (
            int(mapping.get("MaximumBatchingWindowInSeconds") or 0)
            for _, _, mapping in lambda_svc._iter_all_esms()
            if mapping.get("EventSourceArn") == arn
        ),
        default=0,
    )
