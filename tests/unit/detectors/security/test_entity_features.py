"""Features of entities: what they are for clients whose behaviour is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.security.entity_features import (
    FEATURES,
    EntityCounts,
    count_name,
    feature_matrix,
    path_entropy,
)

COLUMNS = [feature.name for feature in FEATURES]


def counts_of(**counts: float) -> EntityCounts:
    names = ["requests", *(name for name in counts if name != "requests")]
    row = np.array([[counts[name] for name in names]])
    readable = [name.replace("_", " ") if name.startswith(("distinct", "path")) else name for name in names]
    return EntityCounts(readable, row, row, np.ones(1), np.zeros(1, np.int64), 120_000, np.array([0.25]))


def features(**counts: float) -> dict[str, float]:
    return dict(zip(COLUMNS, feature_matrix(counts_of(**counts))[0].tolist(), strict=True))


def test_features_of_a_client() -> None:
    found = features(requests=16, post=4, get=10, bytes=1600, distinct_path=8, distinct_second=4)
    assert found["requests a minute"] == pytest.approx(np.log(17))
    assert found["share of post"] == 0.2
    assert found["share of other methods"] == 0.1
    assert found["distinct paths a request"] == 0.5
    assert found["bytes a request"] == pytest.approx(np.log(101))
    assert found["busy seconds"] == pytest.approx(4 / (60 * (1 - np.exp(-16 / 60))))
    assert found["time since first seen"] == pytest.approx(np.log(3))
    assert found["share at night"] == 0.25
    assert np.isnan(found["share of 401"])
    assert np.isnan(found["path entropy"])


def test_one_failure_of_one_request_is_not_the_oddest_there_is() -> None:
    assert (
        features(requests=1, **{"404": 1})["share of 404"]
        < features(requests=50, **{"404": 40})["share of 404"]
    )


@given(st.integers(1, 500), st.integers(0, 15))
def test_one_path_has_no_entropy(requests: int, slot: int) -> None:
    bits = {f"path_bit_{bit}": float(requests * (slot >> bit & 1)) for bit in range(4)}
    (entropy,) = path_entropy(counts_of(requests=requests, **bits)).tolist()  # type: ignore[union-attr]
    assert entropy == 0


@given(st.integers(64, 2000), st.integers(0, 2**32))
def test_many_paths_have_about_the_logarithm_of_their_number(paths: int, seed: int) -> None:
    slots = np.random.default_rng(seed).integers(0, 16, paths)
    bits = {f"path_bit_{bit}": float(np.count_nonzero(slots >> bit & 1)) for bit in range(4)}
    (entropy,) = path_entropy(counts_of(requests=paths, **bits)).tolist()  # type: ignore[union-attr]
    assert np.log2(paths) - 4.5 < entropy <= np.log2(paths)


@pytest.mark.parametrize("name", ["distinct security.path", "distinct:path", "distinct path"])
def test_counts_have_one_name(name: str) -> None:
    assert count_name(name) == "distinct path"
