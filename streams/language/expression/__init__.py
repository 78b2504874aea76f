"""The expression language: conditions and numbers over the columns of an `EventBatch`.

    status < 500 and route != "/health"
    method in ["GET", "HEAD"] and not starts_with(lower(agent), "bot")
    0 < duration <= 500ms or missing(`k8s.pod-name`)

Names are columns, dotted where the field is (`http.route`), between backquotes where they hold odd
characters. Numbers may have units of time and then mean seconds. Functions: `starts_with`, `ends_with`,
`contains`, `matches` (a regular expression for the whole value), `lower`, `missing`.

Guarantees: a missing string equals `""`; a comparison with a missing number is false, `!=` and `not in`
too, while `not` turns that false into true; a division by zero is missing; a column that a batch lacks
is missing throughout. A bare column as a condition holds where it is a number other than 0 (true). There
are no side effects, and nothing is evaluated but what is listed here.

May import what `language` may.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from models.arrays import Mask, Numbers
from streams.events.batch import Column, Kind, Strings
from streams.language.expression.kinds import infer_kinds
from streams.language.expression.program import Step, build_program, run_program
from streams.language.expression.syntax import ExpressionError, parse, quote_column, quote_text

__all__ = [
    "Expression",
    "ExpressionError",
    "compile_expression",
    "compile_number",
    "conjoin",
    "quote_column",
    "quote_text",
]


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled condition; two are equal if their texts are.

    text    : as the user wrote it
    columns : the columns it reads and how each is used
    soft    : columns of which it only asks whether they are missing, so that either kind will do
    """

    text: str
    columns: Mapping[str, Kind] = field(compare=False)
    soft: frozenset[str] = field(compare=False, default=frozenset())
    steps: tuple[Step, ...] = field(compare=False, repr=False, default=())
    numeric: bool = False

    def mask(self, columns: Mapping[str, Column], length: int) -> Mask:
        """Where the condition holds : Mask [E], for E = `length` rows."""
        assert not self.numeric, "this expression is a number, not a condition"
        value = run_program(self.steps, self._present(columns, length))
        if isinstance(value, np.ndarray) and value.ndim == 1:
            return cast(Mask, value)
        return np.full(length, bool(value))

    def values(self, columns: Mapping[str, Column], length: int) -> Numbers:
        """The number of each row : Numbers [E], NaN where missing; for `compile_number` only."""
        assert self.numeric, "this expression is a condition, not a number"
        value = run_program(self.steps, self._present(columns, length))
        if isinstance(value, np.ndarray) and value.ndim == 1:
            return cast(Numbers, value)
        return np.full(length, float(cast(float, value)))

    def _present(self, columns: Mapping[str, Column], length: int) -> Mapping[str, Column]:
        """The columns it reads; one that the batch does not have is missing in every row."""
        absent = self.columns.keys() - columns.keys()
        if not absent:
            return columns
        nothing = Strings.missing(length)
        return {**columns, **dict.fromkeys(absent, nothing)}

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled as its text: steps are closures."""
        return (compile_number if self.numeric else compile_expression, (self.text,))


def compile_expression(text: str, known: Collection[str] | None = None) -> Expression:
    """Compile a condition.

    known : the source's columns where these are fixed; any other name is an error
    Raises ExpressionError, which points at the place.

    >>> import numpy as np
    >>> compile_expression("status < 500").mask({"status": np.array([200.0, 503.0])}, 2)
    array([ True, False])
    """
    return _compile(text, known, numeric=False)


def compile_number(text: str, known: Collection[str] | None = None) -> Expression:
    """Compile a number, such as `bytes_in + bytes_out`; otherwise as `compile_expression`."""
    return _compile(text, known, numeric=True)


def _compile(text: str, known: Collection[str] | None, *, numeric: bool) -> Expression:
    root = parse(text)
    kinds = infer_kinds(text, root, known, numeric=numeric)
    return Expression(
        text, kinds.columns, kinds.soft, build_program(root, kinds.columns, numeric=numeric), numeric
    )


def conjoin(*parts: Expression | None) -> Expression | None:
    """The condition that all `parts` hold; None if there are none. Raises ExpressionError."""
    texts = list(dict.fromkeys(part.text for part in parts if part is not None))
    if len(texts) < 2:
        return next((part for part in parts if part is not None), None)
    return compile_expression(" and ".join(f"({text})" for text in texts))
