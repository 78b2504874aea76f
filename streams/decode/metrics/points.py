"""Metric points as columns: what Influx, Telegraf, the Prometheus adapter and collectd have in common.

A record holds *items* (a line, a metric, a sample, a value list). An item has one time and one or more
points, and each point is an event with these columns, as far as the layout wants them:

    metric   the point's name
    value    the number; NaN for text; as a string column the text or the plainly written number
    others   the format's own parts by name (`field`, `plugin`), then tags and labels by name;
             `tags.x` and `labels.x` reach a tag or label whose name is taken

Guarantee: one column value per point, rows in the order of the log, an item that cannot be read is one
`Dead` and takes all its points with it. What is remembered of earlier batches only saves work.
Cost: what depends on a series alone (labels, hash, whether it is a counter) is computed once a series;
memory is bounded by `SERIES_REMEMBERED_MAX`.
"""

from __future__ import annotations

import fnmatch
import re
from array import array
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.arrays import Codes, Counts, EpochMs, Mask, Numbers, Rows
from streams.decode.json.shape import to_number
from streams.decode.strings import plain_text, scaled, whole_text
from streams.events.batch import Column, Counters, Dead, EventBatch, Field, Kind, Layout, Records, Strings

SERIES_REMEMBERED_MAX = 100_000
"""Series kept in mind before starting anew: some 100 MB, and ten times what one topic usually carries."""

Temporality: TypeAlias = Literal["gauge", "cumulative", "delta"]
"""A measured value, a count since some start, or a count since the point before."""

_TEMPORALITIES: tuple[Temporality, ...] = ("gauge", "cumulative", "delta")
_CUMULATIVE, _DELTA = 1, 2

_WEIGHT_MAX = float(1 << 53)
"""Deltas are cut to it: a larger one is no count, since floats are not exact there."""


class _LabelColumn:
    """A wanted column that depends on the series alone; grows by one entry a series."""

    def __init__(self, kind: Kind, place: Field) -> None:
        self.kind = kind
        self._place = place
        self._codes = array("i")
        self._numbers = array("d")
        self._dictionary: dict[str, int] = {}
        self._texts: list[str] = []

    def add(self, metric: str, parts: Mapping[str, str], labels: Mapping[str, str]) -> None:
        text = _find(self._place.path, metric, parts, labels)
        if self.kind == "number":
            self._numbers.append(to_number(text))
        elif text is None:
            self._codes.append(-1)
        else:
            code = self._dictionary.setdefault(text, len(self._dictionary))
            if code == len(self._texts):
                self._texts.append(whole_text(text))
            self._codes.append(code)

    def values_of(self, series: Codes) -> Column:
        """Values [E] of the points' series, with the dictionary entries that these need."""
        if self.kind == "number":
            return scaled(np.frombuffer(self._numbers, np.float64)[series], self._place.scale)
        codes = np.frombuffer(self._codes, np.int32)[series]
        used = np.zeros(len(self._texts) + 1, np.bool_)
        used[codes] = True  # a missing value, -1, marks the additional last entry
        used[-1] = False
        renumbered = np.cumsum(used, dtype=np.int32) - 1
        renumbered[-1] = -1
        return Strings(renumbered[codes], [self._texts[code] for code in np.flatnonzero(used).tolist()])


def _find(path: str, metric: str, parts: Mapping[str, str], labels: Mapping[str, str]) -> str | None:
    if path == "metric":
        return metric
    found = parts.get(path, labels.get(path))
    if found is None and path.startswith(("tags.", "labels.")):
        found = labels.get(path.partition(".")[2])
    return found


