"""A tree to vector operations: each distinct part is computed once, over whole columns.

Cost: comparisons of numbers are one numpy pass each; whatever asks a string is answered once per entry
of the dictionary and then spread by code. An expression is compiled to a list of steps whose arguments
are positions of earlier steps, so equal parts share one step.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np

from models.arrays import Mask, Numbers
from streams.events.batch import Column, Kind, Strings
from streams.language.expression.syntax import (
    Arithmetic,
    Call,
    Compare,
    In,
    Junction,
    Name,
    Negative,
    Node,
    Not,
    Number,
    Text,
)

Value: TypeAlias = Any
"""What a step gives: a column (numbers, `Strings` or truth values), or a scalar of the same kinds."""

Condition: TypeAlias = Mask | np.bool_ | bool
Values: TypeAlias = list[Value]
Step: TypeAlias = Callable[[Values, Mapping[str, Column]], Value]

_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
LIST_COMPARED_MAX = 8
"""Longest list of numbers that is compared one by one; a sorted search is faster beyond."""

_MIRROR = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def build_program(root: Node, kinds: Mapping[str, Kind], *, numeric: bool) -> tuple[Step, ...]:
    """Steps that compute `root`, a number or else a condition; its value is the last step's."""
    builder = _Builder(kinds)
    if numeric:
        builder.emit(root)
    else:
        builder.condition(root)
    return tuple(builder.steps)


def run_program(steps: Sequence[Step], columns: Mapping[str, Column]) -> Value:
    """Value of the last step; a scalar where no column is involved."""
    values: Values = []
    with np.errstate(all="ignore"):
        for step in steps:
            values.append(step(values, columns))
    return values[-1]


@dataclass(slots=True)
class _Builder:
    kinds: Mapping[str, Kind]
    steps: list[Step] = field(default_factory=list)
    slots: dict[tuple[object, ...], int] = field(default_factory=dict)

    def step(self, key: tuple[object, ...], make: Callable[[], Step]) -> int:
        """Slot of the step with this key; made only if no equal one exists."""
        slot = self.slots.get(key)
        if slot is None:
            self.steps.append(make())
            slot = self.slots[key] = len(self.steps) - 1
        return slot

    def emit(self, node: Node) -> int:
        match node:
            case Name():
                name = node.name
                if self.kinds[name] == "number":
                    return self.step(("number", name), lambda: lambda _, columns: as_numbers(columns[name]))
                return self.step(("string", name), lambda: lambda _, columns: as_strings(columns[name]))
            case Number():
                number = bool(node.value) if node.truth else node.value
                return self.step(("literal", type(number), number), lambda: lambda *_: number)
            case Text():
                text = node.value
                return self.step(("text", text), lambda: lambda *_: text)
            case Not():
                inner = self.condition(node.operand)
                return self.step(("not", inner), lambda: lambda f, _: np.logical_not(f[inner]))
            case Junction():
                left, right = self.condition(node.left), self.condition(node.right)
                join = np.logical_and if node.op == "and" else np.logical_or
                return self.step((node.op, left, right), lambda: lambda f, _: join(f[left], f[right]))
            case Compare():
                return self.compare(node)
            case In():
                return self.member(node)
            case Arithmetic():
                left, right = self.emit(node.left), self.emit(node.right)
                calculate = _CALCULATE[node.op]
                return self.step((node.op, left, right), lambda: lambda f, _: calculate(f[left], f[right]))
            case Negative():
                inner = self.emit(node.operand)
                return self.step(("negative", inner), lambda: lambda f, _: np.negative(f[inner]))
            case Call():
                return self.call(node)

    def condition(self, node: Node) -> int:
        """A bare number column as a condition holds where it is neither 0 nor missing."""
        slot = self.emit(node)
        if isinstance(node, Name):
            return self.step(("truth", slot), lambda: lambda f, _: compare_numbers("!=", f[slot], 0.0))
        return slot

    def compare(self, node: Compare) -> int:
        left, right, op = self.emit(node.left), self.emit(node.right), node.op
        compare = compare_strings if self.is_string(node.left) else compare_numbers
        return self.step((op, left, right), lambda: lambda f, _: compare(op, f[left], f[right]))

    def member(self, node: In) -> int:
        inner, negated = self.emit(node.operand), node.negated
        values = tuple(item.value for item in node.items)
        key = ("in", negated, inner, values)
        if isinstance(values[0], str):
            wanted = frozenset(values)
            return self.step(
                key, lambda: lambda f, _: ask_strings(f[inner], lambda text: (text in wanted) != negated)
            )
        numbers = np.unique(np.asarray(values, dtype=np.float64))
        return self.step(key, lambda: lambda f, _: _number_in(f[inner], numbers, negated=negated))

    def call(self, node: Call) -> int:
        if node.function == "missing":
            column = node.arguments[0]
            assert isinstance(column, Name)
            name = column.name
            return self.step(("missing", name), lambda: lambda _, columns: _missing(columns[name]))
        inner = self.emit(node.arguments[0])
        if node.function == "lower":
            return self.step(("lower", inner), lambda: lambda f, _: _lower(f[inner]))
        wanted = node.arguments[1]
        assert isinstance(wanted, Text)
        ask = _predicate(node.function, wanted.value)
        return self.step(
            (node.function, inner, wanted.value), lambda: lambda f, _: ask_strings(f[inner], ask)
        )

    def is_string(self, node: Node) -> bool:
        match node:
            case Name():
                return self.kinds[node.name] == "string"
            case Text() | Call():
                return True
            case _:
                return False


