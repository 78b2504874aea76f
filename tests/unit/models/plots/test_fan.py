"""Plots of forecasts and quotas: files of each kind, and clear words where they cannot be made."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from models.capacity.crossing import first_crossing
from models.capacity.quota import quota_outlook
from models.forecast.paths import SampledForecast
from models.plots.fan import PlotError, check_plot_path, fan_figure, save_fan_plot
from models.plots.quota import quota_figure

pytest.importorskip("matplotlib", reason="plots need the extra `notebooks`")

HOUR_MS = 3_600_000
STARTS = np.arange(48, dtype=np.int64) * HOUR_MS
VALUES = np.where(np.arange(48) == 5, np.nan, 10.0 + np.arange(48) % 24)
MADE = SampledForecast(np.random.default_rng(0).normal(20, 3, (50, 24)), "drawn")


@pytest.mark.parametrize(
    ("suffix", "begin"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".SVG", b"<?xml")]
)
def test_the_name_chooses_the_kind_and_the_bytes_are_always_the_same(
    tmp_path: Path, suffix: str, begin: bytes
) -> None:
    written = []
    for name in ("a", "b"):
        crossing = first_crossing(MADE.paths(50), 25.0, step_ms=HOUR_MS)
        figure = fan_figure(
            STARTS,
            VALUES,
            HOUR_MS,
            MADE,
            title="pool",
            limit=25.0,
            crossing=crossing,
            truth=np.full(24, 20.0),
        )
        save_fan_plot(tmp_path / f"{name}{suffix}", figure)
        written.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert written[0].startswith(begin)
    assert written[0] == written[1]


def test_what_is_drawn_is_what_was_forecast() -> None:
    figure = fan_figure(STARTS, VALUES, HOUR_MS, MADE, limit=np.full(24, 25.0))
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["median"].get_ydata() == pytest.approx(MADE.median)
    assert lines["limit"].get_ydata() == pytest.approx(np.full(24, 25.0))
    first = lines["median"].get_xdata()[0]
    assert np.datetime64(first) == np.datetime64(48 * HOUR_MS, "ms")
    assert len(axes.collections) == 3


def test_a_quotas_sum_goes_on_from_what_is_used() -> None:
    paths = np.full((20, 24), 10.0)
    now_ms = 36 * HOUR_MS
    outlook = quota_outlook(
        paths, quota=300.0, used=100.0, period=(24 * HOUR_MS, 48 * HOUR_MS), now_ms=now_ms, step_ms=HOUR_MS
    )
    figure = quota_figure(STARTS[:36], np.full(36, 100 / 12), HOUR_MS, paths, outlook, truth=np.full(24, 9.0))
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert lines["used"].get_ydata()[-1] == pytest.approx(100)
    assert lines["median"].get_ydata() == pytest.approx(100 + 10.0 * np.arange(13))
    assert lines["actual"].get_ydata()[-1] == pytest.approx(100 + 9 * 12)


def test_other_endings_folders_that_are_not_there_and_no_matplotlib_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PlotError, match=r"ends in \.png, \.svg, \.pdf"):
        check_plot_path(tmp_path / "a.gif")
    with pytest.raises(PlotError, match="there is no folder"):
        check_plot_path(tmp_path / "none" / "a.png")
    (tmp_path / "folder.png").mkdir()
    figure = fan_figure(STARTS, VALUES, HOUR_MS, MADE)
    with pytest.raises(PlotError, match="cannot be written"):
        save_fan_plot(tmp_path / "folder.png", figure)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    for attempt in (
        lambda: check_plot_path(tmp_path / "a.png"),
        lambda: fan_figure(STARTS, VALUES, HOUR_MS, MADE),
    ):
        with pytest.raises(PlotError, match=r"pip install 'streamgauge\[notebooks\]'"):
            attempt()
