"""What a worker publishes: its names and values, in both formats, as strict readers understand them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from detectors.slo.slo import Slo
from models.calendar.period import CalendarPeriod
from streams.partials.sketch import BIN_COUNT, bins_of
from streams.plan.rollup import Count, Rollup
from streams.publish.metrics.exposition import OPEN_METRICS, TEXT, chosen_format
from streams.publish.metrics.page import collect, render
from streams.publish.metrics.snapshot import (
    Exemplar,
    RollupSnapshot,
    SloSnapshot,
    SourceSnapshot,
    WorkerSnapshot,
)

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

SLO = Slo("availability", "shop", 0.99, "requests", "slo:availability", 30 * DAY, group_by=("http.route",))

ROLLUP = Rollup(
    "requests",
    "requests",
    ("route",),
    measures=(Count("total"), Count("errors")),
    sketch="duration",
    windows_ms=(5 * MINUTE, HOUR),
    kind="requests",
)


def sketch_of(values: dict[int, list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Keys and counts of the bins of some series' values."""
    keys = [
        series * BIN_COUNT + int(bin_)
        for series, column in values.items()
        for bin_ in bins_of(np.array(column))
    ]
    unique, counts = np.unique(np.array(keys, np.int64), return_counts=True)
    return unique, counts.astype(np.int64)


def rollup_snapshot(labels: list[tuple[str, ...]] | None = None, **kwargs: object) -> RollupSnapshot:
    names = [("/",), ("/pay",)] if labels is None else labels
    count = len(names)
    five_minutes, hour = np.full((count, 2), [300, 3]), np.full((count, 2), [7200, 5])
    return RollupSnapshot(
        **{
            "rollup": ROLLUP,
            "labels": names,
            "windows_ms": (5 * MINUTE, HOUR),
            "counts": np.stack([five_minutes, hour]),
            "totals": np.full((count, 2), [9000, 90]),
            **kwargs,
        }  # type: ignore[arg-type]
    )


def slo_snapshot(**kwargs: object) -> SloSnapshot:
    return SloSnapshot(
        **{
            "slo": SLO,
            "labels": [("/",), ("/pay",)],
            "windows_ms": (5 * MINUTE, HOUR),
            "good": np.array([[99, 0], [980, 0]]),
            "total": np.array([[100, 0], [1000, 0]]),
            "budget_good": np.array([9950, 0]),
            "budget_total": np.array([10_000, 0]),
            **kwargs,
        }  # type: ignore[arg-type]
    )


SOURCE = SourceSnapshot(
    "requests",
    watermark_ms={0: 1_700_000_000_500, 1: 1_700_000_000_000},
    lag={0: 12, 1: 0},
    outcomes={("in", ""): 8900, ("late", ""): 40, ("dead", "bad_json"): 3, ("dead", "missing_time"): 2},
    folded=7,
)


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(families: Iterable[Metric]) -> Samples:
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = float(sample.value)
    return found


def read(snapshot: WorkerSnapshot) -> Samples:
    page, _ = render(snapshot)
    return samples_of(parse_text(page.decode()))


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_a_source_says_what_became_of_its_events() -> None:
    samples = read(WorkerSnapshot("1.2", sources=[SOURCE], rollups=[rollup_snapshot()]))
    assert value(samples, "streamgauge_events_total", source="requests", outcome="in") == 8900
    assert value(samples, "streamgauge_events_total", source="requests", outcome="dead") == 5
    assert value(samples, "streamgauge_late_events_total", source="requests") == 40
    assert value(samples, "streamgauge_dead_letters_total", source="requests", reason="bad_json") == 3
    assert value(samples, "streamgauge_folded_events_total", source="requests") == 7
    assert (
        value(samples, "streamgauge_watermark_seconds", source="requests", partition="0") == 1_700_000_000.5
    )
    assert value(samples, "streamgauge_consumer_lag_records", source="requests", partition="0") == 12
    assert value(samples, "streamgauge_series", source="requests", rollup="requests") == 2
    assert value(samples, "streamgauge_build_info", version="1.2") == 1
    assert samples["process_resident_memory_bytes", frozenset()] > 1e6


