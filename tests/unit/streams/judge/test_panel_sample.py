"""The sample of series that models are trained on, against keeping everything."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.api.detector import Panel, SeriesName
from models.calendar.units import DAY_MS
from streams.judge.panel_sample import SPAN_DAYS, PanelSample
from streams.partials.series import encode_labels, series_hash

STEP_MS = 6 * 3_600_000
DAY_STEPS = DAY_MS // STEP_MS
START = 20_000 * DAY_STEPS
"""Steps since 1970 at the first one."""


def key(name: SeriesName) -> int:
    return series_hash("web", encode_labels(name))


def panel(step: int, seen: dict[str, float]) -> Panel:
    """Two features, of which the second is never seen."""
    series = tuple(sorted([(name,) for name in seen], key=key))
    values = np.array([[[seen[name], np.nan] for (name,) in series]]).reshape(1, len(series), 2)
    return Panel(np.array([(START + step) * STEP_MS]), series, ("rate", "p50"), values)


def sample(series_max: int = 4, bytes_max: int = 1 << 20) -> PanelSample:
    return PanelSample("web", STEP_MS, ("rate", "p50"), series_max=series_max, bytes_max=bytes_max)


steps = st.lists(
    st.dictionaries(st.sampled_from("abcdefghij"), st.integers(0, 1000).map(float)),
    min_size=1,
    max_size=SPAN_DAYS * DAY_STEPS,
)


@given(steps)
@settings(max_examples=60)
def test_the_sample_is_that_of_the_smallest_hashes_whatever_came_when(seen: list[dict[str, float]]) -> None:
    found = sample()
    for number, each in enumerate(seen):
        found.add(panel(number, each))
    names = sorted({(name,) for each in seen for name in each}, key=key)[:4]
    kept = found.panel()
    assert kept.series == tuple(names)
    assert kept.times.tolist() == [(START + number) * STEP_MS for number in range(len(seen))]
    expected = [[each.get(name, np.nan) for (name,) in names] for each in seen]
    np.testing.assert_array_equal(kept.values[:, :, 0], np.array(expected).reshape(len(seen), len(names)))
    assert np.isnan(kept.values[:, :, 1]).all()


def test_it_is_full_after_a_week_and_keeps_no_more() -> None:
    found = sample()
    week = SPAN_DAYS * DAY_STEPS
    full = []
    for step in range(3 * week):
        found.add(panel(step, {"a": float(step)}))
        full.append(found.is_full)
    assert full.index(True) == week - 1
    assert all(full[week:])
    assert found.panel().values[:, 0, 0].tolist() == list(range(2 * week, 3 * week))


def test_a_week_with_many_days_missing_is_not_full() -> None:
    found = sample()
    for step in (*range(4), *range(5 * DAY_STEPS, 8 * DAY_STEPS)):
        found.add(panel(step, {"a": 1.0}))
    assert not found.is_full


def test_series_that_are_gone_give_way_after_a_week() -> None:
    names = sorted("abcd", key=lambda name: key((name,)))
    found = sample(series_max=2)
    found.add(panel(0, dict.fromkeys(names, 1.0)))
    assert found.series == ((names[0],), (names[1],))
    for step in range(1, (SPAN_DAYS + 2) * DAY_STEPS):
        found.add(panel(step, dict.fromkeys(names[2:], 2.0)))
    assert found.series == ((names[2],), (names[3],))
    values = found.panel().values[:, :, 0]
    assert set(values[np.isfinite(values)].tolist()) == {2.0}


def test_repeats_change_nothing() -> None:
    found = sample()
    found.add(panel(1, {"a": 1.0}))
    for step in (0, 1):
        found.add(panel(step, {"a": 5.0, "b": 5.0}))
    assert found.series == (("a",),)
    assert found.panel().values[:, 0, 0].tolist() == [1.0]


def test_fewer_series_where_they_would_take_too_much() -> None:
    assert sample(series_max=100, bytes_max=10 * 8 * DAY_STEPS * 2 * 4).series_max == 10
    assert sample(series_max=100, bytes_max=1).series_max == 1


def test_a_copy_stays_as_it_is() -> None:
    found = sample(series_max=1)
    names = sorted("ab", key=lambda name: key((name,)))
    found.add(panel(0, {names[1]: 1.0}))
    kept = found.copied()
    found.add(panel(1, {names[0]: 2.0}))
    assert found.series == ((names[0],),)
    assert kept.series == ((names[1],),)
    assert kept.panel().values[:, 0, 0].tolist() == [1.0]
