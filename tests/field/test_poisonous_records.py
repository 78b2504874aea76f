"""No record stops a worker, whatever is wrong with it or with the decoder.

Seen: OTLP JSON whose `severityNumber` or `kind` has more than 64 bits (OverflowError), the same as text of
5,000 digits (ValueError), a metric name with a lone surrogate (UnicodeEncodeError): every worker that got the
partition ended, and ended again after every restart.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from models.arrays import EpochMs
from streams.aggregate import decoding
from streams.aggregate.decoding import REASON
from streams.aggregate.partition import LETTERS_PER_RECORD_MAX, PartitionAggregate, letters
from streams.decode.registry import make_decoder
from streams.events.batch import Column, Decoder, EventBatch, Layout, Records, Strings
from streams.language.printable import LogFormatter
from streams.partials.series import decode_labels
from streams.plan.plan import SourcePlan
from streams.plan.rollup import Count, Rollup

STAMP_MS = 1_700_000_000_000
DIGITS = "9" * 5_000
ENORMOUS = ("1" + 30 * "0", f'"{DIGITS}"', "1e400", DIGITS)
"""JSON numbers, and text of a number, that no int64 holds."""


@pytest.fixture(autouse=True)
def nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_told", set())


def log_record(severity: str = "9", text: str = '"m"') -> bytes:
    return (
        f'{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{STAMP_MS}000000",'
        f'"severityNumber":{severity},"body":{{"stringValue":{text}}}}}]}}]}}]}}'
    ).encode()


def span(kind: str = "2") -> bytes:
    return (
        f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"name":"s","kind":{kind},'
        f'"startTimeUnixNano":"{STAMP_MS}000000","endTimeUnixNano":"{STAMP_MS}000001"}}]}}]}}]}}'
    ).encode()


def metric(name: str = '"m"', attribute: str = '{"intValue":1}') -> bytes:
    return (
        f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":{name},"gauge":{{"dataPoints":[{{'
        f'"timeUnixNano":"{STAMP_MS}000000","asDouble":1,"attributes":[{{"key":"a","value":{attribute}}}]'
        "}]}}]}]}]}"
    ).encode()


def records_of(values: Sequence[bytes]) -> Records:
    offsets = np.arange(len(values))
    return Records(list(values), offsets, np.full(len(values), STAMP_MS))


def plan_of(format: str, layout: Layout, by: Sequence[str], derived: Sequence[Any] = ()) -> SourcePlan:
    rollup = Rollup("s", "s", tuple(by), None, (Count("total"),), kind="sigma")
    return SourcePlan("s", "s", format, layout, (rollup,), derived=tuple(derived))


def outcomes(aggregate: PartitionAggregate) -> Mapping[str, int]:
    table = aggregate._outcomes.dirty_table()
    assert table is not None
    labels = [name for name, _ in map(decode_labels, table.names)]
    found: dict[str, int] = {}
    for series, (count,) in zip(table.series.tolist(), table.payload.counts.tolist(), strict=True):
        found[labels[series]] = found.get(labels[series], 0) + count
    return found


@pytest.mark.parametrize("number", ENORMOUS)
@pytest.mark.parametrize(
    ("signal", "column", "make"),
    [
        ("logs", "severity_number", log_record),
        ("logs", "severity", log_record),
        ("spans", "kind", span),
        ("metrics", "a", lambda number: metric(attribute=f'{{"intValue":{number}}}')),
    ],
)
def test_enormous_numbers_are_values_or_ordinary_dead_letters(
    signal: Any, column: str, make: Any, number: str
) -> None:
    kind: Any = "number" if column == "severity_number" else "string"
    decoder = make_decoder("otlp_json", Layout({column: kind}, signal=signal))
    batch = decoder.decode(records_of([make(number)]))
    assert len(batch) + len(batch.dead) == 1
    assert {dead.reason for dead in batch.dead} <= {"bad_json"}


@pytest.mark.parametrize(
    ("signal", "column", "record"),
    [
        ("metrics", "metric", metric('"\\ud800"')),
        ("metrics", "a", metric(attribute='{"stringValue":"\\ud800"}')),
        ("logs", "body", log_record(text='"\\ud800"')),
        ("spans", "name", span().replace(b'"s"', b'"\\ud800"')),
        ("spans", "trace_id", span().replace(b'"name"', b'"traceId":"\\ud800","name"')),
    ],
)
def test_a_lone_surrogate_is_replaced_or_an_ordinary_dead_letter(
    signal: Any, column: str, record: bytes
) -> None:
    plan = plan_of("otlp_json", Layout({column: "string"}, signal=signal), [column])
    aggregate = PartitionAggregate(plan, 0, 0, partial(make_decoder, plan.format, plan.layout))
    good = {"logs": log_record, "metrics": metric, "spans": span}[signal]()
    rejected = aggregate.read(records_of([good, record]), 2)
    assert {entry.reason for entry in rejected} <= {"bad_json"}
    assert sum(outcomes(aggregate).values()) == 2


class Defective:
    """A decoder of JSON that raises at some values, and is of no use afterwards."""

    def __init__(self) -> None:
        self._decoder = make_decoder("json", LAYOUT)
        self._broken = False

    def decode(self, records: Records) -> EventBatch:
        assert not self._broken, "a decoder that has failed is used again"
        for value in records.values:
            error = ERRORS.get(value or b"")
            if error is not None:
                self._broken = True
                raise error
        return self._decoder.decode(records)


LAYOUT = Layout({"k": "string"}, time_field="t", time_format="epoch_ms")
ERRORS: dict[bytes, Exception] = {
    b"one": ValueError("bad \x1b[31m bytes \ud800"),
    b"two": RecursionError("too deep"),
    b"three": AssertionError(),
}


def event(number: int) -> bytes:
    return json.dumps({"t": STAMP_MS + number, "k": f"k{number % 7}"}).encode()


def read_all(values: Sequence[bytes], size: int) -> tuple[PartitionAggregate, list[Any]]:
    aggregate = PartitionAggregate(plan_of("json", LAYOUT, ["k"]), 0, 0, Defective)
    records, rejected = records_of(values), []
    for start in range(0, len(values), size):
        part = records.since(start).before(size)
        rejected += aggregate.read(part, start + len(part))
    return aggregate, rejected


@pytest.mark.parametrize("size", [1, 3, 64, 1000])
def test_the_records_at_fault_are_set_aside_and_all_others_count(size: int) -> None:
    values = [event(number) for number in range(200)]
    for at, poison in ((0, b"one"), (1, b"two"), (77, b"three"), (199, b"one")):
        values[at] = poison
    aggregate, rejected = read_all(values, size)
    assert [(entry.offset, entry.reason) for entry in rejected] == [(at, REASON) for at in (0, 1, 77, 199)]
    assert [entry.detail.partition(":")[0] for entry in rejected] == [
        "ValueError",
        "RecursionError",
        "AssertionError",
        "ValueError",
    ]
    assert all(entry.detail.isprintable() and entry.detail.encode() for entry in rejected)
    assert outcomes(aggregate) == {"in": 196, "dead": 4}
    assert aggregate.decoder_error_count == 4


def test_results_do_not_depend_on_the_batches_in_which_poison_is_read() -> None:
    values = [b"two" if number % 37 == 5 else event(number) for number in range(300)]
    frames = set()
    for size in (1, 10, 300):
        flushed = read_all(values, size)[0].flush(1)
        assert flushed is not None
        frames.add((flushed.commit, flushed.watermark))
    assert len(frames) == 1


def test_a_defect_is_logged_once_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    values = [b"one" if number % 50 == 0 else event(number) for number in range(200)]
    with caplog.at_level(logging.ERROR, logger=decoding.__name__):
        read_all(values, 60)
        read_all(values, 60)
    (record,) = caplog.records
    record.exc_text = None  # as pytest's own handler has written it
    message = LogFormatter("%(message)s").format(record)
    assert "Traceback" in message
    assert "raise error" in message
    assert "\x1b" not in message
    message.encode()


def test_a_record_of_many_bad_lines_has_few_dead_letters_and_counts_all() -> None:
    plan = plan_of("json", LAYOUT, ["k"])
    aggregate = PartitionAggregate(plan, 0, 0, partial(make_decoder, "json", LAYOUT))
    rejected = aggregate.read(records_of([event(1), b"\n{" * 500, b"\n{" * 3]), 3)
    assert outcomes(aggregate) == {"in": 1, "dead": 503}
    assert [entry.offset for entry in letters(rejected)] == [1] * LETTERS_PER_RECORD_MAX + [2] * 3


@dataclass(frozen=True, slots=True)
class Fragile:
    """A derived column that cannot be made of one value."""

    name: str = "d"

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        column = columns["k"]
        assert isinstance(column, Strings)
        if "k3" in [column.values[code] for code in column.codes.tolist()]:
            raise ZeroDivisionError
        return column


class Surrogates:
    """A decoder that breaks the contract that text can be written as UTF-8."""

    def decode(self, records: Records) -> EventBatch:
        batch = make_decoder("json", LAYOUT).decode(records)
        column = batch.columns["k"]
        assert isinstance(column, Strings)
        texts = [text.replace("k3", "\ud800") for text in column.values]
        return EventBatch(batch.time_ms, batch.record, {"k": Strings(column.codes, texts)})


@pytest.mark.parametrize(
    ("derived", "make"), [([Fragile()], partial(make_decoder, "json", LAYOUT)), ([], Surrogates)]
)
def test_what_cannot_be_derived_or_named_is_set_aside_too(derived: Sequence[Any], make: Any) -> None:
    decoder: Decoder = make()
    assert len(decoder.decode(records_of([event(1)]))) == 1
    aggregate = PartitionAggregate(plan_of("json", LAYOUT, ["k"], derived), 0, 0, make)
    values = [event(number) for number in range(70)]
    rejected = aggregate.read(records_of(values), 70)
    assert [entry.offset for entry in rejected] == list(range(3, 70, 7))
    assert outcomes(aggregate) == {"in": 60, "dead": 10}
