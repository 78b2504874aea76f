"""The ensemble around the forest: what it finds, how it explains, what it survives, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from models.anomaly.outliers import OutlierEnsemble, distinct, held_out_distances, nearest
from models.arrays import Numbers


def correlated(rows: int, seed: int = 0) -> Numbers:
    """Rows of four columns: two that go together, one constant, one of counts."""
    random = np.random.default_rng(seed)
    first = random.normal(size=rows)
    return np.stack(
        [first, first + 0.05 * random.normal(size=rows), np.ones(rows), random.poisson(3, rows)], axis=1
    )


@pytest.fixture(scope="module")
def ensemble() -> OutlierEnsemble:
    return OutlierEnsemble.fit(correlated(3000), trees=100)


def test_a_row_far_out_and_a_broken_correlation_are_found_and_explained(ensemble: OutlierEnsemble) -> None:
    usual = correlated(500, seed=1)
    odd = np.array([[0.0, 0.0, 1.0, 400.0], [1.2, -1.2, 1.0, 3.0], [0.0, 0.0, 9.0, 3.0]])
    assert (ensemble.score(odd) > np.quantile(ensemble.score(usual), 0.99)).all()
    found = ensemble.contributions(odd)
    assert found[0].argmax() == 3
    assert found[1, :2].sum() > 0.7 * found[1].sum()
    assert found[2].argmax() == 2
    assert ensemble.expected(odd)[0, 3] < 15
    assert ensemble.expected(odd)[2, 2] == pytest.approx(1, abs=1e-3)


def test_tails_of_usual_rows_are_what_they_say(ensemble: OutlierEnsemble) -> None:
    tail = ensemble.tail(correlated(5000, seed=2))
    for share in (0.5, 0.1, 0.01):
        assert (tail <= share).mean() == pytest.approx(share, rel=0.5)


def test_an_attack_among_the_training_rows_does_not_hide_itself() -> None:
    x = correlated(5000)
    x[::200] = [8.0, -8.0, 1.0, 60.0]  # 25 rows alike: each has a near neighbour
    x[::200, 3] += np.random.default_rng(1).normal(size=25) / 10
    score = OutlierEnsemble.fit(x, trees=100).score(x)
    attack = np.arange(5000) % 200 == 0
    assert score[attack].min() > np.quantile(score[~attack], 0.99)


@settings(max_examples=25)
@given(
    x=numpy_arrays(
        np.float64,
        st.tuples(st.integers(1, 30), st.integers(1, 3)),
        elements=st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf]),
    )
)
def test_any_rows_give_finite_scores_and_contributions_that_add_up(x: Numbers) -> None:
    grown = OutlierEnsemble.fit(x, trees=5, samples=16)
    score = grown.score(x)
    assert np.isfinite(score).all()
    assert (score >= 0).all()
    assert ((grown.tail(x) > 0) & (grown.tail(x) <= 1)).all()
    found = grown.contributions(x)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), score, rtol=1e-9, atol=1e-9)
    assert np.isfinite(grown.expected(x)).all()


def test_a_seed_gives_the_same_scores_and_arrays_give_them_back() -> None:
    x, judged = correlated(400), correlated(100, seed=3)
    first, again, other = (OutlierEnsemble.fit(x, trees=20, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.score(judged), again.score(judged))
    assert not np.array_equal(first.score(judged), other.score(judged))
    np.testing.assert_array_equal(
        OutlierEnsemble.from_arrays(first.arrays()).score(judged), first.score(judged)
    )


def test_scores_do_not_depend_on_the_batch(ensemble: OutlierEnsemble) -> None:
    x = correlated(200, seed=4)
    alone = np.concatenate([ensemble.score(row[None]) for row in x[:20]])
    np.testing.assert_allclose(ensemble.score(x)[:20], alone, rtol=1e-3, atol=1e-3)


def test_distances_of_a_burst_are_to_what_came_at_other_times() -> None:
    scaled = np.repeat(np.arange(8.0, dtype=np.float32), 2)[:, None]  # each row twice in a row, 16 rows
    every = np.arange(16)
    np.testing.assert_allclose(held_out_distances(scaled, every, every), np.ones(16), atol=1e-6)
    assert held_out_distances(scaled, every, np.array([0]))[:2].tolist() == [0, 0]  # no other to compare with


def test_references_are_bounded_and_cover_the_border() -> None:
    x = correlated(2000)
    grown = OutlierEnsemble.fit(x, trees=20, references=100)
    assert grown.reference.shape == (100, 4)
    reach = np.abs(grown.centre[0] + grown.spread[0] * np.sinh(grown.reference[:, 0])).max()
    assert reach > np.quantile(np.abs(x[:, 0]), 0.97)


@given(
    rows=numpy_arrays(np.float32, (7, 3), elements=st.floats(-8, 8, width=16)),
    reference=numpy_arrays(np.float32, (5, 3), elements=st.floats(-8, 8, width=16)),
)
def test_the_nearest_is_the_nearest(rows: Any, reference: Any) -> None:
    _, distance = nearest(rows, reference)
    every = np.sqrt(((rows[:, None].astype(float) - reference) ** 2).sum(axis=2))
    np.testing.assert_allclose(distance, every.min(axis=1), atol=5e-3)


@given(
    numpy_arrays(np.float64, st.tuples(st.integers(1, 12), st.just(2)), elements=st.sampled_from([0.0, 1, 2]))
)
def test_different_rows_stand_for_all(rows: Numbers) -> None:
    different, first, place = distinct(rows)
    np.testing.assert_array_equal(different[place], rows)
    np.testing.assert_array_equal(rows[first], different)
    assert len({tuple(row) for row in rows.tolist()}) == len(different)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"spread": np.zeros(4)}, "spread"),
        ({"centre": np.full(4, np.nan)}, "centre"),
        ({"reference": np.zeros((3, 2), np.float32)}, "reference"),
        ({"reference": np.zeros((0, 4), np.float32)}, "reference"),
        ({"reference": np.zeros((2, 4), object)}, "reference"),
        ({"centre": np.zeros((4, 1))}, "centre"),
        ({"forest_feature": np.zeros((1, 1), np.int32)}, "expected"),
        ({"far_known": np.array([1.0, 0.0])}, "tail"),
        ({"other": np.zeros(1)}, "other"),
    ],
)
def test_damaged_arrays_are_refused(
    ensemble: OutlierEnsemble, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        OutlierEnsemble.from_arrays({**ensemble.arrays(), **changed})


@pytest.mark.parametrize("name", ["forest_feature", "rare_known", "spread"])
def test_missing_arrays_are_refused(ensemble: OutlierEnsemble, name: str) -> None:
    arrays = ensemble.arrays()
    del arrays[name]
    with pytest.raises(ValueError, match=r"consists|expected"):
        OutlierEnsemble.from_arrays(arrays)


@pytest.mark.parametrize(("name", "value"), [("references", 1), ("contamination", 0.5), ("trees", 0)])
def test_settings_out_of_bounds_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        OutlierEnsemble.fit(np.zeros((3, 2)), **{name: value})


def test_other_columns_than_learnt_are_refused(ensemble: OutlierEnsemble) -> None:
    for judge in (ensemble.score, ensemble.contributions, ensemble.expected):
        with pytest.raises(ValueError, match="4 features"):
            judge(np.zeros((2, 3)))
