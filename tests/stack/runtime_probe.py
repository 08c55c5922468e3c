"""Runs inside the runtime, and tells what importing some modules loads, and from where."""

import importlib
import os
import sys
from typing import Any


def handler(event: dict[str, list[str]], _: object) -> dict[str, Any]:
    """`import`: names of modules."""
    for name in event["import"]:
        importlib.import_module(name)
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return {"process": os.getpid(), "path": sys.path, "modules": files}