def as_numbers(column: Column) -> Numbers:
    """A column as numbers; of a column kept as strings each distinct text is read once, NaN if it is none."""
    if not isinstance(column, Strings):
        return column
    table = np.empty(len(column.values) + 1, dtype=np.float64)
    table[:-1] = [_read_number(text) for text in column.values]
    table[-1] = np.nan
    return table[column.codes]


def as_strings(column: Column) -> Strings:
    """A column that the plan made a column of strings."""
    assert isinstance(column, Strings), "a column compared with strings must be decoded as strings"
    return column


def _read_number(text: str) -> float:
    if text in ("true", "false"):
        return float(text == "true")
    try:
        return float(text)
    except ValueError:
        return np.nan


def compare_numbers(op: str, left: Value, right: Value) -> Condition:
    """`left op right`; false wherever either side is missing (NaN), for `!=` too."""
    result = _ORDER[op](left, right)
    if op != "!=":
        return cast(Condition, result)
    # NaN != x is true by IEEE 754, so the missing values are taken out; only they differ from themselves.
    for side in (left, right):
        result = np.logical_and(result, np.equal(side, side))
    return cast(Condition, result)


def _number_in(value: Value, wanted: Numbers, *, negated: bool) -> Condition:
    """Membership; a missing number is neither in nor not in."""
    if len(wanted) > LIST_COMPARED_MAX:
        found: Condition = np.isin(value, wanted)
    else:
        found = np.logical_or.reduce([value == number for number in wanted])
    if not negated:
        return found
    return cast(Condition, np.logical_and(np.logical_not(found), np.equal(value, value)))


def compare_strings(op: str, left: Value, right: Value) -> Condition:
    """`left op right` by code points; a missing string equals the empty one."""
    order = _ORDER[op]
    if isinstance(left, str) and isinstance(right, str):
        return bool(order(left, right))
    if isinstance(right, str):
        return ask_strings(left, lambda text: bool(order(text, right)))
    if isinstance(left, str):
        mirrored = _ORDER[_MIRROR[op]]
        return ask_strings(right, lambda text: bool(mirrored(text, left)))
    assert isinstance(left, Strings)
    assert isinstance(right, Strings)
    ranks = {text: rank for rank, text in enumerate(sorted({"", *left.values, *right.values}))}
    return cast(Condition, order(_spread_ranks(left, ranks), _spread_ranks(right, ranks)))


def _spread_ranks(column: Strings, ranks: Mapping[str, int]) -> Any:
    table = np.empty(len(column.values) + 1, dtype=np.int64)
    table[:-1] = [ranks[text] for text in column.values]
    table[-1] = ranks[""]
    return table[column.codes]


def ask_strings(value: Value, ask: Callable[[str], bool]) -> Condition:
    """Answer `ask` for every row, calling it once per dictionary entry and once for missing."""
    if isinstance(value, str):
        return ask(value)
    assert isinstance(value, Strings)
    count = len(value.values)
    answers = np.empty(count + 1, dtype=np.bool_)
    answers[:-1] = [ask(text) for text in value.values]
    answers[-1] = ask("")
    # Code -1 reads the last answer, which is that of a missing value. Comparing codes is several times
    # faster than looking up, so the usual case of one entry (in or out) takes that way.
    true_count = int(np.count_nonzero(answers))
    if true_count in (0, count + 1):
        return np.full(len(value), true_count > 0)
    if true_count in (1, count):
        odd = int(np.flatnonzero(answers)[0] if true_count == 1 else np.flatnonzero(~answers)[0])
        code = odd if odd < count else -1
        return np.equal(value.codes, code) if true_count == 1 else np.not_equal(value.codes, code)
    return answers[value.codes]


def _missing(column: Column) -> Mask:
    if isinstance(column, Strings):
        return np.less(column.codes, 0)
    return np.isnan(column)


def _lower(value: Value) -> Strings | str:
    if isinstance(value, str):
        return value.lower()
    assert isinstance(value, Strings)
    return Strings(value.codes, [text.lower() for text in value.values])


def _predicate(function: str, wanted: str) -> Callable[[str], bool]:
    if function == "starts_with":
        return lambda text: text.startswith(wanted)
    if function == "ends_with":
        return lambda text: text.endswith(wanted)
    if function == "contains":
        return lambda text: wanted in text
    match = re.compile(wanted, re.DOTALL).fullmatch
    return lambda text: match(text) is not None


def _divide(left: Any, right: Any) -> Any:
    """Quotient; missing where the divisor is 0, since neither infinity nor an error helps a predicate."""
    return np.where(np.equal(right, 0.0), np.nan, np.divide(left, right))


_CALCULATE: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": _divide,
}
