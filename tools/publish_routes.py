"""Make a routing table live, or go back to one that was.

    python -m tools.publish_routes TABLE                  (make publish-routes TABLE=…)
    python -m tools.publish_routes --rollback [VERSION]   (make publish-routes ARGS="--rollback 6")

The table is linted first, against the organizations and sandboxes in force, and refused before
anything is uploaded; so is an old version that is no good any more. Without VERSION the roll-back
takes the newest that was live before the one that is.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tools.published import IDS, Problem, options, organizations_of, publish
from tools.routes import lint

if TYPE_CHECKING:
    from mypy_boto3_appconfig import AppConfigClient

    from tools.deployed import Deployed


def _lint(stack: Deployed, client: AppConfigClient, document: bytes) -> list[Problem]:
    return lint(document, organizations_of(stack, client))


def main(arguments: list[str] | None = None) -> int:
    asked = options("tools.publish_routes", "TABLE")
    given = asked.parse_args(arguments)
    if (given.document is None) == (given.rollback is None):
        asked.error("give a TABLE, or --rollback")
    return publish(given, IDS, "routes", _lint)


if __name__ == "__main__":
    sys.exit(main())