def test_series_have_counts_rates_quantiles_and_distinct_values() -> None:
    rng = np.random.default_rng(3)
    values = rng.lognormal(-2, 1, 1000)
    snapshot = rollup_snapshot(
        sketches={5 * MINUTE: sketch_of({0: values.tolist()})},
        sum_seconds=np.array([12.5, 0.0]),
        distinct={("client", 5 * MINUTE): np.array([17.0, 3.0])},
    )
    samples = read(WorkerSnapshot("1", rollups=[snapshot]))
    home = {"source": "requests", "route": "/"}
    assert value(samples, "streamgauge_requests_total", **home) == 9000
    assert value(samples, "streamgauge_request_errors_total", **home) == 90
    assert value(samples, "streamgauge_request_rate", **home, window="5m") == 1.0
    assert value(samples, "streamgauge_request_rate", **home, window="1h") == 2.0
    name = "streamgauge_request_duration_seconds"
    for share in (0.5, 0.9, 0.95, 0.99):
        found = value(samples, name, **home, window="5m", quantile=str(share))
        assert found == pytest.approx(np.sort(values)[int(share * 999)], rel=0.01)
    assert value(samples, f"{name}_sum", **home) == 12.5
    assert value(samples, f"{name}_count", **home) == 9000
    # Nothing was measured on /pay: no sample, not NaN.
    assert value(samples, name, source="requests", route="/pay", window="5m", quantile="0.5") is None
    assert value(samples, "streamgauge_distinct_values", **home, column="client", window="5m") == 17


def test_classic_buckets_when_asked() -> None:
    snapshot = rollup_snapshot(
        rollup=replace(ROLLUP, histogram=(0.1, 1)), buckets=np.array([[10, 8000], [20, 9000]])
    )
    samples = read(WorkerSnapshot("1", rollups=[snapshot]))
    name = "streamgauge_request_duration_seconds_bucket"
    found = {
        bound: value(samples, name, source="requests", route="/", le=bound)
        for bound in ("0.1", "1.0", "+Inf")
    }
    assert found == {"0.1": 10, "1.0": 8000, "+Inf": 9000}


def test_an_slo_has_ratios_burn_rates_and_a_budget() -> None:
    samples = read(WorkerSnapshot("1", slos=[slo_snapshot()]))
    own = {"service": "shop", "slo": "availability"}
    home = {**own, "http_route": "/"}
    assert value(samples, "streamgauge_sli_ratio", **home, window="5m") == 0.99
    assert value(samples, "streamgauge_burn_rate", **home, window="1h") == pytest.approx(2.0)
    remaining = value(samples, "streamgauge_error_budget_remaining_ratio", **home)
    assert remaining == pytest.approx(0.5)
    exhaustion = value(samples, "streamgauge_error_budget_exhaustion_seconds", **home)
    assert exhaustion == pytest.approx(0.5 * 30 * 86_400 / 2.0)
    assert value(samples, "streamgauge_slo_objective_ratio", **own) == 0.99
    assert value(samples, "streamgauge_slo_window_seconds", **own) == 30 * 86_400
    assert value(samples, "streamgauge_series", source="requests", rollup="slo:availability") == 2
    silent = {key for key in samples if ("http_route", "/pay") in key[1]}
    assert silent == set()


def test_an_slo_in_several_partitions_is_described_once() -> None:
    parts = [slo_snapshot(), slo_snapshot(labels=[("/a",), ("/b",)])]
    samples = read(WorkerSnapshot("1", slos=parts))
    assert value(samples, "streamgauge_series", source="requests", rollup="slo:availability") == 4
    assert value(samples, "streamgauge_slo_objective_ratio", service="shop", slo="availability") == 0.99


def test_objectives_and_groups_called_as_our_labels_are_told_apart() -> None:
    slo = replace(SLO, objective="fast", group_by=("service",))
    samples = read(WorkerSnapshot("1", slos=[slo_snapshot(slo=slo, labels=[("cart",), ("pay",)])]))
    labels = {"service": "shop", "slo": "availability", "objective": "fast", "exported_service": "cart"}
    assert value(samples, "streamgauge_sli_ratio", **labels, window="5m") == 0.99


def test_a_period_that_has_just_begun_is_not_exhausted_before_its_time() -> None:
    slo = replace(SLO, calendar=CalendarPeriod("month"))
    samples = read(WorkerSnapshot("1", slos=[slo_snapshot(slo=slo, covered_ms=3 * DAY)]))
    labels = {"service": "shop", "slo": "availability", "http_route": "/"}
    found = value(samples, "streamgauge_error_budget_exhaustion_seconds", **labels)
    assert found == pytest.approx((1 - 0.5 * 0.1) * 30 * 86_400 / 2.0)


def test_nothing_burning_lasts_for_ever() -> None:
    fine = np.array([[5], [50]])
    snapshot = slo_snapshot(labels=[("/",)], good=fine, total=fine, budget_good=fine[1], budget_total=fine[1])
    samples = read(WorkerSnapshot("1", slos=[snapshot]))
    labels = {"service": "shop", "slo": "availability", "http_route": "/"}
    assert value(samples, "streamgauge_error_budget_exhaustion_seconds", **labels) == math.inf


