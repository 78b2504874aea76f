"""Sketches and registers of sealed buckets: ascending keys `series << BIN_BITS | bin` and what each holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.arrays import Counts, Rows
from streams.partials.cells import Keys, sum_parts
from streams.partials.sketch import BIN_BITS, BIN_COUNT


def merged_sketch(parts: Sequence[tuple[Keys, Counts]]) -> tuple[Keys, Counts]:
    """Sketches of several buckets as one; empty where there are none."""
    wide = [(keys.astype(np.int64), counts.astype(np.int64)) for keys, counts in parts]
    none = np.zeros(0, dtype=np.int64)
    return sum_parts(wide) if wide else (none, none)


def narrow(keys: Keys, counts: Counts) -> tuple[Keys, Counts]:
    """Keys and counts in 4 bytes each where they fit, since most of a series' memory is here."""
    if len(keys) and (int(keys[-1]) > np.iinfo(np.uint32).max or int(counts.max()) > np.iinfo(np.uint32).max):
        return keys, counts
    small = np.uint16 if not len(counts) or int(counts.max()) <= np.iinfo(np.uint16).max else np.uint32
    return keys.astype(np.uint32), counts.astype(small)


def renamed(keys: Keys, numbers: Rows) -> Keys:
    """Keys of bins or registers whose series are called otherwise; none of them was let go."""
    found: Keys = (numbers[keys >> BIN_BITS] << BIN_BITS) | (keys & (BIN_COUNT - 1))
    return found.astype(keys.dtype)
