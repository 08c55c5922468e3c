"""What is printed for a person who wants a batch's data out of AEP again."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from aep_intake.model.batches import Dataset
from aep_intake.model.orders import Replaced
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.reverting import Revert, revert

from tests.adobe_world import PLATFORM, START
from tests.builders import batch, lease, opened
from tests.memory_ledger import MemoryLedger


@dataclass
class Aep:
    """What AEP says of one batch and its dataset."""

    status: str = "success"
    profile: bool = False
    behaviour: str = "record"

    def batch(self, *_: object) -> Any:
        return replace(batch(START), status=self.status)

    def dataset_info(self, _: object) -> Dataset:
        return Dataset(self.profile, system=False)

    def dataset(self, _: object) -> dict[str, Any]:
        return {"classification": {"dataBehavior": self.behaviour}}


def reverting(aep: Aep, **order: Any) -> Revert:
    ledger: Any = MemoryLedger()
    record = ledger.open(opened(START, **order))
    created = record.leased(lease(START + 2)).created(batch(START, "b1"))
    ledger.replace(record, created)
    adobe: Any = aep
    return revert("b1", ledger, adobe, PLATFORM)


def test_the_call_names_batch_organization_and_sandbox_and_no_secret() -> None:
    found = reverting(Aep())
    [(_, call)] = found.calls
    assert f"'{PLATFORM}/data/foundation/import/batches/b1?action=REVERT'" in call
    assert '"x-gw-ims-org-id: O@AdobeOrg"' in call and '"x-sandbox-name: prod"' in call
    assert "Bearer $TOKEN" in call
    assert not any("Profile" in text or "replaced" in text for text in found.consequences)


def test_profile_forgets_events_by_a_call_of_its_own_and_records_never() -> None:
    of_events = reverting(Aep(profile=True, behaviour="time-series"))
    assert '{"datasetId": "d", "batchId": "b1"}' in of_events.calls[1][1]
    of_records = reverting(Aep(profile=True))
    assert len(of_records.calls) == 1
    assert any("keeps them: it deletes no batch" in text for text in of_records.consequences)


def test_what_it_replaced_does_not_come_back() -> None:
    found = reverting(Aep(), replaces=Replaced("intake-1", "b0"))
    assert any("It replaced the batch b0" in text for text in found.consequences)


@pytest.mark.parametrize("status", ["loading", "failed", "inactive"])
def test_a_batch_without_data_is_not_to_be_reverted(status: str) -> None:
    with pytest.raises(CommandFailed, match=f"b1 is `{status}`"):
        reverting(Aep(status=status))


def test_a_batch_that_nobody_knows() -> None:
    ledger: Any = MemoryLedger()
    adobe: Any = Aep()
    with pytest.raises(CommandFailed, match="no batch b2"):
        revert("b2", ledger, adobe, PLATFORM)
