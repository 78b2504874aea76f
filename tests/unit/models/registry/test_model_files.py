"""States survive being stored, and hostile files end in a ModelError with nothing of them built."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from sklearn.ensemble import IsolationForest

from models.registry.errors import ModelError, ModelFormatError, ModelTooLargeError, ModelTypeError
from models.registry.model_files import pack_state, unpack_state

JSON_NODE = {"__loader__": "JsonNode", "__module__": "builtins", "__class__": "str"}

STATE = {"version": 1, "centre": np.arange(6.0).reshape(2, 3), "series": [("a", "b")], "nested": {3: None}}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
arrays = arrays_of.arrays(
    st.sampled_from([np.float64, np.int32, np.bool_, np.uint64, "U3", "M8[ms]"]),
    arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
states = st.dictionaries(
    st.text(max_size=6),
    st.recursive(
        scalars | arrays,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        assert isinstance(right, np.ndarray)
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        return left.tobytes() == right.tobytes() or bool(
            np.array_equal(left, right, equal_nan=left.dtype.kind in "fM")
        )
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and (left == right or (left != left and right != right))


@settings(max_examples=60)
@given(states)
def test_what_is_packed_comes_back(state: dict[str, Any]) -> None:
    assert same(unpack_state(pack_state(state)), state)


def test_equal_states_have_equal_bytes() -> None:
    again = {**STATE, "centre": np.arange(6.0).reshape(2, 3).copy()}
    assert pack_state(STATE) == pack_state(again)
    assert pack_state(STATE) != pack_state({**STATE, "version": 2})


def test_scalars_of_numpy_and_transposed_arrays_are_stored() -> None:
    state = unpack_state(pack_state({"a": np.float64(2.5), "b": np.arange(6).reshape(2, 3).T}))
    assert type(state["a"]) is float
    assert state["b"].tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ({"a": {"b": [1, {2}]}}, r"state\.a\.b\[1\]: set"),
        ({"a": np.array([object()])}, r"state\.a: an array of object"),
        ({"a": np.zeros(2, [("x", "f8")])}, r"state\.a: an array of"),
        ({"a": {1.5: 2}}, r"state\.a: keys must be text"),
        ({"a": {1: 2, "1": 3}}, r"state\.a: two keys"),
        ({"forest": IsolationForest()}, r"state\.forest: IsolationForest"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_place(state: dict[str, Any], place: str) -> None:
    with pytest.raises(ModelTypeError, match=place):
        pack_state(state)


def test_a_state_beyond_the_bound_is_not_written() -> None:
    noise = {"noise": np.random.default_rng(1).random(1000)}
    assert len(pack_state(noise, bytes_max=10_000)) < 10_000
    with pytest.raises(ModelTooLargeError, match="5,000"):
        pack_state(noise, bytes_max=5_000)


def parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_array(content: bytes) -> bytes:
    """A good model whose only array has these bytes instead."""
    members = parts(pack_state({"a": np.arange(3.0)}))
    (name,) = set(members) - {"schema.json"}
    return zipped({**members, name: content})


def with_node(**node: Any) -> bytes:
    members = parts(pack_state({"a": 1}))
    schema = json.loads(members["schema.json"])
    schema["content"]["a"] = node
    return zipped({"schema.json": json.dumps(schema).encode()})


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def test_a_file_cut_off_anywhere_or_with_a_flipped_byte_is_refused_or_the_same() -> None:
    data = pack_state(STATE)
    for end in range(0, len(data), 7):
        with pytest.raises(ModelFormatError):
            unpack_state(data[:end])
    for at in range(0, len(data), 5):
        flipped = bytearray(data)
        flipped[at] ^= 0x40
        with contextlib.suppress(ModelError):
            assert same(unpack_state(bytes(flipped)), STATE)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        unpack_state(data)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    evil = pickle.dumps(Hostile())
    # An object array in numpy's format is a pickle behind a header.
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    for data in (evil, with_array(evil), with_array(npy(header, evil))):
        with pytest.raises(ModelError):
            unpack_state(data)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "node",
    [
        {"__loader__": "FunctionNode", "__module__": "os", "__class__": "system"},
        {"__loader__": "FunctionNode", "__module__": "numpy", "__class__": "add"},
        {"__loader__": "TypeNode", "__module__": "builtins", "__class__": "str"},
        {"__loader__": "ListNode", "__module__": "builtins", "__class__": "set", "content": []},
        {"__loader__": "JsonNode", "__module__": "os", "__class__": "system", "content": "1"},
        {"__loader__": "NdArrayNode", "__module__": "numpy", "__class__": "matrix", "type": "numpy"},
        {"__loader__": "NdArrayNode", "__module__": "numpy", "__class__": "ndarray", "type": "json"},
        {"__loader__": ["DictNode"], "__module__": {}, "__class__": None},
        {},
    ],
)
def test_only_what_is_on_the_list_is_built(node: dict[str, Any]) -> None:
    with pytest.raises(ModelTypeError, match=r"state\.a"):
        unpack_state(with_node(**node))


def test_types_that_skops_trusts_are_not_trusted_here() -> None:
    data = skops.io.dumps({"forest": IsolationForest(), "when": np.random.default_rng(0)})
    assert skops.io.get_untrusted_types(data=data) == []
    with pytest.raises(ModelTypeError):
        unpack_state(data)


def test_keys_of_other_types_are_refused() -> None:
    members = parts(pack_state({"a": 1}))
    schema = json.loads(members["schema.json"])
    schema["key_types"]["content"][0]["__class__"] = "eval"
    with pytest.raises(ModelTypeError, match="keys"):
        unpack_state(zipped({"schema.json": json.dumps(schema).encode()}))


def test_a_zip_bomb_is_refused_by_its_declared_size() -> None:
    bomb = zipped({"schema.json": b"{}", "zeros.npy": bytes(5_000_000)})
    assert len(bomb) < 10_000
    with pytest.raises(ModelTooLargeError, match="unpacked"):
        unpack_state(bomb, bytes_max=100_000)


def test_a_zip_bomb_that_lies_about_its_size_is_read_no_further_than_it_says() -> None:
    bomb = bytearray(zipped({"schema.json": bytes(50_000_000)}))
    true, said = (50_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert bomb.count(true) == 2
    with pytest.raises(ModelFormatError):
        unpack_state(bytes(bomb.replace(true, said)), bytes_max=100_000)


def test_one_array_mentioned_many_times_is_counted_each_time() -> None:
    members = parts(pack_state({"a": [np.zeros(1000)]}))
    schema = json.loads(members["schema.json"])
    schema["content"]["a"]["content"] *= 100
    data = zipped({**members, "schema.json": json.dumps(schema).encode()})
    assert len(unpack_state(data)["a"]) == 100
    with pytest.raises(ModelTooLargeError, match="unpacked"):
        unpack_state(data, bytes_max=100_000)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }"), ModelFormatError),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"), ModelFormatError),
        (npy("{'descr': '<U0', 'fortran_order': False, 'shape': (99999999,), }"), ModelTypeError),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (0,), }"), ModelTypeError),
        (npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (0,), }"), ModelTypeError),
        (npy("__import__('os').getpid()"), ModelFormatError),
        (b"", ModelFormatError),
    ],
)
def test_arrays_that_are_not_what_their_file_is_are_refused(content: bytes, error: type[ModelError]) -> None:
    with pytest.raises(error):
        unpack_state(with_array(content))


@pytest.mark.parametrize("depth", [40, 400, 50_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    schema = json.loads(parts(pack_state({"a": 0}))["schema.json"])
    opened = '{"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": ['
    schema["content"]["a"] = "HERE"
    text = json.dumps(schema).replace('"HERE"', f"{opened * depth}{']}' * depth}")
    with pytest.raises(ModelFormatError, match="deeper than 32"):
        unpack_state(zipped({"schema.json": text.encode()}))
    with pytest.raises(ModelFormatError):
        unpack_state(with_node(**JSON_NODE, content="[" * depth + "]" * (depth - 1)))


def test_a_state_that_nests_too_deep_is_not_written() -> None:
    value: Any = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(ModelTypeError, match="32 deep"):
        pack_state({"a": value})


def test_the_bound_holds_before_anything_is_read() -> None:
    with pytest.raises(ModelTooLargeError, match="101"):
        unpack_state(bytes(101), bytes_max=100)
