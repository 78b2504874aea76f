"""The expression language: against a naive evaluation row by row, its semantics, and its messages."""

from __future__ import annotations

import math
import operator
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events.batch import Column, Strings
from streams.language.expression import Expression, ExpressionError, compile_expression, compile_number

Row = dict[str, Any]
"""Column to number (NaN missing) or string (None missing)."""

Node = tuple[str, Callable[[Row], Any]]
"""Text of a part of an expression, and its naive meaning."""

WORDS = ["", "GET", "get", "/api/x", "/api/xy", "/health", "ä"]
NUMBERS = ["a", "b.c"]
STRINGS = ["s", "`t-u`"]

ORDERS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def text_of(row: Row, name: str) -> str:
    return row[name.strip("`")] or ""


def compare_numbers(order: str, left: float, right: float) -> bool:
    return not math.isnan(left) and not math.isnan(right) and bool(ORDERS[order](left, right))


def divide(left: float, right: float) -> float:
    return math.nan if right == 0 else left / right


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
}


def number_literals() -> st.SearchStrategy[Node]:
    return st.sampled_from(
        [("0", 0.0), ("2", 2.0), ("500ms", 0.5), ("1m30s", 90.0), ("-1.5", -1.5), ("1e2", 100.0)]
    ).map(lambda pair: (pair[0], lambda _: pair[1]))


def numbers() -> st.SearchStrategy[Node]:
    columns = st.sampled_from(NUMBERS).map(lambda name: (name, lambda row: row[name]))

    def grow(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        pair = st.tuples(inner, st.sampled_from(list(ARITHMETIC)), inner).map(
            lambda p: (
                f"({p[0][0]} {p[1]} {p[2][0]})",
                lambda row: ARITHMETIC[p[1]](p[0][1](row), p[2][1](row)),
            )
        )
        return pair | inner.map(lambda p: (f"-({p[0]})", lambda row: -p[1](row)))

    return st.recursive(columns | number_literals(), grow, max_leaves=4)


def strings() -> st.SearchStrategy[Node]:
    columns = st.sampled_from(STRINGS).map(lambda name: (name, lambda row: text_of(row, name)))
    literals = st.sampled_from(WORDS).map(lambda word: (f'"{word}"', lambda _: word))
    plain = columns | literals
    return plain | plain.map(lambda p: (f"lower({p[0]})", lambda row: p[1](row).lower()))


def conditions() -> st.SearchStrategy[Node]:
    orders = st.sampled_from(list(ORDERS))
    compared = st.tuples(numbers(), orders, numbers()).map(
        lambda p: (
            # Two bare columns would be compared as strings.
            f"0 + {p[0][0]} {p[1]} {p[2][0]}",
            lambda row: compare_numbers(p[1], p[0][1](row), p[2][1](row)),
        )
    )
    chained = st.tuples(numbers(), orders, numbers(), orders, numbers()).map(
        lambda p: (
            f"{p[0][0]} {p[1]} 0 + {p[2][0]} {p[3]} {p[4][0]}",
            lambda row: (
                compare_numbers(p[1], p[0][1](row), p[2][1](row))
                and compare_numbers(p[3], p[2][1](row), p[4][1](row))
            ),
        )
    )
    # Two bare columns would be ordered as numbers.
    two = st.tuples(strings(), orders, strings()).filter(
        lambda p: p[1] in ("==", "!=") or not {p[0][0], p[2][0]} <= set(STRINGS)
    )
    worded = two.map(
        lambda p: (f"{p[0][0]} {p[1]} {p[2][0]}", lambda row: ORDERS[p[1]](p[0][1](row), p[2][1](row)))
    )
    among_words = st.tuples(strings(), st.booleans(), st.lists(st.sampled_from(WORDS), min_size=1)).map(
        lambda p: (
            f"{p[0][0]} {'not ' * p[1]}in [{', '.join(f'{chr(34)}{w}{chr(34)}' for w in p[2])}]",
            lambda row: (p[0][1](row) in p[2]) != p[1],
        )
    )
    among_numbers = st.tuples(
        numbers(), st.booleans(), st.lists(st.integers(-5, 20), min_size=1, max_size=12)
    ).map(
        lambda p: (
            f"{p[0][0]} {'not ' * p[1]}in [{', '.join(map(str, p[2]))}]",
            lambda row: not math.isnan(p[0][1](row)) and (p[0][1](row) in p[2]) != p[1],
        )
    )
    asks: dict[str, Callable[[str, str], bool]] = {
        "starts_with": str.startswith,
        "ends_with": str.endswith,
        "contains": lambda text, part: part in text,
        "matches": lambda text, pattern: re.fullmatch(re.escape(pattern), text) is not None,
    }
    asked = st.tuples(st.sampled_from(list(asks)), strings(), st.sampled_from(WORDS)).map(
        lambda p: (f'{p[0]}({p[1][0]}, "{p[2]}")', lambda row: asks[p[0]](p[1][1](row), p[2]))
    )
    missing_numbers = st.sampled_from(NUMBERS).map(
        lambda name: (f"missing({name})", lambda row: math.isnan(row[name]))
    )
    missing_strings = st.sampled_from(STRINGS).map(
        lambda name: (f"missing({name})", lambda row: row[name.strip("`")] is None)
    )
    constants = st.sampled_from([("true", True), ("false", False)]).map(lambda p: (p[0], lambda _: p[1]))
    truths = st.sampled_from(NUMBERS).map(
        lambda name: (name, lambda row: not math.isnan(row[name]) and row[name] != 0)
    )

    def grow(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        both = st.tuples(inner, inner).map(
            lambda p: (f"({p[0][0]} and {p[1][0]})", lambda row: p[0][1](row) and p[1][1](row))
        )
        either = st.tuples(inner, inner).map(
            lambda p: (f"({p[0][0]} or {p[1][0]})", lambda row: p[0][1](row) or p[1][1](row))
        )
        return both | either | inner.map(lambda p: (f"not ({p[0]})", lambda row: not p[1](row)))

    leaves = compared | chained | worded | among_words | among_numbers | asked
    return st.recursive(leaves | missing_numbers | missing_strings | constants | truths, grow, max_leaves=6)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.sampled_from([math.nan, 0.0, 0.5, 2.0, 90.0, 1e300, -3.0]),
            "b.c": st.sampled_from([math.nan, 0.0, 1.0, 12.0, -1e300]),
            "s": st.sampled_from([None, *WORDS]),
            "t-u": st.sampled_from([None, *WORDS]),
        }
    ),
    max_size=12,
)


