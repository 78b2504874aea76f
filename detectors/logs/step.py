"""One step of the judgement of log templates: what is odd in it, and what it teaches.

Axes: S series of the panel, K slots (templates of a service), G services, M members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.logs.memory import LogMemory
from detectors.logs.rates import FADE_STEPS, log_silence, surge_tail
from models.arrays import Mask, Numbers, Rows
from models.calendar.units import HOUR_MS, WEEK_MS

KINDS = ("", "new template", "surge", "vanished template", "new parameter value", "severity mix")
NEW, SURGE, VANISHED, VALUE, MIX = range(1, len(KINDS))

SETTLED_STEPS = 60
"""Steps before a template's own rate is judged; until then it is news."""

CALM_STEPS = 5
"""Steps without oddness after which an episode is over and the next one alarms again."""

LASTING_TAILS = 100.0
"""An episode lasts while the tail is below this many times the one that alarms."""

LEARNT_AFTER_STEPS = 1_440
"""Steps of a surge after which it is learnt as any other rate, a day of minutes."""

HEARD_MIN = 20.0
"""Steps with lines that a template must have had before its silence is odd."""

LONGER_SILENCE = 2.0
"""A silence that is no longer than this many times an earlier one is not odd."""

LINES_MAX = 1e12
"""Lines of a step that are counted; there are no more."""

HALF = 0.5
"""Estimates of distinct values that differ by less are the same number."""

FIRST_NEWS = 0.1
"""Added to the number of news, so that their tail is above 0."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Settings of `LogTemplateDetector` that say what is odd; see there."""

    rate: float
    warm_up_ms: float
    lines_min: int
    ratio_min: float
    values_max: int

    def alpha(self, step_ms: float) -> float:
        """The tail that alarms, at steps of so many milliseconds."""
        return min(self.rate * step_ms / WEEK_MS, 1.0)


@dataclass(frozen=True, slots=True)
class LogFeatures:
    """Which features of a panel are what, by place: lines, lines of high severity, distinct parameter
    values."""

    count: int
    errors: tuple[int, ...] = ()
    values: int | None = None

    @classmethod
    def named(
        cls, names: Sequence[str], count: Sequence[str], errors: Sequence[str], values: Sequence[str]
    ) -> LogFeatures:
        """Find features by name: the first of `count` and `values` that is there, and all of `errors`.

        One that stands alone counts lines whatever it is called. Raises ValueError where none does.
        """
        place = {name: number for number, name in enumerate(names)}
        counting = [place[name] for name in count if name in place] or ([0] if len(names) == 1 else [])
        if not counting:
            raise ValueError(
                f"no feature counts lines: one of {', '.join(count)} expected, "
                f"found {', '.join(names) or 'none'}"
            )
        return cls(
            count=counting[0],
            errors=tuple(place[name] for name in errors if name in place),
            values=next((place[name] for name in values if name in place), None),
        )


def lines_of(values: Numbers) -> Numbers:
    """Numbers of any shape as counts: what is missing, infinite or below 0 is none."""
    return np.where((values > 0) & (values < np.inf), np.minimum(values, LINES_MAX), 0.0)


