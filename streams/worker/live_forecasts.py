"""What a planner knows, as the metrics publish it."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.capacity.reading import CapacityReading
from streams.capacity.planner import CapacityPlanner
from streams.capacity.task import QUANTILES
from streams.publish.metrics.forecast_families import series_name
from streams.publish.metrics.forecast_snapshot import ForecastSnapshot, PublishedForecast


def forecast_snapshot(
    planner: CapacityPlanner, readings: Sequence[CapacityReading], at_ms: int
) -> ForecastSnapshot:
    """Forecasts from `at_ms` on, and what was read of them last. A forecast that is over is left out."""
    published = []
    for key, made in planner.forecasts().items():
        passed = max((at_ms - made.origin_ms) // made.step_ms, 0)
        column = made.columns[0]
        ahead = column.quantiles[:, passed:]
        if ahead.shape[1]:
            published.append(
                PublishedForecast(
                    series_name(key.resource, key.labels),
                    made.step_ms,
                    QUANTILES,
                    ahead,
                    column.mase,
                    column.coverage,
                )
            )
    return ForecastSnapshot(readings, published, dict(planner.outcomes), planner.seconds, planner.left_out)
