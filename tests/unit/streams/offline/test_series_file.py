"""Columns of files as evenly spaced series: steps, gaps, duplicates, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.offline.series_file import MONTH_MS, Aggregate, coarsened, read_series
from streams.offline.table_file import TableFileError, read_table

HOUR_MS = 3_600_000


def hourly(values: list[float], start: str = "2026-01-01") -> pd.DataFrame:
    return pd.DataFrame({"ds": pd.date_range(start, periods=len(values), freq="h"), "y": values})


def test_gaps_are_missing_and_the_step_is_the_files_own() -> None:
    table = hourly([1.0, 2.0, 3.0, 4.0, 5.0]).drop(index=2)
    series = read_series(table)
    assert series.step_ms == HOUR_MS
    assert series.name == "y"
    assert np.array_equal(series.values, [1, 2, np.nan, 4, 5], equal_nan=True)
    assert np.diff(series.starts).tolist() == [HOUR_MS] * 4
    assert series.end_ms == series.starts[-1] + HOUR_MS


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst", "a.parquet"])
def test_files_of_all_kinds_read_alike(tmp_path: Path, name: str) -> None:
    table = hourly([1.0, 2.0, 3.0])
    path = tmp_path / name
    if name.endswith("parquet"):
        table.set_index("ds").to_parquet(path)
    else:
        table.to_csv(path, index=False)
    series = read_series(read_table(path), "y")
    assert series.values.tolist() == [1, 2, 3]
    assert series.step_ms == HOUR_MS


def test_duplicated_and_unreadable_rows_are_told() -> None:
    table = hourly([1.0, 2.0, 3.0, 4.0] * 5).astype({"ds": str, "y": object})
    table = pd.concat([table, table.iloc[[3]].assign(y="6")])
    table.iloc[5, 1] = "broken"
    table.iloc[7, 0] = "no time"
    series = read_series(table)
    assert series.values[3] == 5.0
    assert np.isnan(series.values[[5, 7]]).all()
    assert [note.split(" ", 1)[0] for note in series.notes] == ["1", "1", "1"]


@given(
    st.integers(1, 60),
    st.sampled_from([1, 2, 3, 4, 6]),
    st.sampled_from(["mean", "sum", "max", "min", "last"]),
)
def test_larger_steps_join_what_lies_within(count: int, width: int, how: Aggregate) -> None:
    values = np.random.default_rng(count).integers(0, 9, count).astype(float)
    series = read_series(hourly(values.tolist()), step_ms=HOUR_MS)
    whole = count // width
    if whole == 0:
        if width > 1:
            with pytest.raises(TableFileError, match="shorter than one step"):
                coarsened(series, width * HOUR_MS, how)
        return
    # Steps lie on the clock, so the first whole one may begin later than the series.
    larger = coarsened(series, width * HOUR_MS, how) if width > 1 else series
    first = int((larger.starts[0] - series.starts[0]) // HOUR_MS)
    table = values[first : first + len(larger) * width].reshape(-1, width)
    expected = {
        "mean": table.mean(axis=1),
        "sum": table.sum(axis=1),
        "max": table.max(axis=1),
        "min": table.min(axis=1),
        "last": table[:, -1],
    }[how]
    assert larger.values == pytest.approx(expected)
    assert (larger.starts % larger.step_ms == 0).all() or width == 1


def test_single_events_need_a_step_and_are_counted_or_added() -> None:
    stamps = pd.to_datetime(["2026-01-01 00:00:01.2", "2026-01-01 00:00:07.0", "2026-01-01 00:00:43.9"])
    table = pd.DataFrame({"time": stamps, "tokens": [10, 20, 30]})
    with pytest.raises(TableFileError, match="not evenly spaced; give --step"):
        read_series(table)
    added = read_series(table, step_ms=10_000, aggregate="sum")
    assert added.values.tolist() == [30, 0, 0, 0, 30]
    assert read_series(table, step_ms=10_000, aggregate="count").values.tolist() == [2, 0, 0, 0, 1]


def test_months_are_steps_of_their_own() -> None:
    table = pd.DataFrame({"ds": pd.date_range("2020-01-01", periods=30, freq="MS"), "y": range(30)})
    series = read_series(table.drop(index=4))
    assert series.step_ms == MONTH_MS
    assert len(series) == 30
    assert np.isnan(series.values[4])
    ahead = series.ahead(2).astype("datetime64[ms]").astype(str)
    assert [each[:10] for each in ahead] == ["2022-07-01", "2022-08-01"]
    assert (np.diff(series.even_starts) == MONTH_MS).all()


def test_rows_counted_in_minutes_and_rows_without_times() -> None:
    minutes = pd.DataFrame({"minute": [0, 1, 2, 4], "requests": [5, 6, 7, 8]})
    series = read_series(minutes)
    assert (series.step_ms, series.name, len(series)) == (60_000, "requests", 5)
    bare = pd.DataFrame({"load": [1.0, 2.0]})
    with pytest.raises(TableFileError, match="give --step"):
        read_series(bare)
    assert read_series(bare, step_ms=HOUR_MS).values.tolist() == [1, 2]


def test_times_as_spreadsheets_write_them() -> None:
    stamps = ["3/14/2026 11:00 AM", "3/14/2026 12:00 PM", "3/14/2026 1:00 PM"]
    series = read_series(pd.DataFrame({"Date": stamps, "y": [1.0, 2.0, 3.0]}))
    assert series.step_ms == HOUR_MS
    assert str(series.starts[-1].astype("datetime64[ms]")).startswith("2026-03-14T13:00")


def test_a_limit_may_be_a_column_and_goes_on_through_gaps() -> None:
    table = hourly([1.0, 2.0, 3.0]).assign(size=[10.0, np.nan, 20.0])
    series = read_series(table, "y", limit_column="size")
    assert series.limits is not None
    assert series.limits.tolist() == [10, 10, 20]


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        (hourly([1.0]).assign(z=2.0), None, "choose the column with --column; columns of numbers: y, z"),
        (hourly([1.0, 2.0]), "yy", "no column is called 'yy'; the file has ds, y"),
        (hourly([1.0, 2.0]).assign(y="text"), "y", "holds no numbers, but such as 'text'"),
        (hourly([]), "y", "no rows"),
        (hourly([1.0, 2.0]).assign(ds="never"), "y", "no column of times"),
    ],
)
def test_refusals_say_what_is_wrong_and_the_way_out(
    table: pd.DataFrame, column: str | None, message: str
) -> None:
    with pytest.raises(TableFileError, match=message.replace(".", r"\.")):
        read_series(table, column)


def test_one_wrong_time_does_not_make_a_million_steps(tmp_path: Path) -> None:
    table = pd.concat([hourly([1.0], "1700-01-01"), hourly([1.0] * 50).iloc[1:]])
    with pytest.raises(TableFileError, match="is a time wrong"):
        read_series(table, step_ms=1000)
    with pytest.raises(TableFileError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(TableFileError, match="neither CSV"):
        read_table(broken)
