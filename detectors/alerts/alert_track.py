"""The live alerts of one SLO and severity as parallel arrays, so that a step costs no loop over them.

N live alerts, all firing; rows leave when their alert resolves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import eq
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.alerts.alert import Alert
from models.arrays import EpochMs, Mask, Rows

Group: TypeAlias = tuple[str, ...]

NEVER = -1
"""Stands for "not since any time"; event times before 1970 do not occur."""


class Track:
    """N live alerts.

    source   : whose events they are about
    groups   : N groups, the values of the SLO's `group_by`
    alerts   : N alerts as they were announced last
    rows     : Rows [N], the group's series in this step; -1 where there is none
    clear_ms : EpochMs [N], since when the burn has been over, else NEVER
    lost_ms  : EpochMs [N], since when there has been no data to judge, else NEVER
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.groups: list[Group] = []
        self.alerts: list[Alert] = []
        self.rows: Rows = np.empty(0, np.int64)
        self.clear_ms: EpochMs = np.empty(0, np.int64)
        self.lost_ms: EpochMs = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.groups)

    def place(self, labels_of: Callable[[int], Group], series_count: int) -> None:
        """Find each alert's series; series may have moved since the last step, or by a restart."""
        rows = self.rows
        if np.all((rows >= 0) & (rows < series_count)) and all(
            map(eq, map(labels_of, rows.tolist()), self.groups)
        ):
            return
        found: dict[Group, int] = {labels_of(row): row for row in range(series_count)}
        self.rows = np.array([found.get(group, -1) for group in self.groups], np.int64)

    def advance(
        self,
        at_ms: int,
        *,
        burning: Mask,
        absent: Mask,
        keep_ms: int,
        window_ms: int,
    ) -> tuple[Mask, bool]:
        """Move all clocks to `at_ms`.

        burning, absent : Mask [S] of the severity
        returns : Mask [N] of alerts that end, and whether any clock was started or stopped
        """
        burns = self._of_mine(burning)
        known = burns | ((self.rows >= 0) & ~self._of_mine(absent))
        moved = _run(self.lost_ms, at_ms, start=~known, stop=known)
        forgotten = ~known & (at_ms - self.lost_ms >= window_ms)

        over = known & ~burns
        moved |= _run(self.clear_ms, at_ms, start=over, stop=burns)
        resolved = over & (at_ms - self.clear_ms >= keep_ms)
        return forgotten | resolved, moved

    def _of_mine(self, mask: Mask) -> Mask:
        mine = np.zeros(len(self.rows), np.bool_)
        there = self.rows >= 0
        mine[there] = mask[self.rows[there]]
        return mine

    def extend(self, entries: list[tuple[Group, Alert, int, int, int]]) -> None:
        """Add alerts: (group, alert, row, clear_ms, lost_ms) each."""
        if not entries:
            return
        groups, alerts, rows, clear_ms, lost_ms = zip(*entries, strict=True)
        self.groups += groups
        self.alerts += alerts
        self.rows = _joined(self.rows, rows)
        self.clear_ms = _joined(self.clear_ms, clear_ms)
        self.lost_ms = _joined(self.lost_ms, lost_ms)

    def remove(self, gone: Mask) -> None:
        kept = np.flatnonzero(~gone)
        self.groups = [self.groups[index] for index in kept]
        self.alerts = [self.alerts[index] for index in kept]
        for name in ("rows", "clear_ms", "lost_ms"):
            setattr(self, name, getattr(self, name)[kept])

    def stored(self) -> list[dict[str, Any]]:
        """A JSON-able row for each alert; series are left out, `place` finds them again."""
        return [
            {
                "source": self.source,
                "group": list(self.groups[index]),
                "true_ms": self.alerts[index].starts_at_ms,
                "clear_ms": int(self.clear_ms[index]),
                "lost_ms": int(self.lost_ms[index]),
                "alert": self.alerts[index].to_dict(),
            }
            for index in range(len(self))
        ]

    def restore(self, row: Mapping[str, Any]) -> None:
        """Add an alert from a row of `stored`."""
        alert = Alert.from_dict(row["alert"])
        self.extend([(tuple(row["group"]), alert, -1, row["clear_ms"], row["lost_ms"])])


def _run(since_ms: EpochMs, at_ms: int, *, start: Mask, stop: Mask) -> bool:
    """Start and stop clocks where they are not so already; returns whether any changed."""
    starts, stops = start & (since_ms == NEVER), stop & (since_ms != NEVER)
    since_ms[starts] = at_ms
    since_ms[stops] = NEVER
    return bool(starts.any() or stops.any())


def _joined(column: NDArray[Any], more: Any) -> NDArray[Any]:
    return np.concatenate([column, np.asarray(more, column.dtype)])
