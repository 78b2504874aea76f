"""What a detector has learnt, as the bytes of a skops file, and back.

Guarantees. Equal states give equal bytes on every machine, so that a hash names the content. What is read is
bounded in size, packed and unpacked, before it is built. Only what `State` allows is ever built: maps, lists,
tuples, strings, numbers, None, and numpy arrays of plain dtypes. skops itself trusts some hundred types of
scikit-learn and scipy, and calls their constructors; here its schema is checked against a fixed list first,
so that a hostile file ends in a ModelError. Pickle is never read or written.

Cost: one copy of the file while it is checked, so at most twice its unpacked size.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from models.registry.errors import ModelError, ModelFormatError, ModelTooLargeError, ModelTypeError

__all__ = ["MODEL_BYTES_MAX", "UNPACKED_FACTOR", "pack_state", "unpack_state"]

MODEL_BYTES_MAX = 64 << 20
"""Default bound of a model file. A forest of 100 trees has 1 MB; 10,000 series of 2 KB have 20 MB."""

UNPACKED_FACTOR = 4
"""A model may unpack to this many times the bound of its file."""

SCHEMA_BYTES_MAX = 32 << 20
"""Bound of the part that is JSON, which takes some ten times its size once it is parsed."""

MEMBERS_MAX = 10_000

DEPTH_MAX = 32
"""How deep maps and lists may nest, so that no file exhausts the stack."""

PLACE_CHARS_MAX = 200
"""How much of a key a message repeats; whole keys, repeated for each of many nodes, take time without end."""

ARRAY_KINDS = "biufUSMm"
"""Kinds of dtypes an array may have: truth values, numbers, strings, times. No objects, no records."""

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ROOT = "state"
_LIST = ("ListNode", "builtins", "list")
_KEY_TYPES = [("TypeNode", "builtins", "str"), ("TypeNode", "builtins", "int")]


def pack_state(state: Mapping[str, Any], *, bytes_max: int = MODEL_BYTES_MAX) -> bytes:
    """A skops file of a state: maps with keys of text or whole numbers, lists, tuples, text, numbers, None
    and numpy arrays. Scalars of numpy become Python's.

    Raises ModelTypeError that names the place of anything else, ModelTooLargeError beyond `bytes_max`.
    """
    import skops.io  # brings scikit-learn with it: which takes a second, so only where it is needed

    stored = skops.io.dumps(_plain(state, _ROOT))
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop(_SCHEMA))
    # skops names arrays by where they lay in memory; named by content, equal states give equal files.
    named = {name: f"{hashlib.sha256(content).hexdigest()[:32]}.npy" for name, content in members.items()}
    _rename(schema, named)
    contents = {named[name]: content for name, content in members.items()}
    contents[_SCHEMA] = json.dumps(schema, separators=(",", ":")).encode()
    packed = _archive(contents, zipfile.ZIP_DEFLATED)
    if len(packed) > bytes_max:
        raise ModelTooLargeError(_too_large("the model's file", bytes_max, len(packed)))
    _checked(contents, bytes_max * UNPACKED_FACTOR)  # what could not be read again is not written
    return packed


def unpack_state(data: bytes, *, bytes_max: int = MODEL_BYTES_MAX) -> dict[str, Any]:
    """The state that `pack_state` packed.

    Raises ModelTooLargeError, ModelFormatError or ModelTypeError; nothing of the file is built then.
    """
    if len(data) > bytes_max:
        raise ModelTooLargeError(_too_large("the model's file", bytes_max, len(data)))
    import skops.io

    try:
        members = _members(data, bytes_max * UNPACKED_FACTOR)
        _checked(members, bytes_max * UNPACKED_FACTOR)
        # The members as they were checked, not the file, whose directory may say other things than its body.
        state = skops.io.loads(_archive(members, zipfile.ZIP_STORED), trusted=[])
    except ModelError:
        raise
    except RecursionError as error:
        raise ModelFormatError(f"the model nests deeper than {DEPTH_MAX}") from error
    except Exception as error:  # zip, JSON, numpy's headers and skops each fail in ways of their own
        told = f"{type(error).__name__}: {str(error)[:200]}"
        raise ModelFormatError(f"the model's file cannot be built: {told}") from error
    if not isinstance(state, dict):
        raise ModelFormatError(f"expected a map of what was learnt, found {type(state).__name__}")
    return state


def _plain(value: Any, place: str, depth: int = 0) -> Any:
    """The value with builtins and arrays only."""
    if depth > DEPTH_MAX:
        raise ModelTypeError(f"{place[:200]}: maps and lists may nest {DEPTH_MAX} deep")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in ARRAY_KINDS or value.dtype.itemsize == 0:
            raise ModelTypeError(
                f"{place}: an array of {value.dtype} cannot be stored; use numbers, or strings of dtype U"
            )
        return np.ascontiguousarray(value).reshape(value.shape)
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise ModelTypeError(f"{place}: keys must be text or whole numbers, found {key!r}")
        if len({str(key) for key in value}) < len(value):
            raise ModelTypeError(f"{place}: two keys are the same once they are written as text")
        return {key: _plain(inner, f"{place}.{key}", depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        inner = [_plain(one, f"{place}[{number}]", depth + 1) for number, one in enumerate(value)]
        return inner if isinstance(value, list) else tuple(inner)
    raise ModelTypeError(
        f"{place}: {type(value).__name__} cannot be stored; use maps, lists, text, numbers and arrays"
    )


def _rename(node: Any, named: Mapping[str, str]) -> None:
    """Give a schema's files other names, and drop the addresses in memory that skops leaves in it."""
    if isinstance(node, dict):
        if "__loader__" in node:
            node.pop("__id__", None)
            if node["__loader__"] == "NdArrayNode":
                node["file"] = named[node["file"]]
        for inner in node.values():
            _rename(inner, named)
    elif isinstance(node, list):
        for inner in node:
            _rename(inner, named)


