"""The events that S3 sends through EventBridge."""

import json
from contextvars import ContextVar
from typing import Any, Final

from ministack.services import eventbridge, s3

from local.strict_aws.patches import Answer, Function, instead_of

# MD5 of nothing, which is what S3 tells of a delete marker.
ETAG_OF_NOTHING: Final = "d41d8cd98f00b204e9800998ecf8427e"
SEQUENCED: Final = {"Object Created", "Object Deleted"}
SIZED: Final = {"Object Created", "Object Restore Initiated", "Object Restore Completed"}

# Of the event that this thread sends. MiniStack makes a thread for each, with a context of its own.
_version: ContextVar[str | None] = ContextVar("_version", default=None)


@instead_of(s3, "_fire_s3_event", switch="version-ids")
def remember_version(
    fire: Function, bucket: str, key: str, name: str, *args: Any, **more: Any
) -> None:
    version = more.get("version_id")
    if version is None and name.startswith("s3:ObjectRestore:"):
        # MiniStack restores the present version only.
        version = s3._buckets[bucket]["objects"].get(key, {}).get("version_id")
    # What a suspended bucket writes has no version in events.
    _version.set(None if version == "null" else version)
    fire(bucket, key, name, *args, **more)


@instead_of(eventbridge, "_dispatch_event", switch="version-ids")
def tell_version(dispatch: Function, event: dict[str, Any], view: Any = None) -> None:
    version = _version.get()
    if event.get("Source") == "aws.s3" and version is not None:
        detail = json.loads(event["Detail"])
        detail["object"]["version-id"] = version
        event, view = {**event, "Detail": json.dumps(detail)}, None
    dispatch(event, view)


@instead_of(eventbridge, "_dispatch_event", switch="event-members")
def tell_members_of_kind(dispatch: Function, event: dict[str, Any], view: Any = None) -> None:
    if event.get("Source") == "aws.s3":
        kind, detail = event["DetailType"], json.loads(event["Detail"])
        told = detail["object"]
        if kind not in SIZED:
            del told["size"]
        if kind not in SEQUENCED:
            del told["sequencer"]
        if detail.get("deletion-type") == "Permanently Deleted":
            del told["etag"]
        elif detail.get("deletion-type") == "Delete Marker Created":
            told["etag"] = ETAG_OF_NOTHING
        event, view = {**event, "Detail": json.dumps(detail)}, None
    dispatch(event, view)


s3._S3_EVENTBRIDGE_EVENT_DETAIL_TYPE |= {
    "ObjectTagging:Put": "Object Tags Added",
    "ObjectTagging:Delete": "Object Tags Deleted",
}


@instead_of(s3, "_put_object_tagging", switch="tag-events")
def tell_tags_added(put: Function, bucket: str, key: str, *more: Any) -> Answer:
    answer: Answer = put(bucket, key, *more)
    return _told(answer, bucket, key, "s3:ObjectTagging:Put")


@instead_of(s3, "_delete_object_tagging", switch="tag-events")
def tell_tags_deleted(delete: Function, bucket: str, key: str, *more: Any) -> Answer:
    answer: Answer = delete(bucket, key, *more)
    return _told(answer, bucket, key, "s3:ObjectTagging:Delete")


def _told(answer: Answer, bucket: str, key: str, event: str) -> Answer:
    status, headers, _ = answer
    if status < 300:
        version = headers.get("x-amz-version-id")
        stored = s3._buckets[bucket]["objects"].get(key, {})
        s3._fire_s3_event_async(bucket, key, event, etag=stored.get("etag", ""), version_id=version)
    return answer
