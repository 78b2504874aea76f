"""Whether probabilities of reaching a limit mean what they say, over all back-tested origins.

    python benchmarks/crossing.py --data DIR [--origins 40] [--only TEXT]

Every column of numbers in DIR/capacity and DIR/requests (CSV, plain or .gz) is forecast from many origins in
its last half, each knowing only what came before it. Asked is, 1 d and 7 d ahead (12 steps and 60 where steps
are days or months, or the file is shorter than two weeks): will it reach a limit? Limits are quantiles of the
highest values of the last 30 stretches of that length before the origin, so nothing of the future is in them.
Series of counts are also asked whether the day's sum will exceed a quota, at every hour of the day.

`reliability` says how often it happened, by what was said; `brier` is to be below `brier_climatology` (how
often it happened in all of the past) and `brier_recent` (in those 30 stretches). One JSON object goes to
stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from models.arrays import Numbers  # noqa: E402
from models.calendar.period import CalendarPeriod  # noqa: E402
from models.calendar.units import DAY_MS, HOUR_MS  # noqa: E402
from models.capacity.crossing_cases import crossing_cases  # noqa: E402
from models.capacity.quota import quota_outlook, steps_until, used_so_far  # noqa: E402
from models.forecast.level_shift import STEPS_MIN  # noqa: E402
from models.forecast.paths import PathForecast  # noqa: E402
from models.forecast.reliability import brier_score, brier_skill, reliability_table  # noqa: E402
from models.forecast.rolling_origin import backtest, place_origins, season_steps  # noqa: E402
from streams.capacity.level_memory import LevelMemory  # noqa: E402
from streams.capacity.model_cache import ModelCache  # noqa: E402
from streams.capacity.task import ForecastTask  # noqa: E402
from streams.offline.full_forecast import make_forecast  # noqa: E402
from streams.offline.series_file import Series, read_series  # noqa: E402
from streams.offline.table_file import TableFileError, read_table  # noqa: E402
from streams.plan.resource import SeriesKey  # noqa: E402

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Quantiles of past highs that are asked about as limits, and of past days' sums as quotas."""

STRETCHES = 30
EVENT_STEP_MS = 10_000
"""Single events are counted in steps of it."""


@dataclass
class Cases:
    """What was said, what the past alone says, and what came."""

    said: list[float] = field(default_factory=list)
    usual: list[float] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    happened: list[bool] = field(default_factory=list)

    def add(self, said: float, usual: float, recent: float, happened: bool) -> None:
        self.said.append(said)
        self.usual.append(usual)
        self.recent.append(recent)
        self.happened.append(happened)

    def extend(self, other: Cases) -> None:
        for name in ("said", "usual", "recent", "happened"):
            getattr(self, name).extend(getattr(other, name))

    def scores(self, *, table: bool) -> dict[str, Any]:
        """Return Brier scores, and the reliability table if wanted."""
        said, usual, recent = (np.array(column) for column in (self.said, self.usual, self.recent))
        happened = np.array(self.happened, np.bool_)
        result: dict[str, Any] = {"cases": len(said), "happened": int(happened.sum())}
        if not len(said):
            return result
        acted = (said >= 0.7) & (said < 0.9)
        result |= {
            "brier": rounded(brier_score(said, happened)),
            "brier_climatology": rounded(brier_score(usual, happened)),
            "brier_recent": rounded(brier_score(recent, happened)),
            "brier_skill": rounded(brier_skill(said, usual, happened)),
            "said_70_to_90": int(acted.sum()),
            "of_them_happened": rounded(float(happened[acted].mean())) if acted.any() else None,
        }
        if table:
            rows = map(asdict, reliability_table(said, happened))
            result["reliability"] = [{name: rounded(value) for name, value in row.items()} for row in rows]
        return result


def rounded(value: Any) -> Any:
    """Return the number with four digits; None for one that is none."""
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value


