"""What a web request's text is made of, as hashed tokens in contexts, over columns of bytes.

Only the cut into path, names and values walks over requests one by one; all else is arithmetic on the bytes
of all values at once. No text fails: what is no URL has a path and nothing else.

Axes: N requests, P parameters of all of them, B bytes of all texts, U units of an aspect, E its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from models.anomaly.novelty import mixed
from models.arrays import Hashes, Rows

TEXT_MAX = 2048
"""Bytes of a text that are looked at; its length counts in full."""

PARAMETERS_MAX = 256
"""Parameters of a request that are looked at."""

LETTER, DIGIT = ord("a"), ord("0")

CLASSES = np.array(
    [
        LETTER if byte >= 128 or chr(byte).isalpha() else DIGIT if chr(byte).isdigit() else byte
        for byte in range(256)
    ],
    np.uint8,
)
"""Bytes with all letters taken for one, and all digits; beyond ASCII all bytes are parts of letters."""

POWERS = np.cumprod(np.full(TEXT_MAX + 1, 0x100000001B3, np.uint64), dtype=np.uint64)
"""Powers of the FNV prime modulo 2**64, for hashes of byte sequences."""


@dataclass(frozen=True, slots=True)
class Units:
    """One aspect of requests: units that are each judged by the rarest of their tokens.

    context : Hashes [U]
    start   : Rows [U], where the tokens of each unit begin; none is empty
    token   : Hashes [E]
    request : Rows [U], which request it is a unit of
    """

    context: Hashes
    start: Rows
    token: Hashes
    request: Rows


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts end to end, each closed by a zero byte so that none is empty.

    data  : uint8 [B]
    start : Rows [texts]
    """

    data: NDArray[np.uint8]
    start: Rows

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Self:
        """Lay texts end to end, up to `TEXT_MAX` bytes of each."""
        closed = [text[:TEXT_MAX] + b"\0" for text in texts]
        length = np.fromiter(map(len, closed), np.int64, len(closed))
        return cls(np.frombuffer(b"".join(closed), np.uint8), np.cumsum(length) - length)

    def hashes(self) -> Hashes:
        """Hashes [texts]; equal texts have equal ones on every machine."""
        return sequence_hashes(self.data, self.start)

    def pairs(self, data: NDArray[np.uint8]) -> Hashes:
        """Hashes [B], each byte with the one before it in its text, the first with zero; of uint8 [B]."""
        before = np.zeros_like(data)
        before[1:] = data[:-1]
        before[self.start] = 0
        return (before.astype(np.uint64) << np.uint64(8)) | data

    def shapes(self) -> Hashes:
        """Hashes [texts] of the texts with each run of letters, of digits or of one sign taken for one."""
        classes = CLASSES[self.data]
        kept = np.ones(len(classes), np.bool_)
        kept[1:] = classes[1:] != classes[:-1]
        kept[self.start] = True
        start = (np.cumsum(kept) - 1)[self.start]
        return sequence_hashes(classes[kept], start)


def sequence_hashes(data: NDArray[np.uint8], start: Rows) -> Hashes:
    """Return a hash of each sequence in uint8 [B]; none is empty nor longer than `TEXT_MAX` + 1."""
    if not len(start):
        return np.zeros(0, np.uint64)
    place = np.arange(len(data)) - np.repeat(start, np.diff(np.append(start, len(data))))
    return np.add.reduceat((data.astype(np.uint64) + np.uint64(1)) * POWERS[place], start)


def request_units(requests: Sequence[str]) -> dict[str, Units]:
    """Cut N requests "METHOD url" into the units of each aspect.

    path, path characters : in the site
    method, names         : in the path; the method, and the set of parameters' names
    name                  : each parameter's, in the path
    value, value shape, value length, value characters, value pairs, value class pairs : in the parameter
    any value characters, any value pairs : in the site, for parameters never seen before
    """
    methods, paths, names, values, owners = cut(requests)
    count = len(requests)
    path, value = Texts.of(paths), Texts.of(values)
    path_hash, name_hash = path.hashes(), Texts.of(names).hashes()
    site, one = np.zeros(count, np.uint64), np.arange(count)
    anywhere, each = np.zeros(len(owners), np.uint64), np.arange(len(owners))
    parameter = mixed(path_hash[owners], name_hash)
    all_names = np.zeros(count, np.uint64)
    np.add.at(all_names, owners, mixed(name_hash, anywhere))  # a sum does not depend on their order
    length = np.fromiter(map(len, values), np.float64, len(values))
    byte = value.data.astype(np.uint64)
    pairs, class_pairs = value.pairs(value.data), value.pairs(CLASSES[value.data])
    return {
        "path": Units(site, one, path_hash, one),
        "path characters": Units(site, path.start, path.data.astype(np.uint64), one),
        "method": Units(path_hash, one, Texts.of(methods).hashes(), one),
        "names": Units(path_hash, one, all_names, one),
        "name": Units(path_hash[owners], each, name_hash, owners),
        "value": Units(parameter, each, value.hashes(), owners),
        "value shape": Units(parameter, each, value.shapes(), owners),
        # In steps of a fifth; finer ones would be rare by chance.
        "value length": Units(parameter, each, np.rint(4 * np.log2(1 + length)).astype(np.uint64), owners),
        "value characters": Units(parameter, value.start, byte, owners),
        "value pairs": Units(parameter, value.start, pairs, owners),
        "value class pairs": Units(parameter, value.start, class_pairs, owners),
        "any value characters": Units(anywhere, value.start, byte, owners),
        "any value pairs": Units(anywhere, value.start, class_pairs, owners),
    }


def cut(requests: Sequence[str]) -> tuple[list[bytes], list[bytes], list[bytes], list[bytes], Rows]:
    """Return methods [N], paths [N], names [P], values [P] and the request Rows [P] of each of these two."""
    methods, paths, names, values, owners = [], [], [], [], []
    for number, request in enumerate(requests):
        method, _, url = request.partition(" ")
        path, _, query = url.partition("?")
        methods.append(raw(method))
        paths.append(raw(path))
        if query:
            for parameter in query.split("&", PARAMETERS_MAX)[:PARAMETERS_MAX]:
                name, _, value = parameter.partition("=")
                names.append(raw(name))
                values.append(raw(value))
                owners.append(number)
    return methods, paths, names, values, np.array(owners, np.int64)


def raw(text: str) -> bytes:
    """The bytes that a part of a URL stands for."""
    return unquote_to_bytes(text.encode("utf-8", "surrogatepass"))
