"""`streamgauge forecast` and `streamgauge backtest` on files: answers, plots and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from streams.cli import app

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def usage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four weeks of hours: a day's wave that climbs slowly, and the size of what it fills."""
    random = np.random.default_rng(5)
    hours = np.arange(24 * 28)
    values = 100 + 0.05 * hours + 30 * np.sin(hours * 2 * np.pi / 24) + random.normal(0, 3, len(hours))
    path = tmp_path_factory.mktemp("usage") / "usage.csv"
    table = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=len(hours), freq="h"), "used": values})
    table.assign(size=150.0).round(3).to_csv(path, index=False)
    return path


def answer(*words: str | Path) -> dict:
    result = RUNNER.invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(*words: str | Path) -> tuple[int, str]:
    result = RUNNER.invoke(app, [*map(str, words)])
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_a_limit_gets_a_probability_a_time_and_a_range(usage: Path, tmp_path: Path) -> None:
    plot = tmp_path / "out.png"
    found = answer("forecast", usage, "--column", "used", "--limit", "150", "--horizon", "7d", "--plot", plot)
    limit = found["limit"]
    assert len(found["forecast"]) == 168
    assert found["forecast"][0]["time"] == "2026-01-29T00:00:00Z"
    assert (limit["value"], limit["direction"]) == (150.0, "above")
    assert limit["probability"] > 0.9
    low, high = limit["range_seconds"]
    assert 0 < low <= limit["expected_seconds"] <= high <= 7 * 86400
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert found["model"]
    assert found["mase"] > 0
    assert set(found["coverage"]) == {"0.8", "0.95"}
    floor = answer("forecast", usage, "--column", "used", "--limit", "-50", "--below", "--horizon", "1d")
    assert floor["limit"]["probability"] < 0.05
    assert floor["limit"]["seconds"]["0.5"] is None
    column = answer("forecast", usage, "--column", "used", "--limit-column", "size", "--horizon", "7d")
    assert column["limit"]["probability"] == pytest.approx(limit["probability"], abs=0.1)


def test_a_quota_counts_what_was_used_and_reaches_to_the_periods_end(usage: Path) -> None:
    found = answer(
        "forecast",
        usage,
        "--column",
        "used",
        "--quota",
        "3000",
        "--time-zone",
        "Asia/Kolkata",
        "--horizon",
        "1h",
    )
    quota = found["quota"]
    # 00:00 UTC is 05:30 there: the day began at 18:30 UTC, and half of that hour belongs to it.
    values = pd.read_csv(usage)["used"].to_numpy()
    assert quota["used"] == pytest.approx(values[-6] / 2 + values[-5:].sum(), abs=0.01)
    assert quota["used_known_ratio"] == 1.0
    assert len(quota["periods"]) == 1
    assert quota["periods"][0]["end"] == "2026-01-29T18:30:00Z"
    assert found["horizon_seconds"] == 19 * 3600
    assert 0.9 < quota["forecast_ratio"] < 1.2


def test_people_get_words(usage: Path) -> None:
    result = RUNNER.invoke(
        app, ["forecast", str(usage), "--column", "used", "--limit", "150", "--quota", "4000"]
    )
    assert result.exit_code == 0, result.output
    for words in (
        "672 values up to 2026-01-28T23:00:00Z",
        "model:",
        "Limit: 150 is reached",
        "Quota of 4,000 a day",
    ):
        assert words in result.stdout


def test_a_seed_repeats_itself_and_svg_is_the_same_to_the_byte(usage: Path, tmp_path: Path) -> None:
    plots = [tmp_path / "a.svg", tmp_path / "b.svg"]
    words = ("forecast", usage, "--column", "used", "--limit", "150", "--horizon", "2d", "--plot")
    first, second = (answer(*words, plot) for plot in plots)
    assert first == second
    assert plots[0].read_bytes() == plots[1].read_bytes()


def test_short_constant_and_gappy_files_give_an_answer(tmp_path: Path) -> None:
    stamps = pd.date_range("2026-01-01", periods=60, freq="h")
    for name, values in {
        "constant": np.full(60, 5.0),
        "gappy": np.where(np.arange(60) % 7 < 3, np.nan, np.arange(60.0)),
        "negative": -np.arange(60.0),
        "exploding": np.exp(np.arange(60.0) * 5),
    }.items():
        path = tmp_path / f"{name}.csv"
        pd.DataFrame({"ds": stamps, "y": values}).to_csv(path, index=False)
        found = answer("forecast", path, "--limit", "7", "--horizon", "1d")
        assert 0 <= found["limit"]["probability"] <= 1, name
    two = tmp_path / "two.csv"
    pd.DataFrame({"ds": stamps[:2], "y": [1.0, 2.0]}).to_csv(two, index=False)
    assert answer("forecast", two, "--horizon", "3h")["forecast"][2]["time"] == "2026-01-01T04:00:00Z"


def test_refusals_name_the_way_out(usage: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    pd.DataFrame({"ds": pd.date_range("2026", periods=9, freq="h"), "y": np.nan}).to_csv(empty, index=False)
    assert refusal("forecast", empty, "--column", "y")[0] == 1
    assert "--column" in refusal("forecast", usage)[1]
    for words, code, message in (
        (("--column", "usd"), 1, "did you mean used"),
        (("--column", "used", "--horizon", "0s"), 2, "--horizon"),
        (("--column", "used", "--horizon", "9999d", "--step", "1s"), 1, "horizon is"),
        (("--column", "used", "--quota", "-1"), 2, "--quota"),
        (("--column", "used", "--quota", "1", "--time-zone", "Mars/Base"), 2, "no time zone"),
        (("--column", "used", "--limit", "1", "--limit-column", "size"), 2, "one of them"),
        (("--column", "used", "--plot", str(tmp_path / "x.gif")), 1, ".png, .svg, .pdf"),
        (("--column", "used", "--plot", str(tmp_path / "no" / "x.png")), 1, "no folder"),
    ):
        found_code, output = refusal("forecast", usage, *words)
        assert (found_code, message in output) == (code, True), output


def test_a_backtest_beats_seasonal_naive_on_a_wave_that_climbs(usage: Path) -> None:
    found = answer(
        "backtest", usage, "--column", "used", "--horizon", "1d", "--origins", "8", "--limit", "140"
    )
    assert found["origins"] == 8
    assert found["mase"] < found["mase_seasonal_naive"]
    assert 0.5 <= found["coverage"]["0.8"] <= 1
    assert sum(row["count"] for row in found["reliability"]) == found["cases"]
    assert found["last_origin"] == "2026-01-28T00:00:00Z"
    result = RUNNER.invoke(
        app, ["backtest", str(usage), "--column", "used", "--origins", "2", "--limit", "150"]
    )
    assert result.exit_code == 0, result.output
    assert "Brier score" in result.stdout
    assert "shorter horizon" in refusal("backtest", usage, "--column", "used", "--horizon", "30d")[1]
