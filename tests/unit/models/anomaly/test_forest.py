"""Isolation forests as arrays: scikit-learn's scores, contributions that add up, files that cannot harm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays
from sklearn.ensemble import IsolationForest

from models.anomaly.forest import Forest, column_medians
from models.anomaly.forest_growth import average_path_length, rounded_down
from models.arrays import Numbers


def skewed(rows: int, columns: int, seed: int = 0) -> Numbers:
    """Rows of lognormal numbers, one column constant and one of three values."""
    random = np.random.default_rng(seed)
    x = random.lognormal(size=(rows, columns))
    x[:, 0] = 1.0
    x[:, -1] = random.integers(0, 3, rows)
    return x


@pytest.fixture(scope="module")
def forest() -> Forest:
    return Forest.fit(skewed(500, 5), trees=30)


@pytest.mark.parametrize(
    ("rows", "samples", "max_features"),
    [(900, 256, 1.0), (900, 256, 0.4), (900, 700, 1.0), (40, 256, 1.0), (2, 2, 1.0), (1, 1, 1.0)],
)
def test_scores_are_those_of_scikit_learn(rows: int, samples: int, max_features: float) -> None:
    x = skewed(rows, 6)
    ours = Forest.fit(x, trees=25, samples=samples, seed=3, max_features=max_features)
    theirs = IsolationForest(
        n_estimators=25, max_samples=min(samples, rows), max_features=max_features, random_state=3
    ).fit(x.astype(np.float32))
    judged = np.concatenate([x, 10 * skewed(200, 6, seed=1), -skewed(200, 6, seed=2)])
    np.testing.assert_allclose(ours.score(judged), -theirs.score_samples(judged), rtol=0, atol=1e-9)


@settings(max_examples=40)
@given(
    x=numpy_arrays(
        np.float64,
        st.tuples(st.integers(1, 40), st.just(3)),
        elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0]),
    ),
    seed=st.integers(0, 5),
)
def test_scores_agree_and_contributions_add_up_on_any_rows(x: Numbers, seed: int) -> None:
    ours = Forest.fit(x, trees=8, samples=16, seed=seed)
    theirs = IsolationForest(n_estimators=8, max_samples=min(16, len(x)), random_state=seed).fit(x)
    judged = np.concatenate([x, np.nextafter(x.astype(np.float32), np.float32(np.inf)), x + 1])
    score = ours.score(judged)
    np.testing.assert_allclose(score, -theirs.score_samples(judged), rtol=0, atol=1e-9)
    total = ours.contributions(judged).sum(axis=1)
    np.testing.assert_allclose(total, np.log2(score / ours.expected_score), rtol=0, atol=1e-9)


def test_a_batch_scores_as_its_rows_do_one_by_one(forest: Forest) -> None:
    x = skewed(1200, 5, seed=4)
    alone = np.array([forest.score(row[None])[0] for row in x])
    np.testing.assert_allclose(forest.score(x), alone, rtol=0, atol=1e-12)
    explained = np.concatenate([forest.contributions(x[:7]), forest.contributions(x[7:])])
    np.testing.assert_allclose(forest.contributions(x), explained, rtol=0, atol=1e-12)


def test_contributions_name_the_odd_feature(forest: Forest) -> None:
    x = np.tile(forest.median, (5, 1))
    x[np.arange(1, 4), [1, 2, 3]] = 1e3
    found = forest.contributions(x)
    assert found[1:4].argmax(axis=1).tolist() == [1, 2, 3]
    assert (found[1:4].max(axis=1) > 0.1).all()
    assert found[0].sum() < 0  # the usual row is less odd than the mean
    assert (found[:, 0] == 0).all()  # a constant column never splits


def test_a_seed_gives_the_same_forest_and_another_seed_another() -> None:
    x = skewed(300, 4)
    first, again, other = (Forest.fit(x, trees=10, seed=seed) for seed in (1, 1, 2))
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])
    assert not np.array_equal(first.score(x), other.score(x))


def test_a_missing_value_counts_as_the_median(forest: Forest) -> None:
    x = skewed(50, 5, seed=5)
    holes = x.copy()
    holes[::2, 2] = np.nan
    x[::2, 2] = forest.median[2]
    np.testing.assert_array_equal(forest.score(holes), forest.score(x))
    np.testing.assert_array_equal(forest.contributions(holes), forest.contributions(x))


def test_holes_infinities_and_empty_columns_can_be_learnt_from() -> None:
    x = skewed(80, 4)
    x[::3, 1], x[:, 2], x[0, 3], x[1, 3] = np.nan, np.nan, np.inf, -np.inf
    grown = Forest.fit(x, trees=10)
    assert np.isfinite(grown.score(x)).all()
    assert grown.median.tolist() == [1.0, np.nanmedian(x[:, 1]), 0.0, np.median(x[2:, 3])]


@given(
    numpy_arrays(
        np.float64,
        st.tuples(st.integers(1, 12), st.integers(1, 3)),
        elements=st.floats(-1e9, 1e9) | st.just(np.nan),
    )
)
def test_medians_are_those_of_the_values_that_are_there(x: Numbers) -> None:
    for column, median in zip(x.T, column_medians(x), strict=True):
        seen = column[~np.isnan(column)]
        assert median == pytest.approx(np.median(seen) if len(seen) else 0.0, rel=1e-12, abs=1e-12)


@given(threshold=st.floats(-1e9, 1e9), value=st.floats(-(2.0**30), 2.0**30, width=32))
def test_thresholds_rounded_down_split_32_bit_values_alike(threshold: float, value: float) -> None:
    assert (value <= rounded_down(np.array([threshold]))[0]) == (value <= threshold)


def test_average_path_length_is_the_mean_depth_of_an_unsuccessful_search() -> None:
    found = average_path_length(np.array([0, 1, 2, 3, 256]))
    assert found[:3].tolist() == [0, 0, 1]
    # 2 H(n - 1) - 2 (n - 1) / n, the harmonic number approximated by its logarithm
    assert found[4] == pytest.approx(2 * sum(1 / i for i in range(1, 256)) - 2 * 255 / 256, abs=0.01)


def test_no_rows_give_no_scores(forest: Forest) -> None:
    assert forest.score(np.zeros((0, 5))).shape == (0,)
    assert forest.contributions(np.zeros((0, 5))).shape == (0, 5)


def test_arrays_give_the_same_forest_back(forest: Forest) -> None:
    x = skewed(60, 5, seed=6)
    again = Forest.from_arrays(forest.arrays())
    np.testing.assert_array_equal(again.score(x), forest.score(x))
    assert again.expected_score == forest.expected_score


def damaged(name: str, change: Any) -> Any:
    """A change of one array of a forest, with the array's name."""
    return pytest.param(name, change, id=f"{name}-{change.__name__}")


