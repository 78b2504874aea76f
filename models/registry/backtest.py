"""What a detector would have done: how many alarms it raises, and how those agree with labels.

Alarms of one series that follow each other within `keep_ms` are one episode, as they would be one page. The
volume is given in episodes per series and week, the unit of `false_alarms_per_series_per_week`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import EpochMs, Mask, Numbers
from models.calendar.units import WEEK_MS

__all__ = ["WEEK_MS", "Backtest", "Interval", "episode_starts", "judge_backtest", "step_ms"]


KEEP_STEPS = 3
"""Steps without an alarm that end an episode."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A labelled time of one series, both ends included.

    series : position in the panel
    real   : whether something was wrong; otherwise an alarm there is noise
    """

    series: int
    from_ms: int
    to_ms: int
    real: bool


@dataclass(frozen=True, slots=True)
class Backtest:
    """Outcome of judging data that was not learnt from beforehand.

    episodes     : of alarms
    series_weeks : judged time, in weeks, summed over the series
    judged       : share of what was seen that got a verdict
    real_labels, real_found     : labels of real anomalies, and those that an alarm touches
    real_episodes, noise_episodes : episodes that touch a real label, or else one of noise
    """

    episodes: int
    series_weeks: float
    judged: float
    real_labels: int = 0
    real_found: int = 0
    real_episodes: int = 0
    noise_episodes: int = 0

    @property
    def alarms_per_series_per_week(self) -> float:
        """Episodes that touch no real label; 0 where nothing was judged."""
        return self.unexplained / self.series_weeks if self.series_weeks else 0.0

    @property
    def unexplained(self) -> int:
        """Episodes that touch no real label."""
        return self.episodes - self.real_episodes

    @property
    def precision(self) -> float | None:
        """Share of the labelled episodes that were real; None without labelled episodes."""
        labelled = self.real_episodes + self.noise_episodes
        return self.real_episodes / labelled if labelled else None

    @property
    def recall(self) -> float | None:
        """Share of the real labels that were found; None without labels."""
        return self.real_found / self.real_labels if self.real_labels else None

    def metrics(self) -> dict[str, float | None]:
        """As a manifest keeps it."""
        return {
            "alarms_per_series_per_week": self.alarms_per_series_per_week,
            "episodes": float(self.episodes),
            "series_weeks": self.series_weeks,
            "judged": self.judged,
            "real_labels": float(self.real_labels),
            "real_found": float(self.real_found),
            "real_episodes": float(self.real_episodes),
            "noise_episodes": float(self.noise_episodes),
            "precision": self.precision,
            "recall": self.recall,
        }

    @classmethod
    def of_metrics(cls, metrics: dict[str, float | None]) -> Backtest | None:
        """From a manifest; None if it has no backtest."""
        names = ("episodes", "real_labels", "real_found", "real_episodes", "noise_episodes")
        values = [metrics.get(name) for name in (*names, "series_weeks", "judged")]
        if any(value is None for value in values):
            return None
        *counts, series_weeks, judged = (float(value or 0.0) for value in values)
        episodes, real_labels, real_found, real_episodes, noise_episodes = map(int, counts)
        return cls(episodes, series_weeks, judged, real_labels, real_found, real_episodes, noise_episodes)


def step_ms(times: EpochMs) -> int:
    """Usual distance of two steps; 0 with fewer than two."""
    return int(np.median(np.diff(times))) if len(times) > 1 else 0


def episode_starts(times: EpochMs, alarm: Mask, *, keep_ms: int, last_ms: EpochMs | None = None) -> Mask:
    """Which alarms begin an episode: those whose series had none within the last `keep_ms`.

    times : EpochMs [T]; alarm : Mask [T, S]
    last_ms : EpochMs [S], the last alarm before; very old where there was none
    Returns Mask [T, S]. Only alarms are looked at, so that it costs little where there are few.
    """
    starts = np.zeros(alarm.shape, np.bool_)
    series, step = np.nonzero(alarm.T)
    at = times[step]
    before = np.empty_like(at)
    before[1:] = at[:-1]
    first = np.ones(len(at), np.bool_)
    first[1:] = series[1:] != series[:-1]
    long_ago = np.iinfo(np.int64).min // 2
    before[first] = long_ago if last_ms is None else last_ms[series[first]]
    begins = at - before > keep_ms
    starts[step[begins], series[begins]] = True
    return starts


def judge_backtest(
    times: EpochMs,
    tail: Numbers,
    alarm: Mask,
    labels: Sequence[Interval] = (),
    *,
    seen: Mask | None = None,
    keep_steps: int = KEEP_STEPS,
) -> Backtest:
    """Count a detector's alarms and compare them with labels.

    times : EpochMs [T]; tail : Numbers [T, S], NaN where not judged; alarm : Mask [T, S]
    seen  : Mask [T, S], where there was anything to judge; everywhere if None
    """
    step = step_ms(times)
    keep_ms = keep_steps * step
    starts = episode_starts(times, alarm, keep_ms=keep_ms)
    judged = np.isfinite(tail)
    there = int(np.count_nonzero(seen)) if seen is not None else judged.size
    is_real, is_noise = (_touching(times, alarm, starts, labels, real=real) for real in (True, False))
    real = [label for label in labels if label.real]
    return Backtest(
        episodes=int(np.count_nonzero(starts)),
        series_weeks=float(np.count_nonzero(judged)) * step / WEEK_MS,
        judged=float(np.count_nonzero(judged)) / there if there else 0.0,
        real_labels=len(real),
        real_found=sum(bool(alarm[_within(times, label), label.series].any()) for label in real),
        real_episodes=int(np.count_nonzero(starts & is_real)),
        noise_episodes=int(np.count_nonzero(starts & is_noise & ~is_real)),
    )


def _within(times: EpochMs, label: Interval) -> slice:
    return slice(
        int(np.searchsorted(times, label.from_ms, side="left")),
        int(np.searchsorted(times, label.to_ms, side="right")),
    )


def _touching(times: EpochMs, alarm: Mask, starts: Mask, labels: Sequence[Interval], *, real: bool) -> Mask:
    """Starts of the episodes that have an alarm within one of the labels: Mask [T, S]."""
    touching = np.zeros(alarm.shape, np.bool_)
    for label in labels:
        if label.real != real:
            continue
        column = starts[:, label.series]
        begun = np.flatnonzero(column)
        hits = np.flatnonzero(alarm[:, label.series])
        within = _within(times, label)
        hits = hits[(hits >= within.start) & (hits < within.stop)]
        touching[begun[np.unique(np.searchsorted(begun, hits, side="right") - 1)], label.series] = True
    return touching
