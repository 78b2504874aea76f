"""What `streamgauge forecast` answers about one series: the forecast, its limit, its quota.

The report is a mapping that is JSON-able as it stands: numbers are finite, and what has no answer (a time
beyond the horizon, an error without a backtest) is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from detectors.capacity.reading import finite
from models.arrays import Numbers
from models.calendar.period import CalendarPeriod
from models.capacity.crossing import Crossing, first_crossing, tied_paths
from models.capacity.quota import QuotaOutlook, quota_outlooks, steps_until, used_so_far
from models.forecast.paths import PATH_COUNT, PathForecast
from streams.offline.full_forecast import BUDGET_S, make_forecast
from streams.offline.series_file import Series

__all__ = ["QUANTILES", "Answers", "Question", "ask", "finite", "instant", "report"]

QUANTILES = (0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975)

CROSSING_QUANTILES = (0.05, 0.5, 0.95)

STEPS_MAX = 20_000
"""Longest horizon in steps; more would be hours of computing for a forecast that knows nothing by then."""


DAY = CalendarPeriod("day")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a series.

    limit : None asks for no limit, unless the series brings its own
    above : the limit is reached from below
    quota : amount that one period may use; None asks for none
    """

    horizon_ms: int
    limit: float | None = None
    above: bool = True
    quota: float | None = None
    period: CalendarPeriod = DAY
    seed: int = 0
    budget_s: float = BUDGET_S

    def steps(self, series: Series) -> int:
        """Steps ahead: the horizon, and at least to the end of the quota's period.

        Raises ValueError where that is none or too many.
        """
        steps = -(-self.horizon_ms // series.step_ms)
        if self.quota is not None:
            _, end_ms = self.period.bounds(series.end_ms)
            steps = max(steps, steps_until(end_ms, now_ms=series.end_ms, step_ms=series.step_ms))
        if not 1 <= steps <= STEPS_MAX:
            raise ValueError(
                f"the horizon is {steps:,} steps; between 1 and {STEPS_MAX:,} expected, so choose another "
                "--horizon or --step"
            )
        return steps


@dataclass(frozen=True, slots=True)
class Answers:
    """A forecast and what follows from it.

    paths    : Numbers [n, H], possible futures, as sums are taken from
    refusal  : why the full models gave none; empty if they did
    bound    : the limit of the steps to come, if there is one
    crossing : None without a limit
    outlooks : the quota's present and later periods; empty without a quota
    known    : share of the present period whose use is known
    """

    forecast: PathForecast
    paths: Numbers
    refusal: str
    steps: int
    bound: float | Numbers | None
    crossing: Crossing | None
    outlooks: list[QuotaOutlook]
    known: float


def ask(series: Series, question: Question) -> Answers:
    """Forecast a series and answer the question.

    Raises ValueError where no forecast is possible.
    """
    steps = question.steps(series)
    made = make_forecast(
        series.values,
        series.even_starts,
        series.step_ms,
        steps,
        seed=question.seed,
        budget_s=question.budget_s,
        time_zone=question.period.time_zone,
    )
    paths = made.forecast.paths(PATH_COUNT)
    bound, crossing = _limit(series, question, paths)
    outlooks, known = [], 1.0
    if question.quota is not None:
        start_ms, _ = question.period.bounds(series.end_ms)
        used, known = used_so_far(series.values, series.starts, step_ms=series.step_ms, start_ms=start_ms)
        outlooks = quota_outlooks(
            paths,
            quota=question.quota,
            used=used,
            period=question.period,
            now_ms=series.end_ms,
            step_ms=series.step_ms,
        )
    return Answers(made.forecast, paths, made.refusal, steps, bound, crossing, outlooks, known)


def _limit(
    series: Series, question: Question, paths: Numbers
) -> tuple[float | Numbers | None, Crossing | None]:
    """The limit of the steps to come and when it is reached; a limit that is a series is forecast too."""
    paths = tied_paths(paths, seed=question.seed)
    seen = series.values[np.isfinite(series.values)]
    current = float(seen[-1])
    if question.limit is not None:
        return question.limit, first_crossing(
            paths, question.limit, step_ms=series.step_ms, above=question.above, current=current
        )
    if series.limits is None:
        return None, None
    limits = series.limits
    if not np.isfinite(limits).any():
        raise ValueError("the column of the limit has no value at all")
    if (limits == limits[-1]).all():
        bounds: Numbers = np.full_like(paths, limits[-1])
    else:
        made = make_forecast(
            limits,
            series.even_starts,
            series.step_ms,
            paths.shape[1],
            seed=question.seed + 1,
            budget_s=question.budget_s,
            time_zone=question.period.time_zone,
        )
        bounds = tied_paths(made.forecast.paths(len(paths)), seed=question.seed + 1)
    crossing = first_crossing(
        paths,
        bounds,
        step_ms=series.step_ms,
        above=question.above,
        current=current,
        current_limit=float(limits[-1]),
    )
    return np.median(bounds, axis=0), crossing


def report(series: Series, question: Question, answers: Answers) -> dict[str, Any]:
    """The answers as JSON-able values."""
    made = answers.forecast
    table = made.quantiles(np.array(QUANTILES))
    last_ms = int(series.starts[-1])
    return {
        "column": series.name,
        "step_seconds": series.step_ms / 1000,
        "observations": int(np.isfinite(series.values).sum()),
        "missing": int((~np.isfinite(series.values)).sum()),
        "last_time": instant(last_ms),
        "horizon_seconds": answers.steps * series.step_ms / 1000,
        "seed": question.seed,
        "model": made.model_name,
        "fallback": answers.refusal or None,
        "mase": finite(made.mase),
        "coverage": {f"{level:g}": finite(share) for level, share in made.coverage.items()},
        "notes": notes_of(series, answers),
        "forecast": [
            {
                "time": instant(at_ms),
                "quantiles": {f"{q:g}": finite(value) for q, value in zip(QUANTILES, column, strict=True)},
            }
            for at_ms, column in zip(series.ahead(answers.steps).tolist(), table.T.tolist(), strict=True)
        ],
        "limit": None if answers.crossing is None else _limit_report(series, question, answers),
        "quota": None if question.quota is None else _quota_report(series, question, answers),
    }


KNOWN_SHARE = 0.95
"""Less of a period's use known is worth a note."""


def notes_of(series: Series, answers: Answers) -> list[str]:
    """What a person should know of how the answers came about."""
    notes = list(series.notes)
    if answers.refusal:
        notes.append(f"the full models refused, a simple one stands in: {answers.refusal}")
    if answers.known < KNOWN_SHARE:
        notes.append(
            f"only {answers.known:.0%} of the present period's time is covered by values; what was used in "
            "the rest is not counted"
        )
    return notes


def _limit_report(series: Series, question: Question, answers: Answers) -> dict[str, Any]:
    assert answers.crossing is not None
    return {
        "value": question.limit,
        "direction": "above" if question.above else "below",
        **crossing_report(answers.crossing, int(series.starts[-1])),
    }


def crossing_report(crossing: Crossing, from_ms: int) -> dict[str, Any]:
    """Probability, times and ranges; None where it is beyond the horizon.

    seconds  : the time by which it has happened with this probability
    expected_seconds, range_seconds : if it happens within the horizon, when
    """
    low, high = crossing.range_seconds()
    return {
        "probability": crossing.probability,
        "expected_seconds": finite(crossing.expected_seconds),
        "expected_time": _after(from_ms, crossing.expected_seconds),
        "range_seconds": [finite(low), finite(high)],
        "range_times": [_after(from_ms, low), _after(from_ms, high)],
        "seconds": {f"{q:g}": finite(crossing.quantile_seconds(q)) for q in CROSSING_QUANTILES},
    }


def _quota_report(series: Series, question: Question, answers: Answers) -> dict[str, Any]:
    first = answers.outlooks[0]
    return {
        "quota": question.quota,
        "period": question.period.unit,
        "time_zone": question.period.time_zone,
        "used": finite(first.used),
        "used_ratio": finite(first.used_ratio),
        "used_known_ratio": answers.known,
        "forecast_ratio": finite(first.forecast_ratio),
        "probability": first.probability,
        "periods": [
            {
                "start": instant(one.start_ms),
                "end": instant(one.end_ms),
                "used": finite(one.used),
                "used_ratio": finite(one.used_ratio),
                "forecast_ratio": finite(one.forecast_ratio),
                "total": {f"{q:g}": finite(one.total(q)) for q in QUANTILES},
                **crossing_report(one.exhaustion, series.end_ms),
            }
            for one in answers.outlooks
        ],
    }


def instant(at_ms: int) -> str:
    """ISO 8601 in UTC, to the second."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"


def _after(from_ms: int, seconds: float) -> str | None:
    return instant(from_ms + round(seconds * 1000)) if math.isfinite(seconds) else None


def as_rows(reported: Mapping[str, Any]) -> list[tuple[str, float, float, float]]:
    """(time, 5 %, median, 95 %) of about eight steps, for a table at the terminal."""
    steps = reported["forecast"]
    chosen = sorted({round(at) for at in np.linspace(0, len(steps) - 1, min(len(steps), 8))})
    return [
        (step["time"], *(step["quantiles"][key] for key in ("0.05", "0.5", "0.95")))
        for step in (steps[at] for at in chosen)
    ]