def dropped(array: Any) -> Any:
    return None


def last_tree_dropped(array: Any) -> Any:
    return array[:-1]


def last_column_dropped(array: Any) -> Any:
    return array[:, :-1]


def out_of_bounds(array: Any) -> Any:
    return np.full_like(array, 5)


def below_zero(array: Any) -> Any:
    return np.full_like(array, -1)


def no_number(array: Any) -> Any:
    return np.full_like(array, np.nan)


def endless(array: Any) -> Any:
    return np.full_like(array, np.inf)


def text(array: Any) -> Any:
    return array.astype(str)


def objects(array: Any) -> Any:
    return array.astype(object)


def flat(array: Any) -> Any:
    return array.ravel()


def no_trees(array: Any) -> Any:
    return array[:0]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        damaged("feature", dropped),
        damaged("feature", last_tree_dropped),
        damaged("feature", last_column_dropped),
        damaged("feature", out_of_bounds),
        damaged("feature", below_zero),
        damaged("feature", text),
        damaged("feature", objects),
        damaged("feature", flat),
        damaged("feature", no_trees),
        damaged("threshold", last_tree_dropped),
        damaged("threshold", no_number),
        damaged("depth", last_column_dropped),
        damaged("depth", below_zero),
        damaged("depth", endless),
        damaged("depth", no_number),
        damaged("median", last_tree_dropped),
        damaged("median", no_trees),
        damaged("median", endless),
        damaged("samples", below_zero),
        damaged("samples", flat),
        damaged("samples", text),
    ],
)
def test_damaged_arrays_are_refused(forest: Forest, name: str, change: Any) -> None:
    found = forest.arrays()
    found[name] = change(found[name])
    if found[name] is None:
        del found[name]
    with pytest.raises(ValueError, match=r"forest|expected|tree|feature"):
        Forest.from_arrays(found)


def test_an_unknown_array_is_refused(forest: Forest) -> None:
    with pytest.raises(ValueError, match="consists of"):
        Forest.from_arrays({**forest.arrays(), "more": np.zeros(1)})


@pytest.mark.parametrize(
    ("x", "settings_", "sentence"),
    [
        (np.zeros((0, 3)), {}, "rows × features"),
        (np.zeros((3, 0)), {}, "rows × features"),
        (np.zeros(3), {}, "rows × features"),
        (np.zeros((3, 3)), {"trees": 0}, "trees=0"),
        (np.zeros((3, 3)), {"samples": 0}, "samples=0"),
        (np.zeros((3, 3)), {"max_features": 1.5}, "max_features=1.5"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(x: Numbers, settings_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Forest.fit(x, **settings_)


def test_other_columns_than_learnt_are_refused(forest: Forest) -> None:
    with pytest.raises(ValueError, match="5 features"):
        forest.score(np.zeros((2, 4)))
