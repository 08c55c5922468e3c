"""DynamoDB's table in memory, with the expressions that folders are written with."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aep_intake.adapters.dynamodb.table import ConditionFailed

type Item = dict[str, Any]

COMPARED: Mapping[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
}
CLAUSE = re.compile(r"(SET|REMOVE|ADD) (.+?)(?= SET| REMOVE| ADD|\Z)")
ASSIGNED = re.compile(r"(\w+) = (?:if_not_exists\((\w+), )?(:\w+)")


class MemoryTable:
    """As `table.Table`. Each method is one atomic step."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}

    def get(self, pk: str, sk: str) -> Item | None:
        return self.items.get((pk, sk))

    def get_many(
        self, keys: Sequence[tuple[str, str]], *_: str, consistent: bool = False
    ) -> list[Item]:
        assert consistent
        return [self.items[key] for key in keys if key in self.items]

    def query(
        self, condition: str, values: Item, *, ConsistentRead: bool, Limit: int = 1
    ) -> Iterator[Item]:
        assert ConsistentRead and Limit
        assert condition == "pk = :pk AND sk BETWEEN :after AND :until"
        pk, after, until = (values[name]["S"] for name in ("pk", "after", "until"))
        found = [(sk, item) for (of, sk), item in self.items.items() if of == pk]
        yield from [item for sk, item in sorted(found, key=_first) if after <= sk <= until]

    def put(self, item: Item, condition: Item | None = None) -> None:
        key = item["pk"]["S"], item["sk"]["S"]
        if condition is not None:
            values = condition["ExpressionAttributeValues"]
            self._check(key, condition["ConditionExpression"], values)
        self.items[key] = item

    def update(self, pk: str, sk: str, expression: str, values: Item, condition: str) -> Item:
        named = {f":{name}": value for name, value in values.items()}
        self._check((pk, sk), condition, named)
        before = self.items.get((pk, sk), {"pk": {"S": pk}, "sk": {"S": sk}})
        item = dict(before)
        for what, clause in re.findall(
            r"(SET|REMOVE|ADD) (.+?)(?= SET| REMOVE| ADD|\Z)", expression
        ):
            match what:
                case "SET":
                    for name, kept, value in ASSIGNED.findall(clause):
                        item[name] = before.get(kept, named[value])
                case "REMOVE":
                    item.pop(clause, None)
                case "ADD":
                    name, value = clause.split()
                    number = int(before.get(name, {"N": "0"})["N"]) + int(named[value]["N"])
                    item[name] = {"N": str(number)}
        self.items[pk, sk] = item
        return item

    def _check(self, key: tuple[str, str], condition: str, values: Item) -> None:
        item = self.items.get(key)
        either = (each.split(" AND ") for each in condition.split(" OR "))
        if not any(all(_holds(each, item or {}, values) for each in all_) for all_ in either):
            raise ConditionFailed([item])


def _holds(condition: str, item: Item, values: Item) -> bool:
    if exists := re.fullmatch(r"attribute_(not_)?exists\((\w+)\)", condition):
        return (exists[2] in item) is not bool(exists[1])
    name, how, value = condition.split()
    return name in item and COMPARED[how](int(item[name]["N"]), int(values[value]["N"]))


def _first(pair: tuple[str, Item]) -> str:
    return pair[0]
