"""Tables in files: one way to find and read times and numbers, for panels and for series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detectors.api.detector import Panel
from streams.offline.panel_file import read_panel
from streams.offline.series_file import read_series
from streams.offline.table_file import TableFileError, read_table, time_column

MINUTE_MS = 60_000
START_MS = 1_780_000_020_000  # on a minute

TIMES = {
    "milliseconds": lambda at: at,
    "seconds": lambda at: at / 1_000,
    "microseconds": lambda at: at * 1_000,
    "nanoseconds": lambda at: at * 1_000_000,
    "ISO": lambda at: pd.Timestamp(at, unit="ms").isoformat() + "Z",
    "a zone": lambda at: pd.Timestamp(at, unit="ms", tz="Asia/Kolkata").isoformat(),
    "access log": lambda at: pd.Timestamp(at, unit="ms").strftime("%d/%b/%Y:%H:%M:%S +0000"),
    "spreadsheet": lambda at: pd.Timestamp(at, unit="ms").strftime("%m/%d/%Y %I:%M %p"),
}
"""Ways to write a time."""


def written(path: Path, table: pd.DataFrame) -> Path:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return path


def minutes(count: int = 20) -> np.ndarray:
    return START_MS + MINUTE_MS * np.arange(count)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.pq"])
@pytest.mark.parametrize("how", TIMES)
def test_a_time_is_the_same_for_panels_and_series_however_it_is_written(
    tmp_path: Path, name: str, how: str
) -> None:
    stamps = [TIMES[how](int(at)) for at in minutes()]
    path = written(tmp_path / name, pd.DataFrame({"ts": stamps, "rate": np.arange(20.0)}))
    assert read_panel(path).times.tolist() == minutes().tolist()
    assert read_series(read_table(path)).starts.tolist() == minutes().tolist()


def test_rows_without_a_time_and_broken_numbers_are_left_out_and_told(tmp_path: Path) -> None:
    stamps = pd.to_datetime(minutes(), unit="ms", utc=True).astype(str).tolist()
    stamps[3], stamps[5] = "never", ""
    rate = ["1.5"] * 20
    rate[7] = "broken"
    path = written(tmp_path / "a.csv", pd.DataFrame({"time": stamps, "rate": rate}))
    notes: list[str] = []
    panel = read_panel(path, notes=notes)
    assert panel.times.tolist() == np.delete(minutes(), [3, 5]).tolist()
    assert np.flatnonzero(np.isnan(panel.values[:, 0, 0])).tolist() == [5]
    assert sorted(note.split(" ", 1) for note in notes) == [
        ["1", "values of rate are no finite numbers and count as missing"],
        ["2", "rows without a readable time were left out"],
    ]
    series = read_series(read_table(path), "rate")
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [3, 5, 7]
    assert sorted(series.notes) == sorted(notes)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"date": ["2026-05-01"] * 3, "timestamp": ["2026-05-01T00:00", "2026-05-01T00:01", ""]}, "date"),
        ({"date": ["2026-05-01"] * 2, "timestamp": ["2026-05-01T00:00", "2026-05-01T00:01"]}, "timestamp"),
        ({"date": ["5/1/2026", "5/2/2026"], "time": ["10:05", "10:06"]}, "date"),
        ({"path": ["/a", "/b"], "When": ["2026-05-01T00:00Z", "2026-05-01T00:01Z"]}, "When"),
        ({"rate": [1_780_000_000, 1_780_000_060]}, None),
        ({"Minute": [0, 1]}, "Minute"),
        ({"time": ["never", "ever"]}, None),
    ],
)
def test_the_time_is_found_by_name_and_values(columns: dict[str, list[object]], found: str | None) -> None:
    assert time_column(pd.DataFrame(columns)) == found


def test_an_index_is_a_column_if_it_says_something(tmp_path: Path) -> None:
    table = pd.DataFrame({"rate": [1.0, 2.0]}, index=pd.to_datetime(minutes(2), unit="ms", utc=True))
    assert read_panel(written(tmp_path / "times.parquet", table)).times.tolist() == minutes(2).tolist()
    numbered = pd.DataFrame({"time": minutes(2), "rate": [1.0, 2.0]}, index=[7, 9])
    panel = read_panel(written(tmp_path / "numbered.parquet", numbered))
    assert panel.features == ("rate",)


def test_a_panel_has_the_series_and_features_that_are_named(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"time": np.repeat(minutes(), 2), "route": ["/a", "/b"] * 20, "rate": 1.0, "p99": 2.0}
    )
    path = written(tmp_path / "a.csv", table.assign(hour=7))
    panel = read_panel(path, by=["route"])
    expected = Panel.from_table(
        table.assign(time=pd.to_datetime(table["time"], unit="ms", utc=True)), by=["route"], time="time"
    )
    assert (panel.series, panel.features) == (expected.series, expected.features), "no hour of the day"
    assert np.array_equal(panel.values, expected.values)
    assert read_panel(path, by=["route"], columns=["p99"]).features == ("p99",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": ["rout"]}, "no column is called 'rout'; the file has time, route, rate; did you mean route?"),
        ({"by": ["route"], "columns": ["rat"]}, "did you mean rate?"),
        ({"time": "route"}, "no row has a readable time"),
        ({"by": ["route", "time"]}, "no column of times was found; name it with --time"),
        ({"columns": ["route"]}, "column 'route' holds no numbers, but such as '/a'"),
        ({}, "a time occurs twice in one series"),
    ],
)
def test_refusals_name_the_file_and_say_what_to_do(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    table = pd.DataFrame({"time": [START_MS] * 2, "route": ["/a", "/b"], "rate": [1.0, 2.0]})
    path = written(tmp_path / "a.csv", table)
    with pytest.raises(TableFileError) as raised:
        read_panel(path, **options)  # type: ignore[arg-type]
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)
