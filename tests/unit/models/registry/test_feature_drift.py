"""Drift is seen where a distribution changed, and not where it did not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from models.registry.feature_drift import FeatureSample, drift_of, sample_features

RNG = np.random.default_rng(7)


def test_the_same_data_has_no_drift() -> None:
    values = RNG.lognormal(size=(500, 4, 2))
    drift = drift_of(sample_features(["a", "b"], values), ["a", "b"], values)
    assert not drift.retrain
    assert drift.features == ("a", "b")
    assert np.abs(drift.psi).max() < 1e-9
    assert np.abs(drift.distance).max() < 1e-9


@pytest.mark.parametrize("rows", [60, 200, 5000])
def test_other_draws_of_one_distribution_are_no_drift(rows: int) -> None:
    trained = sample_features(["a"], RNG.normal(size=(rows, 1)))
    found = [drift_of(trained, ["a"], RNG.normal(size=(rows, 1))).retrain for _ in range(100)]
    assert sum(found) <= 2


@pytest.mark.parametrize("shift", [{"loc": 1.0}, {"scale": 3.0}, {"loc": -50.0}])
def test_a_shift_is_seen_and_named(shift: dict[str, float]) -> None:
    values = RNG.normal(size=(2000, 2))
    recent = np.column_stack([RNG.normal(size=2000), RNG.normal(size=2000, **shift)])
    drift = drift_of(sample_features(["a", "b"], values), ["a", "b"], recent)
    assert drift.retrain
    assert [reason.split()[1] for reason in drift.reasons] == ["b"]
    assert drift.psi[1] > 0.25 > drift.psi[0]
    assert drift.distance[1] > 0.2 > drift.distance[0]


def test_the_index_is_that_of_its_formula() -> None:
    trained = FeatureSample("a", (1.0, 2.0), (0.5, 1.0), 1000, 0.0)
    recent = np.repeat([1.0, 2.0, 3.0], [400, 500, 100])[:, None]
    share, before = (np.array([400, 500, 100]) + 0.5) / 1001.5, (np.array([500, 500, 0]) + 0.5) / 1001.5
    expected = ((share - before) * np.log(share / before)).sum()
    drift = drift_of([trained], ["a"], recent)
    assert drift.psi[0] == pytest.approx(expected)
    assert drift.distance[0] == pytest.approx(0.1)


def test_values_that_tie_are_compared_exactly() -> None:
    values = RNG.integers(0, 3, size=(3000, 1)).astype(float)
    trained = sample_features(["a"], values)
    assert trained[0].points == (0.0, 1.0, 2.0)
    assert trained[0].below[-1] == 1.0
    assert not drift_of(trained, ["a"], RNG.integers(0, 3, size=(3000, 1)).astype(float)).retrain
    assert drift_of(trained, ["a"], np.ones((3000, 1))).retrain


def test_a_constant_that_stays_is_no_drift_and_one_that_leaves_is() -> None:
    trained = sample_features(["a"], np.full((500, 1), 3.0))
    assert not drift_of(trained, ["a"], np.full((500, 1), 3.0)).retrain
    assert drift_of(trained, ["a"], np.full((500, 1), 3.1)).retrain


def test_features_that_come_or_go_and_values_that_vanish_are_named() -> None:
    values = RNG.normal(size=(500, 2))
    trained = sample_features(["a", "gone"], values)
    recent = values.copy()
    recent[::2, 0] = np.nan
    drift = drift_of(trained, ["a", "new"], recent)
    assert drift.features == ("a",)
    assert sorted(drift.reasons) == [
        "feature a: 0 % were missing in training, now 50 %",
        "feature gone is gone",
        "feature new was not there in training",
    ]


def test_too_few_rows_say_nothing() -> None:
    trained = sample_features(["a"], RNG.normal(size=(500, 1)))
    drift = drift_of(trained, ["a"], np.full((20, 1), 99.0))
    assert not drift.retrain
    assert np.isnan(drift.psi).all()
    assert not drift_of(sample_features(["a"], np.empty((0, 1))), ["a"], np.empty((0, 1))).retrain


@settings(max_examples=80)
@given(arrays_of.arrays(np.float64, st.tuples(st.integers(0, 200), st.just(2))), st.integers(0, 3))
def test_any_values_give_a_result(values: np.ndarray, seed: int) -> None:
    trained = sample_features(["a", "b"], values)
    for sample in trained:
        assert list(sample.points) == sorted(set(sample.points))
        assert np.all(np.diff((0.0, *sample.below)) > 0)
        assert 0 <= sample.missing <= 1
    assert not drift_of(trained, ["a", "b"], values).retrain
    drift_of(trained, ["a", "b"], np.random.default_rng(seed).normal(size=(80, 2)))
