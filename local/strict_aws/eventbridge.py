"""What EventBridge takes, and what it delivers."""

import json
from typing import Any, Final

from ministack.core import iam_actions
from ministack.core.responses import get_account_id
from ministack.services import eventbridge, sqs

from local.strict_aws.patches import Answer, Function, instead_of

CONDITIONS: Final = {"events:source": "Source", "events:detail-type": "DetailType"}


@instead_of(eventbridge, "_invoke_target", switch="queue-policies")
def deliver_where_admitted(
    invoke: Function,
    target: dict[str, Any],
    event: dict[str, Any],
    rule: dict[str, Any],
    view: Any = None,
) -> None:
    queue, by = target.get("Arn", ""), rule.get("Arn", "")
    # A schedule delivers with a role of its own.
    if ":sqs:" not in queue or ":rule/" not in by or _admits(queue, by):
        invoke(target, event, rule, view)
        return
    dlq = target.get("DeadLetterConfig", {}).get("Arn")
    if dlq and _admits(dlq, by):
        known = sqs._queue_by_arn(queue) is not None
        code = "NO_PERMISSIONS" if known else "NO_RESOURCE"
        body = target.get("Input") or json.dumps(
            (view or eventbridge._pattern_event_view(event)).event_with_detail()
        )
        _send(dlq, body, {"RULE_ARN": by, "TARGET_ARN": queue, "ERROR_CODE": code})


def _admits(queue: str, rule: str) -> bool:
    admitted: bool = sqs.queue_policy_allows(queue, "events.amazonaws.com", rule, get_account_id())
    return admitted


def _send(queue: str, body: str, attributes: dict[str, str]) -> None:
    url = sqs._queue_url(queue.rpartition(":")[2])
    told = {
        name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
    }
    message = {"QueueUrl": url, "MessageBody": body, "MessageAttributes": told}
    sqs._act_send_message(message, url)


@instead_of(eventbridge, "_put_events", switch="malformed-details")
def put_well_formed(put: Function, data: dict[str, Any], *more: Any, **others: Any) -> Answer:
    entries = data.get("Entries", [])
    good = [entry for entry in entries if _well_formed(entry)]
    answer: Answer = put({**data, "Entries": good}, *more, **others)
    status, headers, body = answer
    if len(good) == len(entries) or status != 200:
        return answer
    told = json.loads(body)
    results = iter(told["Entries"])
    bad = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    told["Entries"] = [next(results) if _well_formed(entry) else bad for entry in entries]
    told["FailedEntryCount"] += len(entries) - len(good)
    return status, headers, json.dumps(told).encode()


def _well_formed(entry: dict[str, Any]) -> bool:
    try:
        return isinstance(json.loads(entry.get("Detail") or "{}"), dict)
    except ValueError:
        return False


@instead_of(iam_actions, "request_tag_context", switch="event-conditions")
def tell_events(
    tell: Function, service: str, action: str, body: bytes, params: dict[str, Any]
) -> dict[str, Any]:
    """What conditions can ask: one value as text, several as a list."""
    context: dict[str, Any] = tell(service, action, body, params)
    if action != "events:PutEvents":
        return context
    entries = json.loads(body or b"{}").get("Entries", [])
    told = {
        name: sorted({entry.get(member, "") for entry in entries})
        for name, member in CONDITIONS.items()
    }
    return context | {n: values[0] if len(values) == 1 else values for n, values in told.items()}
