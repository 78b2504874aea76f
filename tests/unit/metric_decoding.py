"""What the tests of the metric decoders share: records from bytes, batches as plain rows, golden files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streams.decode.registry import make_decoder
from streams.events.batch import Decoder, EventBatch, Layout, Records, Strings

GOLDEN = Path(__file__).parents[1] / "golden"

RECORD_MS = 1_600_000_000_000


def records_of(values: Sequence[bytes | None]) -> Records:
    """Records with offsets from 100 and timestamps a second apart."""
    count = len(values)
    return Records(values, np.arange(100, 100 + count), RECORD_MS + 1000 * np.arange(count))


def decode(format_name: str, layout: Layout, *values: bytes | None) -> EventBatch:
    return make_decoder(format_name, layout).decode(records_of(values))


def rows_of(batch: EventBatch) -> list[dict[str, Any]]:
    """Each event as a dictionary: its columns, time, record, weight, and total and series if any."""
    rows: list[dict[str, Any]] = [
        {"time_ms": time_ms, "record": record}
        for time_ms, record in zip(batch.time_ms.tolist(), batch.record.tolist(), strict=True)
    ]
    for name, column in batch.columns.items():
        if isinstance(column, Strings):
            values: list[Any] = [None if code < 0 else column.values[code] for code in column.codes.tolist()]
        else:
            values = column.tolist()
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    weights = [1] * len(rows) if batch.weight is None else batch.weight.tolist()
    for row, weight in zip(rows, weights, strict=True):
        row["weight"] = weight
    if batch.counters is not None:
        counters = batch.counters
        for at, row_number in enumerate(counters.rows.tolist()):
            rows[row_number]["total"] = float(counters.value[at])
            rows[row_number]["identity"] = f"{int(counters.identity[at]):016x}"
    return rows


def same(left: EventBatch, right: EventBatch) -> bool:
    """Equal events and equal dead; NaN equals NaN."""
    return repr((rows_of(left), list(left.dead), left.skipped)) == repr(
        (rows_of(right), list(right.dead), right.skipped)
    )


def assert_batches_do_not_matter(decoder: Decoder, fresh: Decoder, values: Sequence[bytes | None]) -> None:
    """All records at once, one at a time, and by a decoder that has seen them all: the same events."""
    whole = decoder.decode(records_of(values))
    assert same(whole, decoder.decode(records_of(values)))
    all_records = records_of(values)
    rows: list[dict[str, Any]] = []
    dead: list[tuple[int, str, str]] = []
    skipped = 0
    for at in range(len(values)):
        part = Records([values[at]], all_records.offsets[at : at + 1], all_records.timestamps_ms[at : at + 1])
        batch = fresh.decode(part)
        rows += [{**row, "record": at} for row in rows_of(batch)]
        dead += [(at, one.reason, one.detail) for one in batch.dead]
        skipped += batch.skipped
    assert repr(rows) == repr(rows_of(whole))
    assert dead == [(one.record, one.reason, one.detail) for one in whole.dead]
    assert skipped == whole.skipped


def assert_golden(batch: EventBatch, name: str, update: bool) -> None:
    """Compare with `golden/<name>`, one event or dead letter a line; rewrite it on `--update-golden`."""
    found = [json.dumps(row, ensure_ascii=False) for row in rows_of(batch)]
    found += [json.dumps({"dead": [d.record, d.reason, d.detail]}, ensure_ascii=False) for d in batch.dead]
    path = GOLDEN / name
    if update:
        path.write_text("\n".join(found) + "\n", encoding="utf-8")
    assert found == path.read_text(encoding="utf-8").splitlines()
