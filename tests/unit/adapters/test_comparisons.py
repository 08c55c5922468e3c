"""What comparisons sent is noted, for as long as its message may live."""

from typing import Any

from aep_intake.adapters.dynamodb.comparisons import DynamoComparisons
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.model.files import Arrival

from tests.items import Items

DAY = 86_400_000
NOW = 20_000 * DAY
FILES = [Arrival("landing", f"in/{n}.json", "v1", "e", None, 1, NOW - DAY) for n in range(120)]


class Many(Items):
    """Answers for up to a hundred keys at once."""

    def batch_get_item(self, *, RequestItems: Any) -> dict[str, Any]:
        [(name, asked)] = RequestItems.items()
        assert len(asked["Keys"]) <= 100
        answers = [self.get_item(Key=key) for key in asked["Keys"]]
        return {"Responses": {name: [a["Item"] for a in answers if a]}}


def test_what_an_earlier_comparison_sent_is_known_until_no_message_of_it_lives() -> None:
    at, items = [NOW], Many([])
    client: Any = items
    ledger = DynamoLedger(client, "t", lambda: at[0], 60 * DAY)
    table = Table(client, "t")
    ours = DynamoComparisons(table, ledger, lambda: at[0])
    assert ours.sent_before(FILES, NOW) == set()
    ours.note_sent(FILES[1:], NOW)
    assert ours.sent_before(FILES, NOW) == set(), "the same comparison may send a page again"
    assert ours.sent_before(FILES, NOW + DAY) == set(FILES[1:])
    by_hand = DynamoComparisons(table, ledger, lambda: at[0], keeps=False)
    assert by_hand.sent_before(FILES, NOW + DAY) == set()
    before = len(list(items))
    by_hand.note_sent(FILES, NOW)
    assert len(list(items)) == before, "an operator has no right to write it"
    at[0] += 22 * DAY + 1000
    assert ours.sent_before(FILES, NOW + DAY) == set()
