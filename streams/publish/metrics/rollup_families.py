"""Metrics of the sources' own series: requests, errors, rates, durations, distinct values.

A source's classic buckets, `streamgauge_request_duration_seconds_bucket`, are a family of their own: no
family can be a summary with quantiles and a histogram with buckets, and both have to be found under the
names that people and `histogram_quantile` expect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detectors.alerts.names import label_names, span_name
from streams.partials.sketch import quantiles_of
from streams.publish.metrics.family import Block, Family, LabelRows
from streams.publish.metrics.snapshot import RollupSnapshot

QUANTILES = (0.5, 0.9, 0.95, 0.99)

DURATION = "streamgauge_request_duration_seconds"

_OWN_LABELS = ("source", "window", "quantile", "le", "column")


def rollup_families(snapshots: Sequence[RollupSnapshot]) -> Iterator[Family]:
    """The families of all sources' own series."""
    tables = [(snapshot, _labels(snapshot)) for snapshot in snapshots]
    yield Family(
        "streamgauge_requests",
        "counter",
        "Events counted in a series.",
        [
            Block(labels, snapshot.total("total"), "_total", exemplars=snapshot.exemplars)
            for snapshot, labels in tables
        ],
    )
    yield Family(
        "streamgauge_request_errors",
        "counter",
        "Events of a series that are errors.",
        [
            Block(
                labels,
                snapshot.total("errors"),
                "_total",
                exemplars={row: each for row, each in snapshot.exemplars.items() if each.error},
            )
            for snapshot, labels in tables
        ],
    )
    yield Family(
        "streamgauge_request_rate",
        "gauge",
        "Events of a series in a second, over a rolling window.",
        [
            Block(
                labels,
                snapshot.counts[index, :, snapshot.rollup.measure_index("total")] / (window_ms / 1000.0),
                extra=[("window", span_name(window_ms))],
            )
            for snapshot, labels in tables
            for index, window_ms in enumerate(snapshot.windows_ms)
        ],
    )
    yield Family(
        DURATION, "summary", "Durations over a rolling window, within 1 %.", list(_durations(tables))
    )
    yield Family(
        f"{DURATION}_bucket",
        "unknown",
        "Events with at most this duration, since the beginning: classic buckets.",
        list(_buckets(tables)),
    )
    yield Family(
        "streamgauge_distinct_values",
        "gauge",
        "Distinct values of a column over a rolling window, within a few percent.",
        [
            Block(labels, values, extra=[("column", column), ("window", span_name(window_ms))])
            for snapshot, labels in tables
            for (column, window_ms), values in snapshot.distinct.items()
        ],
    )


def _labels(snapshot: RollupSnapshot) -> LabelRows:
    names = label_names(snapshot.rollup.by, _OWN_LABELS)
    return LabelRows(names, snapshot.labels, [("source", snapshot.rollup.source)])


def _durations(tables: Sequence[tuple[RollupSnapshot, LabelRows]]) -> Iterator[tuple[Block, ...]]:
    for snapshot, labels in tables:
        for window_ms, (keys, counts) in snapshot.sketches.items():
            values = quantiles_of(keys, counts, len(labels), QUANTILES)
            window = ("window", span_name(window_ms))
            yield tuple(
                Block(labels, values[:, column], extra=[window, ("quantile", str(share))])
                for column, share in enumerate(QUANTILES)
            )
        if snapshot.sketches:
            count = Block(labels, snapshot.total("total"), "_count")
            seconds = snapshot.sum_seconds
            yield (count,) if seconds is None else (count, Block(labels, seconds, "_sum"))


def _buckets(tables: Sequence[tuple[RollupSnapshot, LabelRows]]) -> Iterator[Block]:
    for snapshot, labels in tables:
        if snapshot.buckets is None:
            continue
        for column, bound in enumerate(snapshot.rollup.histogram):
            yield Block(labels, snapshot.buckets[:, column], extra=[("le", str(float(bound)))])
        yield Block(labels, snapshot.total("total"), extra=[("le", "+Inf")])
