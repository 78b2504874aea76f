"""Scores as in the M4 competition, and the files they are taken on."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import forecast_scoring as scoring


def test_scores_of_known_errors():
    truth, found = np.array([100.0, 200.0]), np.array([110.0, 180.0])
    assert scoring.smape(found, truth) == pytest.approx((200 * 10 / 210 + 200 * 20 / 380) / 2)
    assert scoring.mase(found, truth, 5.0) == pytest.approx(3.0)
    assert scoring.naive_scale(np.array([1.0, 2.0, 4.0, 7.0]), 2) == pytest.approx(4.0)
    lower, upper = np.array([90.0, 210.0]), np.array([120.0, 220.0])
    assert scoring.coverage(lower, upper, truth) == 0.5
    assert scoring.msis(lower, upper, truth, 10.0) == pytest.approx((30 + 10 + 40 * 10) / 2 / 10)


def test_gaps_in_the_truth_do_not_count():
    truth, found = np.array([100.0, np.nan]), np.array([110.0, 0.0])
    assert scoring.mase(found, truth, 10.0) == pytest.approx(1.0)
    assert scoring.coverage(found - 20, found + 20, truth) == 1.0


def test_naive2_repeats_a_clear_season_and_else_the_last_value():
    shape = np.tile([1.0, 2.0, 3.0, 4.0], 20)
    np.testing.assert_allclose(scoring.naive2(shape, 6, 4), [1, 2, 3, 4, 1, 2])
    walk = np.array([5.0, 6.0, 5.5, 7.0])
    assert scoring.naive2(walk, 3, 4).tolist() == [7.0, 7.0, 7.0]


def test_events_are_counted_and_months_told_apart(tmp_path: Path):
    events = tmp_path / "calls.csv"
    times = np.sort(np.random.default_rng(0).integers(0, 3_600_000, 3000))
    stamps = times.astype("datetime64[ms]").astype(str)
    events.write_text("TIME,tokens\n" + "".join(f"{stamp},2\n" for stamp in stamps))
    step_ms, columns = scoring.read_columns(events)
    assert step_ms == 8_000
    assert columns["tokens"].tolist() == (2 * columns["events"]).tolist()
    months = tmp_path / "sales.csv"
    months.write_text("ds,y\n" + "".join(f"20{n // 12 + 10}-{n % 12 + 1:02}-01,{n}\n" for n in range(60)))
    step_ms, columns = scoring.read_columns(months)
    assert (step_ms, columns["y"].tolist()) == (scoring.MONTH_MS, list(range(60)))


def test_a_missing_set_is_left_out_and_a_gap_stays_one(tmp_path: Path):
    (tmp_path / "capacity").mkdir()
    rows = [f"2024-01-{1 + n // 24:02} {n % 24:02}:00:00,{n % 24}\n" for n in range(31 * 24) if n % 50]
    with gzip.open(tmp_path / "capacity" / "load.csv.gz", "wt") as file:
        file.write("date,load\n" + "".join(rows))
    (found,) = scoring.find_sets(tmp_path)
    assert found.name == "capacity_load"
    assert {case.part for case in found.cases} == {"load/1d"}
    case = found.cases[0]
    assert (len(case.future), case.season, case.step_ms) == (24, 24, scoring.HOUR_MS)
    assert np.isnan(case.past).any()


@pytest.mark.skipif("STREAMGAUGE_DATA" not in os.environ, reason="STREAMGAUGE_DATA is not set")
def test_naive2_of_m4_hourly_scores_what_is_published():
    hourly = next(iter(scoring.m4_sets(Path(os.environ["STREAMGAUGE_DATA"]) / "m4")))
    rows = []
    for case in hourly.cases:
        found = scoring.naive2(case.past, 48, 24)
        scale = scoring.naive_scale(case.past, 24)
        rows.append((scoring.smape(found, case.future), scoring.mase(found, case.future, scale)))
    assert np.mean(rows, axis=0) == pytest.approx([19.42, 2.472], abs=0.01)
