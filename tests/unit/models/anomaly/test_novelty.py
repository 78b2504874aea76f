"""Surprise of tokens in contexts: by how often a new unit of the context is as rare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.anomaly.novelty import LEVELS, Novelty, rarity
from models.arrays import Hashes, Rows


def learnt(context: list[int], token: list[int], folds: int = 4) -> tuple[Novelty, Any]:
    """A model of units of one token each, in stretches of time."""
    count = len(context)
    fold = np.arange(count) * folds // count
    return Novelty.fit(hashes(context), np.arange(count), hashes(token), fold)


def hashes(values: list[int]) -> Hashes:
    return np.array(values, np.uint64)


def judged(model: Novelty, context: int, token: int) -> float:
    return float(model.score(hashes([context]), np.arange(1), hashes([token]))[0])


def test_a_new_value_is_a_surprise_only_where_values_repeat() -> None:
    switch, password = 1, 2
    model, _ = learnt([switch, password] * 200, [n for i in range(200) for n in (7, 1000 + i)])
    assert judged(model, switch, 7) == 0
    assert judged(model, switch, 8) == pytest.approx(np.log(402), abs=0.01)
    assert judged(model, password, 5000) == pytest.approx(0, abs=0.01)
    assert judged(model, 3, 7) == 0  # of a context never seen nothing is known


def test_what_repeats_within_a_moment_only_is_no_habit() -> None:
    # Each request comes twice, as GET and POST; its value never comes again.
    model, own = learnt([1] * 400, [i // 2 for i in range(400)])
    assert judged(model, 1, 9999) == pytest.approx(0, abs=0.02)
    assert own.max() == pytest.approx(0, abs=0.02)


def test_a_unit_is_as_rare_as_its_rarest_token() -> None:
    context, start = hashes([1, 1, 1, 1]), np.array([0, 3, 6, 9])
    model, _ = Novelty.fit(context, start, hashes([1, 2, 3] * 4), np.arange(4))
    usual, odd = model.score(hashes([1, 1]), np.array([0, 2]), hashes([1, 2, 3, 9, 1]))
    assert usual == 0
    assert odd == pytest.approx(np.log(4.5 / 0.5))


@given(
    units=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60),
    asked=st.tuples(st.integers(0, 4), st.integers(0, 12)),
)
def test_surprises_are_those_of_a_count_by_hand(units: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    context, token = [c for c, _ in units], [t for _, t in units]
    model, own = learnt(context, token, folds=3)
    fold = [i * 3 // len(units) for i in range(len(units))]

    def level(unit: tuple[int, int], left_out: int | None) -> int:
        count = sum(u == unit and f != left_out for u, f in zip(units, fold, strict=True))
        return count.bit_length()

    def surprise(unit: tuple[int, int], left_out: int | None) -> float:
        others = [level(u, f) for u, f in zip(units, fold, strict=True) if u[0] == unit[0]]
        if not others:
            return 0.0
        as_rare = sum(other <= level(unit, left_out) for other in others)
        share = (as_rare + 0.5) / (len(others) + 1)
        return float(np.log((len(others) + 0.5) / (len(others) + 1)) - np.log(share))

    assert judged(model, *asked) == pytest.approx(surprise(asked, None), abs=1e-9)
    assert own.tolist() == pytest.approx([surprise(u, f) for u, f in zip(units, fold, strict=True)], abs=1e-9)


def test_no_units_teach_nothing() -> None:
    none: Rows = np.zeros(0, np.int64)
    model, own = Novelty.fit(hashes([]), none, hashes([]), none)
    assert len(own) == 0
    assert judged(model, 1, 1) == 0


def test_rarities_are_powers_of_two() -> None:
    assert rarity(np.array([0, 1, 2, 3, 4, 1 << 40])).tolist() == [0, 1, 2, 2, 3, LEVELS - 1]


def test_arrays_give_the_same_surprises_back() -> None:
    model, _ = learnt([1, 1, 2, 2] * 9, [1, 2, 3, 3] * 9)
    again = Novelty.from_arrays(model.arrays())
    assert judged(again, 2, 4) == judged(model, 2, 4) > 0


@pytest.mark.parametrize(
    "changed",
    [
        {"tokens": np.zeros(4, np.uint64)},
        {"tokens": np.zeros(0, np.uint64)},
        {"counts": np.array([-1, 1, 1])},
        {"counts": np.array([1.0, 1, 1])},
        {"surprise": np.full((2, LEVELS), np.nan)},
        {"surprise": np.zeros((2, 3))},
        {"contexts": np.array([2, 1], np.uint64)},
        {"more": np.zeros(1)},
    ],
)
def test_damaged_arrays_are_refused(changed: dict[str, Any]) -> None:
    model, _ = learnt([1, 1, 2, 2] * 9, [1, 2, 3, 3] * 9)
    with pytest.raises(ValueError, match="novelty"):
        Novelty.from_arrays({**model.arrays(), **changed})
