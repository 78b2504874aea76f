"""Draw the plots of `docs/forecasting.md`: python docs/forecasting_plots.py [--crossing FILE]

The series are made up with a fixed seed, so the plots are the same everywhere. FILE is what
`python benchmarks/crossing.py --data DIR` printed; without it the plot of its table is left as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from models.arrays import EpochMs, Numbers  # noqa: E402
from models.calendar.period import CalendarPeriod  # noqa: E402
from models.calendar.units import HOUR_MS  # noqa: E402
from models.capacity.crossing import first_crossing, tied_paths  # noqa: E402
from models.capacity.quota import quota_outlook, steps_until, used_so_far  # noqa: E402
from models.forecast.forecaster import forecast  # noqa: E402
from models.forecast.paths import PATH_COUNT  # noqa: E402
from models.plots.fan import INK, LIMIT, MEDIAN, fan_figure, save_fan_plot  # noqa: E402
from models.plots.quota import quota_figure  # noqa: E402

IMAGES = ROOT / "docs" / "images"
START_MS = 1_772_323_200_000
"""A Sunday, 00:00 UTC."""

POOL_SIZE = 72.0


def pool() -> tuple[EpochMs, Numbers]:
    """Return nine weeks of a pool's connections by the hour: days, quiet weekends, slow growth."""
    hours = np.arange(63 * 24)
    random = np.random.default_rng(1)
    weekday = np.where(hours // 24 % 7 % 6 == 0, 0.6, 1.0)
    wave = 26 + 0.012 * hours + weekday * (14 + 12 * np.sin((hours - 8) * 2 * np.pi / 24))
    noise = np.convolve(random.normal(0, 1.6, len(hours) + 4), np.ones(5) / 5**0.5, "valid")
    return START_MS + HOUR_MS * hours.astype(np.int64), np.maximum(wave + noise, 0).round()


def draw_pool() -> None:
    """Draw a week ahead of the pool, beside what came."""
    starts, values = pool()
    known = 56 * 24
    made = forecast(values[:known], starts[:known], HOUR_MS, 168)
    crossing = first_crossing(tied_paths(made.paths(PATH_COUNT)), POOL_SIZE, step_ms=HOUR_MS)
    figure = fan_figure(
        starts[:known],
        values[:known],
        HOUR_MS,
        made,
        title=f"Connections of a pool of {POOL_SIZE:g}, a week ahead",
        limit=POOL_SIZE,
        crossing=crossing,
        truth=values[known:],
    )
    save_fan_plot(IMAGES / "forecast-pool.svg", figure)


def draw_quota() -> None:
    """Draw a day's quota at noon, beside what came."""
    hours = np.arange(22 * 24)
    random = np.random.default_rng(4)
    days = np.repeat(random.normal(1, 0.08, 22), 24)
    values = (
        44_500 * days * (1 + 0.7 * np.sin((hours - 8) * 2 * np.pi / 24)) * random.normal(1, 0.06, len(hours))
    )
    starts = START_MS + HOUR_MS * hours.astype(np.int64)
    known = 21 * 24 + 11
    now_ms = int(starts[known])
    period = CalendarPeriod("day").bounds(now_ms)
    steps = steps_until(period[1], now_ms=now_ms, step_ms=HOUR_MS)
    used, _ = used_so_far(values[:known], starts[:known], step_ms=HOUR_MS, start_ms=period[0])
    paths = forecast(values[:known], starts[:known], HOUR_MS, steps).paths(PATH_COUNT)
    outlook = quota_outlook(paths, quota=1e6, used=used, period=period, now_ms=now_ms, step_ms=HOUR_MS)
    figure = quota_figure(
        starts[:known],
        values[:known],
        HOUR_MS,
        paths,
        outlook,
        title="A million rows a day, as of 11:00",
        truth=values[known : known + steps],
    )
    save_fan_plot(IMAGES / "forecast-quota.svg", figure)


def draw_reliability(result: Path) -> None:
    """Draw how often limits were reached, by what had been said."""
    limits = json.loads(result.read_text(encoding="utf-8"))["limits"]
    rows = [row for row in limits["reliability"] if row["count"]]
    said, came, low, high = (
        np.array([row[name] for row in rows])
        for name in ("mean_probability", "observed", "observed_low", "observed_high")
    )
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
    axes.axvspan(0.7, 0.9, color=LIMIT, alpha=0.08, linewidth=0)
    axes.errorbar(said, came, [came - low, high - came], color=MEDIAN, fmt="o-", markersize=5, capsize=3)
    axes.set_xlabel("probability that was given")
    axes.set_ylabel("observed share")
    axes.set_title(f"{limits['cases']:,} limits of real series", loc="left", fontsize=11)
    axes.grid(alpha=0.25, linewidth=0.5)
    save_fan_plot(IMAGES / "forecast-reliability.svg", figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crossing", type=Path, help="output of benchmarks/crossing.py")
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    draw_pool()
    draw_quota()
    if options.crossing is not None:
        draw_reliability(options.crossing)


if __name__ == "__main__":
    main()
