"""Registers of distinct counts: against bit strings, merged in any order, and accurate within their error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.partials.cells import max_by_key
from streams.partials.distinct import (
    REGISTER_BITS,
    REGISTER_COUNT,
    estimates_of,
    registers_of,
    value_hashes,
)

edges = st.builds(
    lambda shift, low: ((1 << shift) | low) & (2**64 - 1), st.integers(0, 63), st.integers(0, 3)
)


@settings(max_examples=300)
@given(st.lists(st.one_of(st.integers(0, 2**64 - 1), edges), min_size=1, max_size=20))
def test_registers_are_the_first_bits_and_ranks_the_zeros_after_them(hashes):
    registers, ranks = registers_of(np.array(hashes, dtype=np.uint64))
    for value, register, rank in zip(hashes, registers.tolist(), ranks.tolist(), strict=True):
        bits = f"{value:064b}"
        assert register == int(bits[:REGISTER_BITS], 2)
        rest = bits[REGISTER_BITS:]
        assert rank == len(rest) - len(rest.lstrip("0")) + 1


GOLDEN = [
    13_020_603_013_274_838_756,
    3_405_396_810_240_292_928,
    636_548_684_707_296_368,
    10_503_467_688_693_309_289,
]


def test_hashes_of_values_are_the_same_on_every_machine():
    assert value_hashes(["", "a", "Zürich", "💡"]).tolist() == GOLDEN
    assert value_hashes([]).dtype == np.uint64


def sketch(values: list[str], series: int = 0) -> tuple[np.ndarray, np.ndarray]:
    registers, ranks = registers_of(value_hashes(values))
    return max_by_key((series << REGISTER_BITS) | registers, ranks)


@pytest.mark.parametrize("size", [0, 1, 2, 10, 100, 1_000, 2_600, 5_000, 40_000])
def test_estimates_are_within_four_standard_errors(size):
    keys, ranks = sketch([f"user {size} {n}" for n in range(size)])
    (found,) = estimates_of(keys, ranks, 1)
    assert found == pytest.approx(size, rel=4 * 1.04 / np.sqrt(REGISTER_COUNT), abs=0.01)


@settings(max_examples=100)
@given(st.lists(st.lists(st.integers(0, 500), max_size=60), min_size=2, max_size=4), st.randoms())
def test_merging_by_maximum_equals_counting_all_at_once(parts, random):
    pieces = [sketch([str(v) for v in part]) for part in parts]
    random.shuffle(pieces)
    keys, ranks = max_by_key(
        np.concatenate([keys for keys, _ in pieces]), np.concatenate([ranks for _, ranks in pieces])
    )
    whole_keys, whole_ranks = sketch([str(v) for part in parts for v in part])
    assert np.array_equal(keys, whole_keys)
    assert np.array_equal(ranks, whole_ranks)


def test_series_are_estimated_apart():
    sizes = [0, 5, 300, 0, 1]
    pieces = [sketch([f"{s} {n}" for n in range(size)], s) for s, size in enumerate(sizes) if size]
    keys = np.concatenate([keys for keys, _ in pieces])
    found = estimates_of(keys, np.concatenate([ranks for _, ranks in pieces]), len(sizes))
    assert found == pytest.approx(sizes, rel=0.13, abs=0.01)
    assert found[0] == found[3] == 0


def test_all_registers_filled_is_no_case_for_linear_counting():
    keys = np.arange(REGISTER_COUNT)
    assert np.isfinite(estimates_of(keys, np.ones(REGISTER_COUNT, dtype=np.uint8), 1)).all()
