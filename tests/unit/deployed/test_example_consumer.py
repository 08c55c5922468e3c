"""The example consumer: a repeat of an event changes nothing."""

import importlib.util
import json
import re
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.docs import detail_types
from local.stack import ROOT

FOLDER = ROOT / "docs" / "examples" / "consumer"
TEMPLATE = (FOLDER / "template.yaml").read_text("utf-8")


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The function, with a table that is a mock."""
    monkeypatch.setenv("OUTCOMES", "outcomes")
    monkeypatch.setattr(boto3, "resource", Mock())
    spec = importlib.util.spec_from_file_location("consumer", FOLDER / "consumer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_rules_name_events_that_there_are() -> None:
    resources = yaml_parse(TEMPLATE)["Resources"]
    pattern = resources["FailuresRule"]["Properties"]["EventPattern"]
    assert set(pattern["detail-type"]) <= detail_types()
    schemas = [json.loads(path.read_text()) for path in (ROOT / "events").glob("*.schema.json")]
    known = {name for schema in schemas for name in schema["properties"]}
    transformer = resources["FailuresRule"]["Properties"]["Targets"][0]["InputTransformer"]
    told = re.findall(r"\$\.detail\.(\w+)", json.dumps(transformer["InputPathsMap"]))
    assert set(told) <= known
    assert set(re.findall(r"<(\w+)>", transformer["InputTemplate"])) == set(
        transformer["InputPathsMap"]
    )


def message(name: str, kind: str) -> dict[str, Any]:
    detail = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return {"messageId": name, "body": json.dumps({"detail-type": kind, "detail": detail})}


def test_what_comes_again_is_written_to_the_same_place(consumer: ModuleType) -> None:
    sent = message("batch-succeeded", "Batch Succeeded")
    consumer.handler({"Records": [sent, sent]}, None)
    first, again = (call.kwargs["Item"] for call in consumer.table.put_item.call_args_list)
    assert first == again
    assert (first["kind"], first["route"]) == ("Batch Succeeded", "loyalty")
    assert first["owner"] == "crm-team@acme.example"


def test_what_cannot_be_written_comes_again(consumer: ModuleType) -> None:
    consumer.table.put_item.side_effect = OSError("no answer")
    with pytest.raises(OSError, match="no answer"):
        consumer.handler({"Records": [message("batch-replaced", "Batch Replaced")]}, None)
