"""States of detectors as bytes: back again whole, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from streams.judge.state_codec import decode_state, encode_state, packed

NUMERIC = scalar_dtypes().filter(
    lambda dtype: dtype.kind in "biuf" and dtype.itemsize <= 8 and dtype.char != "e"
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | arrays(NUMERIC, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
STATES = st.dictionaries(
    st.text(),
    st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_size=5,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return (
            isinstance(other, np.ndarray)
            and one.dtype.newbyteorder("=") == other.dtype.newbyteorder("=")
            and one.shape == other.shape
            and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(STATES)
def test_a_state_comes_back_whole(state: dict[str, Any]) -> None:
    assert same(state, decode_state(encode_state(state)))


@given(STATES)
def test_a_packed_part_makes_no_difference(state: dict[str, Any]) -> None:
    assert encode_state({"part": packed(state), "n": 1}) == encode_state({"part": state, "n": 1})


def test_scalars_of_numpy_are_numbers() -> None:
    assert decode_state(encode_state({"a": np.float64(0.5), "b": np.int32(3), "c": np.bool_(True)})) == {
        "a": 0.5,
        "b": 3,
        "c": True,
    }


@pytest.mark.parametrize("value", [object(), np.array([object()]), np.array(["a"])])
def test_objects_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        encode_state({"a": value})


@given(st.binary(max_size=60))
def test_other_bytes_are_no_state(value: bytes) -> None:
    with pytest.raises(ValueError, match="state"):
        decode_state(value)
    with pytest.raises(ValueError, match="state"):
        decode_state(zstandard.ZstdCompressor().compress(b"\x93" + value))
