"""What OpenTelemetry's own SDK and encoder write, see `tests/golden/otlp/generate.py`."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from streams.events.batch import EventBatch, Kind
from tests.unit.decoding import decode, with_increases
from tests.unit.metric_decoding import GOLDEN, assert_golden

FOLDER = GOLDEN / "otlp"
ATTRIBUTES: dict[str, Kind] = {"service.name": "string", "process.pid": "number", "tags": "string"}
METRICS: dict[str, Kind] = {
    **dict.fromkeys(("metric", "unit", "type", "http.route", "db.operation.name", "queue"), "string"),
    **ATTRIBUTES,
    "value": "number",
}
WANTED: dict[str, dict[str, Kind]] = {
    "metrics-delta": METRICS,
    "metrics-cumulative": METRICS,
    "spans": {
        **dict.fromkeys(
            ("name", "kind", "status", "status_message", "trace_id", "url.path", "scope.k"), "string"
        ),
        **ATTRIBUTES,
        "duration": "number",
        "http.response.status_code": "number",
    },
    "logs": {
        **dict.fromkeys(("body", "severity", "user", "ok"), "string"),
        **ATTRIBUTES,
        "severity_number": "number",
    },
}


def read(name: str, encoding: str) -> EventBatch:
    if encoding == "otlp_proto":
        values = [base64.b64decode(line) for line in (FOLDER / f"{name}.proto.b64").read_bytes().splitlines()]
    else:
        values = (FOLDER / f"{name}.jsonl").read_bytes().splitlines()
    signal: Any = name.partition("-")[0]
    batch = decode(encoding, values, WANTED[name], signal=signal)  # type: ignore[arg-type]
    return with_increases(batch)


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
@pytest.mark.parametrize("name", WANTED)
def test_golden(name: str, encoding: str, update_golden: bool) -> None:
    assert_golden(read(name, encoding), f"otlp/{name}.events.jsonl", update_golden)


@pytest.mark.parametrize("metric", ["http.requests", "http.duration", "db.duration"])
def test_both_temporalities_count_what_the_generator_recorded(metric: str) -> None:
    for name in ("metrics-delta", "metrics-cumulative"):
        batch = read(name, "otlp_proto")
        assert batch.weight is not None
        column: Any = batch.columns["metric"]
        rows = [row for row, code in enumerate(column.codes) if column.values[code] == metric]
        counts = [
            int(batch.weight[[row for row in rows if batch.record[row] == step]].sum()) for step in range(3)
        ]
        assert counts == [5, 6, 7]
