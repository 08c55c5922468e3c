"""HTML of which every value is escaped: only what a template here says is markup."""

from collections.abc import Iterable
from html import escape

from aep_intake.report.visible import visible


class Html(str):
    """Markup. A text of anybody else's becomes some by `fill` alone."""

    __slots__ = ()


def fill(template: str, **values: object) -> Html:
    """A template of ours with each `{name}` filled in: Html as it is, anything else escaped."""
    return Html(template.format_map({name: _safe(value) for name, value in values.items()}))


def joined(parts: Iterable[Html]) -> Html:
    """Markup after markup."""
    return Html("".join(parts))


def _safe(value: object) -> str:
    return value if isinstance(value, Html) else escape(visible(str(value)), quote=True)