def _archive(members: Mapping[str, bytes], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression, compresslevel=6) as archive:
        for name in sorted(members):
            archive.writestr(_member(name, compression), members[name])
    return buffer.getvalue()


def _member(name: str, compression: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.compress_type = compression
    member.create_system = 3  # also where the machine is not Unix, for the same bytes
    return member


def _members(data: bytes, unpacked_max: int) -> dict[str, bytes]:
    """All members of a zip file, read no further than their declared sizes, whose sum is bounded first."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MEMBERS_MAX:
                raise ModelTooLargeError(f"a model has at most {MEMBERS_MAX:,} arrays, found {len(infos):,}")
            total = sum(info.file_size for info in infos)
            if total > unpacked_max:
                raise ModelTooLargeError(_too_large("the model unpacked", unpacked_max, total))
            members: dict[str, bytes] = {}
            for info in infos:
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or (
                    info.filename in members
                ):
                    raise ModelFormatError(f"unexpected member {info.filename!r} in the model's file")
                with archive.open(info) as member:
                    # A size given to `read` bounds what is decompressed; without it a lying size does not.
                    content = member.read(info.file_size + 1)
                if len(content) != info.file_size:
                    raise ModelFormatError(f"member {info.filename!r} is cut off")
                members[info.filename] = content
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ModelFormatError(f"the model's file is damaged or cut off: {error}") from error
    return members


def _checked(members: Mapping[str, bytes], unpacked_max: int) -> None:
    """Refuse whatever is not on the list, and arrays that would be larger than their files."""
    text = members.get(_SCHEMA)
    if text is None:
        raise ModelFormatError("the model's file has no schema.json; it is not a skops file")
    if len(text) > SCHEMA_BYTES_MAX:
        raise ModelTooLargeError(_too_large("the model's text part", SCHEMA_BYTES_MAX, len(text)))
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise ModelFormatError(f"schema.json is not JSON: {error}") from error
    # Every mention of a file becomes an array of its own, so each is counted.
    total = 0
    for file in _files(schema, _ROOT):
        content = members.get(file)
        if content is None:
            raise ModelFormatError(f"the model's file lacks its array {file!r}")
        _check_array(file, content)
        total += len(content)
        if total > unpacked_max:
            raise ModelTooLargeError(_too_large("the model unpacked", unpacked_max, total))


def _files(node: Any, place: str, depth: int = 0) -> Iterator[str]:
    """Names of the arrays' files below a node of the schema, each node being allowed."""
    if not isinstance(node, dict):
        raise ModelFormatError(f"{place}: expected a node of skops, found {type(node).__name__}")
    if depth > DEPTH_MAX:
        raise ModelFormatError(f"{place[:200]}: the model nests deeper than {DEPTH_MAX}")
    kind = _kind(node)
    content = node.get("content")
    match kind:
        case ("JsonNode", "builtins", "str") if isinstance(content, str):
            return
        case ("DictNode", "builtins", "dict") if isinstance(content, dict):
            _check_key_types(node.get("key_types"), len(content), place)
            for key, inner in content.items():
                yield from _files(inner, f"{place}.{key[:PLACE_CHARS_MAX]}", depth + 1)
        case ("ListNode", "builtins", "list") | ("TupleNode", "builtins", "tuple") if isinstance(
            content, list
        ):
            for number, inner in enumerate(content):
                yield from _files(inner, f"{place}[{number}]", depth + 1)
        case ("NdArrayNode", "numpy", "ndarray") if node.get("type") == "numpy":
            yield str(node.get("file"))
        case _:
            name = ".".join(str(part)[:80] for part in kind[1:])
            raise ModelTypeError(
                f"{place[:200]}: {name} by {str(kind[0])[:80]} is not on the list of what a model may hold"
            )


def _check_key_types(node: Any, count: int, place: str) -> None:
    types = node.get("content") if isinstance(node, dict) else None
    if _kind(node) != _LIST or not isinstance(types, list) or len(types) != count:
        raise ModelFormatError(f"{place[:200]}: the types of the keys are not told")
    if any(_kind(one) not in _KEY_TYPES for one in types):
        raise ModelTypeError(f"{place[:200]}: keys must be text or whole numbers")


def _kind(node: Any) -> tuple[Any, ...]:
    """What a node of the schema says it is: loader, module, class."""
    if not isinstance(node, dict):
        return ()
    return tuple(node.get(key) for key in ("__loader__", "__module__", "__class__"))


def _check_array(name: str, content: bytes) -> None:
    """Read an array's header only: its dtype must be allowed, and its shape must be that of the bytes."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ModelFormatError(f"array {name!r} has version {version} of numpy's format, not 1.0 or 2.0")
    except (ValueError, TypeError, SyntaxError, EOFError, MemoryError, RecursionError) as error:
        raise ModelFormatError(f"array {name!r} has no header of numpy's: {str(error)[:200]}") from error
    if dtype.kind not in ARRAY_KINDS or dtype.itemsize == 0:
        raise ModelTypeError(f"array {name!r}: dtype {dtype} is not on the list of what a model may hold")
    expected = dtype.itemsize
    for length in shape:  # Python's whole numbers: numpy's product would overflow
        expected *= length
    found = len(content) - file.tell()
    if any(length < 0 for length in shape) or expected != found:
        raise ModelFormatError(f"array {name!r}: {expected:,} bytes expected by its header, found {found:,}")


def _too_large(what: str, allowed: int, found: int) -> str:
    return f"{what} may have {allowed:,} bytes, found {found:,}; raise the bound or train a smaller model"
