"""Attributes and steps that several kinds of the ledger's items share."""

from collections.abc import Mapping, Sequence

from aep_intake.adapters.dynamodb.table import ABSENT, Item, putting
from aep_intake.clock.due import LANES, Due, DueKind, lane
from aep_intake.model.errors import AlreadyClaimed, LeaseLost
from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import Claim, Lineage
from aep_intake.model.times import hour_of

# Each kind of due work has its own shards of the index `due`, so that no kind hides another.
SHARDS: Mapping[DueKind, str] = {
    DueKind.ORDERS: "012",  # of releases without lanes; now see `order_shard`
    DueKind.DELIVERIES: "345",
    DueKind.WINDOWS: "6",
    DueKind.FOLDERS: "7",
}
SHARDS_PER_LANE = 3
ASIDE_SHARDS = 4  # of an hour: a partition of an index takes 1,000 writes a second
ANNOUNCED = "announced"  # the stage of a delivery that is only recorded with its order


def lanes(kind: DueKind) -> list[list[str]]:
    """The shards of a kind, by lane; only orders have several lanes."""
    of_orders = [[f"{n}.{m}" for m in range(SHARDS_PER_LANE)] for n in range(LANES)]
    return [list(SHARDS[kind]), *(of_orders if kind is DueKind.ORDERS else [])]


def order_shard(external_id: str, credential: str) -> str:
    """The shard of an order that is due."""
    return f"{lane(credential)}.{int(digest(external_id), 16) % SHARDS_PER_LANE}"


def due_at(due: Due) -> Item:
    """The attributes of the index `due`."""
    shards = SHARDS[due.kind]
    shard = due.shard or shards[int(digest(due.id), 16) % len(shards)]
    return {"due": {"N": str(due.when)}, "due_shard": {"S": shard}}


def head_moved(lineage: Lineage | None, external_id: str, uri: str) -> list[dict[str, Item]]:
    """The step that makes an order the head of its lineage; none if it has no lineage."""
    if lineage is None:
        return []
    item: Item = {
        "pk": {"S": f"head#{lineage.subject}"},
        "sk": {"S": "head"},
        "external_id": {"S": external_id},
        "position": {"S": lineage.position},
        "time": {"N": str(lineage.time)},
        "uri": {"S": uri},
    }
    if lineage.predecessor is None:
        return [putting(item, ABSENT)]
    condition = {
        "ConditionExpression": "external_id = :predecessor",
        "ExpressionAttributeValues": {":predecessor": {"S": lineage.predecessor}},
    }
    return [putting(item, condition)]


def claimed_before(
    wanted: Sequence[Claim], owners: Sequence[Item | None], external_id: str
) -> AlreadyClaimed | LeaseLost:
    """The error that names the owner of each claim of `wanted` that exists.

    Or LeaseLost, if that is but a version that a copy was to stand for.
    """
    claimed = {
        claim.file: owner["external_id"]["S"]
        for claim, owner in zip(wanted, owners, strict=True)
        if owner is not None and claim.same_as is None
    }
    if not claimed:
        return LeaseLost("a version with the same bytes came just now", external_id=external_id)
    first = ", ".join(f"{file.uri} ({owner})" for file, owner in list(claimed.items())[:10])
    return AlreadyClaimed(f"other orders hold {first}", claimed=claimed, external_id=external_id)


def owned_by(owner: str) -> Item:
    """The condition that a claim is of `owner`, or does not exist."""
    return {
        "ConditionExpression": "attribute_not_exists(pk) OR external_id = :owner",
        "ExpressionAttributeValues": {":owner": {"S": owner}},
    }


def aside(object_id: str, now: int) -> Item:
    """The attribute of a version that is set aside at `now`: its place in the index `batch`."""
    return aside_in(hour_of(now), object_id)


def aside_in(where: str, object_id: str) -> Item:
    """The same, among those of an hour, `2026-11-28T05`, or of RETRYING: what is tried again."""
    places = asides(where)
    return {"batch_id": {"S": places[int(digest(object_id), 16) % len(places)]}}


def asides(where: str) -> list[str]:
    """The places of what is set aside there."""
    return [f"aside#{where}#{n}" for n in range(ASIDE_SHARDS)]


def file_of(item: Item) -> Arrival:
    """The version that an item is about, as far as it says; an earlier release said less."""
    bucket, _, key = item["uri"]["S"].removeprefix("s3://").partition("/")
    kind, _, rest = item["version"]["S"].partition(":")
    etag, _, sequencer = rest.rpartition(":") if kind == "e" else ("", "", "")
    return Arrival(
        bucket,
        key,
        rest if kind == "v" else None,
        item["etag"]["S"] if "etag" in item else etag,
        item["sequencer"]["S"] if "sequencer" in item else sequencer or None,
        0,
        int(item["time"]["N"]) if "time" in item else 0,
    )
