"""Series of one rollup in one partition of the partials: from 64-bit keys to dense numbers.

Guarantee: a key keeps its number until `keep` numbers the series anew. The source partitions fold what
exceeds a bucket's limit; what series pile up here over time is bounded by `series_count_max`: rows of series
beyond it get no number and are counted in `refused`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.arrays import Hashes, Mask, Rows
from streams.partials.series import decode_labels


class SeriesTable:
    """Numbers and labels of series."""

    def __init__(self, series_count_max: int) -> None:
        self.series_count_max = series_count_max
        self.refused = 0
        self.names: list[bytes] = []
        self.labels: list[tuple[str, ...]] = []
        self.hashes: Hashes = np.zeros(0, dtype=np.uint64)
        self._sorted: Hashes = self.hashes
        self._numbers: Rows = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def room(self) -> int:
        """How many more series there may be."""
        return max(self.series_count_max - len(self.names), 0)

    def numbers(self, hashes: Hashes, names: Sequence[bytes]) -> Rows:
        """Number of each series; unknown ones get the next, or -1 where there is no room.

        hashes : Hashes [N], distinct
        names  : their encoded labels
        returns: Rows [N]
        """
        position, known = self._find(hashes)
        if not known.all():
            unknown = np.flatnonzero(~known).tolist()
            room = self.room
            self.refused += max(len(unknown) - room, 0)
            self._add(hashes[unknown[:room]], [names[i] for i in unknown[:room]])
            position, known = self._find(hashes)
        numbers: Rows = (
            self._numbers[position] if len(self._numbers) else np.zeros(len(hashes), dtype=np.int64)
        )
        return numbers if known.all() else np.where(known, numbers, -1)

    def number(self, key: int) -> int | None:
        """Number of one series, None if it is unknown."""
        position, known = self._find(np.array([key], dtype=np.uint64))
        return int(self._numbers[position[0]]) if known[0] else None

    def keep(self, numbers: Rows) -> None:
        """Drop all series but some, ascending, which are numbered from 0 on."""
        kept = numbers.tolist()
        self.names = [self.names[number] for number in kept]
        self.labels = [self.labels[number] for number in kept]
        self.hashes = self.hashes[numbers]
        self._sort()

    def _find(self, hashes: Hashes) -> tuple[Rows, Mask]:
        if len(self._sorted) == 0:
            return np.zeros(len(hashes), dtype=np.int64), np.zeros(len(hashes), dtype=np.bool_)
        position = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
        return position, self._sorted[position] == hashes

    def _add(self, hashes: Hashes, names: Sequence[bytes]) -> None:
        self.names.extend(names)
        self.labels.extend(decode_labels(name) for name in names)
        self.hashes = np.concatenate([self.hashes, hashes])
        self._sort()

    def _sort(self) -> None:
        self._numbers = np.argsort(self.hashes)
        self._sorted = self.hashes[self._numbers]
