"""What the ledger's items have in common."""

from collections.abc import Mapping, Sequence

from aep_intake.adapters.dynamodb.table import ABSENT, Item, putting
from aep_intake.clock.due import LANES, Due, DueKind, lane
from aep_intake.model.errors import AlreadyClaimed
from aep_intake.model.files import digest
from aep_intake.model.orders import Claim, Lineage

# Each class of what is due has shards of the index `due` of its own, so that none hides another's.
SHARDS: Mapping[DueKind, str] = {
    DueKind.ORDERS: "012",  # of releases before there were lanes; now see `order_shard`
    DueKind.DELIVERIES: "345",
    DueKind.WINDOWS: "6",
    DueKind.FOLDERS: "7",
}
OF_LANE = 3  # shards of a lane
ANNOUNCED = "announced"  # the stage of a delivery that was recorded with its order, and no more


def lanes(kind: DueKind) -> list[list[str]]:
    """The shards of a class, by lane: of all but orders there is one."""
    of_orders = [[f"{n}.{m}" for m in range(OF_LANE)] for n in range(LANES)]
    return [list(SHARDS[kind]), *(of_orders if kind is DueKind.ORDERS else [])]


def order_shard(external_id: str, credential: str) -> str:
    """The shard of an order that is due."""
    return f"{lane(credential)}.{int(digest(external_id), 16) % OF_LANE}"


def due_at(due: Due) -> Item:
    """The attributes of the index `due`."""
    shards = SHARDS[due.kind]
    shard = due.shard or shards[int(digest(due.id), 16) % len(shards)]
    return {"due": {"N": str(due.when)}, "due_shard": {"S": shard}}


def head_moved(line: Lineage | None, external_id: str, uri: str) -> list[dict[str, Item]]:
    """The step that makes an order the newest of its line; none where it has no line."""
    if line is None:
        return []
    item: Item = {
        "pk": {"S": f"head#{line.subject}"},
        "sk": {"S": "head"},
        "external_id": {"S": external_id},
        "position": {"S": line.position},
        "uri": {"S": uri},
    }
    if line.predecessor is None:
        return [putting(item, ABSENT)]
    condition = {
        "ConditionExpression": "external_id = :predecessor",
        "ExpressionAttributeValues": {":predecessor": {"S": line.predecessor}},
    }
    return [putting(item, condition)]


def claimed_before(
    wanted: Sequence[Claim], owners: Sequence[Item | None], external_id: str
) -> AlreadyClaimed:
    """Which of `wanted` stand already, and whose they are."""
    claimed = {
        claim.file: owner["external_id"]["S"]
        for claim, owner in zip(wanted, owners, strict=True)
        if owner is not None
    }
    some = ", ".join(f"{file.uri} ({owner})" for file, owner in list(claimed.items())[:10])
    return AlreadyClaimed(f"other orders hold {some}", claimed=claimed, external_id=external_id)