def found_series(folder: Path, only: str) -> Iterator[tuple[str, Series, Series]]:
    """Yield name, series of levels and series of highest values, of each column of each file."""
    files = sorted(
        path
        for kind in ("capacity", "requests")
        for path in (folder / kind).glob("*")
        if path.name.endswith((".csv", ".csv.gz", ".parquet"))
    )
    for path in files:
        table = read_table(path)
        base = path.name.split(".")[0]
        for column in table.select_dtypes("number").columns:
            name = f"{path.parent.name}/{base}/{column}"
            if only not in name:
                continue
            try:
                series = read_series(table, str(column))
            except TableFileError:
                try:
                    series = read_series(table, str(column), step_ms=EVENT_STEP_MS, aggregate="sum")
                except TableFileError as error:
                    print(f"{name}: left out ({error})", file=sys.stderr)
                    continue
            highs = series
            if series.step_ms < HOUR_MS and len(series) * series.step_ms >= 14 * DAY_MS:
                joined = "sum" if path.parent.name == "requests" else "mean"
                series = read_series(table, str(column), step_ms=HOUR_MS, aggregate=joined)
                if joined == "mean":
                    highs = read_series(table, str(column), step_ms=HOUR_MS, aggregate="max")
                else:
                    highs = series
            if str(column).lower() not in ("minute", "hour", "day", "second"):
                yield name, series, highs


