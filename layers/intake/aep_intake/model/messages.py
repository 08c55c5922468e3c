"""Messages that our own functions write into queues, for others of them to read."""

import json
from datetime import UTC, datetime, timedelta

from aep_intake.model.files import Arrival


def of_arrival(arrival: Arrival) -> str:
    """An event of S3's through EventBridge: `envelopes.parse` reads it as this one arrival."""
    made = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=arrival.time)
    about = {
        "key": arrival.key,
        "size": arrival.size,
        "etag": arrival.etag,
        "version-id": arrival.version_id,
        "sequencer": arrival.sequencer,
    }
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": made.isoformat(timespec="milliseconds"),
        "detail": {
            "bucket": {"name": arrival.bucket},
            "object": {name: value for name, value in about.items() if value is not None},
        },
    }
    return json.dumps(event)
