"""How two models differ on the same stream, added up step by step in constant memory."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from models.arrays import EpochMs, Mask, Numbers
from models.calendar.units import WEEK_MS
from models.registry.backtest import KEEP_STEPS, episode_starts

__all__ = ["Comparison", "Difference", "Side"]

EXAMPLES_MAX = 20
"""Differences that are kept as examples, the first ones."""

TAIL_MIN = 1e-12
"""Tails are compared by their logarithms, down to this."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An episode of alarms that only one of the two has.

    who : `champion` or `shadow`
    """

    at_ms: int
    series: tuple[str, ...]
    who: str
    champion_tail: float
    shadow_tail: float


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models.

    cpu_seconds : that it took for all steps
    """

    alarm_steps: int
    episodes: int
    alarms_per_series_per_week: float
    judged_steps: int
    cpu_seconds: float


@dataclass(slots=True)
class _Sums:
    """What is added up of one side; `last_ms` has the series whose episode may still go on."""

    alarm_steps: int = 0
    episodes: int = 0
    judged_steps: int = 0
    judged_ms: int = 0
    cpu_seconds: float = 0.0
    last_ms: dict[Hashable, int] = field(default_factory=dict)

    def side(self) -> Side:
        weeks = self.judged_ms / WEEK_MS
        rate = self.episodes / weeks if weeks else 0.0
        return Side(self.alarm_steps, self.episodes, rate, self.judged_steps, self.cpu_seconds)


class Comparison:
    """Champion and shadow, compared as they judge.

    keep_steps : steps without an alarm that end an episode
    """

    def __init__(self, *, keep_steps: int = KEEP_STEPS) -> None:
        self._keep_steps = keep_steps
        self._champion, self._shadow = _Sums(), _Sums()
        self._both = 0
        self._moments = np.zeros(6)
        self._examples: list[Difference] = []
        self._last_time_ms: int | None = None
        self._step_ms = 0

    def add(
        self,
        times: EpochMs,
        series: Sequence[tuple[str, ...]],
        champion: tuple[Numbers, Mask],
        shadow: tuple[Numbers, Mask],
        *,
        cpu_seconds: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Tail and alarm of both for the next steps: Numbers [T, S] and Mask [T, S] each."""
        if not len(times):
            return
        self._step_ms = self._step(times) or self._step_ms
        starts = [
            self._count(sums, times, series, tail, alarm, seconds)
            for sums, (tail, alarm), seconds in zip(
                (self._champion, self._shadow), (champion, shadow), cpu_seconds, strict=True
            )
        ]
        self._both += int(np.count_nonzero(champion[1] & shadow[1]))
        self._correlate(champion[0], shadow[0])
        for who, begun, other in (("champion", starts[0], shadow[1]), ("shadow", starts[1], champion[1])):
            self._keep_examples(who, begun & ~other, times, series, champion[0], shadow[0])
        self._last_time_ms = int(times[-1])

    def _step(self, times: EpochMs) -> int:
        before = [] if self._last_time_ms is None else [self._last_time_ms]
        steps = np.diff(np.concatenate([np.array(before, np.int64), times]))
        return int(np.median(steps)) if len(steps) else 0

    def _count(
        self,
        sums: _Sums,
        times: EpochMs,
        series: Sequence[tuple[str, ...]],
        tail: Numbers,
        alarm: Mask,
        cpu_seconds: float,
    ) -> Mask:
        keep_ms = self._keep_steps * self._step_ms
        long_ago = np.iinfo(np.int64).min // 2
        last = np.full(len(series), long_ago, np.int64)
        alarmed = np.flatnonzero(alarm.any(axis=0)).tolist()
        last[alarmed] = [sums.last_ms.get(series[place], long_ago) for place in alarmed]
        starts = episode_starts(times, alarm, keep_ms=keep_ms, last_ms=last)
        for place in alarmed:
            sums.last_ms[series[place]] = int(times[np.flatnonzero(alarm[:, place])[-1]])
        end = int(times[-1])
        sums.last_ms = {name: at for name, at in sums.last_ms.items() if end - at <= keep_ms}
        judged = int(np.count_nonzero(np.isfinite(tail)))
        sums.alarm_steps += int(np.count_nonzero(alarm))
        sums.episodes += int(np.count_nonzero(starts))
        sums.judged_steps += judged
        sums.judged_ms += judged * self._step_ms
        sums.cpu_seconds += cpu_seconds
        return starts

    def _correlate(self, champion: Numbers, shadow: Numbers) -> None:
        both = np.isfinite(champion) & np.isfinite(shadow)
        x, y = (-np.log10(np.maximum(tail[both], TAIL_MIN)) for tail in (champion, shadow))
        self._moments += [len(x), x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]

    def _keep_examples(
        self,
        who: str,
        only: Mask,
        times: EpochMs,
        series: Sequence[tuple[str, ...]],
        champion: Numbers,
        shadow: Numbers,
    ) -> None:
        room = EXAMPLES_MAX - sum(example.who == who for example in self._examples)
        for step, place in zip(*(axis[:room].tolist() for axis in np.nonzero(only)), strict=True):
            tails = float(champion[step, place]), float(shadow[step, place])
            self._examples.append(Difference(int(times[step]), series[place], who, *tails))

    @property
    def champion(self) -> Side:
        """What the champion did."""
        return self._champion.side()

    @property
    def shadow(self) -> Side:
        """What the shadow did."""
        return self._shadow.side()

    @property
    def both_alarm_steps(self) -> int:
        """Steps at which both raise an alarm."""
        return self._both

    @property
    def examples(self) -> tuple[Difference, ...]:
        """The first episodes that only one has."""
        return tuple(self._examples)

    @property
    def score_correlation(self) -> float | None:
        """Pearson's, of the tails' logarithms; None where one of them never changes."""
        count, x, y, xx, yy, xy = self._moments.tolist()
        if not count:
            return None
        spread = (xx - x * x / count) * (yy - y * y / count)
        if spread <= 1e-18 * max(1.0, xx * yy):
            return None
        return float(np.clip((xy - x * y / count) / np.sqrt(spread), -1.0, 1.0))

    def report(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "champion": asdict(self.champion),
            "shadow": asdict(self.shadow),
            "alarm_steps": {
                "both": self._both,
                "only_champion": self._champion.alarm_steps - self._both,
                "only_shadow": self._shadow.alarm_steps - self._both,
            },
            "score_correlation": self.score_correlation,
            "examples": [
                {name: None if value != value else value for name, value in asdict(example).items()}
                for example in self._examples
            ],
        }
