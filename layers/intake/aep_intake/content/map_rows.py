"""Puts the JSON of rows together, from the texts of their fields."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aep_intake.content.map_fields import EMPTY, Cells, Constant, Field
from aep_intake.content.typed import quoted
from aep_intake.model.values import dataclass

# Texts of all fields that are remembered with what they became: dates and codes come again and
# again. Some 40 MB at most.
REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class _Rule:
    """What must be in an object, by the places of the leaves that are in it."""

    leaves: range
    varying: tuple[int, ...]  # those that are no constants
    required: tuple[tuple[range, str], ...]  # of each such member the leaves, and what to say
    always: bool  # whether the members are missed, too, where nothing is there
    bare: bool  # whether it is left out where it has constants alone


@dataclass(frozen=True, slots=True)
class _Whole:
    """An object or a list, of fields (their places) and others of its kind.

    Each ends with a comma, so that rows are joined without a look at what of them is empty.
    """

    begin: str
    members: tuple["int | _Whole", ...]
    end: str

    def texts(self, columns: Sequence[Sequence[str]]) -> list[str]:
        """For each row, its JSON; "" where nothing is in it."""
        inner = [
            columns[member] if isinstance(member, int) else member.texts(columns)
            for member in self.members
        ]
        joined: Iterable[str] = inner[0]
        if len(inner) > 1:
            joined = map("".join, zip(*inner, strict=True))
        begin, end = self.begin, self.end
        return [f"{begin}{text[:-1]}{end}" if text else "" for text in joined]


class Plan:
    """How the JSON of a row is put together. Raises Unfit, whose text names the path.

    `root`, `columns`: of the compiled map. `placeholders`: those of the file's key.
    """

    def __init__(
        self,
        root: Mapping[str, Any],
        columns: Sequence[Mapping[str, Any]],
        placeholders: Mapping[str, str],
    ) -> None:
        self.leaves: list[Field | Constant] = []
        self._columns, self._placeholders = columns, placeholders
        self._rules: list[_Rule] = []  # of what is within others first
        self._remembered = REMEMBERED // max(1, _leaves(root))
        self._root = self._whole(root, "", "\n")

    def _add(self, node: Mapping[str, Any], name: str, *, of_list: bool = False) -> "int | _Whole":
        if "object" in node or "list" in node:
            return self._whole(node, name, ",", of_list=of_list)
        if "value" in node:
            self.leaves.append(Constant(node, self._placeholders, name))
        else:
            names = [self._columns[index]["name"] for index in node["from"]]
            self.leaves.append(Field(node, names, name, self._remembered))
        return len(self.leaves) - 1

    def _whole(
        self, node: Mapping[str, Any], name: str, end: str, *, of_list: bool = False
    ) -> _Whole:
        if "list" in node:
            items = tuple(self._add(item, "", of_list=True) for item in node["list"])
            return _Whole(f"{name}[", items, f"]{end}")
        first, found, members = len(self.leaves), list[int | _Whole](), dict[str, range]()
        for key, inner in node["object"].items():
            at = len(self.leaves)
            found.append(self._add(inner, f"{quoted(key)}:"))
            members[key] = range(at, len(self.leaves))
        self._add_rule(node, members, range(first, len(self.leaves)), of_list=of_list)
        return _Whole(f"{name}{{", tuple(found), f"}}{end}")

    def _add_rule(
        self, node: Mapping[str, Any], members: Mapping[str, range], leaves: range, *, of_list: bool
    ) -> None:
        varying = tuple(each for each in leaves if isinstance(self.leaves[each], Field))
        required = tuple(
            (members[name], f"{EMPTY}, and the schema requires {path}")
            for name, path in node.get("required", {}).items()
            if any(each in varying for each in members.get(name, ()))
        )
        bare = 0 < len(varying) < len(leaves) and (of_list or bool(required))
        if required or bare:
            always = node.get("always", False)
            self._rules.append(_Rule(leaves, varying, required, always, bare and not always))

    def lines(self, cells: Cells) -> list[str]:
        """The rows, each with its end. Rows of which nothing is there fail."""
        columns = [leaf.texts(cells) for leaf in self.leaves]
        for rule in self._rules:
            self._check(rule, columns, cells)
        lines = self._root.texts(columns)
        varying = [
            column
            for column, leaf in zip(columns, self.leaves, strict=True)
            if isinstance(leaf, Field)
        ]
        if "" in lines or len(varying) < len(columns):
            for index, filled in enumerate(map(any, zip(*varying, strict=True))):
                if not filled:
                    cells.fail(index, "", "nothing in it is mapped")
        return lines

    def _check(self, rule: _Rule, columns: list[list[str]], cells: Cells) -> None:
        missing = [
            (_filled([columns[at] for at in member]), member, why) for member, why in rule.required
        ]
        if not rule.bare and all(all(filled) for filled, _, _ in missing):
            return
        there = _filled([columns[at] for at in rule.varying])
        for index in range(cells.count):
            lacks = next(
                ((member, why) for filled, member, why in missing if not filled[index]), None
            )
            if rule.bare and not there[index]:
                for at in rule.leaves:
                    columns[at][index] = ""
            elif lacks and (rule.always or any(columns[at][index] for at in rule.leaves)):
                member, why = lacks
                names = ", ".join(
                    dict.fromkeys(filter(None, (self.leaves[at].columns for at in member)))
                )
                cells.fail(index, names, why)


def _leaves(node: Mapping[str, Any]) -> int:
    inner = node.get("list") or node.get("object", {}).values()
    return sum(map(_leaves, inner)) if inner else 1


def _filled(columns: list[list[str]]) -> Sequence[object]:
    """For each row, whether any of these texts is there."""
    return columns[0] if len(columns) == 1 else list(map(any, zip(*columns, strict=True)))
