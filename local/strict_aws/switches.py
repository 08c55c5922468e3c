"""What is stricter than MiniStack, by name: all of it, unless STRICT_OFF names some (commas)."""

import os
from collections.abc import Mapping
from typing import Final

SWITCHES: Final = {
    "version-ids": "events of versioned buckets tell the version",
    "event-members": "events of S3 have the members that real ones of their kind have",
    "tag-events": "setting and deleting an object's tags is an event",
    "missing-keys": "who may not list a bucket is told 403 of what is not there",
    "version-forms": "a version id that S3 never gave is a bad request",
    "ranges": "a version is read by ranges, and a range that means nothing is left aside",
    "self-copies": "a copy onto itself must change something",
    "kms-keys": "who may not use a key, or whose key is disabled, cannot read",
    "unsigned-headers": "a URL that is signed takes no header of S3's that is not signed with it",
    "restores": "who asks for it is told, in a listing, which archived objects are restored",
    "conflicts": "what touches an item of a transaction under way is refused",
    "queue-policies": "EventBridge delivers what a queue's policy admits, the rest to the DLQ",
    "malformed-details": "PutEvents refuses a Detail that is not a JSON object",
    "event-conditions": "policies can tell events by source and detail-type",
    "batches": "a mapping gathers as many messages as it says, for its window",
    "mappings": "a mapping that Lambda would refuse is refused",
    "environments": "an environment of more than 4 KB is refused",
    "validators": "AppConfig deploys what the profile's JSON Schemas allow",
}
OFF: Final = "STRICT_OFF"
HOLD_MS: Final = "STRICT_HOLD_MS"
USUAL_HOLD_MS: Final = 10.0


def switched_off(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The switches that STRICT_OFF names. Raises ValueError where it names none of ours."""
    named = frozenset(filter(None, environment.get(OFF, "").split(",")))
    if strangers := named - SWITCHES.keys():
        raise ValueError(f"{OFF} names {sorted(strangers)}; there are {sorted(SWITCHES)}")
    return named


def hold_ms(environment: Mapping[str, str] = os.environ) -> float:
    """Milliseconds from a transaction's begin until it is carried out; 0 where nobody is to wait.

    What AWS takes from prepare to commit is not published.
    """
    return float(environment.get(HOLD_MS) or USUAL_HOLD_MS)
