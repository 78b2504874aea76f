"""What every format's decoder keeps, whatever comes in. A new format is tested by being registered."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.decode.format import COMMON_REASONS
from streams.decode.registry import find_format, format_names, make_decoder
from streams.events.batch import Decoder, EventBatch, Layout, Records, Strings

WANTED = {
    "service": "string",
    "status": "number",
    "value": "number",
    "metric": "string",
    "body": "string",
    "a": "string",
    "a.b": "number",
    "method": "string",
    "path": "string",
    "duration": "number",
    "severity": "string",
    "id": "number",
    "op": "string",
}

CASES = [(name, signal) for name in format_names() for signal in (find_format(name).signals or (None,))]

LOG_LINE = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a?b=1 HTTP/1.1" 200 5 "-" "curl" 0.004'
SAMPLES = [
    b'{"service":"a","status":200,"ts":1700000000123,"a":{"b":1.5}}',
    b'{"service":"b","status":"503","ts":"2024-01-01T00:00:00Z","a.b":2}',
    b'{"service":true,"status":null,"ts":NaN}',
    b'[{"service":1},{"service":2},3]',
    b'{"service":"x"}\n{"service":"y"}\nnot json',
    b'{"ts":{}}',
    b'{"a":5,"ts":-1}',
    b"[]",
    b"{}{}",
    b'{"a":[{}',
    b",{}]}",
    LOG_LINE,
    b'"' + LOG_LINE + b'"',
    b"shop.example:443 " + LOG_LINE,
    LOG_LINE.replace(b"GET /a?b=1 HTTP/1.1", b"\\x16\\x03\\x01"),
    LOG_LINE.replace(b"curl", b"\xff\xfe"),
    LOG_LINE + b"\n" + LOG_LINE,
    b'{"time":"2024-01-01T00:00:00Z","request":"GET / HTTP/1.1","status":"200","request_time":"0.1"}',
    b'{"before":null,"after":{"id":1},"op":"c","ts_ms":1700000000123}',
    b'{"schema":{"type":"struct"},"payload":{"before":{"id":2},"after":null,"op":"d","ts_ms":1700000000123}}',
    b'{"schema":null,"payload":null}',
    b'{"level":50,"time":1700000000123,"msg":"m"}',
    b'[1700000000.5,{"log":"x"}]',
    b'[[1700000000.5,{"log":"x"}],[1,{"log":"y"}]]',
    b'{"log":{"message":"m","timestamp":"2024-01-01T00:00:00Z"}}',
    b'{"metric":{"name":"m","kind":"absolute","tags":{"a":"b"},"counter":{"value":7}}}',
    b'{"metric":{"name":"h","kind":"incremental","aggregated_histogram":{"buckets":[{"upper_limit":1,'
    b'"count":2},{"upper_limit":2,"count":3}],"count":5,"sum":4}}}',
    b'{"metric":{"name":"m","kind":"absolute","counter":{"value":"x"}}}',
    b'{"name":"m","timestamp":"2024-01-01T00:00:00Z","value":"NaN","labels":{"__name__":"m"}}',
    b'{"name":"cpu","timestamp":1700000000,"fields":{"a":1.5,"b":"x"},"tags":{"host":"h"}}',
    b"cpu,host=a usage=0.5,count=3i 1700000000000000000",
    b"cpu,host=a usage=",
    b'[{"values":[1,2.5],"dstypes":["derive","gauge"],"dsnames":["rx","tx"],"time":1700000000.1,"interval":10,'
    b'"host":"h","plugin":"if","plugin_instance":"e","type":"t","type_instance":""}]',
    b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000000","body":{"stringValue":'
    b'"m"}}]}]}]}',
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"s","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}',
    b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"timeUnixNano":'
    b'"1700000000000000000","asDouble":1}]}}]}]}]}',
    b"\n\x0c\n\x00\x12\x08\n\x00\x12\x04\n\x02ab",
    b"",
    b"   ",
    b"null",
    b"\xff",
    b"[" * 5000,
]
"""Good and bad records of all formats: each decoder sees its own among all the others'."""

records_strategy = st.lists(
    st.one_of(
        st.none(),
        st.sampled_from(SAMPLES),
        st.binary(max_size=60),
        st.builds(
            lambda sample, at, byte: sample[:at] + byte + sample[at + 1 :],
            st.sampled_from(SAMPLES),
            st.integers(0, 120),
            st.binary(max_size=2),
        ),
    ),
    max_size=25,
)


def records_of(values: Sequence[bytes | None]) -> Records:
    offsets = np.arange(len(values), dtype=np.int64)
    return Records(list(values), offsets, offsets + 1_700_000_000_000)


def decoder_of(format: str, signal: object) -> Decoder:
    return make_decoder(format, Layout(wanted=WANTED, signal=signal))  # type: ignore[arg-type]


