"""Traffic: rates, error ratios, latencies and counts of many series, judged against what each of them does.

A series is odd where its latest steps, as distances from a robust seasonal baseline, are far from anything
that its signal class has shown, alone or in combination (isolation forest). The oddness is calibrated to
incidents, so that `false_alarms_per_series_per_week` holds over all series once some weeks of series were
seen; see `detectors.calibration.calibration`. An incident is one alarm: `alarm` is true from its first step
until `REST_STEPS` steps in a row were normal, and a relapse before that is no new one.

What works when, at a step of a minute:

- after 5 minutes: nothing is judged; the first 40 steps of a first series only teach. A new series among
  known ones is judged after 12 steps, by what the others do.
- after an hour: spikes, drops, silence and level shifts against the last hour, with a threshold that is
  mostly assumed; the forest joins after 100 rows (25 steps of four series, 100 of one).
- after a day: the same against a day, with the usual tail of each series; the rise of the morning was seen.
  - after two days: hour of the day, by the local clock. After a week: days off apart from working days, and
  with ten series or more a rate of false alarms that is measured rather than assumed.

The anomaly does not poison the baseline: values are cut before they are learnt. It does become known to the
pool of shapes, so that the same again within a thousand steps is less odd. A level that stays is normal
after some hundreds of steps.

Axes: T steps, S series, F features.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from detectors.api.detector import PAGE, TICKET, Panel, SeriesName, State, Verdicts
from detectors.api.stateful import Stateful
from detectors.calibration.calibration import IncidentRate, run_memory, tail_of_rate
from detectors.traffic.incident_length import Incidents
from detectors.traffic.oddness import BLOCK_STEPS, Judged, Oddness
from detectors.traffic.quiet import Quiet, QuietTimes
from detectors.traffic.words import kinds
from models.anomaly.calendar_effects import CalendarEffects
from models.arrays import EpochMs, Mask, Numbers
from models.calendar.units import DAY_MS, MINUTE_MS

Direction = Literal["both", "up", "down"]

STEP_MS = MINUTE_MS
"""Taken for the step until two times were seen."""

EXPIRY_MS = 14 * DAY_MS
"""A series that was not seen for so long is forgotten."""

ODD_MIN = 1.0
"""Oddness from which a step is explained: one of ten steps or fewer are as odd."""

PAGE_SHARE = 0.1
"""A step whose tail is this part of the threshold's or less is worth waking somebody."""


