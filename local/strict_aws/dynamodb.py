"""Transactions that meet others under way.

MiniStack carries out a transaction in one go. Here its items are held for a while before, as they
are on AWS from prepare to commit; whoever comes for one of them meanwhile is refused at once.
"""

import asyncio
import json
from typing import Any, Final

from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import dynamodb

from local.strict_aws.patches import Answer, Carry, Request, in_front_of
from local.strict_aws.switches import hold_ms

type Item = tuple[str, ...]

HOLD_SECONDS: Final = hold_ms() / 1000
# Where a call on one item has its key.
SINGLE: Final = {"PutItem": "Item", "UpdateItem": "Key", "DeleteItem": "Key"}
ONGOING: Final = "Transaction is ongoing for the item"
CANCELLED: Final = (
    "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]"
)
IN_PROGRESS: Final = "The transaction with the given request token is already in progress."

# All of it is touched on the one event loop only.
_held: set[Item] = set()
_tokens: set[Item] = set()


@in_front_of(dynamodb, switch="conflicts")
async def refuse_conflicts(carry: Carry, request: Request) -> Answer:
    action = request.action
    refused: Answer | None = None
    if action in SINGLE:
        data = json.loads(request.body)
        if _item(data["TableName"], data[SINGLE[action]]) in _held:
            refused = error_response_json("TransactionConflictException", ONGOING, 400)
    elif action == "TransactGetItems":
        refused = _conflict(_items(json.loads(request.body)))
    elif action == "TransactWriteItems":
        return await _transact(carry, json.loads(request.body))
    return refused or await carry()


async def _transact(carry: Carry, data: dict[str, Any]) -> Answer:
    token = data.get("ClientRequestToken", "")
    named = (get_account_id(), get_region(), token)
    if named in _tokens:
        refused: Answer = error_response_json("TransactionInProgressException", IN_PROGRESS, 400)
        return refused
    if token and dynamodb._txn_token_lookup(token):  # done before: only told again
        return await carry()
    items = _items(data)
    if conflict := _conflict(items):
        return conflict
    _held.update(items)
    if token:
        _tokens.add(named)
    try:
        await asyncio.sleep(HOLD_SECONDS)
        return await carry()
    finally:
        _held.difference_update(items)
        _tokens.discard(named)


def _items(data: dict[str, Any]) -> list[Item]:
    return [
        _item(action["TableName"], action.get("Item") or action["Key"])
        for each in data["TransactItems"]
        for action in each.values()
    ]


def _item(table: str, attributes: dict[str, Any]) -> Item:
    name = dynamodb._normalize_table_name(table)
    found = dynamodb._tables.get(name) or {}
    names = filter(None, (found.get("pk_name"), found.get("sk_name")))
    key = (json.dumps(attributes.get(each), sort_keys=True) for each in names)
    return (get_account_id(), get_region(), name, *key)


def _conflict(items: list[Item]) -> Answer | None:
    """What a transaction on these items is told, if one of them is held."""
    if not _held.intersection(items):
        return None
    reasons = [
        {"Code": "TransactionConflict", "Message": ONGOING} if item in _held else {"Code": "None"}
        for item in items
    ]
    message = CANCELLED.format(", ".join(reason["Code"] for reason in reasons))
    refused: Answer = error_response_json(
        "TransactionCanceledException", message, 400, {"CancellationReasons": reasons}
    )
    return refused
