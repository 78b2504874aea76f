"""From a forecast that was made a while ago, and how things stand now, to what alerts and metrics read.

A forecast is refreshed by the hour; what was used of a quota is known by the second. So each answer joins the
paths, from now on, with the present.

Axes: n paths, H steps ahead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from detectors.capacity.reading import EXHAUSTION_QUANTILES, CapacityReading, finite
from models.arrays import Numbers
from models.capacity.budget_exhaustion import period_budget, rolling_budget
from models.capacity.crossing import Crossing, first_crossing
from models.capacity.queue_lag import catching_up, lag_forecast
from models.capacity.quota import quota_outlook, step_shares, steps_until
from streams.capacity.task import PATHS, QUANTILES, ForecastColumn, ForecastMade
from streams.plan.resource import History, Present, Resource

LAG_STEPS_MAX = 360
"""Six hours of minutes: further ahead, recent changes of a lag say nothing."""


def reading_of(
    resource: Resource, made: ForecastMade | None, present: Present, at_ms: int
) -> CapacityReading:
    """What is known of a series at `at_ms`; `made` is None before the first forecast, NaN is unknown."""
    if resource.kind == "lag":
        return _lag(resource, present, at_ms)
    if resource.kind == "error_budget":
        return _budget(resource, made, present, at_ms)
    return (_quota if resource.kind == "quota" else _gauge)(resource, made, present, at_ms)


def forecast_record(made: ForecastMade, reading: CapacityReading, at_ms: int) -> dict[str, Any]:
    """What goes to the forecasts topic: the quantiles of each step and the answer; JSON-able, without NaN."""
    column = made.columns[0]
    return {
        "resource": reading.resource,
        "labels": dict(reading.labels),
        "kind": reading.kind,
        "at_ms": at_ms,
        "origin_ms": made.origin_ms,
        "step_ms": made.step_ms,
        "model": column.model,
        "fallback": made.refusal or None,
        "mase": finite(column.mase),
        "coverage": {f"{level:g}": finite(share) for level, share in column.coverage.items()},
        "quantiles": {
            f"{q:g}": [finite(value) for value in row]
            for q, row in zip(QUANTILES, column.quantiles.tolist(), strict=True)
        },
        "used_ratio": finite(reading.used_ratio),
        "forecast_ratio": finite(reading.forecast_ratio),
        "probability": finite(reading.probability),
        "expected_seconds": finite(reading.expected_seconds),
        "range_seconds": [finite(value) for value in reading.range_seconds],
        "exhaustion_seconds": {f"{q:g}": finite(value) for q, value in reading.exhaustion_seconds.items()},
        "period": None if reading.period is None else list(reading.period),
        "evidence": dict(reading.evidence),
    }


def _gauge(resource: Resource, made: ForecastMade | None, present: Present, at_ms: int) -> CapacityReading:
    limit = resource.limit if resource.limit is not None else present.limit
    if limit is None or not math.isfinite(limit):
        return _unknown(resource, present)
    used = present.current / limit if limit > 0 else math.nan
    said = {"current": finite(present.current), "limit": limit}
    paths = None if made is None else _from_now(made, made.columns[0], at_ms)
    if made is None or paths is None:
        return _unknown(resource, present, used_ratio=used, evidence=said)
    steps = min(-(-resource.horizon_ms // made.step_ms), paths.shape[1])
    bound: float | Numbers = limit
    if resource.limit is None and len(made.columns) > 1:
        limits = _from_now(made, made.columns[1], at_ms)
        bound = limit if limits is None else limits[:, :steps]
    crossing = first_crossing(
        paths[:, :steps],
        bound,
        step_ms=made.step_ms,
        above=resource.above,
        current=present.current if math.isfinite(present.current) else None,
        current_limit=limit,
    )
    return _answered(
        resource, present, made, crossing, used_ratio=used, evidence=said, horizon_ms=resource.horizon_ms
    )


def _quota(resource: Resource, made: ForecastMade | None, present: Present, at_ms: int) -> CapacityReading:
    assert resource.period is not None
    assert resource.limit is not None
    period = resource.period.bounds(at_ms)
    used = present.current
    said = {"used": finite(used), "quota": resource.limit}
    if made is None or not math.isfinite(used):
        return _unknown(resource, present, used_ratio=used / resource.limit, period=period, evidence=said)
    column = made.columns[0]
    needed = steps_until(period[1], now_ms=made.origin_ms, step_ms=made.step_ms)
    if needed > column.paths.shape[1]:  # the forecast is too old to reach the end of this period
        return _unknown(resource, present, used_ratio=used / resource.limit, period=period, evidence=said)
    outlook = quota_outlook(
        column.paths[:, : max(needed, 1)].astype(np.float64),
        quota=resource.limit,
        used=used,
        period=period,
        now_ms=at_ms,
        step_ms=made.step_ms,
        paths_from_ms=made.origin_ms,
    )
    return _answered(
        resource,
        present,
        made,
        outlook.exhaustion,
        used_ratio=outlook.used_ratio,
        forecast_ratio=outlook.forecast_ratio,
        period=period,
        evidence=said,
        horizon_ms=period[1] - at_ms,
    )


def _budget(resource: Resource, made: ForecastMade | None, present: Present, at_ms: int) -> CapacityReading:
    assert resource.target is not None
    period = None if resource.period is None else resource.period.bounds(at_ms)
    window = present.window
    if window is None or window.other is None:
        return _unknown(resource, present, period=period)
    if made is None or len(made.columns) < 2:
        return _unknown(resource, present, period=period)
    bad, total = (_from_now(made, column, at_ms) for column in made.columns[:2])
    if bad is None or total is None:
        return _unknown(resource, present, period=period)
    if period is None:
        ahead_ms, passed_ms = resource.horizon_ms, 0
        steps = max(min(-(-ahead_ms // made.step_ms), bad.shape[1]), 1)
    else:
        ahead_ms, passed_ms = period[1] - at_ms, max(at_ms - made.origin_ms, 0) % made.step_ms
        starts = at_ms - passed_ms + made.step_ms * np.arange(bad.shape[1], dtype=np.int64)
        # of the first step some is known, of the last some belongs to the next period
        shares = step_shares(starts, made.step_ms, at_ms, period[1])
        bad, total = bad * shares, total * shares
        steps = max(np.count_nonzero(shares), 1)
    answer = rolling_budget if period is None else period_budget
    outlook = answer(
        window.values,
        window.other,
        bad[:, :steps],
        total[:, :steps],
        target=resource.target,
        step_ms=made.step_ms,
    )
    exhaustion = outlook.exhaustion
    if passed_ms:
        exhaustion = replace(exhaustion, seconds=np.maximum(exhaustion.seconds - passed_ms / 1000, 0.0))
    return _answered(
        resource,
        present,
        made,
        exhaustion,
        used_ratio=1.0 - outlook.remaining,
        period=period,
        evidence={"target": resource.target, "remaining_ratio": outlook.remaining},
        horizon_ms=ahead_ms,
    )


def _lag(resource: Resource, present: Present, at_ms: int) -> CapacityReading:
    """A lag's futures are those of a queue, cheap enough to be recomputed for each reading."""
    window: History | None = present.window
    if window is None or not np.isfinite(window.values).any():
        return _unknown(resource, present)
    steps = max(min(resource.horizon_ms // resource.step_ms, LAG_STEPS_MAX), 1)
    seed = int(window.starts[-1]) // resource.step_ms % (1 << 31)
    futures = lag_forecast(window.values, horizon=steps, seed=seed, count=PATHS)
    now = present.current if math.isfinite(present.current) else float(futures.sampled[0, 0])
    down = catching_up(futures, lag=now, step_ms=resource.step_ms, caught_up=resource.caught_up)
    said: dict[str, Any] = {
        "current": finite(now),
        "limit": resource.limit,
        "catch_up_probability": down.probability,
        "catch_up_seconds": finite(down.expected_seconds),
        "catch_up_range_seconds": [finite(value) for value in down.range_seconds()],
    }
    if resource.limit is None:
        # Without a limit the lag is in trouble if it does not catch up at all.
        return CapacityReading(
            resource.name,
            "lag",
            present.labels,
            probability=1.0 - down.probability,
            horizon_ms=steps * resource.step_ms,
            model=futures.model_name,
            evidence=said,
        )
    up = first_crossing(futures.sampled, resource.limit, step_ms=resource.step_ms, current=now)
    return CapacityReading(
        resource.name,
        "lag",
        present.labels,
        used_ratio=now / resource.limit if resource.limit > 0 else math.nan,
        horizon_ms=steps * resource.step_ms,
        model=futures.model_name,
        evidence=said,
        **_times(up),
    )


def _from_now(made: ForecastMade, column: ForecastColumn, at_ms: int) -> Numbers | None:
    """Paths of the steps that are not over: Numbers [n, H]; None where none is left."""
    passed = max((at_ms - made.origin_ms) // made.step_ms, 0)
    if passed >= column.paths.shape[1]:
        return None
    ahead: Numbers = column.paths[:, passed:].astype(np.float64)
    return ahead


def _times(crossing: Crossing) -> dict[str, Any]:
    return {
        "probability": crossing.probability,
        "expected_seconds": crossing.expected_seconds,
        "range_seconds": crossing.range_seconds(),
        "exhaustion_seconds": {q: crossing.quantile_seconds(q) for q in EXHAUSTION_QUANTILES},
    }


def _answered(
    resource: Resource,
    present: Present,
    made: ForecastMade,
    crossing: Crossing,
    *,
    used_ratio: float,
    evidence: Mapping[str, Any],
    horizon_ms: int,
    forecast_ratio: float = math.nan,
    period: tuple[int, int] | None = None,
) -> CapacityReading:
    column = made.columns[0]
    told = {**evidence, "forecast_from_ms": made.origin_ms}
    if made.refusal:
        told["fallback"] = made.refusal
    return CapacityReading(
        resource.name,
        resource.kind,
        present.labels,
        used_ratio=used_ratio,
        forecast_ratio=forecast_ratio,
        horizon_ms=horizon_ms,
        period=period,
        model=column.model,
        mase=column.mase,
        coverage=column.coverage,
        evidence=told,
        **_times(crossing),
    )


def _unknown(
    resource: Resource,
    present: Present,
    *,
    used_ratio: float = math.nan,
    period: tuple[int, int] | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> CapacityReading:
    return CapacityReading(
        resource.name,
        resource.kind,
        present.labels,
        used_ratio=used_ratio,
        period=period,
        evidence=evidence or {},
    )
