"""Whether the traffic detector holds the rate of false alarms that it was told, on traffic that is normal.

    python benchmarks/false_alarms.py [--series 1000] [--rate 0.1] [--step 300]
                                      [--history-days 14] [--days 7] [--seed 1]

Requests per step of services in Berlin are made up: day and week seasons of each service's own strength and
phase, public holidays as days off, the change to summer time within the judged days, noise that lasts some
steps, and counts. After the history, each incident in the judged days is a false alarm. One JSON object goes
to stdout, progress to stderr; the goal is a ratio of measured to configured within 0.8 to 1.2. Chance alone
moves it: of 100 expected alarms one in three runs has fewer than 90 or more than 110.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from detectors.api.detector import Panel  # noqa: E402
from detectors.traffic.detector import TrafficDetector  # noqa: E402
from models.anomaly.calendar_effects import CalendarEffects  # noqa: E402
from models.arrays import EpochMs, Numbers  # noqa: E402
from models.calendar.units import DAY_MS  # noqa: E402

ZONE = "Europe/Berlin"
COUNTRY = "DE"
JUDGED_FROM = datetime(2026, 3, 28, tzinfo=ZoneInfo(ZONE))
"""Summer time begins on the 29th; Good Friday is 3 April."""


def normal_traffic(times: EpochMs, series: int, step_ms: int, seed: int) -> Numbers:
    """Requests in each step, Numbers [T, S]."""
    random = np.random.default_rng(seed)
    hour, day_off = CalendarEffects(ZONE, COUNTRY).local(times)
    level = random.lognormal(np.log(0.5), 1.0, series) * step_ms / 1000
    phase, strength = random.normal(14, 2, series), random.uniform(0.2, 0.8, series)
    weekend = random.uniform(0.4, 1.0, series)
    day = 1 + strength * np.cos((hour[:, None] - phase) / 24 * 2 * np.pi)
    mean = level * day * np.where(day_off[:, None], weekend, 1.0)
    lasting = np.zeros(series)
    values = np.empty(mean.shape)
    for step in range(len(times)):
        lasting = 0.8 * lasting + 0.04 * random.normal(size=series)
        values[step] = random.poisson(mean[step] * np.exp(lasting))
    return values


def count_incidents(detector: TrafficDetector, panel: Panel, counted_from: int = 0) -> int:
    """Incidents that begin in the panel, as its steps come, at row `counted_from` or later."""
    open_before = np.zeros(len(panel.series), np.bool_)
    count = 0
    for start in range(0, len(panel), 100):
        alarm = detector.update(panel.rows(start, start + 100)).alarm
        before = np.concatenate([open_before[None], alarm[:-1]])
        count += int((alarm & ~before)[max(counted_from - start, 0) :].sum())
        open_before = alarm[-1]
    return count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=1000, help="default: 1000")
    parser.add_argument("--rate", type=float, default=0.1, help="false alarms per series and week, 0.1")
    parser.add_argument("--step", type=int, default=300, help="seconds a step, default: 300")
    parser.add_argument("--history-days", type=int, default=14, help="default: 14")
    parser.add_argument("--days", type=int, default=7, help="judged days, default: 7")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    step_ms = options.step * 1000
    first = int(JUDGED_FROM.timestamp() * 1000)
    times = np.arange(first - options.history_days * DAY_MS, first + options.days * DAY_MS, step_ms)
    values = normal_traffic(times, options.series, step_ms, options.seed)
    names = tuple((f"service-{number}",) for number in range(options.series))
    panel = Panel(times, names, ("requests",), values[:, :, None])
    split = int(np.searchsorted(times, first))
    detector = TrafficDetector(
        step_ms=step_ms,
        time_zone=ZONE,
        holidays=COUNTRY,
        min_effect=0.0,
        false_alarms_per_series_per_week=options.rate,
    )
    started = time.perf_counter()
    print(f"{split:,} steps of history and {len(panel) - split:,} that count", file=sys.stderr)
    found = count_incidents(detector, panel, split)
    expected = options.rate * options.series * options.days / 7
    print(
        json.dumps(
            {
                "configured": options.rate,
                "measured": found / options.series / options.days * 7,
                "ratio": round(found / expected, 3),
                "false_alarms": found,
                "series": options.series,
                "days": options.days,
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