@dataclass(slots=True)
class LogStep:
    """The lines of one step, and what `judge` says about them.

    counts  : Numbers [S], lines; 0 where none
    errors  : Numbers [S], lines of high severity
    values  : Numbers [S], distinct parameter values; NaN where there was no line or they were not measured
    member, service : Rows [S], -1 for series that never had a line
    lines   : Numbers [K], lines of each slot
    rows    : Rows [N], the slots that could have been heard
    kind, tail, alarm, surprise, expected : [K], of each slot
    mixes   : service → (tail, surprise) where the mix of severities is odd
    news    : (series, tail, alarm) where a parameter has a new value
    """

    time_ms: int
    counts: Numbers
    errors: Numbers
    values: Numbers
    member: Rows
    service: Rows
    lines: Numbers = field(default_factory=lambda: np.zeros(0))
    rows: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    kind: Numbers = field(default_factory=lambda: np.zeros(0))
    tail: Numbers = field(default_factory=lambda: np.zeros(0))
    alarm: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))
    surprise: Numbers = field(default_factory=lambda: np.zeros(0))
    expected: Numbers = field(default_factory=lambda: np.zeros(0))
    mixes: dict[int, tuple[float, float]] = field(default_factory=dict)
    news: list[tuple[int, float, bool]] = field(default_factory=list)

    @classmethod
    def of(cls, time_ms: int, values: Numbers, features: LogFeatures, member: Rows, service: Rows) -> LogStep:
        """From Numbers [S, F]; counts below 0 are none."""
        counts = lines_of(values[:, features.count])
        distinct = np.nan if features.values is None else values[:, features.values]
        return cls(
            time_ms=time_ms,
            counts=counts,
            errors=lines_of(values[:, list(features.errors)]).sum(axis=1),
            values=np.where(counts > 0, distinct, np.nan),
            member=member,
            service=service,
        )

    @property
    def hour(self) -> int:
        """The hour of the day, UTC."""
        return self.time_ms // HOUR_MS % 24


def judge(step: LogStep, memory: LogMemory, settings: LogSettings, new_slots: Rows) -> None:
    """Fill in what the step's counts say, given what was known before it. Episodes go on by it."""
    slots, rates, services = memory.slots, memory.rates, memory.services
    alpha = settings.alpha(memory.step_ms)
    known = np.flatnonzero(step.member >= 0)
    step.lines = _sums(slots.member_slot[step.member[known]], step.counts[known], len(rates))
    service_heard = _by_service(step, memory)[0] > 0
    alive = np.bincount(slots.member_slot, minlength=len(rates)) > 0
    step.rows = np.flatnonzero(service_heard[slots.slot_service] & alive)
    mature = step.time_ms - services.first_ms >= settings.warm_up_ms
    judged = step.rows[mature[slots.slot_service[step.rows]] & (rates.weight[step.rows] >= SETTLED_STEPS)]
    kind = _judge_rates(step, memory, settings, alpha, judged)
    kind[memory.ignored] = 0.0
    with np.errstate(invalid="ignore"):
        lasting = step.tail < alpha * LASTING_TAILS
    step.kind = memory.episodes.follow(kind, lasting, CALM_STEPS)
    step.alarm = step.kind > 0
    _judge_news(step, memory, settings, alpha, mature, new_slots)
    _judge_mixes(step, memory, settings, alpha, mature)


def learn(step: LogStep, memory: LogMemory) -> None:
    """Take the step into what is known."""
    surging = (memory.episodes.kind == SURGE) & (memory.episodes.age <= LEARNT_AFTER_STEPS)
    memory.rates.learn(step.lines[step.rows], step.rows, step.hour, surging[step.rows])
    known = np.flatnonzero(step.member >= 0)
    memory.members.lines *= 1.0 - 1.0 / FADE_STEPS
    memory.members.lines[step.member[known]] += step.counts[known]
    columns = np.flatnonzero((step.member >= 0) & ~np.isnan(step.values))
    rows = step.member[columns]
    changed = np.abs(step.values[columns] - memory.members.value[rows]) > HALF
    memory.members.value[rows] = step.values[columns]
    memory.members.changed_ms[rows[changed]] = step.time_ms
    mixed = (memory.mixes.kind > 0) & (memory.mixes.age <= LEARNT_AFTER_STEPS)
    memory.services.learn(*_by_service(step, memory), mixed)
    memory.services.new *= np.exp(-memory.step_ms / WEEK_MS)


