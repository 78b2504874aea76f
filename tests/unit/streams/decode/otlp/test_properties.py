"""Random OTLP messages decode, in every encoding, to what a plain walk over the parsed message finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.events.batch import EventBatch, Kind
from tests.unit.decoding import columns, decode
from tests.unit.otlp_messages import (
    WANTED_NUMBERS,
    WANTED_STRINGS,
    Event,
    logs_data,
    metrics_data,
    to_json,
    traces_data,
    walk_logs,
    walk_metrics,
    walk_spans,
)

ATTRIBUTES: dict[str, Kind] = {
    **dict.fromkeys(WANTED_STRINGS, "string"),
    **dict.fromkeys(WANTED_NUMBERS, "number"),
    "resource.a": "string",
}
WANTED: dict[str, dict[str, Kind]] = {
    "metrics": {**ATTRIBUTES, "metric": "string", "unit": "string", "type": "string", "value": "number"},
    "spans": {
        **ATTRIBUTES,
        **dict.fromkeys(
            ["name", "kind", "status", "status_message", "trace_id", "span_id", "parent_span_id", "scope"],
            "string",
        ),
        "duration": "number",
    },
    "logs": {
        **ATTRIBUTES,
        **dict.fromkeys(["body", "severity", "trace_id", "span_id", "event_name", "scope"], "string"),
        "severity_number": "number",
    },
}
ENCODINGS: dict[str, Callable[[Any], bytes]] = {
    "otlp_proto": lambda message: message.SerializeToString(),
    "otlp_json": to_json,
    "otlp_json snake": lambda message: to_json(message, snake=True),
    "otlp_json names": lambda message: to_json(message, enum_names=True),
    "otlp_json numbers": lambda message: to_json(message, numbers=True),
}


def events_of(batch: EventBatch) -> Iterator[tuple[int, str]]:
    """Record of each event, and all that is known of it as a text; series are told apart elsewhere."""
    table = columns(batch)
    weights = [1] * len(batch) if batch.weight is None else batch.weight.tolist()
    heads = [True] * len(batch) if batch.head is None else batch.head.tolist()
    totals, starts = {}, {}
    if batch.counters is not None:
        totals = dict(zip(batch.counters.rows.tolist(), batch.counters.value.tolist(), strict=True))
        starts = dict(zip(batch.counters.rows.tolist(), batch.counters.start_ms.tolist(), strict=True))
    values = batch.columns["value"].tolist() if "value" in table else [1] * len(batch)
    at = 0
    while at < len(batch):
        end = at + 1
        while end < len(batch) and not heads[end]:
            end += 1
        rows = [(values[row], totals.get(row, weights[row])) for row in range(at, end)]
        assert all(weights[row] == 0 for row in range(at, end) if row in totals)
        shared = {name: column[at] for name, column in table.items() if name != "value"}
        assert all(column[at] == column[row] for column in table.values() for row in range(at, end)
                   if column is not table.get("value"))  # fmt: skip
        event = Event(int(batch.time_ms[at]), shared, rows, at in totals, starts.get(at, 0))
        yield int(batch.record[at]), text_of(event)
        at = end


def text_of(event: Event) -> str:
    rows = sorted((float(value) + 0.0, float(weight)) for value, weight in event.rows)
    rows = [(float(f"{value:.12g}"), weight) for value, weight in rows]
    start_ms = event.start_ms if event.cumulative else 0
    return repr((event.time_ms, sorted(event.columns.items()), rows, event.cumulative, start_ms))


def check(
    signal: Any, encoding: str, messages: list[Any], walk: Callable[[Any], Iterator[Event]]
) -> EventBatch:
    values = [ENCODINGS[encoding](message) for message in messages]
    batch = decode(encoding.split()[0], values, WANTED[signal], signal=signal)
    expected = [
        (record, text_of(event)) for record, message in enumerate(messages) for event in walk(message)
    ]
    assert not batch.dead
    assert sorted(events_of(batch)) == sorted(expected)
    assert batch.event_count == len(expected)
    assert batch.skipped == len(messages) - len({record for record, _ in expected})
    return batch


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=60)
@given(messages=st.lists(metrics_data, max_size=3))
def test_metrics(encoding: str, messages: list[Any]) -> None:
    batch = check("metrics", encoding, messages, walk_metrics)
    keys = {key for message in messages for event in walk_metrics(message) for key in event.keys}
    if batch.counters is None:
        assert not keys
        return
    assert len(np.unique(batch.counters.identity)) == len(keys)
    assert (np.diff(batch.counters.rows) > 0).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=60)
@given(messages=st.lists(traces_data, max_size=3))
def test_spans(encoding: str, messages: list[Any]) -> None:
    check("spans", encoding, messages, walk_spans)


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=60)
@given(messages=st.lists(logs_data, max_size=3))
def test_logs(encoding: str, messages: list[Any]) -> None:
    check("logs", encoding, messages, walk_logs)


@settings(max_examples=60)
@given(message=metrics_data)
def test_series_have_the_same_key_whatever_the_encoding_or_the_order_of_attributes(message: Any) -> None:
    def keys(format: str, value: bytes) -> list[list[Any]]:
        counters = decode(format, [value], WANTED["metrics"], signal="metrics").counters
        if counters is None or counters.point is None:
            return []
        return [sorted(counters.identity.tolist()), sorted(counters.point.tolist())]

    expected = keys("otlp_proto", message.SerializeToString())
    assert keys("otlp_json", to_json(message)) == expected
    for resource in message.resource_metrics:
        unique = {pair.key: pair for pair in resource.resource.attributes}
        del resource.resource.attributes[:]
        resource.resource.attributes.extend(reversed(unique.values()))
    assert keys("otlp_proto", message.SerializeToString()) == expected
    assert not any(math.isnan(key) for part in expected for key in part)
