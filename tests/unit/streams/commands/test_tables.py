"""What people read at 80 columns: whole times and names, and one way to write numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from typer.testing import CliRunner

from models.registry.manifest import Manifest
from models.registry.model_files import pack_state
from models.registry.registry import Registry
from streams.cli import app
from streams.commands.tables import _lines, moment, number, share, span

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CUT = re.compile(r"…|\b20\d\d-(?!\d\d-\d\dT\d\d:\d\d:\d\dZ)")
"""An ellipsis, or a time of which a part is not there."""

SERVICE, ROUTE = "checkout-and-payments", "/api/v2/customers/orders"

words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=30)
cells = st.lists(words, max_size=6).map(" ".join)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(*arguments: object) -> str:
    """What a command prints, which fits and is whole."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert not CUT.search(done.stdout), done.stdout
    return done.stdout


def table_lines(text: str) -> list[str]:
    """Lines from a table's head on."""
    lines = text.splitlines()
    rule = next(at for at, line in enumerate(lines) if line.startswith("─"))
    return lines[rule - 1 :]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (20.0, "20"),
        (0.1234567, "0.1235"),
        (999.97, "1,000"),
        (1234.5, "1,234"),
        (9_999.7, "10,000"),
        (-1_234_567.8, "-1,234,568"),
        (1.5e-7, "1.5e-07"),
        (3e18, "3e+18"),
    ],
)
def test_numbers_have_four_digits_or_all_before_the_point(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (None, 0, "–"),
        (0.0, 0, "0 %"),
        (1.0, 3, "100.000 %"),
        (0.123, 0, "12 %"),
        (0.99951, 3, "99.951 %"),
        (0.9997, 0, ">99 %"),
        (0.9997, 1, ">99.9 %"),
        (0.0001, 0, "<1 %"),
        (1.204, 0, "120 %"),
    ],
)
def test_shares_are_never_rounded_to_none_or_all(value: float | None, decimals: int, text: str) -> None:
    assert share(value, decimals) == text


def test_times_are_whole_and_lengths_of_time_are_short() -> None:
    assert moment(1_700_000_000_250) == "2023-11-14T22:13:20Z"
    assert moment(None) == "–"
    assert [span(seconds) for seconds in (59, 3_601, 93_784)] == ["59s", "1h", "1d2h"]


@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1)))
def test_no_word_is_cut_and_lines_keep_to_the_width(rows: list[list[str]]) -> None:
    names = [f"name{at}" for at in range(len(rows[0]))]
    for room in (40, 80):
        lines = list(_lines(names, rows, (), room))
        printed = " ".join(lines).replace(";", " ").split()
        for row in rows:
            for cell in row:
                assert set(cell.split()) <= set(printed)
        longest = max((len(cell) for row in rows for cell in row), default=0)
        assert max(map(len, lines)) <= max(room, longest + len("name0") + 2)


def test_what_a_terminal_would_obey_is_not_printed(tmp_path: Path) -> None:
    log = tmp_path / "evil.log"
    log.write_text("user \x1b[31mmallory logged in\n" * 3)
    text = shown("templates", log)
    assert "mallory" in text
    assert "\x1b" not in text


def test_wide_characters_keep_columns_aligned() -> None:
    lines = list(_lines(("name", "n"), [["東京", "1"], ["a", "2"]], (), 80))
    assert {cell_len(line) for line in lines[2:]} == {7}


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    """Four weeks of large numbers by the hour."""
    at = np.arange(24 * 28)
    values = (
        1_000_000 + 100_000 * np.sin(at * 2 * np.pi / 24) + np.random.default_rng(1).normal(0, 9_000, len(at))
    )
    path = tmp_path / "hours.csv"
    times = pd.date_range("2026-01-01", periods=len(at), freq="h")
    pd.DataFrame({"time": times, "rows_read_by_everybody": values}).to_csv(path, index=False)
    return path


def test_a_forecast(hours: Path) -> None:
    text = shown("forecast", hours, "--horizon", "2d", "--limit", "1e9", "--quota", "1e12")
    head, _, *rows = table_lines(text)[:10]
    assert head.split() == ["time", "5", "%", "median", "95", "%"]
    assert len(rows) == 8
    for row in rows:
        time, *values = row.split()
        assert TIME.fullmatch(time)
        assert len(values) == 3
        assert all(re.fullmatch(r"[\d,]{7,}", value) for value in values), "no exponents"
    assert "with probability 0 %" in text


def test_a_backtest(hours: Path) -> None:
    text = shown("backtest", hours, "--origins", "6", "--limit", "1050000")
    head, _, *rows = table_lines(text)
    assert head.split("  ")[0] == "said"
    assert all(re.match(r"\d+ % to \d+ %  ", row) for row in rows)
    assert len(TIME.findall(text)) == 2


def test_anomalies_with_long_names(tmp_path: Path) -> None:
    minutes = 600
    rate = np.random.default_rng(5).normal(50.0, 2.0, minutes)
    rate[500:510] += 200.0
    times = pd.date_range("2026-05-01", periods=minutes, freq="min", tz="UTC")
    path = tmp_path / "rates.csv"
    pd.DataFrame({"time": times, "service": SERVICE, "route": ROUTE, "requests_a_second": rate}).to_csv(
        path, index=False
    )
    text = shown("detect", path, "--by", "service", "--by", "route")
    lines = table_lines(text)
    assert max(map(len, lines)) <= 80
    assert re.match(r"2026-05-01T08:2\dZ?:\d\dZ  \w+", lines[2])
    assert f"{SERVICE}, {ROUTE}" in " ".join(" ".join(lines).split())
    assert re.search(
        r"because requests_a_second [\d.]+ \(expected [\d.]+\)", " ".join(" ".join(lines).split())
    )


def manifest(name: str, note: str) -> Manifest:
    return Manifest(
        name=name,
        detector="traffic",
        version="",
        sha256="",
        size=0,
        from_ms=1_780_000_000_000,
        to_ms=1_780_500_000_000,
        rows=1_234_567,
        features=("rate", "error_ratio"),
        settings={},
        metrics={"alarms_per_series_per_week": 0.1234567, "precision": 0.987, "recall": 1.0},
        sample=(),
        config_hash="0" * 12,
        code_version="0.1.0",
        created_ms=0,
        note=note,
    )


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Two versions of a model with a long name, one of them champion and shadow."""
    monkeypatch.setenv("STREAMGAUGE_MODELS", str(tmp_path))
    store = Registry(str(tmp_path), "streamgauge")
    for note in ("", "a remark"):
        store.put(manifest("multivariate", note), pack_state({"note": note}))
    for role in ("champion", "shadow"):
        store.appoint("multivariate", role, store.versions("multivariate")[0], by="ann")  # type: ignore[arg-type]
    return store


def test_a_list_of_models(registry: Registry) -> None:
    text = shown("models", "list")
    lines = table_lines(text)
    assert max(map(len, lines)) <= 80
    for version in registry.versions("multivariate"):
        assert version in text
    assert len(TIME.findall(text)) == 2
    for words in ("champion, shadow", "1,234,567", "0.1235", "99 %", "100 %"):
        assert words in " ".join(text.split())


def test_two_versions_compared(registry: Registry) -> None:
    old, new = registry.versions("multivariate")
    lines = table_lines(shown("models", "diff", "multivariate", old, new))
    assert lines[0].split() == ["what", old, new]
    assert any(line.split() == ["note", "a", "remark"] for line in lines)
    text = shown("models", "show", "multivariate")
    assert registry.manifest("multivariate", old).sha256 in text
    assert len(TIME.findall(text)) == 5
