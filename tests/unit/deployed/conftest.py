"""What tests of templates share."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def lint() -> Callable[..., list[Any]]:
    """What cfn-lint finds in a template. Each process that runs tests would take a second to load
    it, if a module of tests imported it.
    """
    found: Callable[..., list[Any]] = importlib.import_module("cfnlint.api").lint_all
    return found
