"""Panels from tables and arrays, verdicts side by side, and detectors by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from detectors.api.detector import Detector, Panel, Verdicts
from detectors.api.registry import DetectorError, make, names
from tests.unit.levels import NAME, Levels


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "at": ["2026-01-01T00:01Z", "2026-01-01T00:02Z", "2026-01-01T00:01Z"],
            "service": ["a", "a", "b"],
            "rate": [1.0, 2.0, 3.0],
            "note": ["x", "y", "z"],
        }
    )


def test_a_long_table_becomes_a_panel() -> None:
    panel = Panel.from_table(table(), by=["service"], time="at")
    assert panel.series == (("a",), ("b",))
    assert panel.features == ("rate",)
    assert panel.times.tolist() == [1_767_225_660_000, 1_767_225_720_000]
    np.testing.assert_array_equal(panel.values[..., 0], [[1.0, 3.0], [2.0, np.nan]])


def test_an_index_of_times_will_do() -> None:
    table = pd.DataFrame({"v": [2.0, 1.0]}, index=pd.to_datetime(["2026-01-02", "2026-01-01"]))
    panel = Panel.from_table(table)
    assert panel.series == ((),)
    assert panel.values[:, 0, 0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("by", "time", "message"),
    [
        (["service"], "when", "no column 'when'"),
        ([], "at", "occurs twice"),
        (["service", "rate"], "at", "no column of numbers"),
    ],
)
def test_a_table_that_is_none_says_why(by: list[str], time: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Panel.from_table(table(), by=by, time=time)


def test_a_panel_has_its_shape_and_order() -> None:
    with pytest.raises(ValueError, match="shape"):
        Panel(np.array([1, 2]), ((),), ("v",), np.zeros((1, 1, 1)))
    with pytest.raises(ValueError, match="ascend"):
        Panel.of_series(np.array([2, 2]), np.zeros(2))


def test_verdicts_of_parts_are_those_of_the_whole() -> None:
    panel = Panel.of_series(np.arange(1, 9) * 60_000, np.array([1.0, 1, 5, 1, 1, 20, 1, 1]))
    whole = Levels().update(panel)
    detector = Levels()
    parts = Verdicts.joined(detector.update(panel.rows(at, at + 2)) for at in range(0, 8, 2))
    for name in Verdicts.__slots__:
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert whole.score[2, 0] == 1 - 1e-6


def test_detectors_are_made_by_name() -> None:
    assert isinstance(make(NAME, times=4.0), Detector)
    for name in names():
        assert isinstance(make(name), Detector)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("nothing", {}, "no detector is called 'nothing'"),
        ("tests.unit.levels:Missing", {}, "cannot be loaded"),
        ("tests.nowhere:Levels", {}, "cannot be loaded"),
        (NAME, {"unknown": 1}, "unknown"),
        ("builtins:dict", {}, "not a detector"),
    ],
)
def test_what_is_no_detector_is_said(name: str, settings: dict[str, int], message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        make(name, **settings)
