"""Metrics of forecasts and of limited resources.

A probability without a forecast, a ratio without a limit and an accuracy without a backtest have no sample,
rather than NaN. A time beyond the horizon is `+Inf`: it has not happened by then with this probability.
What has quantiles is of unknown type: it is no summary of events, and `promtool` wants the label `quantile`
at nothing else that has a type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from detectors.alerts.names import label_names, span_name
from detectors.capacity.reading import EXHAUSTION_QUANTILES, CapacityReading
from models.arrays import Numbers
from models.calendar.units import DAY_MS, HOUR_MS, WEEK_MS
from streams.publish.metrics.family import Block, Family, LabelRows, block_of
from streams.publish.metrics.forecast_snapshot import ForecastSnapshot, PublishedForecast

HORIZONS_MS = (HOUR_MS, 6 * HOUR_MS, DAY_MS, WEEK_MS, 30 * DAY_MS)
"""How far ahead values are published: an hour, six, a day, a week, a month, as far as a forecast reaches."""

_OWN_LABELS = ("resource", "quantile", "horizon")


def forecast_families(snapshot: ForecastSnapshot) -> Iterator[Family]:
    """The families of all resources and forecasts."""
    yield Family(
        "streamgauge_forecast_value",
        "unknown",
        "What a series is forecast to be, by quantile, so far ahead.",
        [block_of(_values(snapshot.forecasts), ("series", "quantile", "horizon"))],
    )
    yield Family(
        "streamgauge_forecast_coverage_ratio",
        "gauge",
        "Share of backtested values that lay within the interval of this level.",
        [
            block_of(
                (
                    ((each.series, f"{level:g}"), share)
                    for each in snapshot.forecasts
                    for level, share in each.coverage.items()
                ),
                ("series", "level"),
            )
        ],
    )
    yield Family(
        "streamgauge_forecast_mase",
        "gauge",
        "Error of backtested forecasts against repeating the last season; below 1 is better.",
        [block_of((((each.series,), each.mase) for each in snapshot.forecasts), ("series",))],
    )
    groups = _grouped(snapshot.readings)
    yield Family(
        "streamgauge_capacity_exhaustion_seconds",
        "unknown",
        "Time by which a limit or quota is reached with this probability.",
        [
            Block(labels, _column(group, _exhaustion_at(quantile)), extra=[("quantile", f"{quantile:g}")])
            for labels, group in groups
            for quantile in EXHAUSTION_QUANTILES
        ],
    )
    yield Family(
        "streamgauge_capacity_exhaustion_probability",
        "gauge",
        "Probability that a limit is reached within the horizon, or a quota within its period.",
        [
            Block(labels, _column(part, _probability), extra=[("horizon", horizon)])
            for horizon, (labels, part) in _by_horizon(groups)
        ],
    )
    yield Family(
        "streamgauge_capacity_used_ratio",
        "gauge",
        "Share of a limit that is used.",
        [Block(labels, _column(group, _used)) for labels, group in groups if group[0].kind != "quota"],
    )
    yield Family(
        "streamgauge_quota_used_ratio",
        "gauge",
        "Share of a quota that is used in its present period.",
        [Block(labels, _column(group, _used)) for labels, group in groups if group[0].kind == "quota"],
    )
    yield Family(
        "streamgauge_quota_forecast_ratio",
        "gauge",
        "Share of a quota that will be used at the end of its period, in the median.",
        [Block(labels, _column(group, _ahead)) for labels, group in groups if group[0].kind == "quota"],
    )
    yield Family(
        "streamgauge_forecasts",
        "counter",
        "Forecasts made, by outcome; all but fit and update are answered by a simpler model, failed by none.",
        [block_of((((name,), count) for name, count in snapshot.outcomes.items()), ("outcome",), "_total")],
    )
    yield Family(
        "streamgauge_forecast_seconds",
        "counter",
        "Time that forecasts took to compute.",
        [block_of([((), snapshot.seconds)], (), "_total")],
    )
    yield Family(
        "streamgauge_forecast_series_left_out",
        "gauge",
        "Series of limited resources that are not forecast because there are too many.",
        [block_of([((), snapshot.left_out)], ())],
    )


def series_name(resource: str, labels: Sequence[str]) -> str:
    """The name of a series in the label `series`.

    >>> series_name("pool", ("db-1", "eu")), series_name("pool", ())
    ('pool/db-1/eu', 'pool')
    """
    return "/".join((resource, *labels))


def _values(forecasts: Sequence[PublishedForecast]) -> Iterator[tuple[tuple[str, ...], float]]:
    for each in forecasts:
        for ahead_ms in HORIZONS_MS:
            step = -(-ahead_ms // each.step_ms) - 1
            if step >= each.quantiles.shape[1]:
                break
            for level, value in zip(each.levels, each.quantiles[:, step].tolist(), strict=True):
                yield (each.series, f"{level:g}", span_name(ahead_ms)), value


def _grouped(readings: Sequence[CapacityReading]) -> list[tuple[LabelRows, list[CapacityReading]]]:
    """Readings that have the same label names, with their labels."""
    found: dict[tuple[str, tuple[str, ...]], list[CapacityReading]] = {}
    for reading in readings:
        found.setdefault((reading.kind, tuple(sorted(reading.labels))), []).append(reading)
    return [(_labels(columns, group), group) for (_, columns), group in found.items()]


def _labels(columns: Sequence[str], group: Sequence[CapacityReading]) -> LabelRows:
    names = ("resource", *label_names(columns, _OWN_LABELS))
    rows = [(one.resource, *(one.labels[column] for column in columns)) for one in group]
    return LabelRows(names, rows)


def _by_horizon(
    groups: Sequence[tuple[LabelRows, list[CapacityReading]]],
) -> Iterator[tuple[str, tuple[LabelRows, list[CapacityReading]]]]:
    """Groups split by what the label `horizon` says: the horizon, or `period` for what ends with it."""
    for labels, group in groups:
        horizons = [
            "period" if one.period is not None else span_name(max(one.horizon_ms, 1)) for one in group
        ]
        for horizon in dict.fromkeys(horizons):
            chosen = [place for place, one in enumerate(horizons) if one == horizon]
            rows = LabelRows(labels.names, [labels.rows[place] for place in chosen])
            yield horizon, (rows, [group[place] for place in chosen])


def _column(group: Sequence[CapacityReading], value: Callable[[CapacityReading], float]) -> Numbers:
    return np.array([value(reading) for reading in group], np.float64)


def _used(reading: CapacityReading) -> float:
    return reading.used_ratio


def _ahead(reading: CapacityReading) -> float:
    return reading.forecast_ratio


def _probability(reading: CapacityReading) -> float:
    return reading.probability


def _exhaustion_at(quantile: float) -> Callable[[CapacityReading], float]:
    return lambda reading: reading.exhaustion_seconds.get(quantile, float("nan"))
