"""Payloads made of plain values, and told as plain values, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from streams.partials.payload import Payload, Ragged

Entries = tuple[tuple[int, int], ...]
Row = tuple[tuple[int, ...], Entries, Entries]
"""A row's counts, and (slot, value) of its bins and of its registers."""


def ragged(rows: Sequence[Mapping[int, int]], dtype: type[np.generic]) -> Ragged[Any]:
    """rows : slot to value of each row"""
    return Ragged(
        np.array([len(row) for row in rows], dtype=np.int64),
        np.array([slot for row in rows for slot in row], dtype=np.int64),
        np.array([value for row in rows for value in row.values()], dtype=dtype),
    )


def rows_of(payload: Payload) -> list[Row]:
    counts = [tuple(row) for row in payload.counts.tolist()]
    return list(zip(counts, _entries(payload.bins), _entries(payload.registers), strict=True))


def _entries(part: Ragged[Any]) -> list[Entries]:
    told = list(zip(part.slots.tolist(), part.values.tolist(), strict=True))
    bounds = accumulate(part.per_row.tolist(), initial=0)
    return [tuple(told[start:stop]) for start, stop in pairwise(bounds)]
