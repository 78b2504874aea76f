"""Tables of numbers and words as features: unknown words, holes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.anomaly.mixed_table import WORDS_MAX, MixedTable, signed_log


def table() -> MixedTable:
    return MixedTable.fit(
        {"bytes": np.array([0.0, 10.0, 99.0]), "service": np.array(["http", "http", "smtp"])}
    )


def test_numbers_become_logarithms_and_words_columns() -> None:
    found = table().transform({"bytes": np.array([0.0, -9.0]), "service": np.array(["smtp", "http"])})
    assert table().features == ("bytes", "service=http", "service=smtp", "service unseen", "service rarity")
    np.testing.assert_allclose(
        found,
        [[0, 0, 1, 0, -np.log(1.5 / 4)], [-np.log(10), 1, 0, 0, -np.log(2.5 / 4)]],
    )


def test_an_unknown_word_is_rarer_than_all_and_as_far_as_the_others() -> None:
    one_hot = slice(1, 4)
    found = table().transform({"bytes": np.zeros(3), "service": np.array(["http", "smtp", "gopher"])})
    apart = [np.linalg.norm(found[a, one_hot] - found[b, one_hot]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert apart == pytest.approx([np.sqrt(2)] * 3)
    assert found[2, 4] > found[1, 4] > found[0, 4]


def test_many_words_do_not_become_many_columns() -> None:
    words = np.array([f"w{i % 300}" for i in range(900)] + ["often"] * 50)
    known = MixedTable.fit({"word": words})
    assert len(known.features) == WORDS_MAX + 2
    assert "word=often" in known.features
    found = known.transform({"word": np.array(["w299", "never"])})
    assert found[:, :WORDS_MAX].sum() == 0
    assert found[:, WORDS_MAX].tolist() == [0, 1]


def test_what_is_no_number_is_missing() -> None:
    found = table().transform({"bytes": np.array(["3", "x", ""]), "service": np.array(["http"] * 3)})
    assert found[0, 0] == np.log(4)
    assert np.isnan(found[1:, 0]).all()


@given(st.floats(-1e12, 1e12))
def test_the_signed_logarithm_keeps_sign_and_can_be_undone(value: float) -> None:
    found = float(signed_log(np.array([value]))[0])
    assert np.copysign(np.expm1(abs(found)), found) == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_missing_columns_and_lengths_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match="no column 'service'"):
        table().transform({"bytes": np.zeros(2)})
    with pytest.raises(ValueError, match="lengths 1, 2"):
        MixedTable.fit({"a": np.zeros(1), "b": np.zeros(2)})
    with pytest.raises(ValueError, match="none"):
        MixedTable.fit({})