class TrafficDetector(Stateful):
    """Judges signals of traffic; all settings have defaults.

    step_ms    : length of a step; from the first two times if None
    time_zone  : whose clock the hours of the day follow, an IANA name
    holidays   : country of the public holidays, such as `DE` or `DE-BY`; a holiday counts as a day off
    false_alarms_per_series_per_week : how many incidents a week an ordinary series may have
    min_effect : least distance from what was expected, as a share of it
    direction  : `up` or `down` to be told only of steps above or below what was expected
    quiet      : when no incident may begin; see `detectors.traffic.quiet.Quiet`
    seed       : of the forest

    Raises ValueError for settings out of bounds.
    """

    name = "traffic"

    def __init__(
        self,
        *,
        step_ms: int | None = None,
        time_zone: str = "UTC",
        holidays: str | None = None,
        false_alarms_per_series_per_week: float = 0.1,
        min_effect: float = 0.1,
        direction: Direction = "both",
        quiet: Sequence[Quiet] = (),
        seed: int = 0,
    ) -> None:
        if step_ms is not None and step_ms <= 0:
            raise ValueError(f"step_ms={step_ms}, expected more than 0")
        if not false_alarms_per_series_per_week > 0:
            raise ValueError(
                f"false_alarms_per_series_per_week={false_alarms_per_series_per_week}, expected more than 0"
            )
        if not min_effect >= 0:
            raise ValueError(f"min_effect={min_effect}, expected 0 or more")
        if direction not in get_args(Direction):
            raise ValueError(f"direction={direction!r}, expected one of {', '.join(get_args(Direction))}")
        self.step_ms = step_ms
        self.false_alarms_per_series_per_week = false_alarms_per_series_per_week
        self.min_effect = min_effect
        self.direction = direction
        self.seed = seed
        self._calendar = CalendarEffects(time_zone, holidays)
        self._quiet = QuietTimes(quiet)
        self._reset()

    def _reset(self) -> None:
        self._names: dict[SeriesName, int] = {}
        self._features: tuple[str, ...] = ()
        self._oddness: Oddness | None = None
        self._rate = IncidentRate(BLOCK_STEPS)
        self._incidents = Incidents.empty(0)
        self._seen_ms: EpochMs = np.zeros(0, np.int64)
        self._step_ms = self.step_ms
        self._last_ms: int | None = None

    @property
    def alarm_tail(self) -> float:
        """Tail of a step below which an incident begins, if it is allowed to; alarms last on through steps
        that are less odd."""
        return tail_of_rate(self.false_alarms_per_series_per_week, self._step_ms or STEP_MS)

    def fit(self, panel: Panel) -> Self:
        """Forget everything and learn from history, which may hold anomalies."""
        self._reset()
        self.update(panel)
        return self

    def score(self, panel: Panel) -> Verdicts:
        """Judge each step as if it came next after the one before it; nothing is kept."""
        return copy.deepcopy(self).update(panel)

    def update(self, panel: Panel) -> Verdicts:
        """Judge each step, then learn from it.

        Raises ValueError where the features are others than before, or a time is not after the last.
        """
        self._prepare(panel)
        assert self._oddness is not None
        verdicts, start = [], 0
        while start < len(panel):
            stop = min(start + self._oddness.room(), len(panel))
            if self._step_ms is None:
                # The first row alone, whatever comes with it, so that batches make no difference.
                stop = self._infer_step(panel, start)
            verdicts.append(self._judge(panel.rows(start, stop)))
            self._last_ms = int(panel.times[stop - 1])
            start = stop
            if self._oddness.steps % BLOCK_STEPS == 0:
                self._expire(panel.series)
        if not verdicts:
            return Verdicts.empty(0, len(panel.series), len(panel.features))
        return Verdicts.joined(verdicts)

    def _prepare(self, panel: Panel) -> None:
        if self._oddness is None:
            if not panel.features:
                raise ValueError("no feature to judge; give at least one column of numbers")
            self._features = panel.features
            self._oddness = Oddness(len(panel.features), seed=self.seed)
        if panel.features != self._features:
            raise ValueError(
                f"features {', '.join(panel.features)} given, but {', '.join(self._features)} were learnt; "
                "fit again to change them"
            )
        if self._last_ms is not None and len(panel) and int(panel.times[0]) <= self._last_ms:
            raise ValueError(
                f"time {int(panel.times[0])} is not after {self._last_ms}, the last that was learnt from"
            )
        fresh = [name for name in panel.series if name not in self._names]
        if fresh:
            first = int(panel.times[0]) if len(panel) else 0
            for name in fresh:
                self._names[name] = len(self._names)
            self._oddness.extend(len(fresh))
            self._incidents.extend(len(fresh))
            self._seen_ms = np.append(self._seen_ms, np.full(len(fresh), first, np.int64))

    def _infer_step(self, panel: Panel, start: int) -> int:
        """Set the step from two times, if there are two; returns where the rows to be judged now end."""
        if self._last_ms is None:
            return start + 1
        self._step_ms = int(panel.times[start]) - self._last_ms
        return start + 1

    def _judge(self, panel: Panel) -> Verdicts:
        """Verdicts of rows between which nothing is refitted."""
        oddness = self._oddness
        assert oddness is not None
        place = np.array([self._names[name] for name in panel.series], np.int64)
        values = np.full((len(panel), oddness.series, oddness.features), np.nan)
        values[:, place] = panel.values
        hours, days_off = self._calendar.local(panel.times)
        step_ms = self._step_ms or STEP_MS
        first = oddness.steps
        judged = oddness.follow(values, hours, days_off, step_ms)
        tail = self._rate.tail(judged.odd)
        signed = np.where(judged.odd[:, :, None] >= ODD_MIN, np.nan_to_num(judged.by_signal), 0.0)
        signed *= np.sign(np.nan_to_num(judged.distance))
        oddest = np.argmax(np.nan_to_num(judged.by_signal, nan=-1.0), axis=2)
        towards = np.sign(np.take_along_axis(signed, oddest[:, :, None], axis=2)[:, :, 0]).astype(np.int8)
        allowed = self._allowed(values, judged, oddest, towards)
        quiet = self._quiet.hold(panel.times, hours)[:, None]
        # Nothing may begin in quiet steps, so they say nothing of how often something does.
        worst = self._incident_severities(tail, np.where(quiet, np.nan, judged.odd), allowed & ~quiet, first)
        seen = np.isfinite(values).any(axis=2)
        for row, moment in enumerate(panel.times.tolist()):
            self._seen_ms[seen[row]] = moment
        severity = worst[:, place]
        alarm = severity > 0
        found = np.full(alarm.shape, "", np.object_)
        steps, columns = np.nonzero(alarm)
        rows = place[columns]
        which = oddest[steps, rows]
        at = (steps, rows, which)
        found[steps, columns] = kinds(judged.windows[at], values[at], judged.expected[at])
        return Verdicts(
            tail=tail[:, place],
            alarm=alarm,
            severity=severity,
            direction=towards[:, place],
            contributions=signed[:, place],
            expected=judged.expected[:, place],
            kind=found,
        )

    def _allowed(
        self, values: Numbers, judged: Judged, oddest: NDArray[np.int64], towards: NDArray[np.int8]
    ) -> Mask:
        """Mask [T, S], where the oddest feature is far enough from what was expected, to the wanted side."""
        index = oddest[:, :, None]
        value, expected, distance = (
            np.take_along_axis(array, index, axis=2)[:, :, 0]
            for array in (values, judged.expected, judged.distance)
        )
        window = np.take_along_axis(judged.windows, index[..., None], axis=2)[:, :, 0]
        off = np.abs(value - expected)
        # What the last steps did counts as well: a flat line or unrest may end where it should be.
        spread = off / np.maximum(np.abs(distance), 1e-9)
        reach = np.maximum(off, spread * np.ptp(window[:, :, -8:], axis=2))
        with np.errstate(invalid="ignore"):
            allowed: Mask = reach >= self.min_effect * np.abs(expected)
        if self.direction != "both":
            allowed &= towards == (1 if self.direction == "up" else -1)
        return allowed

    def _incident_severities(
        self, tail: Numbers, odd: Numbers, allowed: Mask, first: int
    ) -> NDArray[np.int8]:
        """int8 [T, S], severity of each series' incident so far; learns the peaks of what is allowed."""
        assert self._oddness is not None
        limit = self.alarm_tail
        with np.errstate(invalid="ignore"):
            severity = np.where(tail < limit, TICKET, 0)
            severity = np.where(tail < PAGE_SHARE * limit, PAGE, severity)
        severity = np.where(allowed, severity, 0).astype(np.int8)
        counted = np.where(allowed | np.isnan(odd), odd, 0.0)
        worst = np.zeros(severity.shape, np.int8)
        for row in range(len(severity)):
            worst[row] = self._incidents.step(first + row, severity[row])
            self._incidents.observe(counted[row])
        if (first + len(severity)) % BLOCK_STEPS == 0:
            self._learn_rate()
        return worst

    def _learn_rate(self) -> None:
        """Learn how often incidents begin from the runs of series that ended."""
        assert self._oddness is not None
        peaks, begun = self._incidents.finish_runs()
        counted = self._oddness.mature & np.isfinite(peaks)
        count = int(counted.sum())
        self._rate.learn(peaks[counted])
        self._rate.correct(
            float(begun[counted].sum()),
            self.alarm_tail * BLOCK_STEPS * count,
            self.false_alarms_per_series_per_week * count,
        )
        self._rate.refresh(run_memory(count, (self._step_ms or STEP_MS) * BLOCK_STEPS))

    def _expire(self, current: Sequence[SeriesName]) -> None:
        assert self._oddness is not None
        assert self._last_ms is not None
        old = self._last_ms - self._seen_ms > EXPIRY_MS
        if not old.any():
            return
        old[[self._names[name] for name in current]] = False
        rows = np.flatnonzero(~old)
        names = list(self._names)
        self._oddness.keep(rows)
        self._incidents.keep(rows)
        self._seen_ms = self._seen_ms[rows]
        self._names = {names[row]: number for number, row in enumerate(rows.tolist())}

    def _learnt(self) -> Mapping[str, Any]:
        return {
            "series": [list(name) for name in self._names],
            "features": list(self._features),
            "oddness": None if self._oddness is None else self._oddness.state(),
            "rate": self._rate.state(),
            "incidents": self._incidents.state(),
            "seen_ms": self._seen_ms.copy(),
            "step_ms": self._step_ms,
            "last_ms": self._last_ms,
        }

    def adopt(self, state: State) -> None:
        """Take over another detector's pools, tails, forest and rate of incidents, and what it knows of
        series that this one does not; what is known of each one stays.

        Raises ValueError if it is not a state of this detector and version, or of other features.
        """
        other = TrafficDetector(step_ms=self.step_ms, seed=self.seed)
        other.restore(state)
        if other._oddness is None:
            return
        if self._oddness is None:
            self._features = other._features
            self._oddness = Oddness(len(self._features), seed=self.seed)
        if other._features != self._features:
            raise ValueError(
                f"a model of features {', '.join(self._features)} expected, got "
                f"{', '.join(other._features)}; train it on what it is to judge"
            )
        new = [name for name in other._names if name not in self._names]
        rows = np.array([other._names[name] for name in new], np.int64)
        self._oddness.adopt(other._oddness, rows)
        self._incidents.extend(len(new))
        seen_ms = other._seen_ms[rows] if self._last_ms is None else np.full(len(new), self._last_ms)
        self._seen_ms = np.append(self._seen_ms, seen_ms)
        for name in new:
            self._names[name] = len(self._names)
        self._rate.load(other._rate.state())
        self._step_ms = self._step_ms or other._step_ms

    def _load(self, state: State) -> None:
        oddness: Any = state["oddness"]
        self._oddness = None if oddness is None else Oddness.restored(oddness, seed=self.seed)
        self._names = {tuple(name): number for number, name in enumerate(state["series"])}
        self._features = tuple(state["features"])
        self._rate.load(state["rate"])
        self._incidents = Incidents.restored(state["incidents"])
        self._seen_ms = np.array(state["seen_ms"], np.int64)
        self._step_ms = None if state["step_ms"] is None else int(state["step_ms"])
        self._last_ms = None if state["last_ms"] is None else int(state["last_ms"])
