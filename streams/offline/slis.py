"""The SLIs of a replay as a table: a row for each report, series and window.

Columns: `time` (event time, UTC), `service`, `slo`, `objective`, `labels` (JSON), `window`, `good`, `total`,
`ratio` and `burn_rate` (null without events), `budget_remaining_ratio` (below 0 once the budget is overspent;
null without events).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from detectors.alerts.names import span_name
from detectors.slo.budget import burn_rate, error_budget_remaining, error_ratio
from models.arrays import Numbers
from models.logs.csv_cells import cell
from streams.judge.slo_judge import SliReport

__all__ = ["SCHEMA", "SliFile", "TableFormat", "report_table"]

TableFormat: TypeAlias = Literal["parquet", "csv", "jsonl"]

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ms", tz="UTC")),
        ("service", pa.string()),
        ("slo", pa.string()),
        ("objective", pa.string()),
        ("labels", pa.string()),
        ("window", pa.string()),
        ("good", pa.int64()),
        ("total", pa.int64()),
        ("ratio", pa.float64()),
        ("burn_rate", pa.float64()),
        ("budget_remaining_ratio", pa.float64()),
    ]
)

ROWS_HELD_MAX = 100_000
"""Rows kept in memory before they are written: a row group of a useful size, about 10 MB."""


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


class SliFile:
    """Writes reports to `slis.parquet`, `slis.csv` or `slis.jsonl`; the same reports give the same file."""

    def __init__(self, folder: Path, format: TableFormat) -> None:
        self.path = folder / f"slis.{format}"
        self._writer = _opened(self.path, format)
        self._held: list[pa.Table] = []
        self._held_rows = 0

    def add(self, report: SliReport) -> None:
        table = report_table(report)
        self._held.append(table)
        self._held_rows += table.num_rows
        if self._held_rows >= ROWS_HELD_MAX:
            self._write()

    def close(self) -> None:
        if self._held:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._held_rows = [], 0


def report_table(report: SliReport) -> pa.Table:
    """The rows of one report: all windows of its first series, then those of the next."""
    slo, series_count, window_count = report.slo, len(report.labels), len(report.windows_ms)
    length = series_count * window_count
    good, total = report.good.T.reshape(-1), report.total.T.reshape(-1)
    left = error_budget_remaining(report.budget_good, report.budget_total, slo.target)
    labels = [orjson.dumps(dict(zip(slo.group_by, values, strict=True))).decode() for values in report.labels]
    columns = [
        np.full(length, report.at_ms).astype("datetime64[ms]"),
        [slo.service] * length,
        [slo.name] * length,
        [slo.objective] * length,
        [text for text in labels for _ in range(window_count)],
        [span_name(window) for window in report.windows_ms] * series_count,
        good,
        total,
        _known(1.0 - error_ratio(good, total)),
        _known(burn_rate(good, total, slo.target)),
        _known(np.repeat(left, window_count)),
    ]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _known(values: Numbers) -> pa.Array:
    """Numbers with null in place of NaN, which means that there were no events."""
    return pa.array(values, from_pandas=True)


def _opened(path: Path, format: TableFormat) -> _Writer:
    match format:
        case "parquet":
            writer: _Writer = pyarrow.parquet.ParquetWriter(path, SCHEMA, compression="zstd")
            return writer
        case "csv":
            return _CsvTable(path)
        case "jsonl":
            return _JsonLines(path)


class _CsvTable:
    """Rows as CSV, with texts that no spreadsheet runs; see `models.logs.csv_cells`."""

    def __init__(self, path: Path) -> None:
        self._writer = pyarrow.csv.CSVWriter(path, SCHEMA)

    def write_table(self, table: pa.Table) -> None:
        for at, field in enumerate(SCHEMA):
            if field.type == pa.string():
                cells = [cell(text) for text in table[at].to_pylist()]
                table = table.set_column(at, field, pa.array(cells, pa.string()))
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()


class _JsonLines:
    """Rows as lines of JSON; times as in RFC 3339."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write_table(self, table: pa.Table) -> None:
        for row in table.to_pylist():
            self._file.write(orjson.dumps(_plain(row), option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))

    def close(self) -> None:
        self._file.close()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "labels": orjson.Fragment(row["labels"])}
