"""Which process runs which files, where several do."""

import pytest

from local.stack import ROOT
from tests.sharing_out import LONGEST, computes


@pytest.mark.parametrize(
    ("workers", "without_a_stack"), [(1, []), (2, ["gw1"]), (4, ["gw3"]), (5, ["gw3", "gw4"])]
)
def test_three_at_most_deploy_a_stack_and_one_at_least(
    workers: int, without_a_stack: list[str]
) -> None:
    names = [f"gw{number}" for number in range(workers)]
    assert [name for name in names if computes(name, workers)] == without_a_stack


@pytest.mark.parametrize("name", LONGEST)
def test_what_begins_first_is_there(name: str) -> None:
    assert (ROOT / name).is_file()
