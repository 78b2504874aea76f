"""The SLIs of a replay as a DataFrame, whichever format it wrote them in."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa

from models.logs.csv_cells import text_of
from streams.offline.slis import SCHEMA

__all__ = ["slis_from_replay"]

NAMES = ("slis.parquet", "slis.csv", "slis.jsonl")


def slis_from_replay(path: Path) -> pd.DataFrame:
    """A row for each report, series and window; columns and types as `streams.offline.slis` has them.

    path : folder that a replay wrote its results to, or its `slis` file: parquet, CSV or JSON lines

    Raises FileNotFoundError where there is none, ValueError for a file that holds no SLIs.
    """
    file = path if path.is_file() else next((path / name for name in NAMES if (path / name).is_file()), None)
    if file is None:
        raise FileNotFoundError(f"{path}: no {', '.join(NAMES)}; `streamgauge replay … --output` writes one")
    if file.suffix == ".parquet":
        table = pd.read_parquet(file)
    elif file.suffix == ".csv":
        table = pd.read_csv(file, keep_default_na=False, na_values={name: [""] for name in _numbers()})
        texts = table.select_dtypes(["object", "string"])
        table[texts.columns] = texts.map(text_of)
    else:
        table = pd.DataFrame(map(json.loads, file.read_text("utf-8").splitlines()), columns=SCHEMA.names)
        table["labels"] = [
            json.dumps(labels, separators=(",", ":"), ensure_ascii=False) for labels in table["labels"]
        ]
    missing = [name for name in SCHEMA.names if name not in table.columns]
    if missing:
        raise ValueError(
            f"{file}: expected SLIs of a replay, found a table without the column {missing[0]!r}"
        )
    table["time"] = pd.to_datetime(table["time"], utc=True).dt.as_unit("ms")
    return table[SCHEMA.names].astype(dict.fromkeys(_numbers(), float))


def _numbers() -> list[str]:
    """Columns that may be empty, which stands for NaN."""
    return [field.name for field in SCHEMA if pa.types.is_floating(field.type)]
