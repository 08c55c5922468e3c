"""Where a page is shown: in CloudWatch, or in a browser."""

import json
import re
from pathlib import Path
from typing import Protocol

from aep_intake.model.values import dataclass
from aep_intake.report.html import Html, fill, joined

STYLE = Html(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))
# Whatever is between quotation marks of JSON in the page: nothing in it needs an escape.
_PLAIN = re.compile(r"[0-9A-Za-z._-]*")


class Ways(Protocol):
    """How one asks for another page."""

    def button(self, text: str, **given: str) -> Html:
        """What one clicks to get the page of these parameters, and of the form around it."""

    def form(self, fields: Html, submit: str, **given: str) -> Html:
        """A form with a button; its fields are parameters by their names."""


@dataclass(frozen=True, slots=True)
class InDashboard:
    """In a widget: a `cwdb-action` acts for the element right before it.

    `endpoint`: ARN of the function. CloudWatch sends it the JSON, and all fields.
    """

    endpoint: str

    def button(self, text: str, **given: str) -> Html:
        """As in `Ways`."""
        # Not decided by any document: whether CloudWatch decodes entities in the JSON.
        for value in given.values():
            if not _PLAIN.fullmatch(value):
                raise ValueError(f"cannot be in an action: {value!r}")
        return fill(
            '<button type="button" class="btn">{text}</button>'
            '<cwdb-action action="call" endpoint="{endpoint}">{given}</cwdb-action>',
            text=text,
            endpoint=self.endpoint,
            given=Html(json.dumps(given, separators=(",", ":"))),
        )

    def form(self, fields: Html, submit: str, **given: str) -> Html:
        """As in `Ways`."""
        # Of this method, because Enter in a field would leave the console otherwise.
        return fill(
            '<form method="dialog"><div class="row">{fields}{button}</div></form>',
            fields=fields,
            button=self.button(submit, **given),
        )


@dataclass(frozen=True, slots=True)
class InBrowser:
    """At an address of its own: links, and forms that GET."""

    def button(self, text: str, **given: str) -> Html:
        """As in `Ways`."""
        query = "&".join(f"{name}={value}" for name, value in given.items())
        return fill('<a class="btn" href="?{query}">{text}</a>', query=query, text=text)

    def form(self, fields: Html, submit: str, **given: str) -> Html:
        """As in `Ways`."""
        hidden = (
            fill('<input type="hidden" name="{name}" value="{value}">', name=name, value=value)
            for name, value in given.items()
        )
        return fill(
            '<form><div class="row">{hidden}{fields}<button class="btn">{submit}</button></div>'
            "</form>",
            hidden=joined(hidden),
            fields=fields,
            submit=submit,
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a page is shown. `name`: of the stack. `theme`: light, dark or auto (the browser's)."""

    name: str
    ways: Ways
    theme: str = "auto"

    def around(self, content: Html) -> Html:
        """The page with this content. CloudWatch's own styles are switched off by a class."""
        return fill(
            '<style>{style}</style><div class="aep cwdb-no-default-styles {theme}">{content}</div>',
            style=STYLE,
            theme=self.theme,
            content=content,
        )


def problem_page(text: str, frame: Frame, ask: Html) -> Html:
    """A page that says why there is no other. `ask`: a form for another try."""
    return frame.around(
        fill(
            '<div class="head"><h1>{name}</h1>{back}</div><p role="alert" class="bad">{text}</p>'
            "{ask}",
            name=frame.name,
            back=frame.ways.button("Today", view="today"),
            text=text,
            ask=ask,
        )
    )


def document(page: Html, title: str) -> Html:
    """A page as a document of its own, for a browser."""
    return fill(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
        'content="light dark"><style>html,body{{margin:0;height:100%}}</style>{page}</html>',
        title=title,
        page=page,
    )
