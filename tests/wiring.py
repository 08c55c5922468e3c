"""Which settings each function reads, found by following it through the wiring."""

import ast
from dataclasses import fields
from pathlib import Path

from aep_intake.settings import Settings

ROOT = Path(__file__).parents[1]
NAMES = {field.name for field in fields(Settings)}


def settings_read() -> dict[str, frozenset[str]]:
    """By function: what it, and every part of its worker that it can reach, takes of Settings."""
    wiring = (ROOT / "layers/intake/aep_intake/wiring").glob("*.py")
    classes = [n for file in wiring for n in ast.walk(ast.parse(file.read_text()))]
    members = [n for cls in classes if isinstance(cls, ast.ClassDef) for n in cls.body]
    parts: dict[str, ast.AST] = {n.name: n for n in members if isinstance(n, ast.FunctionDef)}
    found = {}
    for file in sorted(ROOT.glob("functions/*/on_*.py")):
        text = file.read_text()
        if "from on_arrival import" in text:
            text += file.with_name("on_arrival.py").read_text()
        module = ast.parse(text)
        reached = {"__init__"}
        looked_at: set[str] = set()
        # `prepare` names parts by text.
        prepared = {n.value for n in ast.walk(module) if isinstance(n, ast.Constant)} & set(parts)
        settings, more = _taken(module)
        reached |= more & set(parts) | {str(name) for name in prepared}
        while reached - looked_at:
            part = (reached - looked_at).pop()
            looked_at.add(part)
            taken, more = _taken(parts[part])
            settings |= taken
            reached |= more & set(parts)
        found[file.stem] = frozenset(settings)
    return found


def _taken(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Names of settings, and of members of a worker, that a piece of code takes."""
    settings: set[str] = set()
    members: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Attribute(attr="settings"), attr=name):
                settings.add(name)
            case ast.Attribute(value=ast.Name(id="settings"), attr=name) if name in NAMES:
                settings.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "worker"), attr=name):
                members.add(name)
    return settings, members
