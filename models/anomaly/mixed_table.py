"""A table with columns of numbers and of words as a matrix that distances and splits make sense of.

Numbers become sign(x) log(1 + |x|): counts and bytes span orders of magnitude, while shares stay nearly what
they are. A column of words becomes one column for each frequent word, one for words never seen before, and
one for how rare the word is; so an unknown word is as far from each known one as these are from each other,
and rare.

Axes: N rows, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.arrays import Numbers

Columns = Mapping[str, NDArray[Any]]
"""Columns of equal length by name."""

WORDS_MAX = 100
"""Words of a column that get a feature of their own, the most frequent ones; rarity covers the others."""


@dataclass(frozen=True, slots=True)
class MixedTable:
    """How the columns of a table become features.

    numbers : names of the columns of numbers
    words   : for each other column its known words, the most frequent first, and how often each was seen
    rows    : how many rows were seen
    """

    numbers: tuple[str, ...]
    words: Mapping[str, tuple[tuple[str, ...], tuple[int, ...]]]
    rows: int

    @classmethod
    def fit(cls, columns: Columns) -> Self:
        """Learn words and their frequencies. Columns whose dtype is no number hold words.

        Raises ValueError where there is no column, or lengths differ.
        """
        rows = row_count(columns)
        numbers = tuple(name for name, values in columns.items() if np.asarray(values).dtype.kind in "biuf")
        words = {}
        for name, values in columns.items():
            if name not in numbers:
                known, counts = np.unique(np.asarray(values).astype(str), return_counts=True)
                order = np.argsort(-counts, kind="stable")
                words[name] = (tuple(known[order].tolist()), tuple(counts[order].tolist()))
        return cls(numbers, words, rows)

    @property
    def features(self) -> tuple[str, ...]:
        """F names."""
        found = list(self.numbers)
        for name, (known, _) in self.words.items():
            found += [f"{name}={word}" for word in known[:WORDS_MAX]]
            found += [f"{name} unseen", f"{name} rarity"]
        return tuple(found)

    def transform(self, columns: Columns) -> Numbers:
        """Numbers [N, F] of the features; what is no number in a column of numbers is NaN.

        Raises ValueError where a column is missing or lengths differ.
        """
        missing = [name for name in (*self.numbers, *self.words) if name not in columns]
        if missing:
            raise ValueError(f"no column {missing[0]!r}; the table has {', '.join(map(str, columns))}")
        rows = row_count(columns)
        found = [signed_log(as_numbers(columns[name])) for name in self.numbers]
        for name, (known, counts) in self.words.items():
            values = np.asarray(columns[name]).astype(str)
            place = {word: number for number, word in enumerate(known)}
            code = np.fromiter((place.get(word, -1) for word in values.tolist()), np.int64, rows)
            found += [(code == number).astype(np.float64) for number in range(min(len(known), WORDS_MAX))]
            seen = np.append(np.array(counts, np.float64), 0.0)[code]
            found += [(code < 0).astype(np.float64), -np.log((seen + 0.5) / (self.rows + 1.0))]
        return np.stack(found, axis=1) if found else np.zeros((rows, 0))


def signed_log(values: Numbers) -> Numbers:
    """Numbers of the same shape, sign(x) log(1 + |x|)."""
    return np.copysign(np.log1p(np.abs(values)), values)


def as_numbers(values: NDArray[Any]) -> Numbers:
    """Numbers of the same shape; NaN for text that is none."""
    found = np.asarray(values)
    if found.dtype.kind in "biuf":
        return found.astype(np.float64)
    return np.array([number_or_nan(text) for text in found.astype(str).tolist()], np.float64)


def number_or_nan(text: str) -> float:
    """The number that a text is, NaN if none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def row_count(columns: Columns) -> int:
    """Rows of a table. Raises ValueError if it has no column, or columns of different lengths."""
    lengths: Sequence[int] = sorted({len(values) for values in columns.values()})
    if len(lengths) != 1:
        raise ValueError(
            f"columns of one length expected, got lengths {', '.join(map(str, lengths)) or 'none'}"
        )
    return lengths[0]
