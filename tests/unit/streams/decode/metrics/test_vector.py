"""Format `vector`: logs and metrics, of both codecs, in any mixture."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events.batch import Kind
from tests.unit.decoding import ARRIVED_MS, columns, decode, reasons

TIME = "2024-01-01T00:00:00.5Z"
TIME_MS = 1_704_067_200_500
LOG_WANTED: dict[str, Kind] = {
    "body": "string",
    "severity": "string",
    "host": "string",
    "kubernetes.pod": "string",
}
WANTED: dict[str, Kind] = {
    "metric": "string",
    "value": "number",
    "type": "string",
    "namespace": "string",
    "a": "string",
}


def metric(kind: str, content: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"name": "m", "tags": {"a": "x"}, "timestamp": TIME, "kind": kind} | content | others


def native(*metrics: dict[str, Any]) -> list[str]:
    return [json.dumps({"metric": one}) for one in metrics]


def test_logs_of_both_codecs_give_the_same_columns() -> None:
    log = {"message": "m", "level": "warn", "host": "h", "kubernetes": {"pod": "p"}, "timestamp": TIME}
    batch = decode("vector", [json.dumps(log), json.dumps({"log": log})], LOG_WANTED)
    expected = {"body": "m", "severity": "warn", "host": "h", "kubernetes.pod": "p"}
    assert columns(batch) == {name: [value, value] for name, value in expected.items()}
    assert batch.time_ms.tolist() == [TIME_MS, TIME_MS]
    assert batch.weight is batch.head is batch.counters is None


@pytest.mark.parametrize(
    ("content", "values", "weights"),
    [
        ({"counter": {"value": 3.0}}, [3.0], [3]),
        ({"gauge": {"value": -1.5}}, [-1.5], [1]),
        ({"set": {"values": ["a", "b"]}}, [2.0], [1]),
        (
            {
                "distribution": {
                    "samples": [{"value": 0.5, "rate": 2}, {"value": 2, "rate": 1}],
                    "statistic": "summary",
                }
            },
            [0.5, 2.0],
            [2, 1],
        ),
        ({"distribution": {"samples": [], "statistic": "histogram"}}, [None], [0]),
        (
            {
                "aggregated_histogram": {
                    "buckets": [
                        {"upper_limit": 1.0, "count": 2},
                        {"upper_limit": 2.0, "count": 0},
                        {"upper_limit": None, "count": 4},
                    ],
                    "count": 6,
                    "sum": 30.0,
                }
            },
            [1.0, 2.0],
            [2, 4],
        ),
        ({"aggregated_histogram": {"buckets": [], "count": 4, "sum": 2.0}}, [0.5], [4]),
        ({"aggregated_summary": {"quantiles": [], "count": 4, "sum": 2.0}}, [0.5], [4]),
        ({"aggregated_summary": {"quantiles": [], "count": 0, "sum": 0.0}}, [None], [0]),
        ({"sketch": {"AgentDDSketch": {"count": 2, "sum": 5.0, "min": 1.0, "max": 4.0}}}, [2.5], [2]),
    ],
)
def test_an_incremental_metric_is_what_it_counted(
    content: dict[str, Any], values: list[float | None], weights: list[int]
) -> None:
    batch = decode("vector", native(metric("incremental", content, namespace="n")), WANTED)
    assert columns(batch) == {
        "metric": ["m"] * len(values),
        "value": values,
        "type": list(content) * len(values),
        "namespace": ["n"] * len(values),
        "a": ["x"] * len(values),
    }
    assert batch.weight is not None
    assert batch.weight.tolist() == weights
    assert batch.event_count == 1
    assert batch.counters is None
    assert set(batch.time_ms.tolist()) == {TIME_MS}


def test_metrics_of_the_json_codec_are_those_of_native_json() -> None:
    one = metric("incremental", {"counter": {"value": 3.0}})
    batch = decode("vector", [json.dumps(one), *native(one)], WANTED)
    assert columns(batch)["value"] == [3.0, 3.0]
    assert columns(batch)["metric"] == ["m", "m"]


def test_absolute_counts_are_counters_of_their_series() -> None:
    records = native(
        metric("absolute", {"counter": {"value": 30}}),
        metric("absolute", {"gauge": {"value": 5}}),
        metric("absolute", {"counter": {"value": 31}}),
        metric("absolute", {"counter": {"value": 7}}, tags={"a": "y"}),
        metric("absolute", {"counter": {"value": 8}}, namespace="n"),
    )
    batch = decode("vector", records, WANTED)
    assert batch.counters is not None
    assert batch.weight is not None
    assert batch.counters.rows.tolist() == [0, 2, 3, 4]
    assert batch.counters.value.tolist() == [30.0, 31.0, 7.0, 8.0]
    assert batch.weight.tolist() == [0, 1, 0, 0, 0]
    first, second, *others = batch.counters.identity.tolist()
    assert first == second
    assert len({first, *others}) == 3
    assert batch.counters.point is not None
    assert batch.counters.point.tolist() == batch.counters.identity.tolist()


def test_buckets_of_an_absolute_histogram_are_counters_of_their_own() -> None:
    def histogram(counts: list[int], limits: list[float]) -> dict[str, Any]:
        buckets = [
            {"upper_limit": limit, "count": count} for limit, count in zip(limits, counts, strict=True)
        ]
        return metric(
            "absolute", {"aggregated_histogram": {"buckets": buckets, "count": sum(counts), "sum": 1}}
        )

    limits = [1.0, 2.0, 4.0]
    batch = decode("vector", native(histogram([1, 2, 0], limits), histogram([1, 2, 5], limits)), WANTED)
    assert batch.counters is not None
    assert batch.counters.value.tolist() == [1.0, 2.0, 1.0, 2.0, 5.0]
    identity = batch.counters.identity.tolist()
    assert identity[:2] == identity[2:4]
    assert len(set(identity)) == 3
    assert len(set(batch.counters.point.tolist())) == 1  # type: ignore[union-attr]
    assert not set(identity) & set(batch.counters.point.tolist())  # type: ignore[union-attr]
    rebuilt = decode("vector", native(histogram([1, 2, 0], [1.0, 2.0, 5.0])), WANTED)
    assert rebuilt.counters is not None
    assert not set(rebuilt.counters.identity.tolist()) & set(identity)


def test_tags_may_be_bare_or_have_several_values() -> None:
    one = metric("incremental", {"counter": {"value": 1}}, tags={"a": ["x", "y"], "bare": None, "none": []})
    batch = decode("vector", native(one), {"a": "string", "tags.bare": "string", "tags.none": "string"})
    assert columns(batch) == {"a": ["y"], "tags.bare": [""], "tags.none": [""]}


@pytest.mark.parametrize(
    "bad",
    [
        {"counter": {"value": "many"}},
        {"counter": {"value": -1}},
        {"counter": {"value": 1e300}},
        {"counter": 3},
        {},
        {"counter": {"value": 1}, "kind": "relative"},
        {"counter": {"value": 1}, "name": None},
        {"counter": {"value": 1}, "tags": [1]},
        {"set": {"values": 3}},
        {"distribution": {"samples": [3], "statistic": "summary"}},
        {"aggregated_histogram": {"buckets": [{"upper_limit": 1, "count": -2}], "count": 1, "sum": 1}},
    ],
)
def test_what_is_no_metric_is_dead(bad: dict[str, Any]) -> None:
    good = metric("incremental", {"counter": {"value": 3}})
    batch = decode("vector", native(good, metric("incremental", bad), good), WANTED)
    assert reasons(batch) == [(1, "bad_metric")]
    assert columns(batch)["value"] == [3.0, 3.0]


def test_times_of_metrics_are_declared_or_the_records_own() -> None:
    one = metric("incremental", {"counter": {"value": 3}})
    without = {key: value for key, value in one.items() if key != "timestamp"}
    records = native(one, without, one | {"timestamp": "noon"})
    assert decode("vector", records, WANTED).time_ms.tolist() == [TIME_MS, ARRIVED_MS + 1]
    declared = decode("vector", records, WANTED, time_field="timestamp")
    assert reasons(declared) == [(1, "missing_time"), (2, "bad_time")]
    assert decode("vector", records, WANTED, time_format="record").time_ms.tolist() == [
        ARRIVED_MS + i for i in range(3)
    ]


RECORDS = [
    '{"message":"plain"}',
    '{"log":{"message":"native"}}',
    *native(
        metric("incremental", {"counter": {"value": 3}}),
        metric("absolute", {"counter": {"value": 9}}),
        metric(
            "incremental", {"distribution": {"samples": [{"value": 1, "rate": 2}, {"value": 2, "rate": 3}]}}
        ),
        metric("incremental", {}),
    ),
    "nope",
    None,
]


@given(st.lists(st.sampled_from(RECORDS), max_size=30))
def test_a_mixture_is_its_records_one_after_the_other(values: list[str | None]) -> None:
    wanted = WANTED | {"body": "string"}
    batch = decode("vector", values, wanted)
    alone = [decode("vector", [value], wanted) for value in values]
    assert batch.record.tolist() == [row for row, one in enumerate(alone) for _ in range(len(one))]
    for name, found in columns(batch).items():
        assert found == [value for one in alone for value in columns(one)[name]]
    for ours, dtype in (("weight", np.int64), ("head", np.bool_)):
        expected = [
            entry
            for one in alone
            for entry in (
                np.ones(len(one), dtype) if getattr(one, ours) is None else getattr(one, ours)
            ).tolist()
        ]
        array = getattr(batch, ours)
        assert (np.ones(len(batch), dtype) if array is None else array).tolist() == expected
    counted = [value for one in alone if one.counters is not None for value in one.counters.value.tolist()]
    assert ([] if batch.counters is None else batch.counters.value.tolist()) == counted
    if batch.counters is not None:
        assert all(columns(batch)["value"][row] == 9.0 for row in batch.counters.rows.tolist())
    assert batch.skipped == values.count(None)
