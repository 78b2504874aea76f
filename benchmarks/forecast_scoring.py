"""Scores of forecasts as in the M4 competition, and the series that they are judged on.

sMAPE, MASE, OWA, MSIS and the Naive2 forecast follow Makridakis, Spiliotis and Assimakopoulos, "The M4
Competition: 100,000 time series and 61 forecasting methods" (2020) and its published R code.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from models.arrays import EpochMs, Numbers
from models.calendar.units import DAY_MS, HOUR_MS

MONTH_MS = 2_629_800_000

M4_STEPS = {
    "Hourly": (HOUR_MS, 24),
    "Daily": (DAY_MS, 1),
    "Weekly": (7 * DAY_MS, 1),
    "Monthly": (MONTH_MS, 12),
    "Quarterly": (3 * MONTH_MS, 4),
    "Yearly": (12 * MONTH_MS, 1),
}
"""Step and the season that M4's scores use."""

ORIGINS = 12
"""Rolling origins of each capacity series, spread over its last third."""


@dataclass(frozen=True, slots=True)
class Case:
    """A history and what followed it.

    past : Numbers [T], future : Numbers [H]; NaN where nothing was measured
    season : steps of the season of scores and of the seasonal naive forecast, 1 for none
    """

    name: str
    past: Numbers
    future: Numbers
    step_ms: int
    season: int
    part: str = ""
    """The series and horizon within a set that has several."""


@dataclass(frozen=True, slots=True)
class Set:
    """Cases that are scored together."""

    name: str
    cases: tuple[Case, ...]


def smape(forecast: Numbers, truth: Numbers) -> float:
    """Return the symmetric mean absolute percentage error, 0 to 200."""
    known = ~np.isnan(truth)
    size = np.abs(forecast) + np.abs(truth)
    ratio = np.divide(200 * np.abs(forecast - truth), size, out=np.zeros_like(size), where=size > 0)
    return float(ratio[known].mean())


def naive_scale(past: Numbers, season: int) -> float:
    """Return the mean absolute error of the seasonal naive forecast, one step ahead, in the past."""
    return float(np.nanmean(np.abs(past[season:] - past[:-season])))


def mase(forecast: Numbers, truth: Numbers, scale: float) -> float:
    """Return the mean absolute error in units of `naive_scale`."""
    return float(np.nanmean(np.abs(forecast - truth))) / scale


def coverage(lower: Numbers, upper: Numbers, truth: Numbers) -> float:
    """Return the share of truths inside an interval."""
    known = ~np.isnan(truth)
    return float(((truth >= lower) & (truth <= upper))[known].mean())


def msis(lower: Numbers, upper: Numbers, truth: Numbers, scale: float, level: float = 0.95) -> float:
    """Return the mean scaled interval score: width, and 2 / (1 - level) for what lies outside."""
    outside = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
    return float(np.nanmean(upper - lower + 2 / (1 - level) * outside)) / scale


def is_seasonal(past: Numbers, season: int) -> bool:
    """Return M4's answer to whether a series has a season: 90 % test of its autocorrelation there."""
    if season == 1 or len(past) < 3 * season:
        return False
    centred = past - past.mean()
    power = float(centred @ centred)
    if power == 0:
        return False
    correlation = np.array([centred[lag:] @ centred[:-lag] for lag in range(1, season + 1)]) / power
    limit = 1.645 * np.sqrt((1 + 2 * (correlation[:-1] ** 2).sum()) / len(past))
    return bool(abs(correlation[-1]) > limit)


