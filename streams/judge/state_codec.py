"""A detector's state as bytes: MessagePack with numpy arrays, compressed. Reading it never runs code.

Guarantee: `decode_state(encode_state(state)) == state`, array types and shapes included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import zstandard

STATE_BYTES_MAX = 256 << 20

_ARRAY = 1
_TYPES = frozenset("?bBhHiIlLqQefd")


def encode_state(state: Mapping[str, Any]) -> bytes:
    """Bytes of a state: maps, lists, strings, numbers, None and arrays of numbers.

    Raises TypeError for anything else.
    """
    return zstandard.ZstdCompressor(level=3).compress(msgspec.msgpack.encode(state, enc_hook=_extension))


def packed(state: Mapping[str, Any]) -> msgspec.Raw:
    """A part of a state, encoded already: as such `encode_state` takes it, with the same bytes.

    Raises TypeError as `encode_state` does.
    """
    return msgspec.Raw(msgspec.msgpack.encode(state, enc_hook=_extension))


def decode_state(value: bytes) -> dict[str, Any]:
    """What `encode_state` was given, tuples as lists.

    Raises ValueError for any other bytes.
    """
    try:
        if zstandard.frame_content_size(value) > STATE_BYTES_MAX:
            raise ValueError(f"a detector's state of more than {STATE_BYTES_MAX} bytes")
        body = zstandard.ZstdDecompressor().decompress(value, max_output_size=STATE_BYTES_MAX)
        decoded = msgspec.msgpack.decode(body, ext_hook=_array)
    except (zstandard.ZstdError, ValueError, TypeError) as error:
        raise ValueError(f"not the state of a detector: {error}") from error
    if not isinstance(decoded, dict):
        raise ValueError("not the state of a detector: no map of names")
    return decoded


def _extension(value: object) -> msgspec.msgpack.Ext | float | int | bool:
    if isinstance(value, np.ndarray) and value.dtype.char in _TYPES:
        head = msgspec.msgpack.encode((value.dtype.str, value.shape))
        data = len(head).to_bytes(4, "little") + head + np.ascontiguousarray(value).tobytes()
        return msgspec.msgpack.Ext(_ARRAY, data)
    if isinstance(value, np.floating | np.integer | np.bool_):
        plain: float | int | bool = value.item()
        return plain
    raise TypeError(
        f"a state of maps, lists, strings, numbers and arrays of numbers, not {type(value).__name__}"
    )


def _array(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise ValueError(f"not the state of a detector: extension {code}")
    size = int.from_bytes(data[:4], "little")
    dtype_name, shape = msgspec.msgpack.decode(data[4 : 4 + size], type=tuple[str, tuple[int, ...]])
    dtype = np.dtype(dtype_name)
    if dtype.char not in _TYPES or min(shape, default=0) < 0:
        raise ValueError(f"not the state of a detector: an array of {dtype_name!r}")
    return np.frombuffer(data[4 + size :], dtype=dtype).reshape(shape).copy()
