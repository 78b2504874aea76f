"""From the rings to what the planner asks for: the past of a resource's series, and how they stand now.

Only sealed buckets are read. Axes: T steps, S series, C counters.
"""

from __future__ import annotations

import math

import numpy as np

from models.arrays import Counts, EpochMs, Numbers
from models.calendar.units import MINUTE_MS
from streams.plan.plan import BUCKET_MS, WINDOW_MS_MAX
from streams.plan.resource import LEVEL, LIMIT, USED, CapacityPlan, History, Present, SeriesKey, seen_name
from streams.plan.rollup import MICRO
from streams.window.rings import LEVEL_SLOT_MS
from streams.window.rollup_window import RollupWindow


class Histories:
    """The series of one resource in one partition of the partials."""

    def __init__(self, plan: CapacityPlan, window: RollupWindow) -> None:
        self._plan = plan
        self._window = window
        self._limited = LIMIT in window.rollup.measure_names
        self._cut: tuple[int, EpochMs, Counts] | None = None

    def keys(self) -> dict[SeriesKey, int]:
        """Each series and its number."""
        labels = self._window.table.labels[: self._window.rings.series_count]
        return {SeriesKey(self._plan.resource.name, name): number for number, name in enumerate(labels)}

    def history(self, number: int) -> History | None:
        """The past of a series by whole steps; None before its first."""
        starts, counts = self._steps()
        mine = counts[:, number]
        present = np.flatnonzero(mine.any(axis=1))
        if not len(present):
            return None
        starts, mine = starts[present[0] :], mine[present[0] :]
        kind = self._plan.resource.kind
        if kind == "quota":
            return History(starts, self._used(mine))
        if kind == "error_budget":
            good, total = (mine[:, column].astype(np.float64) for column in self._window.budget_columns)
            return History(starts, total - good, total)
        return History(starts, self._mean(mine, LEVEL), self._mean(mine, LIMIT) if self._limited else None)

    def present(self, number: int, end: int) -> Present:
        """How a series stands once the buckets before `end` are sealed."""
        labels = dict(zip(self._window.rollup.by, self._window.table.labels[number], strict=True))
        kind = self._plan.resource.kind
        if kind == "quota":
            (used,) = self._used(self._window.totals.period_at(end)[[number]])
            return Present(float(used), labels=labels)
        if kind == "error_budget":
            return Present(window=self._budget(number, end), labels=labels)
        last = self._last(number, 2 * self._plan.resource.step_ms)
        (level,) = self._mean(last, LEVEL)
        limit = float(self._mean(last, LIMIT)[0]) if self._limited else None
        return Present(float(level), limit, labels=labels)

    def _steps(self) -> tuple[EpochMs, Counts]:
        """Starts [T] of all whole steps that the rings hold, and their counts [T, S, C]."""
        end = self._window.rings.end
        assert end is not None, "a series was counted"
        if (
            self._cut is None
            or self._cut[0] != end
            or self._cut[2].shape[1] < self._window.rings.series_count
        ):
            self._cut = (end, *self._cut_steps())
        return self._cut[1:]

    def _cut_steps(self) -> tuple[EpochMs, Counts]:
        rings, step_ms = self._window.rings, self._plan.resource.step_ms
        slot_ms = LEVEL_SLOT_MS[self._plan.level]
        whole = max(step_ms // slot_ms, 1)
        slots = rings.whole_slots(self._plan.level)
        last = slots[-1] + 1 if len(slots) else 0
        steps = range(-(-slots[0] // whole) if len(slots) else 0, last // whole)
        starts = np.array([step * whole * slot_ms for step in steps], dtype=np.int64)
        counts = rings.slot_counts(self._plan.level, range(steps.start * whole, steps.stop * whole))
        return starts, counts.reshape(len(starts), whole, *counts.shape[1:]).sum(axis=1)

    def _budget(self, number: int, end: int) -> History:
        """Bad and all events of the SLO's window by step, or of its period so far in one."""
        period = self._plan.resource.period
        if period is not None:
            start_ms, _ = period.bounds(end * BUCKET_MS)
            counted = self._window.totals.period_at(end)[number].astype(np.float64)
            good, total = (counted[[column]] for column in self._window.budget_columns)
            return History(np.array([start_ms]), total - good, total)
        starts, counts = self._steps()
        good, total = (counts[:, number, column].astype(np.float64) for column in self._window.budget_columns)
        window_ms = self._plan.resource.window_ms or WINDOW_MS_MAX
        inside = starts >= end * BUCKET_MS - window_ms
        if not inside.any():
            return History(np.array([end * BUCKET_MS]), np.zeros(1), np.zeros(1))
        return History(starts[inside], (total - good)[inside], total[inside])

    def _last(self, number: int, within_ms: int) -> Counts:
        """Counts [1, C] of the newest buckets with a level, up to a minute of them."""
        rings = self._window.rings
        assert rings.end is not None
        buckets = MINUTE_MS // BUCKET_MS
        found: Counts = rings.between(rings.end - buckets, rings.end)[[number]]
        if not found.any() and within_ms > MINUTE_MS:
            found = rings.between(rings.end - within_ms // BUCKET_MS, rings.end)[[number]]
        return found

    def _used(self, counts: Counts) -> Numbers:
        """Amounts [T] of counts [T, C]."""
        return counts[:, self._window.rollup.measure_index(USED)] / MICRO

    def _mean(self, counts: Counts, name: str) -> Numbers:
        """Mean levels or limits [T] of counts [T, C]; NaN where none was seen."""
        total, seen = (counts[:, self._window.rollup.measure_index(each)] for each in (name, seen_name(name)))
        mean = np.full(len(counts), math.nan)
        np.divide(total / MICRO, seen, out=mean, where=seen > 0)
        return mean * self._plan.scale
