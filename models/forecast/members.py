"""The models that a forecast combines, each fitted and backtested on the same history.

A member answers two questions: what would it have forecast at each backtest origin, knowing only what was
known there, and what does it forecast now. After new values the second is answered again without a fit.

Axes: T steps, O origins (the last is the end of the history), H horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.arrays import Mask, Numbers, Rows
from models.forecast.ets import Ets, fit_ets
from models.forecast.regression import (
    HALF_LIFE_STEPS,
    Features,
    Layout,
    Regression,
    fit_regression,
    momentum_features,
    momentum_layout,
    seasonal_features,
    seasonal_layout,
)
from models.forecast.smoothing import Smoothing, fit_smoothing

SEASONAL_RIDGE = 0.03
MOMENTUM_RIDGE = 1.0
HALF_LIFE_SEASONS = 20
"""Age at which a training row of the seasonal regression counts half, if that is longer than usual."""

MOMENTUM_STEPS_MAX = 30
"""The momentum regression looks at no more steps ahead: its training rows grow with them."""


class Member(Protocol):
    """A fitted model."""

    def advance(self, new: Numbers) -> None:
        """Take in new values [N] of the series."""
        ...

    def ahead(self, history: Numbers, horizon: int) -> Numbers:
        """Return the forecast [H] after history [T], all of whose values were taken in."""
        ...


@dataclass(frozen=True, slots=True)
class Scale:
    """Levels or logarithms: multiplicative seasons become additive, and forecasts stay positive."""

    name: str
    shift: float | None
    highest: float

    def forward(self, values: Numbers) -> Numbers:
        """Return values on the scale."""
        return values if self.shift is None else np.log(np.maximum(values + self.shift, 1e-300))

    def back(self, values: Numbers) -> Numbers:
        """Return values from the scale, at most three times the highest that was seen."""
        if self.shift is None:
            return values
        return np.exp(np.minimum(values, np.log(3 * self.highest + self.shift))) - self.shift


LEVELS = Scale("", None, 0.0)


def log_scale(history: Numbers) -> Scale | None:
    """Return the logarithmic scale of a series that is never negative, or None."""
    least, typical = float(history.min()), float(history.mean())
    if least < 0 or typical <= 0 or history.max() <= least:
        return None
    shift = 0.0 if least > 0.001 * typical else 0.1 * typical
    return Scale(" of logarithms", shift, float(history.max()))


@dataclass(slots=True)
class RegressionMember:
    """A regression on a scale."""

    model: Regression
    scale: Scale

    def advance(self, new: Numbers) -> None:
        """A regression keeps no state besides the history."""

    def ahead(self, history: Numbers, horizon: int) -> Numbers:
        """Return the forecast [H]."""
        recent = self.scale.forward(history[-self.model.layout.window :])
        return self.scale.back(self.model.ahead(recent, horizon))


@dataclass(slots=True)
class SmoothingMember:
    """The smoothing filters on a scale."""

    model: Smoothing
    scale: Scale

    def advance(self, new: Numbers) -> None:
        """Move the filters on."""
        self.model.advance(self.scale.forward(new))

    def ahead(self, history: Numbers, horizon: int) -> Numbers:
        """Return the forecast [H]."""
        return self.scale.back(self.model.ahead(horizon))


@dataclass(frozen=True, slots=True)
class EtsMember:
    """Exponential smoothing of statsmodels."""

    model: Ets

    def advance(self, new: Numbers) -> None:
        """The states are filtered from the history when they are wanted."""

    def ahead(self, history: Numbers, horizon: int) -> Numbers:
        """Return the forecast [H]."""
        return self.model.ahead(history, horizon)


@dataclass(frozen=True, slots=True)
class NaiveMember:
    """A rule that looks at the history alone."""

    rule: Callable[[Numbers, int], Numbers]

    def advance(self, new: Numbers) -> None:
        """A rule keeps no state."""

    def ahead(self, history: Numbers, horizon: int) -> Numbers:
        """Return the forecast [H]."""
        return self.rule(history, horizon)


def last_season(season: int, passes: int = 1) -> Callable[[Numbers, int], Numbers]:
    """Return the rule that repeats the mean of the last `passes` seasons."""

    def rule(history: Numbers, horizon: int) -> Numbers:
        whole = max(1, min(passes, len(history) // season))
        recent = history[-whole * season :]
        usable = len(recent) // whole * whole
        profile = recent[-usable:].reshape(whole, -1).mean(axis=0)
        found: Numbers = profile[np.arange(horizon) % len(profile)]
        return found

    return rule


def drift(history: Numbers, horizon: int) -> Numbers:
    """Return the line through the first and last value of the newest 50, damped to half of its slope."""
    recent = history[-50:]
    slope = 0.5 * (recent[-1] - recent[0]) / max(len(recent) - 1, 1)
    found: Numbers = recent[-1] + slope * np.arange(1, horizon + 1)
    return found


def mean_of_recent(history: Numbers, horizon: int) -> Numbers:
    """Return the mean of the newest 30 values."""
    return np.full(horizon, history[-30:].mean())


def naive_rules(seasons: tuple[int, ...]) -> dict[str, Callable[[Numbers, int], Numbers]]:
    """Return the rules for a series with these seasons."""
    if not seasons:
        return {"last value": last_season(1), "drift": drift, "mean": mean_of_recent}
    rules = {f"last {season} steps": last_season(season) for season in seasons[:2]}
    for season in seasons[:2]:
        rules[f"mean of three times {season} steps"] = last_season(season, 3)
    if seasons[0] < 8 or len(seasons) == 1:
        rules["last value"] = last_season(1)
    return rules


def steps_needed(length: int, horizon: int, seasons: tuple[int, ...]) -> int:
    """Return the history that the regressions need before they have seen two blocks of truth."""
    needs = [2]
    if seasons:
        second = seasons[1] if len(seasons) > 1 else None
        layout = seasonal_layout(length, horizon, seasons[0], second)
        needs += [layout.window + 2 * layout.block] if layout is not None else [2 * seasons[0]]
    if horizon <= MOMENTUM_STEPS_MAX:
        layout = momentum_layout(length, horizon, seasons)
        needs += [layout.window + 2 * layout.block] if layout is not None else []
    return max(needs)


def fit_members(
    history: Numbers, measured: Mask, actual: Numbers, origins: Rows, horizon: int, seasons: tuple[int, ...]
) -> dict[str, tuple[Member, Numbers]]:
    """Return each member with its forecasts [O, H] at the origins.

    history : Numbers [T], without gaps; measured : Mask [T], where it was not filled in
    actual : Numbers [O - 1, H], what followed the origins but the last; NaN where nothing was measured
    """
    members: dict[str, tuple[Member, Numbers]] = {}
    for name, rule in naive_rules(seasons).items():
        backtest = np.stack([rule(history[:origin], horizon) for origin in origins.tolist()])
        members[name] = (NaiveMember(rule), backtest)
    logs = log_scale(history)
    scales = [LEVELS] if logs is None else [LEVELS, logs]
    length = int(origins[0])
    layouts: list[tuple[str, Layout | None, Features, dict[str, float]]] = []
    if seasons:
        second = seasons[1] if len(seasons) > 1 else None
        layout = seasonal_layout(len(history), horizon, seasons[0], second)
        half_life = max(HALF_LIFE_STEPS, HALF_LIFE_SEASONS * seasons[0])
        learning = {"ridge": SEASONAL_RIDGE, "fall": 0.3, "half_life": half_life}
        layouts.append(("seasonal regression", layout, seasonal_features, learning))
        if second is not None:
            layout = seasonal_layout(len(history), horizon, seasons[0], None)
            layouts.append(("short seasonal regression", layout, seasonal_features, learning))
    if horizon <= MOMENTUM_STEPS_MAX:
        layout = momentum_layout(len(history), horizon, seasons)
        learning = {"ridge": MOMENTUM_RIDGE, "fall": 0.5, "half_life": HALF_LIFE_STEPS}
        layouts.append(("momentum regression", layout, momentum_features, learning))
    for scale in scales:
        scaled = scale.forward(history)
        for name, layout, features, learning in layouts:
            if layout is None or layout.window > length:
                continue
            model, backtest = fit_regression(scaled, measured, origins, horizon, layout, features, **learning)
            members[name + scale.name] = (RegressionMember(model, scale), scale.back(backtest))
    ets = fit_ets(history, origins, horizon, min(seasons, default=1))
    if ets is not None:
        members["exponential smoothing"] = (EtsMember(ets[0]), ets[1])
    scale = scales[-1]
    filters, backtest = fit_smoothing(
        scale.forward(history), scale.forward(actual), origins, horizon, seasons
    )
    members["smoothing grid" + scale.name] = (SmoothingMember(filters, scale), scale.back(backtest))
    return members
