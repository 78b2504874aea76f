# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # When will it run out, and how sure is that?
#
# Forecasts of a pool and of a day's quota, with the code that a worker and `streamgauge forecast` use. Set
# `FILE` and `COLUMN` to a CSV or Parquet file of your own; without them nine weeks of a pool are made up.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from streamgauge import (
    PATH_COUNT,
    CalendarPeriod,
    backtest,
    brier_score,
    crossing_cases,
    fan_figure,
    first_crossing,
    forecast,
    forecast_table,
    place_origins,
    quota_figure,
    quota_outlook,
    read_series,
    read_table,
    reliability_table,
    season_steps,
    steps_until,
    tied_paths,
    used_so_far,
)

FILE: Path | None = None
COLUMN = "used"
LIMIT = 75.0
QUOTA = 1_250.0
HORIZON_HOURS = 7 * 24


def made_up_pool() -> pd.DataFrame:
    """Connections by the hour: days, quiet weekends, slow growth, and six hours that are missing."""
    hours = np.arange(63 * 24)
    random = np.random.default_rng(1)
    weekday = np.where(hours // 24 % 7 % 6 == 0, 0.6, 1.0)
    wave = 26 + 0.012 * hours + weekday * (14 + 12 * np.sin((hours - 8) * 2 * np.pi / 24))
    noise = np.convolve(random.normal(0, 1.6, len(hours) + 4), np.ones(5) / 5**0.5, "valid")
    table = pd.DataFrame({"time": pd.date_range("2026-03-01", periods=len(hours), freq="h", tz="UTC")})
    return table.assign(used=np.maximum(wave + noise, 0).round()).drop(index=range(900, 906))


# %% [markdown]
# ## Read it: evenly spaced, gaps as NaN

# %%
table = made_up_pool() if FILE is None else read_table(FILE)
series = read_series(table, COLUMN)
print(f"{len(series):,} steps of {series.step_ms / 3.6e6:g} h, {np.isnan(series.values).sum()} missing")

# %% [markdown]
# ## A week ahead
#
# `forecast_table` takes and gives a DataFrame; `forecast` gives sample paths too, for questions of any kind.

# %%
day_ahead = forecast_table(table.dropna(), 24, time="time", value=COLUMN) if FILE is None else pd.DataFrame()
day_ahead.head()

# %%
steps = HORIZON_HOURS * 3_600_000 // series.step_ms
ahead = forecast(series.values, series.even_starts, series.step_ms, steps)
crossing = first_crossing(tied_paths(ahead.paths(PATH_COUNT)), LIMIT, step_ms=series.step_ms)
low, high = crossing.range_seconds()
print(f"{ahead.model_name}: MASE {ahead.mase:.2f}, coverage {ahead.coverage}")
print(
    f"{LIMIT:g} is reached with probability {crossing.probability:.0%}, "
    f"if so in {low / 3600:.0f} to {high / 3600:.0f} h"
)
fan = fan_figure(
    series.starts, series.values, series.step_ms, ahead, title=COLUMN, limit=LIMIT, crossing=crossing
)
fan  # noqa: B018  # a cell's last value is shown

# %% [markdown]
# ## A quota that resets each day
#
# As of 11 hours into the last day: what was used so far, and the paths of the rest.

# %%
day = CalendarPeriod("day", "Europe/Berlin")
known = len(series) - 13
now_ms = int(series.starts[known])
period = day.bounds(now_ms)
used, _ = used_so_far(
    series.values[:known], series.starts[:known], step_ms=series.step_ms, start_ms=period[0]
)
rest = steps_until(period[1], now_ms=now_ms, step_ms=series.step_ms)
paths = forecast(series.values[:known], series.even_starts[:known], series.step_ms, rest).paths(PATH_COUNT)
outlook = quota_outlook(paths, quota=QUOTA, used=used, period=period, now_ms=now_ms, step_ms=series.step_ms)
print(
    f"{outlook.used_ratio:.0%} used, {outlook.forecast_ratio:.0%} at the end in the median; "
    f"passed with probability {outlook.probability:.0%}"
)
sums = quota_figure(
    series.starts[:known], series.values[:known], series.step_ms, paths, outlook, title="A day's sum"
)
sums  # noqa: B018

# %% [markdown]
# ## How accurate were such answers in the past?
#
# From many origins, none of which sees later values. Limits are quantiles of past maxima.

# %%
day_steps = 86_400_000 // series.step_ms
origins = place_origins(len(series), horizon=day_steps, count=25, least=len(series) // 2)
cases = []


def ask(origin: int, made: object) -> None:
    days = series.values[origin % day_steps : origin].reshape(-1, day_steps)[-20:]
    limits = np.nanquantile(np.nanmax(days, axis=1), [0.2, 0.5, 0.8, 0.95])
    cases.extend(crossing_cases(series.values, made, origin=origin, horizon=day_steps, limits=limits))


result = backtest(
    series.values,
    lambda origin: forecast(series.values[:origin], series.even_starts[:origin], series.step_ms, day_steps),
    origins=origins,
    horizon=day_steps,
    season=season_steps(series.step_ms),
    seen=ask,
)
said = np.array([case.probability for case in cases])
came = np.array([case.happened for case in cases])
usual = np.array([case.climatology for case in cases])
print(
    f"MASE {result.mase:.2f}, seasonal naive {result.naive_mase:.2f}; "
    f"80 % interval held {result.coverage(0.8):.0%}"
)
print(f"Brier score {brier_score(said, came):.3f}, of climatology {brier_score(usual, came):.3f}")

# %%
rows = [row for row in reliability_table(said, came) if row.count]
figure, axes = plt.subplots(figsize=(4.5, 4), layout="constrained")
axes.plot([0, 1], [0, 1], color="0.5", linestyle="--")
axes.plot([row.mean_probability for row in rows], [row.observed for row in rows], "o-", color="#0072b2")
for row in rows:
    axes.annotate(f" {row.count}", (row.mean_probability, row.observed), fontsize=8)
axes.set_xlabel("probability that was given")
axes.set_ylabel("share that came so")
plt.show()