def test_alerts_are_counted_even_where_there_are_none() -> None:
    samples = read(
        WorkerSnapshot(
            "1",
            alerts={("ErrorBudgetBurn", "firing"): 2},
            deliveries={("alertmanager", "sent"): 5},
        )
    )
    name = "streamgauge_alerts"
    assert value(samples, name, alertname="ErrorBudgetBurn", state="firing") == 2
    assert value(samples, name, alertname="TelemetryMissing", state="firing") == 0
    assert value(samples, "streamgauge_alert_deliveries_total", sink="alertmanager", outcome="sent") == 5


def test_open_metrics_has_exemplars_with_trace_ids() -> None:
    snapshot = rollup_snapshot(
        exemplars={
            0: Exemplar("4bf92f3577b34da6", 0.25, 1_700_000_000_123, error=True),
            1: Exemplar("x" * 200, 0.1, 1_700_000_000_000),
        }
    )
    page, content_type = render(WorkerSnapshot("1", rollups=[snapshot]), OPEN_METRICS)
    assert content_type == OPEN_METRICS
    found = {
        (sample.name, sample.labels["route"]): sample.exemplar
        for family in parse_open_metrics(page.decode())
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert set(found) == {("streamgauge_requests_total", "/"), ("streamgauge_request_errors_total", "/")}
    exemplar = found["streamgauge_requests_total", "/"]
    assert (exemplar.labels, exemplar.value) == ({"trace_id": "4bf92f3577b34da6"}, 0.25)
    assert float(exemplar.timestamp) == pytest.approx(1_700_000_000.123)
    assert b"trace_id" not in render(WorkerSnapshot("1", rollups=[snapshot]))[0]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml", TEXT),
        ("application/openmetrics-text", OPEN_METRICS),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPEN_METRICS),
        ("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.2", TEXT),
        ("application/openmetrics-text;q=nonsense, text/plain", TEXT),
    ],
)
def test_the_reader_chooses_the_format(accept: str, expected: str) -> None:
    assert chosen_format(accept) == expected


label_values = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\"\n%{},='), max_size=12)
numbers = st.integers(0, 10**15)


@settings(max_examples=60)
@given(st.data())
def test_both_formats_and_the_library_hold_the_same_samples(data: st.DataObject) -> None:
    routes = data.draw(st.lists(label_values, max_size=4, unique=True))
    labels = [(route,) for route in routes]
    count = len(labels)

    def columns(*shape: int) -> np.ndarray:
        size = math.prod(shape)
        return np.array(data.draw(st.lists(numbers, min_size=size, max_size=size)), np.int64).reshape(shape)

    durations = st.lists(st.floats(1e-6, 1e6), max_size=5)
    good = columns(2, count)
    snapshot = WorkerSnapshot(
        "1",
        sources=[SOURCE],
        rollups=[
            rollup_snapshot(
                labels,
                rollup=replace(ROLLUP, histogram=(0.5,)),
                counts=columns(2, count, 2),
                totals=columns(count, 2),
                sketches={HOUR: sketch_of({row: data.draw(durations) for row in range(count)})},
                buckets=columns(count, 1),
            )
        ],
        slos=[
            slo_snapshot(
                labels=labels,
                good=good,
                total=good + columns(2, count),
                budget_good=good[0],
                budget_total=good[0] + columns(count),
            )
        ],
    )
    expected = samples_of(collect(snapshot))
    text = samples_of(parse_text(render(snapshot)[0].decode()))
    open_metrics = samples_of(parse_open_metrics(render(snapshot, OPEN_METRICS)[0].decode()))
    for found in (text, open_metrics):
        assert found.keys() == expected.keys()
        for key, number in expected.items():
            # The process' own metrics move between two readings.
            assert key[0].startswith("process_") or found[key] == number


def test_an_empty_worker_has_a_page() -> None:
    for accept in (TEXT, OPEN_METRICS):
        page, _ = render(WorkerSnapshot("1"), accept)
        assert b"streamgauge_build_info" in page
        assert b"NaN" not in page


def test_ten_thousand_series_are_all_on_the_page() -> None:
    count = 10_000
    rng = np.random.default_rng(1)
    keys = np.unique(
        np.repeat(np.arange(count), 20) * BIN_COUNT + bins_of(rng.lognormal(-2, 1, 20 * count))
    ).astype(np.int64)
    snapshot = rollup_snapshot(
        [(f"/route/{number}",) for number in range(count)],
        sketches={5 * MINUTE: (keys, np.ones(len(keys), np.int64))},
    )
    page, _ = render(WorkerSnapshot("1", rollups=[snapshot]))
    assert page.count(b"\n") > 9 * count