class SeriesTable:
    """All series met, by number, with everything that follows from a series' name and labels."""

    def __init__(self, layout: Layout) -> None:
        places = {name: layout.fields.get(name, Field(name)) for name in layout.wanted}
        self._labels = {
            name: _LabelColumn(kind, places[name])
            for name, kind in layout.wanted.items()
            if places[name].path != "value"
        }
        values = {name: place for name, place in places.items() if place.path == "value"}
        self._values = {name: (layout.wanted[name], place.scale) for name, place in values.items()}
        self._is_counter = re.compile("|".join(map(fnmatch.translate, layout.counters)) or r"(?!)").match
        self._temporality = array("b")
        self._identity = array("Q")

    def __len__(self) -> int:
        return len(self._temporality)

    def add(
        self,
        metric: str,
        parts: Mapping[str, str],
        labels: Mapping[str, str],
        temporality: Temporality | None = None,
    ) -> int:
        """Number of a new series.

        parts       : the format's own columns besides `metric`
        labels      : tags or labels
        temporality : None where the format does not tell: `Layout.counters` decides by the metric's name
        """
        if temporality is None:
            temporality = "cumulative" if self._is_counter(metric) else "gauge"
        for column in self._labels.values():
            column.add(metric, parts, labels)
        self._temporality.append(_TEMPORALITIES.index(temporality))
        self._identity.append(_identity(metric, parts, labels) if temporality == "cumulative" else 0)
        return len(self) - 1

    def columns(self, series: Codes, value: Numbers, texts: Mapping[int, str]) -> dict[str, Column]:
        """The wanted columns [E] of points.

        series : Codes [E], numbers that `add` gave
        value  : Numbers [E]
        texts  : rows whose value is text
        """
        columns: dict[str, Column] = {name: column.values_of(series) for name, column in self._labels.items()}
        for name, (kind, scale) in self._values.items():
            columns[name] = scaled(value, scale) if kind == "number" else _as_strings(value, texts)
        return columns

    def counters(self, series: Codes, value: Numbers) -> Counters | None:
        """The rows that are cumulative."""
        rows = np.flatnonzero(self._kinds(series) == _CUMULATIVE)
        if not len(rows):
            return None
        return Counters(
            rows=rows,
            identity=np.frombuffer(self._identity, np.uint64)[series[rows]],
            start_ms=np.zeros(len(rows), np.int64),
            value=value[rows],
            columns={name: scale for name, (kind, scale) in self._values.items() if kind == "number"},
        )

    def weight(self, series: Codes, value: Numbers) -> Counts | None:
        """Occurrences [E], None for one each: a delta stands for its value, a total for none as yet."""
        kinds = self._kinds(series)
        if not kinds.any():
            return None
        delta = np.rint(np.clip(np.nan_to_num(value, nan=0.0), 0.0, _WEIGHT_MAX)).astype(np.int64)
        return np.where(kinds == _DELTA, delta, np.where(kinds == _CUMULATIVE, 0, 1))

    def _kinds(self, series: Codes) -> NDArray[np.int8]:
        return np.frombuffer(self._temporality, np.int8)[series]


def _identity(metric: str, parts: Mapping[str, str], labels: Mapping[str, str]) -> int:
    """64-bit key of a time series, the same on every machine and for any order of its labels.

    The separator 0xff occurs in no UTF-8 text, so that different series never write the same bytes.
    """
    pieces = [metric, *(piece for pair in sorted(parts.items()) for piece in pair), ""]
    pieces += [piece for pair in sorted(labels.items()) for piece in pair]
    joined = b"\xff".join(piece.encode("utf-8", "replace") for piece in pieces)
    return int.from_bytes(blake2b(joined, digest_size=8).digest(), "little")


def _as_strings(value: Numbers, texts: Mapping[int, str]) -> Strings:
    distinct, inverse = np.unique(value, return_inverse=True)
    entries = [plain_text(number) or "" for number in distinct.tolist()]
    codes: Codes = inverse.astype(np.int32)
    for row, text in texts.items():
        codes[row] = len(entries)
        entries.append(whole_text(text))
    return Strings(codes, entries)


def to_batch(
    table: SeriesTable,
    records: Records,
    *,
    item_record: Rows,
    time_ms: EpochMs,
    good: Mask,
    item: Rows,
    series: Codes,
    value: Numbers,
    texts: Mapping[int, str],
    dead: Sequence[Dead],
) -> EventBatch:
    """The events of the good items.

    item_record : Rows [M], positions in `records`, never descending
    time_ms     : EpochMs [M]
    good        : Mask [M], items to keep
    item        : Rows [E], the item of each point, ascending
    series      : Codes [E], numbers that `table` gave
    value       : Numbers [E]
    texts       : points whose value is text
    dead        : items that could not be decoded; records with neither good nor dead items are `skipped`
    """
    with_content = np.zeros(len(records), np.bool_)
    with_content[item_record[good]] = True
    with_content[[entry.record for entry in dead]] = True
    if not good.all():
        kept = np.flatnonzero(good[item])
        if texts:
            moved = {row: new for new, row in enumerate(kept.tolist())}
            texts = {moved[row]: text for row, text in texts.items() if row in moved}
        item, series, value = item[kept], series[kept], value[kept]
    return EventBatch(
        time_ms=time_ms[item],
        record=item_record[item],
        columns=table.columns(series, value, texts),
        weight=table.weight(series, value),
        counters=table.counters(series, value),
        dead=tuple(sorted(dead, key=lambda entry: entry.record)),
        skipped=len(records) - int(np.count_nonzero(with_content)),
    )