def columns_of(rows: list[Row]) -> dict[str, Column]:
    columns: dict[str, Column] = {
        name: np.array([row[name] for row in rows], dtype=np.float64) for name in ("a", "b.c")
    }
    for name in ("s", "t-u"):
        # One entry twice, since a dictionary may repeat.
        values = ["GET", *dict.fromkeys(row[name] for row in rows if row[name] is not None)]
        codes = [-1 if row[name] is None else len(values) - 1 - values[::-1].index(row[name]) for row in rows]
        columns[name] = Strings(np.array(codes, dtype=np.int32), values)
    return columns


@given(conditions(), ROWS)
def test_mask_equals_the_naive_evaluation(node: Node, rows: list[Row]) -> None:
    text, meaning = node
    mask = compile_expression(text).mask(columns_of(rows), len(rows))
    assert mask.dtype == np.bool_
    assert mask.tolist() == [bool(meaning(row)) for row in rows]


@given(numbers(), ROWS)
def test_values_equal_the_naive_evaluation(node: Node, rows: list[Row]) -> None:
    text, meaning = node
    values = compile_number(text).values(columns_of(rows), len(rows))
    np.testing.assert_array_equal(values, [meaning(row) for row in rows])


@given(st.text(alphabet="ab.s`\"'()[]<>=!&|+-*/, 0129emsinotrdw\\", max_size=24))
def test_any_text_compiles_or_raises_an_error_that_points_into_it(text: str) -> None:
    error = mistake_in(text)
    if error is not None:
        assert 0 <= error.position <= len(text)
        assert error.message in str(error)
        assert str(error).splitlines()[-1].strip() == "^"


def mistake_in(text: str) -> ExpressionError | None:
    try:
        compile_expression(text)
    except ExpressionError as error:
        return error
    return None


def mask(text: str, **columns: list[Any]) -> list[bool]:
    made: dict[str, Column] = {}
    for name, values in columns.items():
        if any(isinstance(value, str) for value in values):
            entries = [value for value in values if value is not None]
            codes = np.array([-1 if v is None else entries.index(v) for v in values], dtype=np.int32)
            made[name] = Strings(codes, entries)
        else:
            made[name] = np.array([math.nan if v is None else v for v in values], dtype=np.float64)
    length = len(next(iter(columns.values())))
    return compile_expression(text).mask(made, length).tolist()


