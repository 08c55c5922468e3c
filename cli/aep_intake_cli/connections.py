"""Since when the buckets of a deployed stack are connected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aep_intake.adapters.dynamodb.connections import DynamoConnections

if TYPE_CHECKING:
    from aep_intake.adapters.dynamodb.table import Table

    from aep_intake_cli.stack import Stack


def connected(stack: Stack, ledger: Table) -> dict[str, int]:
    """Since when (epoch ms) each bucket is connected, as far as that is known.

    The stack's own landing bucket sends its events since it was made: 0. Raises LedgerUnavailable.
    """
    own = stack.outputs.get("LandingBucketName")
    return ({own: 0} if own else {}) | DynamoConnections(ledger).all()
