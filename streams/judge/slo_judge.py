"""SLOs of one source, judged at the end of each sealed bucket, in event time.

So alerts are a function of the data: no restart, lag or repeat shows in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from detectors.alerts.alert import Transition
from detectors.alerts.alert_state import AlertBook
from detectors.slo.burn_rate import judge
from detectors.slo.slo import Slo
from models.arrays import Counts
from streams.judge.maintenance import period_counts, without_maintenance
from streams.plan.plan import BUCKET_MS
from streams.plan.rollup import MICRO, Rollup, Sum
from streams.window.rollup_window import RollupWindow

QUIET_BUCKETS = 360
"""An hour: all buckets of a silence are sealed for so long, or for the longest of the windows that tiers call
short and of the slices, if that is longer. After it no tier has traffic to judge."""


@dataclass(frozen=True, slots=True)
class SliReport:
    """Windows and budget of one SLO at the end of a sealed bucket.

    labels      : S tuples, the values of `slo.group_by`
    good, total : Counts [W, S] in the order of `windows_ms`, maintenance left out
    budget_good, budget_total : Counts [S] of the SLO's window or calendar period
    """

    at_ms: int
    slo: Slo
    labels: Sequence[tuple[str, ...]]
    windows_ms: tuple[int, ...]
    good: Counts
    total: Counts
    budget_good: Counts
    budget_total: Counts


class SloJudge:
    """The SLOs of one source and the book of their alerts.

    evidence : gives what every alert carries beside its counts, as of now
    """

    def __init__(
        self,
        slos: Sequence[Slo],
        rollups: Mapping[str, RollupWindow],
        evidence: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.slos = slos
        self.book = AlertBook()
        self.state = b"[]"
        """The book as it is stored with the blocks."""
        self._rollups = rollups
        self._evidence = evidence
        self._revision = self.book.revision
        self._retired: list[Transition] = []
        lengths_ms = [ms for slo in slos for ms in (slo.slice_ms, *(tier.short_ms for tier in slo.tiers))]
        self._quiet = max(QUIET_BUCKETS, max(lengths_ms, default=0) // BUCKET_MS)

    def quiet_buckets(self) -> float:
        """Of how much of a silence each bucket has to be judged: all of it while an alert is live."""
        return float("inf") if self.book.live_count else self._quiet

    def load(self, state: bytes, at_ms: int) -> None:
        """Take over the stored book. Alerts of SLOs that are gone end with the next sealed bucket."""
        self.state = state
        self.book = AlertBook.load(msgspec.json.decode(state))
        self._revision = self.book.revision
        self._retired = self.book.retire(at_ms, self.slos)

    def step(self, at_ms: int) -> tuple[list[Transition], bool]:
        """Judge the windows that end at `at_ms`: what changed, and whether there is more to store."""
        moved, self._retired = [*self._retired, *self._judged(at_ms)], []
        changed = self.book.revision != self._revision
        if changed:
            self.state = msgspec.json.encode(self.book.state())
            self._revision = self.book.revision
        return moved, changed

    def _judged(self, at_ms: int) -> list[Transition]:
        moved: list[Transition] = []
        live = self.book.live_count > 0
        evidence = self._evidence()
        for slo in self.slos:
            window = self._rollups[slo.rollup]
            if not slo.tiers or window.series_count == 0:
                continue
            good, total = _counts(window, slo, at_ms)
            if not live and not (total > good).any():
                continue  # nothing bad in any window, and no alert to end
            verdicts = judge(
                slo,
                {w: (good[i], total[i]) for i, w in enumerate(window.rollup.windows_ms)},
                unit=_unit(window.rollup, slo),
            )
            moved += self.book.step(
                at_ms, slo, window.table.labels.__getitem__, verdicts, lambda _series: dict(evidence)
            )
        return moved

    def reports(self, at_ms: int) -> list[SliReport]:
        """Windows and budgets of all SLOs at the sealed instant `at_ms`."""
        reports = []
        for slo in self.slos:
            window = self._rollups[slo.rollup]
            if window.series_count == 0:
                continue
            # the rings go on; a report stays what it was
            good, total = (counts.copy() for counts in _counts(window, slo, at_ms))
            budget_good, budget_total = _budget(window, slo, at_ms, good, total)
            reports.append(
                SliReport(
                    at_ms,
                    slo,
                    window.table.labels[: good.shape[1]],
                    window.rollup.windows_ms,
                    good,
                    total,
                    budget_good,
                    budget_total,
                )
            )
        return reports


def _counts(window: RollupWindow, slo: Slo, at_ms: int) -> tuple[Counts, Counts]:
    """(good, total) : Counts [W, S] each, of the sealed windows, without maintenance."""
    sums = window.rings.sums()
    columns = window.budget_columns
    good, total = sums[:, :, columns[0]], sums[:, :, columns[1]]
    return without_maintenance(window, slo, at_ms, good, total)


def _budget(window: RollupWindow, slo: Slo, at_ms: int, good: Counts, total: Counts) -> tuple[Counts, Counts]:
    """(good, total) : Counts [S] each, of the SLO's rolling window or its calendar period so far."""
    if slo.calendar is None:
        row = window.rollup.windows_ms.index(slo.window_ms)
        return good[row], total[row]
    return period_counts(window, slo, at_ms)


def _unit(rollup: Rollup, slo: Slo) -> int | None:
    """How much one event counts in the SLO's counters, where the budgeting alone does not tell."""
    summed = any(isinstance(measure, Sum) for measure in rollup.measures)
    return MICRO if summed and slo.budgeting == "Occurrences" else None
