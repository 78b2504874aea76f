"""Exemplars: for each series the worst recent event that carries a trace id.

Not part of the exact state: an exemplar may be lost in a restart, and a repeat replaces an equal one.
Cost: one sort of a batch's traced rows; at most `SERIES_MAX` series are kept between two flushes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.arrays import EpochMs, Mask, Rows
from streams.events.batch import Column, Strings
from streams.partials.frame import ExemplarRow
from streams.partials.series import SeriesIndex

TRACE_LENGTH_MAX = 128
"""Characters of a trace id; OpenMetrics has no room for longer ones."""

SERIES_MAX = 1_000


class Exemplars:
    """Exemplars of one rollup since the last flush.

    trace_id : name of the string column with trace ids
    measured : name of the number column that tells how bad an event is; None where there is none
    """

    def __init__(self, index: SeriesIndex, trace_id: str, measured: str | None) -> None:
        self._index = index
        self._trace_id = trace_id
        self._measured = measured
        self._kept: dict[int, ExemplarRow] = {}

    def note(self, columns: Mapping[str, Column], time_ms: EpochMs, series: Rows, errors: Mask) -> None:
        """Keep of each series the row that is worst: errors before others, then the longest."""
        traces = columns.get(self._trace_id)
        if not isinstance(traces, Strings) or len(self._kept) >= SERIES_MAX:
            return
        traced = np.flatnonzero(traces.codes >= 0)
        if len(traced) == 0:
            return
        values = np.ones(len(traced))
        if self._measured is not None:
            column = columns.get(self._measured)
            if column is not None and not isinstance(column, Strings):
                values = np.nan_to_num(column[traced], nan=1.0, posinf=1.0, neginf=1.0)
        order = np.lexsort((values, errors[traced], series[traced]))
        ordered = series[traced][order]
        worst = order[np.append(ordered[1:] != ordered[:-1], True)][:SERIES_MAX]
        for row in worst.tolist():
            at = int(traced[row])
            trace = traces.values[int(traces.codes[at])]
            if 0 < len(trace) <= TRACE_LENGTH_MAX:
                self._remember(
                    int(series[at]), trace, float(values[row]), int(time_ms[at]), error=bool(errors[at])
                )

    def _remember(self, series: int, trace: str, value: float, time_ms: int, *, error: bool) -> None:
        key = int(self._index.hashes[series])
        known = self._kept.get(key)
        if known is None or (error, value) >= (known.error, known.value):
            self._kept[key] = ExemplarRow(self._index.rollup, key, trace, value, time_ms, error)

    def drain(self) -> list[ExemplarRow]:
        """The exemplars since the last call, which are then gone from here."""
        rows = list(self._kept.values())
        self._kept.clear()
        return rows
