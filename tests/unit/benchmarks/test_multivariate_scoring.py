"""Scoring of verdicts on labelled rows: runs, incidents and causes, against slow loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.multivariate import judge, report
from benchmarks.multivariate_scoring import causes_hit, read_causes, runs, tally

ROWS = st.lists(st.booleans(), max_size=40)


@given(ROWS, st.integers(0, 3))
def test_runs_are_those_of_a_loop(rows: list[bool], gap: int) -> None:
    expected: list[list[int]] = []
    for place, marked in enumerate(rows):
        if marked and expected and place - expected[-1][1] <= gap:
            expected[-1][1] = place + 1
        elif marked:
            expected.append([place, place + 1])
    found = runs(np.array(rows, bool), gap=gap)
    assert [[int(a), int(b)] for a, b in zip(found.start, found.stop, strict=True)] == expected


@given(ROWS)
def test_all_alarms_touch_all_segments_and_none_touch_none(rows: list[bool]) -> None:
    label = np.array(rows, bool)
    every = tally(label, np.ones_like(label), quiet_steps=0)
    assert every.touched == every.segments
    nothing = tally(label, np.zeros_like(label), quiet_steps=0)
    assert (nothing.touched, nothing.false_incidents) == (0, 0)
    assert nothing.normal_steps == rows.count(False)


def test_an_incident_is_false_only_without_a_labelled_row() -> None:
    label = np.array([0, 0, 1, 1, 0, 0, 0, 0, 0, 1], bool)
    alarm = np.array([1, 0, 1, 0, 0, 0, 1, 1, 0, 0], bool)
    assert tally(label, alarm, quiet_steps=1).false_incidents == 1
    assert tally(label, alarm, quiet_steps=0).false_incidents == 2
    assert tally(label, alarm, quiet_steps=0).touched == 1


def test_causes_are_hit_by_one_of_the_largest_contributions(tmp_path: Path) -> None:
    file = tmp_path / "server.causes.txt"
    file.write_text("0-1:3\n2-2:1,2\n\n")
    causes = read_causes(file)
    assert [(cause.start, cause.stop, sorted(cause.metrics)) for cause in causes] == [
        (0, 2, [2]),
        (2, 3, [0, 1]),
    ]
    contributions = np.array([[1.0, 0.0, -5.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert causes_hit(causes, contributions, top=1) == [True, False]
    assert read_causes(tmp_path / "none.txt") == []


def test_a_server_is_learnt_judged_and_reported(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, 3)).astype(np.float32)
    label = np.zeros(500, np.uint8)
    label[200:220] = 1
    rows[1700:1720, 1] += 30.0
    np.savez(tmp_path / "one.npz", train=rows[:1500], test=rows[1500:], label=label)
    (tmp_path / "one.causes.txt").write_text("200-219:2")
    one = judge(tmp_path / "one.npz", 60_000, 0.1)
    np.savez(tmp_path / "two.npz", train=rows[:1500], test=rows[:500], label=np.zeros(500, np.uint8))
    two = judge(tmp_path / "two.npz", 60_000, 0.1)
    both = report([one, two], 60_000)
    assert both["average_precision"] == report([one], 60_000)["average_precision"] > 0.9
    assert both["segments_touched"] == both["causes_hit_at_3"] == 1.0
    assert both["false_alarms_per_week"] == both["false_alarms_per_server_week"] == 0.0
    assert both["roc_auc"] > both["isolation_forest"]["roc_auc"] - 0.1
    alone = report([two], 60_000)
    assert alone["roc_auc"] is alone["segments_touched"] is None
    assert "causes_hit_at_3" not in alone
