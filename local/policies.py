"""The policies of `policies/`, with what they leave to fill in."""

import json
import re
from pathlib import Path
from typing import Any

from local.aws import REGION
from local.emulator import ACCOUNT

FOLDER = Path(__file__).resolve().parents[1] / "policies"
# All that they leave to fill in; policies/README.md says with what.
PLACEHOLDERS = (
    *("ACCOUNT", "ALARM_TOPIC_ARN", "LIMITS_APPLICATION_ID", "REGION", "ROUTES_APPLICATION_ID"),
    *("SECRETS", "SOURCE_BUCKET", "STACK"),
)


def statements(name: str, **given: str) -> list[dict[str, Any]]:
    """Those of a policy, for a stack here; `given`: what to fill in. Raises KeyError."""
    filled = {"REGION": REGION, "ACCOUNT": ACCOUNT, **given}
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    text = re.sub(rf"\b({'|'.join(PLACEHOLDERS)})\b", lambda found: filled[found[1]], text)
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


def enforced_here(several: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same for MiniStack, which checks SQS's batch calls by their own name, unlike AWS."""
    return [
        statement
        | {
            "Action": [
                *statement["Action"],
                *(f"{action}Batch" for action in statement["Action"] if _many(action)),
            ]
        }
        for statement in several
    ]


def _many(action: str) -> bool:
    return re.fullmatch(r"sqs:(Send|Delete)Message|sqs:ChangeMessageVisibility", action) is not None