def _judge_rates(
    step: LogStep, memory: LogMemory, settings: LogSettings, alpha: float, judged: Rows
) -> Numbers:
    """Surges and silences of slots Rows [N] against their own rates; returns their kind, Numbers [K]."""
    rates, lines = memory.rates, step.lines
    mean, error, dispersion = rates.expected(step.hour)
    variance = dispersion * mean + error**2
    raw = surge_tail(lines[judged], mean[judged], variance[judged] / mean[judged])
    step.expected = mean
    step.surprise = (lines - mean) / np.sqrt(variance)
    step.tail = np.full(len(rates), np.nan)
    step.tail[judged] = memory.tails.corrected(raw)
    memory.tails.learn(raw, 1.0 - 1.0 / FADE_STEPS)
    kind = np.zeros(len(rates))
    kind[
        judged[
            (step.tail[judged] < alpha)
            & (lines[judged] >= settings.lines_min)
            & (lines[judged] >= settings.ratio_min * mean[judged])
        ]
    ] = SURGE
    silent = judged[(lines[judged] == 0) & (rates.heard[judged] >= HEARD_MIN)]
    silent = silent[rates.silent[silent] + 1.0 > LONGER_SILENCE * rates.longest[silent]]
    log_p = rates.log_p[silent] + log_silence(np.maximum(mean - error, 0.0)[silent], dispersion[silent])
    gone = log_p < np.log(alpha)
    kind[silent[gone]] = VANISHED
    step.tail[silent[gone]] = np.exp(log_p[gone])
    return kind


def _judge_news(
    step: LogStep, memory: LogMemory, settings: LogSettings, alpha: float, mature: Mask, new_slots: Rows
) -> None:
    """Templates and parameter values that were never seen before, within the budget of their service."""
    services, members = memory.services, memory.members
    slot_counts = np.bincount(memory.slots.slot_service, minlength=len(services))
    budgets = np.maximum(settings.rate * slot_counts, 1.0)

    def spend(service: int) -> tuple[float, bool]:
        tail = float(min(alpha * (services.new[service] + FIRST_NEWS) / budgets[service], 1.0))
        services.new[service] += 1.0
        return tail, tail < alpha

    for slot in new_slots[mature[memory.slots.slot_service[new_slots]]].tolist():
        if not memory.ignored[slot]:
            step.kind[slot] = NEW
            step.tail[slot], step.alarm[slot] = spend(int(memory.slots.slot_service[slot]))

    columns = np.flatnonzero((step.member >= 0) & ~np.isnan(step.values))
    rows = step.member[columns]
    grown = step.values[columns] - members.value[rows] > HALF
    settled = step.time_ms - members.changed_ms[rows] >= settings.warm_up_ms
    few = (members.value[rows] >= 1.0) & (step.values[columns] <= settings.values_max)
    odd = grown & settled & few & mature[step.service[columns]]
    odd &= ~memory.ignored[memory.slots.member_slot[rows]]
    for column in columns[odd][np.argsort(rows[odd])].tolist():
        step.news.append((column, *spend(int(step.service[column]))))


def _judge_mixes(step: LogStep, memory: LogMemory, settings: LogSettings, alpha: float, mature: Mask) -> None:
    """Services whose share of lines of high severity is above their own."""
    lines, errors = _by_service(step, memory)
    mean, error, dispersion = memory.services.expected_errors(lines)
    variance = dispersion * mean + error**2
    tails = surge_tail(errors, mean, variance / np.maximum(mean, 1e-12))
    tails[~mature] = 1.0
    odd = (tails < alpha) & (errors >= settings.lines_min / 3) & (errors >= settings.ratio_min * mean)
    going = memory.mixes.follow(np.where(odd, MIX, 0.0), tails < alpha * LASTING_TAILS, CALM_STEPS)
    surprise = (errors - mean) / np.sqrt(np.maximum(variance, 1e-12))
    for service in np.flatnonzero(going).tolist():
        step.mixes[service] = (float(tails[service]), float(surprise[service]))


def _by_service(step: LogStep, memory: LogMemory) -> tuple[Numbers, Numbers]:
    """Lines and errors of each service, Numbers [G] each."""
    columns = np.flatnonzero(step.service >= 0)
    service, count = step.service[columns], len(memory.services)
    return _sums(service, step.counts[columns], count), _sums(service, step.errors[columns], count)


def _sums(groups: Rows, amounts: Numbers, count: int) -> Numbers:
    """Sums Numbers [count] of amounts by group."""
    return np.bincount(groups, amounts, count).astype(np.float64)
