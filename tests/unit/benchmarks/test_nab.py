"""The NAB benchmark on its real files: read right, judged row by row."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.nab import Labelled, alarm_scores, on_file_scale, read_files
from benchmarks.nab_scoring import PROFILES, Judged, file_score

DATA = os.environ.get("STREAMGAUGE_DATA", "")

needs_data = pytest.mark.skipif(not DATA, reason="STREAMGAUGE_DATA names no folder with nab/")


@pytest.fixture(scope="module")
def shortest() -> Labelled:
    return min(
        (file for file in read_files(Path(DATA) / "nab") if len(file.windows)),
        key=lambda file: len(file.values),
    )


@needs_data
def test_windows_are_rows_of_the_file(shortest: Labelled) -> None:
    assert (np.diff(shortest.times) > 0).all()
    assert (shortest.windows[:, 0] < shortest.windows[:, 1]).all()
    assert shortest.windows.max() < len(shortest.values)


@needs_data
def test_a_row_is_judged_without_those_after_it(shortest: Labelled) -> None:
    cut = len(shortest.values) * 2 // 3
    later = shortest.values.copy()
    later[cut:] = later[cut:][::-1] * 3 + 1
    changed = alarm_scores(replace(shortest, values=later))
    whole = alarm_scores(shortest)
    np.testing.assert_array_equal(changed[:cut], whole[:cut])
    assert (changed[cut:] != whole[cut:]).any()


def test_a_folder_without_labels_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="combined_windows"):
        list(read_files(tmp_path))


def test_a_file_without_windows_loses_by_its_false_alarms() -> None:
    scores = np.zeros(1000)
    scores[500] = 1.0
    judged = Judged(scores, np.zeros((0, 2), np.int64))
    assert on_file_scale(judged, file_score(judged, 0.5, PROFILES["standard"])) == pytest.approx(-5.5)