def horizons_of(series: Series) -> list[int]:
    """Return the steps of a day and of a week, or what stands for them."""
    if series.step_ms > DAY_MS:
        return [3, 12]
    if series.step_ms == DAY_MS:
        return [7, 30]
    if len(series) * series.step_ms < 14 * DAY_MS:
        return [12, 60]
    return [DAY_MS // series.step_ms, 7 * DAY_MS // series.step_ms]


def crossing_scores(series: Series, origin_count: int, seed: int) -> tuple[dict[int, Cases], dict[str, Any]]:
    """Return the cases by horizon, and how good the forecasts themselves were."""
    horizons = horizons_of(series)
    longest = max(horizons)
    season = season_steps(series.step_ms)
    least = max(len(series) // 2, 2 * longest)
    origins = place_origins(len(series), horizon=longest, count=origin_count, least=least)
    cases: dict[int, Cases] = {horizon: Cases() for horizon in horizons}

    def seen(origin: int, made: PathForecast) -> None:
        past = series.values[:origin]
        for horizon in horizons:
            highs = recent_highs(past, horizon)
            limits = np.unique(np.quantile(highs, LEVELS)) if len(highs) else np.empty(0)
            for case in crossing_cases(
                series.values, made, origin=origin, horizon=horizon, limits=limits.tolist()
            ):
                recent = (np.sum(highs >= case.limit) + 0.5) / (len(highs) + 1)
                cases[horizon].add(case.probability, case.climatology, float(recent), case.happened)

    started = time.perf_counter()
    result = backtest(
        series.values,
        lambda origin: (
            make_forecast(
                series.values[:origin], series.even_starts[:origin], series.step_ms, longest, seed=seed
            ).forecast
        ),
        origins=origins,
        horizon=longest,
        season=season,
        seen=seen,
    )
    accuracy = {
        "origins": len(origins),
        "mase": rounded(result.mase),
        "mase_seasonal_naive": rounded(result.naive_mase),
        "coverage_80": rounded(result.coverage(0.8)),
        "coverage_95": rounded(result.coverage(0.95)),
        "seconds_per_origin": rounded((time.perf_counter() - started) / len(origins)),
    }
    return cases, accuracy


def recent_highs(past: Numbers, horizon: int) -> Numbers:
    """Return the highest values of the last stretches of `horizon` steps."""
    count = min(len(past) // horizon, STRETCHES)
    stretches = past[len(past) - count * horizon :].reshape(count, horizon)
    highs = np.where(np.isfinite(stretches), stretches, -np.inf).max(axis=1, initial=-np.inf)
    return highs[np.isfinite(highs)]


def worker_paths(series: Series, origin: int, steps: int, seed: int) -> Numbers:
    """Return the paths that a worker's planner would have, which knows its forecast of a few steps ago."""
    memory, cache = LevelMemory(), ModelCache(models_max=0)
    for end in (origin - STEPS_MIN, origin):
        starts = series.even_starts[:end]
        task = ForecastTask(
            SeriesKey("quota"), starts, (series.values[:end],), series.step_ms, steps + STEPS_MIN, seed=seed
        )
        made = memory.moved(task, cache.run(task))
    return made.columns[0].paths[:, :steps].astype(np.float64)


def quota_cases(series: Series, origin_count: int, seed: int) -> Cases:
    """Return cases of "will this day's sum exceed the quota", at origins spread over days and hours."""
    cases, day = Cases(), CalendarPeriod("day")
    per_day = DAY_MS // series.step_ms
    origins = place_origins(len(series), horizon=per_day, count=origin_count, least=len(series) // 2)
    for number, origin in enumerate(origins.tolist()):
        # Spread evenly, origins would all fall into the same hour if their distance were whole days.
        origin = min(origin + number * 7 % per_day, len(series) - per_day)
        past, now_ms = series.values[:origin], int(series.starts[origin])
        start_ms, end_ms = day.bounds(now_ms)
        steps = steps_until(end_ms, now_ms=now_ms, step_ms=series.step_ms)
        rest = series.values[origin : origin + steps]
        used, known = used_so_far(past, series.starts[:origin], step_ms=series.step_ms, start_ms=start_ms)
        if known < 1.0 or np.isnan(rest).any():
            continue
        begin = origin - round((now_ms - start_ms) / series.step_ms)
        days = past[begin % per_day : begin].reshape(-1, per_day).sum(axis=1)
        days = days[np.isfinite(days)]
        recent = days[-STRETCHES:]
        if len(recent) < 7:
            continue
        paths = worker_paths(series, origin, steps, seed)
        for quota in np.unique(np.quantile(recent, LEVELS)).tolist():
            if used > quota:
                continue
            outlook = quota_outlook(
                paths,
                quota=quota,
                used=used,
                period=(start_ms, end_ms),
                now_ms=now_ms,
                step_ms=series.step_ms,
            )
            usual, lately = ((np.sum(each > quota) + 0.5) / (len(each) + 1) for each in (days, recent))
            cases.add(outlook.probability, float(usual), float(lately), used + float(rest.sum()) > quota)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds capacity/ and requests/")
    parser.add_argument("--origins", type=int, default=40, help="origins a series; default: 40")
    parser.add_argument("--only", default="", help="only series whose name contains this text")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data} is no folder")
    everything, quotas = Cases(), Cases()
    sets: dict[str, Any] = {}
    for name, series, highs in found_series(options.data, options.only):
        started = time.perf_counter()
        try:
            cases, accuracy = crossing_scores(highs, options.origins, options.seed)
        except ValueError as error:
            print(f"{name}: left out ({error})", file=sys.stderr)
            continue
        entry = dict(accuracy)
        for horizon, found in cases.items():
            everything.extend(found)
            entry[f"{horizon * highs.step_ms // 1000}s"] = found.scores(table=False)
        hourly = series.step_ms <= HOUR_MS and len(series) * series.step_ms >= 14 * DAY_MS
        if hourly and name.startswith("requests/"):
            day_quota = quota_cases(series, 3 * options.origins, options.seed)
            quotas.extend(day_quota)
            entry["day_quota"] = day_quota.scores(table=False)
        sets[name] = entry
        print(f"{name}: {time.perf_counter() - started:.0f} s, MASE {entry['mase']}", file=sys.stderr)
    print(
        json.dumps(
            {"sets": sets, "limits": everything.scores(table=True), "quotas": quotas.scores(table=True)}
        )
    )


if __name__ == "__main__":
    main()