def naive2(past: Numbers, horizon: int, season: int) -> Numbers:
    """Return M4's benchmark: the last value, on the classical multiplicative season where there is one."""
    past = past[~np.isnan(past)]
    if not is_seasonal(past, season) or past.min() <= 0:
        return np.full(horizon, past[-1])
    weights = np.ones(season) / season if season % 2 else np.r_[0.5, np.ones(season - 1), 0.5] / season
    trend = np.convolve(past, weights, "valid")
    offset = len(weights) // 2
    ratio = np.full(-(-len(past) // season) * season, np.nan)
    ratio[offset : offset + len(trend)] = past[offset : offset + len(trend)] / trend
    profile = np.nanmean(ratio.reshape(-1, season), axis=0)
    profile *= season / profile.sum()
    ahead = np.arange(len(past), len(past) + horizon)
    found: Numbers = past[-1] / profile[(len(past) - 1) % season] * profile[ahead % season]
    return found


def read_rows(path: Path) -> Iterator[tuple[str, Numbers]]:
    """Yield name and values of an M4 file: a series a row, blanks after its end."""
    with gzip.open(path, "rt", newline="") as lines:
        reader = csv.reader(lines)
        next(reader)
        for row in reader:
            yield row[0], np.array([float(cell) for cell in row[1:] if cell], dtype=np.float64)


def m4_sets(folder: Path) -> Iterator[Set]:
    """Yield a set for each kind of M4 series whose training and test files are there."""
    for kind, (step_ms, season) in M4_STEPS.items():
        train, test = folder / f"{kind}-train.csv.gz", folder / f"{kind}-test.csv.gz"
        if train.is_file() and test.is_file():
            futures = dict(read_rows(test))
            cases = [
                Case(name, past, futures[name], step_ms, season)
                for name, past in read_rows(train)
                if name in futures
            ]
            yield Set(f"m4_{kind.lower()}", tuple(cases))


def regular(times: EpochMs, values: Numbers, step_ms: int, *, counts: bool) -> Numbers:
    """Return sums (`counts`: 0 where nothing was) or means (NaN there) [T] by steps since the first time."""
    slots = (
        np.rint((times - times.min()) / step_ms).astype(np.int64)
        if not counts
        else ((times - times.min()) // step_ms)
    )
    known = ~np.isnan(values)
    total = np.bincount(slots[known], weights=values[known], minlength=int(slots.max()) + 1)
    number = np.bincount(slots[known], minlength=len(total))
    return total if counts else np.where(number > 0, total / np.maximum(number, 1), np.nan)


def coarser(values: Numbers, factor: int) -> Numbers:
    """Return means over `factor` neighbours; NaN where most are missing."""
    blocks = values[: len(values) // factor * factor].reshape(-1, factor)
    known = (~np.isnan(blocks)).sum(axis=1)
    total = np.where(np.isnan(blocks), 0.0, blocks).sum(axis=1)
    return np.where(2 * known > factor, total / np.maximum(known, 1), np.nan)


def read_columns(path: Path) -> tuple[int, dict[str, Numbers]]:
    """Return step and columns of a file: a column of times (or minutes), then values, or rows of events."""
    table = pd.read_csv(path)
    first = table.iloc[:, 0]
    values = {name: table[name].to_numpy(dtype=np.float64) for name in table.columns[1:]}
    if pd.api.types.is_numeric_dtype(first):
        times = first.to_numpy(dtype=np.int64) * 60_000
    else:
        stamps = pd.to_datetime(first, utc=True, format="mixed").dt.tz_localize(None)
        times = stamps.to_numpy().astype("datetime64[ms]").astype(np.int64)
    gaps = np.diff(np.unique(times))
    usual = int(np.median(gaps))
    if (gaps == usual).mean() < 0.5 and not 28 * DAY_MS <= usual <= 366 * DAY_MS:
        # Events: counted, and their numbers summed, in some hundred bins.
        span = int(times.max() - times.min())
        step_ms = max(1_000, span // 400 // 1_000 * 1_000)
        ones = {"events": np.ones(len(times))}
        return step_ms, {
            name: regular(times, column, step_ms, counts=True)[:-1]
            for name, column in (ones | values).items()
        }
    months = next((n for n in (1, 3, 12) if abs(usual - n * MONTH_MS) < 3 * DAY_MS), 0)
    step_ms = months * MONTH_MS or usual
    return step_ms, {name: regular(times, column, step_ms, counts=False) for name, column in values.items()}


def horizons(step_ms: int, length: int) -> dict[str, int]:
    """Return names and steps of the horizons: a day and a week, or what step and length allow."""
    if step_ms >= 28 * DAY_MS:
        return {"1_step": 1, "12_steps": 12}
    found = {"1d": DAY_MS // step_ms, "7d": 7 * DAY_MS // step_ms}
    fitting = {name: steps for name, steps in found.items() if 1 <= steps <= length // 5}
    return fitting or {f"{max(1, length // 12)}_steps": max(1, length // 12)}


def rolling_cases(part: str, values: Numbers, step_ms: int, horizon: int) -> list[Case]:
    """Return cases at `ORIGINS` origins over the last third of a series."""
    day = (
        DAY_MS // step_ms if step_ms < DAY_MS else {DAY_MS: 7, MONTH_MS: 12, 3 * MONTH_MS: 4}.get(step_ms, 1)
    )
    season = day if 3 * day <= len(values) // 2 else 1
    last = len(values) - horizon
    origins = np.unique(np.linspace(max(2 * len(values) // 3, 4), last, ORIGINS).astype(np.int64))
    cases = (
        Case(f"{part}@{origin}", values[:origin], values[origin : origin + horizon], step_ms, season, part)
        for origin in origins.tolist()
    )
    return [case for case in cases if (~np.isnan(case.future)).mean() > 0.5]


def capacity_sets(folder: Path) -> Iterator[Set]:
    """Yield a set for each csv file in a folder: rolling origins of its columns, a day and a week ahead."""
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")]):
        stem = path.name.removesuffix(".gz").removesuffix(".csv")
        step_ms, columns = read_columns(path)
        cases: list[Case] = []
        for column, values in columns.items():
            steps = [("", step_ms, values)]
            hourly = HOUR_MS // step_ms
            if hourly > 1 and len(values) >= 14 * 24 * hourly:
                steps.append(("_hourly", HOUR_MS, coarser(values, hourly)))
            for suffix, step, series in steps:
                for label, horizon in horizons(step, len(series)).items():
                    cases += rolling_cases(f"{column}{suffix}/{label}", series, step, horizon)
        yield Set(f"{folder.name}_{stem}", tuple(cases))


def find_sets(data: Path) -> Iterator[Set]:
    """Yield the sets that are there: `m4`, `capacity`, `requests`."""
    yield from m4_sets(data / "m4")
    for name in ("capacity", "requests"):
        yield from capacity_sets(data / name)
