"""The functions' environment: complete, or said clearly what is not."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from aep_intake.settings import Settings

TEMPLATE = (Path(__file__).parents[2] / "template.yaml").read_text()


def test_the_environment_becomes_settings(environment: dict[str, str]) -> None:
    settings = Settings.read(environment)
    assert settings.credentials == ("arn:a", "arn:b")
    assert settings.retention_days == 60
    assert settings.batches_per_worker == (1000 - 60 * 5) / (5 + 2 * 2)


def test_what_is_missing_is_named(environment: dict[str, str]) -> None:
    del environment["LEDGER_TABLE"]
    environment["BUS_NAME"] = ""
    with pytest.raises(ValueError, match="LEDGER_TABLE, BUS_NAME"):
        Settings.read(environment)


def test_a_number_must_be_one(environment: dict[str, str]) -> None:
    environment["SETTLE_SECONDS"] = "soon"
    with pytest.raises(ValueError, match="SETTLE_SECONDS must be a whole number"):
        Settings.read(environment)


def test_requests_leave_half_to_the_queues(environment: dict[str, str]) -> None:
    environment["BATCHES_PER_MINUTE"] = "138"
    assert Settings.read(environment).batches_per_worker == 69 / (5 + 2 * 2)


def test_the_template_sets_every_setting() -> None:
    [variables] = re.findall(r"\n      Variables:\n((?:        .*\n)+)", TEMPLATE)
    names = set(re.findall(r"^ {8}([A-Z_]+):", variables, re.MULTILINE))
    own = {name for name in names if not name.startswith("POWERTOOLS_")}
    assert own == {field.name.upper() for field in fields(Settings)}
