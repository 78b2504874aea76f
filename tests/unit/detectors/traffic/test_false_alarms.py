"""The configured rate of false alarms on normal traffic; a benchmark has the figures for 1,000 series."""

from __future__ import annotations

import numpy as np

from benchmarks.false_alarms import COUNTRY, JUDGED_FROM, ZONE, count_incidents, normal_traffic
from detectors.api.detector import Panel
from detectors.traffic.detector import TrafficDetector
from models.calendar.units import DAY_MS

HOUR_MS = 3_600_000
SERIES = 60


def test_normal_traffic_over_a_clock_change_and_a_holiday_alarms_about_as_often_as_configured() -> None:
    first = int(JUDGED_FROM.timestamp() * 1000)
    times = np.arange(first - 21 * DAY_MS, first + 7 * DAY_MS, HOUR_MS)
    values = normal_traffic(times, SERIES, HOUR_MS, seed=3)
    panel = Panel(times, tuple((f"s{n}",) for n in range(SERIES)), ("requests",), values[:, :, None])
    detector = TrafficDetector(
        time_zone=ZONE, holidays=COUNTRY, min_effect=0.0, false_alarms_per_series_per_week=0.5
    )
    found = count_incidents(detector, panel, counted_from=21 * 24)
    assert 0.4 * 0.5 * SERIES < found < 2.5 * 0.5 * SERIES


def test_incidents_are_counted_once_over_batches() -> None:
    random = np.random.default_rng(0)
    values = 100 + random.normal(0, 3, (400, 1, 1))
    values[250:275] = 900.0
    values[295:305] = 900.0
    times = 1_760_000_000_000 + 60_000 * np.arange(400, dtype=np.int64)
    panel = Panel(times, (("s",),), ("requests",), values)
    assert count_incidents(TrafficDetector(), panel) == 1
    # One that is under way does not begin.
    assert count_incidents(TrafficDetector(), panel, counted_from=260) == 0
