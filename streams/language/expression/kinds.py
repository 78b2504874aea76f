"""Which columns an expression uses, and whether as numbers or as strings.

A column's kind follows from what it meets: a number or arithmetic makes it a number, a quoted string
or a string function makes it a string. Two columns that only meet each other take the kind of either;
if neither has one, `==` and `!=` compare strings and the order signs compare numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NoReturn

from streams.events.batch import Kind
from streams.language.expression.syntax import (
    Arithmetic,
    Call,
    Compare,
    ExpressionError,
    In,
    Junction,
    Name,
    Negative,
    Node,
    Not,
    Number,
    Text,
)
from streams.language.problems import nearest

PREDICATES = ("starts_with", "ends_with", "contains", "matches")
"""Functions of a string and a quoted string that give a condition."""

FUNCTIONS = (*PREDICATES, "lower", "missing")

_PREDICATE_ALIASES = {
    "startswith": "starts_with",
    "endswith": "ends_with",
    "match": "matches",
    "regex": "matches",
    "like": "contains",
    "includes": "contains",
    "tolower": "lower",
    "is_missing": "missing",
    "isnull": "missing",
    "exists": "missing",
}


@dataclass(frozen=True, slots=True)
class Kinds:
    """Columns of an expression.

    columns : kind of every column used
    soft    : those whose kind is a guess, since it is only asked whether they are missing
    """

    columns: dict[str, Kind]
    soft: frozenset[str]


@dataclass(slots=True)
class _Inference:
    text: str
    known: Collection[str] | None
    columns: dict[str, Kind] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    pairs: list[tuple[Name, Name, Kind]] = field(default_factory=list)

    def fail(self, at: int, message: str, hint: str = "") -> NoReturn:
        raise ExpressionError(self.text, at, message, hint)

    def demand(self, node: Name, kind: Kind) -> None:
        has = self.columns.setdefault(node.name, kind)
        first = self.first.setdefault(node.name, node.at)
        if has != kind:
            self.fail(
                node.at,
                f"column {node.name} is used as a {kind} here, but as a {has} at column {first + 1}",
                'numbers are written 500, strings "500"',
            )

    def column(self, node: Name) -> Name:
        if self.known is not None and node.name not in self.known:
            listed = f"known: {', '.join(sorted(self.known)[:12])}"
            self.fail(node.at, f"unknown column {node.name}", nearest(node.name, self.known) or listed)
        return node

    def condition(self, node: Node) -> None:
        """`node` must be true or false for each row."""
        match node:
            case Name():
                self.demand(self.column(node), "number")
            case Not():
                self.condition(node.operand)
            case Junction():
                self.condition(node.left)
                self.condition(node.right)
            case Compare():
                self.compare(node)
            case In():
                self.member(node)
            case Call() if node.function != "lower":
                self.predicate(node)
            case Number(truth=True):
                pass
            case Number() | Arithmetic() | Negative():
                self.fail(node.at, "expected a condition, found a number", "compare it, as in status >= 500")
            case Text() | Call():
                self.fail(
                    node.at, "expected a condition, found a string", 'compare it, as in method == "GET"'
                )

    def number(self, node: Node) -> None:
        """`node` must be a number for each row."""
        kind = self.value(node)
        if isinstance(node, Name):
            self.demand(node, "number")
        elif kind == "string":
            self.fail(node.at, "expected a number, found a string")

    def string(self, node: Node) -> None:
        """`node` must be a string for each row."""
        kind = self.value(node)
        if isinstance(node, Name):
            self.demand(node, "string")
        elif kind == "number":
            self.fail(node.at, "expected a string, found a number", "put it between quotes")

    def value(self, node: Node) -> Kind | None:
        """Kind of a value; None for a bare column, whose kind depends on what it meets."""
        match node:
            case Name():
                self.column(node)
                return None
            case Number():
                return "number"
            case Text():
                return "string"
            case Arithmetic():
                self.number(node.left)
                self.number(node.right)
                return "number"
            case Negative():
                self.number(node.operand)
                return "number"
            case Call(function="lower"):
                self.arity(node, 1, "lower(column)")
                self.string(node.arguments[0])
                return "string"
            case Call() if node.function not in FUNCTIONS:
                self.unknown_function(node)
            case _:
                self.fail(node.at, "a condition is not a value", "join conditions with and, or")

    def compare(self, node: Compare) -> None:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.left, Name) and isinstance(node.right, Name):
            self.pairs.append((node.left, node.right, "string" if node.op in ("==", "!=") else "number"))
        elif isinstance(node.left, Name) and right is not None:
            self.demand(node.left, right)
        elif isinstance(node.right, Name) and left is not None:
            self.demand(node.right, left)
        elif left != right:
            self.fail(
                node.at, f"a {left} is compared with a {right}", 'numbers are written 500, strings "500"'
            )

    def member(self, node: In) -> None:
        kind: Kind = "string" if isinstance(node.items[0], Text) else "number"
        for item in node.items:
            if isinstance(item, Text) != (kind == "string"):
                self.fail(item.at, "a list holds only numbers or only strings")
        if kind == "string":
            self.string(node.operand)
        else:
            self.number(node.operand)

    def arity(self, node: Call, count: int, usage: str) -> None:
        if len(node.arguments) != count:
            self.fail(
                node.at,
                f"{node.function} takes {count} argument{'s' * (count > 1)}, found {len(node.arguments)}",
                f"write {usage}",
            )

    def unknown_function(self, node: Call) -> NoReturn:
        alias = _PREDICATE_ALIASES.get(node.function.lower())
        hint = f"did you mean {alias}?" if alias else nearest(node.function, FUNCTIONS)
        hint = hint or f"known: {', '.join(FUNCTIONS)}"
        self.fail(node.at, f"unknown function {node.function}", hint)

    def predicate(self, node: Call) -> None:
        if node.function == "missing":
            self.arity(node, 1, "missing(column)")
            column = node.arguments[0]
            if not isinstance(column, Name):
                self.fail(column.at, "missing takes a column")
            self.asked.setdefault(self.column(column).name, column.at)
            return
        if node.function not in PREDICATES:
            self.unknown_function(node)
        self.arity(node, 2, f'{node.function}(column, "text")')
        self.string(node.arguments[0])
        wanted = node.arguments[1]
        if not isinstance(wanted, Text):
            self.fail(wanted.at, f"the second argument of {node.function} is a quoted string")
        if node.function == "matches":
            try:
                re.compile(wanted.value)
            except re.error as error:
                self.fail(wanted.at, f"not a regular expression: {error}")

    def settle_pairs(self) -> None:
        """Give columns that meet only columns their kind: from a neighbour, else by the operator."""
        pending = self.pairs
        while pending:
            # A pair beside a decided column is settled by it; if there is none, the first pair guesses.
            ready = next((p for p in pending if self.kind_of_pair(p) is not None), pending[0])
            kind = self.kind_of_pair(ready) or ready[2]
            self.demand(ready[0], kind)
            self.demand(ready[1], kind)
            pending = [p for p in pending if p is not ready]

    def kind_of_pair(self, pair: tuple[Name, Name, Kind]) -> Kind | None:
        return self.columns.get(pair[0].name) or self.columns.get(pair[1].name)


def infer_kinds(text: str, root: Node, known: Collection[str] | None, *, numeric: bool = False) -> Kinds:
    """Kinds of the columns of `root`, which must be a condition (or a number, if `numeric`).

    known : the columns that exist, if that is fixed; another name is an error with the nearest one
    Raises ExpressionError.
    """
    inference = _Inference(text, known)
    if numeric:
        inference.number(root)
    else:
        inference.condition(root)
    inference.settle_pairs()
    soft = frozenset(inference.asked.keys() - inference.columns.keys())
    columns = inference.columns | dict.fromkeys(sorted(soft), "string")
    return Kinds(columns, soft)
