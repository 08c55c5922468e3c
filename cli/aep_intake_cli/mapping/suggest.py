"""Proposes a route for a file: its format, and a map to the schema of its dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aep_intake.content.compile_map import compile_map
from aep_intake.content.rows import is_csv
from aep_intake.content.xdm import NoPath, parse

from aep_intake_cli.mapping.matching import ColumnMatch, match
from aep_intake_cli.mapping.readings import COPIED_MAX

if TYPE_CHECKING:
    from aep_intake_cli.mapping.files import Column, RowFile
    from aep_intake_cli.mapping.schemas import KnownSchema

ADHOC = "not needed: the schema is ad-hoc, and columns go up as they are"
OF_SCHEMA = "not needed: the rows have the members of the schema already"


@dataclass(frozen=True)
class Undecided:
    """What a person has to decide. `about`: a column, or a path of the schema."""

    about: str
    text: str


@dataclass(frozen=True)
class Suggestion:
    """A proposed route, how its columns were matched, and what is open."""

    route: Mapping[str, Any]
    matches: Sequence[ColumnMatch]
    unmatched: Sequence[Column]
    open: Sequence[Undecided]


@dataclass(frozen=True)
class Draft:
    """What is known of a file and its dataset before a route is proposed."""

    file: RowFile
    columns: Sequence[Column]
    matches: Sequence[ColumnMatch]
    known: KnownSchema

    @property
    def copied(self) -> Iterator[ColumnMatch]:
        """The matches for which values of a column would be copied into the route."""
        return (each for each in self.matches if each.reading.values is not None)

    def suggestion(self, target: Mapping[str, str], *, copy: bool) -> Suggestion:
        """The route to a target. `copy`: whether values of columns are copied into it."""
        route = {
            "name": _name(self.file.path.name),
            "match": _pattern(self.file.path.name),
            **target,
            "inputFormat": dict(self.file.input_format),
        }
        if self.known.registered.adhoc or self._is_of_schema:
            why = ADHOC if self.known.registered.adhoc else OF_SCHEMA
            return Suggestion(route, (), (), (Undecided("map", why),))
        mapped = {each.path: _entry(each, copy=copy) for each in self.matches}
        matched = {each.column.name for each in self.matches}
        unmatched = [column for column in self.columns if column.name not in matched]
        route["map"] = mapped
        found = [*self._of_columns(copy=copy), *self._of_schema(mapped)]
        return Suggestion(route, self.matches, unmatched, found)

    @property
    def _is_of_schema(self) -> bool:
        """Whether the file is JSON whose members are all paths of the schema."""
        if is_csv(self.file.input_format) or not self.columns:
            return False
        try:
            for column in self.columns:
                self.known.schema.node(parse(column.name))
        except NoPath:
            return False
        return True

    def _of_columns(self, *, copy: bool) -> Iterator[Undecided]:
        for each in self.matches:
            table = each.reading.values
            missing = sum(value is None for value in (table or {}).values())
            if table is not None and not copy:
                yield Undecided(each.column.name, f"{each.reading.doubt}: --copy-values lists them")
            elif missing:
                what = f"say in `values` what {missing} of its values stand for (now null)"
                yield Undecided(each.column.name, what)
            elif table is None and each.reading.doubt:
                yield Undecided(each.column.name, each.reading.doubt)
            if each.others:
                others = " or ".join(f"`{path}`" for path in each.others)
                yield Undecided(each.column.name, f"{others} is as likely as `{each.path}`")
        for column in self.columns:
            if column.twice or not column.name:
                what = "is twice in the header" if column.name else "has no name"
                yield Undecided(column.name, f"{what}: no map can name it")

    def _of_schema(self, mapped: Mapping[str, Any]) -> Iterator[Undecided]:
        """What the schema says against the map, such as a required field that nothing fills."""
        made = compile_map(
            mapped, self.known.schema, self.file.input_format, primary=self.known.primary
        )
        for problem in made.problems:
            text = problem.problem
            if problem.path == "_id" and "_id" not in mapped:
                text += ": an `expression` such as hash(…) of the columns that make an event unique"
            yield Undecided(problem.path or "map", text)


def draft(file: RowFile, known: KnownSchema) -> Draft:
    """Match the columns of a file to the paths of a schema. Raises FormatMismatch."""
    if known.registered.adhoc:
        return Draft(file, (), (), known)
    columns = file.columns()
    semicolons = file.input_format.get("delimiter") == ";"
    return Draft(file, columns, match(columns, known.schema, semicolons=semicolons), known)


def _entry(found: ColumnMatch, *, copy: bool) -> str | dict[str, Any]:
    """The member of a map for a match."""
    how = dict(found.reading.how)
    if copy and found.reading.values is not None:
        how["values"] = dict(list(found.reading.values.items())[:COPIED_MAX])
    return {"from": found.column.name, **how} if how else found.column.name


def _name(file: str) -> str:
    """A name of a route, made of a file's."""
    words = re.findall(r"[A-Za-z]+", _stem(file))
    return "-".join(words).lower()[:64] or "route"


def _pattern(file: str) -> str:
    """A pattern for the keys of files like this one: dates and numbers in the name may differ."""
    end = file[len(_stem(file)) :]
    stem = re.sub(r"[^\w.@=+,~ -]", "?", _stem(file))
    stem = re.sub(r"\d[\d_.T-]*\d|\d", "*", stem)
    return f"**/{stem}{re.sub(r'[^\w.]', '?', end)}"


def _stem(file: str) -> str:
    return re.sub(r"(\.\w{1,7}){1,2}$", "", file) or file


def described(file: RowFile) -> str:
    """What a file is, for people."""
    told, content = file.input_format, file.content
    packed = "gzip of " if content.compression else ""
    if not is_csv(told):
        layouts = {"array": "a JSON array", "document": "a JSON document"}
        return f"{packed}{layouts.get(content.layout, 'JSON Lines')}"
    delimiter = {"\t": "tabs"}.get(
        str(told.get("delimiter", ",")), repr(told.get("delimiter", ","))
    )
    header = "no header" if told.get("header") is False else "a header"
    quote = repr(told.get("quote", '"'))
    charset = told.get("charset", "UTF-8")
    return f"{packed}CSV in {charset}, {delimiter} between columns, {quote} around values, {header}"
