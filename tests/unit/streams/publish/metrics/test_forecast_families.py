"""Metrics of forecasts: names and labels, samples only of what is known, never NaN."""

from __future__ import annotations

import math

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from detectors.capacity.reading import CapacityReading
from models.calendar.period import CalendarPeriod
from models.calendar.units import DAY_MS, HOUR_MS
from streams.capacity.planner import CapacityPlanner
from streams.plan.resource import History, Present, Resource, SeriesKey
from streams.publish.metrics.exposition import OPEN_METRICS, TEXT, written
from streams.publish.metrics.forecast_families import forecast_families
from streams.publish.metrics.forecast_snapshot import ForecastSnapshot
from streams.worker.live_forecasts import forecast_snapshot
from tests.unit.streams.capacity.test_planner import InlinePool

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def samples(snapshot: ForecastSnapshot) -> Samples:
    page = written(forecast_families(snapshot), TEXT).decode()
    assert "nan" not in page.lower().replace("naive", "")
    written(forecast_families(snapshot), OPEN_METRICS)
    found: Samples = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def planned() -> ForecastSnapshot:
    resources = [
        Resource("rows", "quota", limit=240.0, period=CalendarPeriod("day"), horizon_ms=DAY_MS),
        Resource("pool", "gauge", by=("db",), limit=20.0),
    ]
    planner = CapacityPlanner(resources, InlinePool(level=10.0))
    keys = [SeriesKey("rows"), SeriesKey("pool", ("a",)), SeriesKey("pool", ("b",))]
    past = History(np.arange(24, dtype=np.int64) * HOUR_MS, np.full(24, 10.0))
    for key in keys:
        planner.submit(DAY_MS, key, past)
    planner.collect()
    now = DAY_MS + 12 * HOUR_MS
    readings = planner.readings(
        now,
        {
            keys[0]: Present(current=120.0),
            keys[1]: Present(current=5.0, labels={"db": "a"}),
            keys[2]: Present(current=20.0, labels={"db": "b"}),
        },
    )
    return forecast_snapshot(planner, readings, now)


def test_names_and_labels_are_those_promised() -> None:
    found = samples(planned())
    assert found["streamgauge_quota_used_ratio"] == {(("resource", "rows"),): 0.5}
    assert found["streamgauge_quota_forecast_ratio"] == {(("resource", "rows"),): 1.0}
    times = found["streamgauge_capacity_exhaustion_seconds"]
    assert times[("db", "a"), ("quantile", "0.5"), ("resource", "pool")] == math.inf
    assert times[("db", "b"), ("quantile", "0.5"), ("resource", "pool")] == 0.0
    assert times[("quantile", "0.05"), ("resource", "rows")] == math.inf
    chances = found["streamgauge_capacity_exhaustion_probability"]
    assert chances == {
        (("db", "a"), ("horizon", "7d"), ("resource", "pool")): 0.0,
        (("db", "b"), ("horizon", "7d"), ("resource", "pool")): 1.0,
        (("horizon", "period"), ("resource", "rows")): 0.0,
    }
    values = found["streamgauge_forecast_value"]
    assert values[("horizon", "1d"), ("quantile", "0.5"), ("series", "pool/a")] == 10.0
    assert (("horizon", "30d"), ("quantile", "0.5"), ("series", "pool/a")) not in values
    assert found["streamgauge_forecast_mase"][(("series", "rows"),)] == 0.5
    assert found["streamgauge_forecast_coverage_ratio"][("level", "0.8"), ("series", "rows")] == 0.79
    assert found["streamgauge_capacity_used_ratio"] == {
        (("db", "a"), ("resource", "pool")): 0.25,
        (("db", "b"), ("resource", "pool")): 1.0,
    }
    assert found["streamgauge_forecasts_total"][(("outcome", "fit"),)] == 3
    assert found["streamgauge_forecast_seconds_total"][()] == 0.75
    assert found["streamgauge_forecast_series_left_out"][()] == 0


def test_what_is_unknown_has_no_sample() -> None:
    unknown = [CapacityReading("pool", "gauge"), CapacityReading("rows", "quota", period=(0, DAY_MS))]
    found = samples(ForecastSnapshot(unknown))
    assert not any(name.startswith(("streamgauge_capacity", "streamgauge_quota")) for name in found)
    assert samples(ForecastSnapshot())["streamgauge_forecast_seconds_total"] == {(): 0.0}


def test_a_forecast_that_is_over_is_left_out() -> None:
    planner = CapacityPlanner([Resource("pool", "gauge", limit=20.0)], InlinePool())
    past = History(np.arange(2, dtype=np.int64) * HOUR_MS, np.ones(2))
    planner.submit(0, SeriesKey("pool"), past)
    planner.collect()
    assert len(forecast_snapshot(planner, [], 0).forecasts) == 1
    assert forecast_snapshot(planner, [], 30 * DAY_MS).forecasts == []
