"""The functions' environment: of each what it reads, complete, or said clearly what is not."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aep_intake.settings import READ, Settings

from tests.wiring import settings_read

ROOT = Path(__file__).parents[3]


def test_the_environment_becomes_settings(environment: dict[str, str]) -> None:
    settings = Settings.of("on_arrival", environment)
    assert settings.credentials == ("arn:a", "arn:b")
    assert settings.retention_days == 60
    assert settings.key_pattern == "*"


def test_what_a_function_does_not_read_it_does_not_have(environment: dict[str, str]) -> None:
    settings = Settings.of("on_tick", environment)
    with pytest.raises(AttributeError, match="key_pattern"):
        _ = settings.key_pattern


def test_what_is_missing_is_named(environment: dict[str, str]) -> None:
    del environment["LEDGER_TABLE"]
    environment["BUS_NAME"] = ""
    with pytest.raises(ValueError, match="LEDGER_TABLE, BUS_NAME"):
        Settings.of("on_due", environment)


def test_a_number_must_be_one(environment: dict[str, str]) -> None:
    environment["RETENTION_DAYS"] = "long"
    with pytest.raises(ValueError, match="RETENTION_DAYS must be a whole number"):
        Settings.of("on_due", environment)


@pytest.mark.parametrize("function", sorted(READ))
def test_a_function_has_what_it_can_reach_and_no_more(function: str) -> None:
    """More would fill the environment, and less would be missed where nobody looks."""
    found = settings_read()
    assert set(found) == set(READ)
    assert READ[function] == found[function]


def test_functions_that_do_not_route_read_no_routes() -> None:
    routing = {name for name, read in READ.items() if "routes_profile" in read}
    assert routing == {"on_arrival", "on_marker", "on_request", "on_reconcile", "on_tick"}
    assert {name for name, read in READ.items() if "limits_profile" not in read} == {
        "on_journal",
        "on_widget",
    }


def test_nothing_is_read_but_what_is_named() -> None:
    """Of each function by its own name, as the template has it."""

    def named() -> Iterator[tuple[str, str]]:
        for file in ROOT.glob("functions/*/on_*.py"):
            for name in re.findall(r'Settings\.of\("(\w+)"\)', file.read_text()):
                yield file.stem, name

    # on_marker is on_arrival with more time.
    assert sorted(named()) == [(name, name) for name in sorted(READ) if name != "on_marker"]