def rows_of(batch: EventBatch, first_record: int = 0) -> list[tuple[object, ...]]:
    """Everything a batch says of each row, comparable between batches with other dictionaries."""
    columns: dict[str, list[str | None]] = {}
    for name, column in sorted(batch.columns.items()):
        if isinstance(column, Strings):
            columns[name] = [None if code < 0 else column.values[code] for code in column.codes.tolist()]
        else:
            columns[name] = list(map(repr, column.tolist()))
    weight = [1] * len(batch) if batch.weight is None else batch.weight.tolist()
    head = [True] * len(batch) if batch.head is None else batch.head.tolist()
    counter: list[object] = [None] * len(batch)
    if batch.counters is not None:
        point = batch.counters.identity if batch.counters.point is None else batch.counters.point
        for row, *entry in zip(
            batch.counters.rows.tolist(),
            batch.counters.identity.tolist(),
            batch.counters.start_ms.tolist(),
            batch.counters.value.tolist(),
            point.tolist(),
            strict=True,
        ):
            counter[row] = repr(entry)
    record = (batch.record + first_record).tolist()
    return list(zip(record, batch.time_ms.tolist(), weight, head, counter, *columns.values(), strict=True))


def dead_of(batch: EventBatch, first_record: int = 0) -> list[tuple[int, str, str]]:
    return [(dead.record + first_record, dead.reason, dead.detail) for dead in batch.dead]


@pytest.mark.parametrize(("format", "signal"), CASES)
@settings(max_examples=150)
@given(values=records_strategy)
def test_each_record_is_an_event_dead_or_skipped(
    format: str, signal: object, values: list[bytes | None]
) -> None:
    batch = decoder_of(format, signal).decode(records_of(values))
    seen = set(batch.record.tolist()) | {dead.record for dead in batch.dead}
    assert len(seen) + batch.skipped == len(values)
    assert all(values[record] is not None for record in seen)
    assert batch.skipped >= values.count(None)
    assert batch.columns.keys() == WANTED.keys()
    assert (np.diff(batch.record) >= 0).all()
    assert all(dead.reason.isidentifier() and dead.detail for dead in batch.dead)
    assert {dead.reason for dead in batch.dead} <= {*find_format(format).reasons, *COMMON_REASONS}
    for name, column in batch.columns.items():
        assert isinstance(column, Strings) == (WANTED[name] == "string")
        if isinstance(column, Strings):
            assert column.codes.dtype == np.int32
            assert (column.codes < len(column.values)).all()
            "".join(column.values).encode()


@pytest.mark.parametrize(("format", "signal"), CASES)
@settings(max_examples=150)
@given(values=records_strategy, data=st.data())
def test_a_split_batch_decodes_like_the_whole(
    format: str, signal: object, values: list[bytes | None], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(values)))
    whole_records = records_of(values)
    decoder = decoder_of(format, signal)
    whole = decoder.decode(whole_records)
    rows: list[tuple[object, ...]] = []
    dead: list[tuple[int, str, str]] = []
    skipped = 0
    for start, stop in ((0, cut), (cut, len(values))):
        piece = slice(start, stop)
        part = Records(values[piece], whole_records.offsets[piece], whole_records.timestamps_ms[piece])
        batch = decoder.decode(part)
        rows += rows_of(batch, start)
        dead += dead_of(batch, start)
        skipped += batch.skipped
    assert rows_of(whole) == rows
    assert dead_of(whole) == dead
    assert whole.skipped == skipped


@pytest.mark.parametrize(("format", "signal"), CASES)
def test_many_good_records_around_a_bad_one_keep_their_values(format: str, signal: object) -> None:
    decoder = decoder_of(format, signal)
    alone = {value: decoder.decode(records_of([value])) for value in SAMPLES}
    values = [SAMPLES[(7 * i) % len(SAMPLES)] for i in range(3000)]
    batch = decoder.decode(records_of(values))
    found: dict[int, list[tuple[object, ...]]] = {}
    for row in rows_of(batch):
        found.setdefault(int(row[0]), []).append(row[2:])  # type: ignore[call-overload]
    for index, value in enumerate(values):
        assert found.get(index, []) == [row[2:] for row in rows_of(alone[value])]


def test_no_records_give_no_events() -> None:
    for format, signal in CASES:
        batch = decoder_of(format, signal).decode(records_of([]))
        assert len(batch) == batch.skipped == len(batch.dead) == 0


def test_captured_batches_survive_truncation_anywhere(data_dir: Path) -> None:
    for name, format, signal in (
        ("otel-traces-otlp_proto", "otlp_proto", "spans"),
        ("otel-metrics-otlp_json", "otlp_json", "metrics"),
    ):
        with gzip.open(data_dir / "wire" / f"{name}.jsonl.gz") as lines:
            value = base64.b64decode(json.loads(next(iter(lines)))["value_b64"])
        cuts = [value[:stop] for stop in range(0, len(value), max(1, len(value) // 200))]
        batch = decoder_of(format, signal).decode(records_of(cuts))
        seen = set(batch.record.tolist()) | {dead.record for dead in batch.dead}
        assert len(seen) + batch.skipped == len(cuts)