def test_a_missing_number_is_in_no_comparison_but_in_its_negation() -> None:
    assert mask("status != 200", status=[200, 503, None]) == [False, True, False]
    assert mask("status not in [200]", status=[200, 503, None]) == [False, True, False]
    assert mask("not (status < 500)", status=[200, 503, None]) == [False, True, True]


def test_a_missing_string_equals_the_empty_one() -> None:
    assert mask('route == ""', route=["/", "", None]) == [False, True, True]
    assert mask("missing(route)", route=["/", "", None]) == [False, False, True]


def test_numbers_are_read_from_a_column_that_is_kept_as_strings() -> None:
    status = ["200", "503", "-", None, "true"]
    assert mask("status >= 500", status=status) == [False, True, False, False, False]
    assert mask("status == true", status=status) == [False, False, False, False, True]


def test_a_column_that_the_batch_lacks_is_missing() -> None:
    assert compile_expression("missing(a) and not (b == 1)").mask({}, 2).tolist() == [True, True]


def test_kinds_follow_from_use() -> None:
    def kinds(text: str) -> dict[str, str]:
        return dict(compile_expression(text).columns)

    assert kinds('status < 500 and route != "/health"') == {"status": "number", "route": "string"}
    assert kinds("a == b") == {"a": "string", "b": "string"}
    assert kinds("a < b") == {"a": "number", "b": "number"}
    assert kinds("a == b and b == c and c > 1") == {"a": "number", "b": "number", "c": "number"}
    assert kinds("lower(`k8s.pod-name`) == 'x'") == {"k8s.pod-name": "string"}
    asked = compile_expression("missing(x) or y > 1")
    assert asked.soft == {"x"}


def test_expressions_are_equal_by_text_and_survive_pickling() -> None:
    one, two = compile_expression("a > 1"), compile_expression("a > 1")
    assert one == two
    assert hash(one) == hash(two)
    assert one != compile_expression("a > 2")
    again: Expression = pickle.loads(pickle.dumps(one))
    assert again.mask({"a": np.array([0.0, 2.0])}, 2).tolist() == [False, True]


def test_equal_parts_are_computed_once() -> None:
    once = compile_expression("status < 500")
    twice = compile_expression("status < 500 and (status < 500 or status < 500)")
    assert len(twice.steps) == len(once.steps) + 2


@pytest.mark.parametrize(
    ("text", "position", "part"),
    [
        ("status = 3", 7, "write `==`"),
        ("a > 1 && b > 1", 6, "write `and`"),
        ("!a", 0, "write `not`"),
        ("a > 1 AND b > 1", 6, "write and in small letters"),
        ("a == null", 5, "missing(column)"),
        ("a in []", 5, "the list is empty"),
        ('a in [1, "x"]', 9, "only numbers or only strings"),
        ('a == "x', 5, "not closed"),
        ("a > 5min", 4, "neither a number nor a duration"),
        ("(a > 1", 6, "expected )"),
        ("a >", 3, "ends too early"),
        ("a + 1", 2, "expected a condition, found a number"),
        ('a > 1 and a == "x"', 10, "used as a string here, but as a number at column 1"),
        ('"x" == 1', 4, "a string is compared with a number"),
        ('matches(a, "(")', 11, "not a regular expression"),
        ("startswith(a, 'b')", 0, "did you mean starts_with?"),
        ("matches(a)", 0, "takes 2 arguments, found 1"),
        ("(a > 1) + 2 > 1", 3, "a condition is not a value"),
        ("missing(lower(a))", 8, "missing takes a column"),
        ("", 0, "empty"),
        ("not " + "(" * 100 + "a" + ")" * 100, 68, "nested deeper"),
    ],
)
def test_mistakes_are_pointed_at(text: str, position: int, part: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert part in str(caught.value)
    assert caught.value.position == position


def test_an_unknown_column_is_told_with_the_nearest_known_one() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression("route == 'x' and statu < 500", known=["status", "route"])
    assert str(caught.value).splitlines() == [
        "unknown column statu; did you mean status?",
        "  route == 'x' and statu < 500",
        "                   ^",
    ]
