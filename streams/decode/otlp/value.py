"""OTLP's `AnyValue` in both encodings as plain Python values, and those as text, number or identity.

A value is None, bool, int, float, str, bytes, list or dict. Attribute sets repeat from point to point, so
these functions run once per distinct set (see `otlp_names`), not once per event.
Source: opentelemetry-proto, common/v1/common.proto; OTLP/JSON: https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from streams.decode.otlp.wire import PADDING, children, varint

Value: TypeAlias = Any
Attributes: TypeAlias = dict[str, Value]

_DEPTH_MAX = 32
"""Nested arrays and maps deeper than this are refused; a message of nothing but brackets would else
exhaust the stack."""


def proto_attributes(raw: bytes, *, tag: int) -> Attributes:
    """Attributes in a run of `KeyValue` fields with this tag, as they stand in a message."""
    padded = raw + PADDING
    found: Attributes = {}
    for key, begin, end in children(padded, 0, len(raw)):
        if key == tag:
            name, value = _proto_pair(padded, begin, end, 0)
            found[name] = value
    return found


def _proto_pair(raw: bytes, begin: int, end: int, depth: int) -> tuple[str, Value]:
    name, value = "", None
    for tag, start, stop in children(raw, begin, end):
        if tag == 0x0A:
            name = raw[start:stop].decode("utf-8", "replace")
        elif tag == 0x12:
            value = proto_value(raw, start, stop, depth)
    return name, value


def proto_value(raw: bytes, begin: int, end: int, depth: int = 0) -> Value:
    """The `AnyValue` at `raw[begin:end]`, behind which `PADDING` follows somewhere."""
    if depth > _DEPTH_MAX:
        raise ValueError("a value nested too deeply")
    value: Value = None
    for tag, start, stop in children(raw, begin, end):
        if tag == 0x0A:
            value = raw[start:stop].decode("utf-8", "replace")
        elif tag == 0x10:
            value = varint(raw, start, stop)[0] != 0
        elif tag == 0x18:
            value = (varint(raw, start, stop)[0] + (1 << 63)) % (1 << 64) - (1 << 63)
        elif tag == 0x21:
            value = struct.unpack_from("<d", raw, start)[0]
        elif tag == 0x2A:
            inner = children(raw, start, stop)
            value = [proto_value(raw, at, to, depth + 1) for key, at, to in inner if key == 0x0A]
        elif tag == 0x32:
            inner = children(raw, start, stop)
            value = dict(_proto_pair(raw, at, to, depth + 1) for key, at, to in inner if key == 0x0A)
        elif tag == 0x3A:
            value = raw[start:stop]
    return value


def json_attributes(raw: bytes) -> Attributes:
    """Attributes in the JSON text of an array of `KeyValue`; empty text and null have none."""
    pairs = json.loads(raw) if raw else None
    return pairs_of(pairs, 0)


def pairs_of(pairs: Any, depth: int) -> Attributes:
    """Attributes in the parsed JSON of an array of `KeyValue`."""
    if pairs is None:
        return {}
    if not isinstance(pairs, list):
        raise ValueError("attributes are not an array")
    found: Attributes = {}
    for pair in pairs:
        if not isinstance(pair, dict):
            raise ValueError("an attribute is not an object")
        found[str(pair.get("key", ""))] = json_value(pair.get("value"), depth)
    return found


def json_value(value: Any, depth: int = 0) -> Value:
    """The parsed JSON of an `AnyValue`, names in camel or in snake case."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("a value is not an object")
    if depth > _DEPTH_MAX:
        raise ValueError("a value nested too deeply")
    result: Value = None
    for name, inner in value.items():
        if inner is None:
            continue
        match name.replace("_v", "V"):
            case "stringValue":
                result = str(inner)
            case "boolValue":
                result = inner in (True, "true")
            case "intValue":
                result = _integer(inner)
            case "doubleValue":
                result = float(inner)  # also "NaN", "Infinity" and "-Infinity"
            case "arrayValue":
                result = [json_value(item, depth + 1) for item in inner.get("values") or ()]
            case "kvlistValue":
                result = pairs_of(inner.get("values"), depth + 1)
            case "bytesValue":
                result = base64.b64decode(inner.translate(_URL_SAFE) + "==")
    return result


def _integer(value: Any) -> int:
    try:
        return int(value)
    except OverflowError as error:
        raise ValueError("an integer that is infinite") from error


class _Pair(msgspec.Struct, gc=False):
    key: str = ""
    value: msgspec.Raw = msgspec.Raw(b"")


_VALUES_MAX = 16_384


class _Values(dict[bytes, Value]):
    """Values by the JSON text of their `AnyValue`; indexing with a new text decodes it."""

    def __missing__(self, raw: bytes) -> Value:
        if len(self) >= _VALUES_MAX:
            self.clear()
        value = self[raw] = json_value(msgspec.json.decode(raw)) if raw else None
        return value


class WantedReader:
    """`json_attributes`, but only those of some names: of the others the values are not decoded."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._decode = msgspec.json.Decoder(list[_Pair] | None).decode
        self._values = _Values()

    def __call__(self, raw: bytes) -> Attributes:
        names, values = self._names, self._values
        pairs = (self._decode(raw) if raw else None) or ()
        return {pair.key: values[bytes(pair.value)] for pair in pairs if pair.key in names}


_URL_SAFE = str.maketrans("-_", "+/")  # protobuf's JSON readers take both alphabets of base64


def text_of(value: Value) -> str | None:
    """As a string column has it: integers in decimal, bytes in hex, arrays and maps as JSON."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)
        case bytes():
            return value.hex()
        case _:
            return json.dumps(value, default=bytes.hex, ensure_ascii=False, separators=(",", ":"))


def number_of(value: Value) -> float:
    """As a number column has it: true is 1, text is read as a number where it is one, else NaN."""
    try:
        return float(value) if isinstance(value, bool | int | float | str) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def identity_of(*parts: object) -> int:
    """64-bit key of names and attributes, the same on every machine and in any order of attributes."""
    text = repr(tuple(_ordered(part) for part in parts))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _ordered(value: object) -> object:
    if isinstance(value, Mapping):
        return "map", [(name, _ordered(value[name])) for name in sorted(value)]
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return value
