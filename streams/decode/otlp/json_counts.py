"""Bucket counts in JSON: the lists of all points of a batch read as one text.

OTLP/JSON writes each count as text, so that a list of 15 counts costs more than all else of its point when
each becomes a Python object. Without quotes and brackets, all lists are one text of digits and commas.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.arrays import Mask
from streams.decode.otlp.json import INT64_MAX, Unsigned
from streams.decode.otlp.points import Ragged

_Counts: TypeAlias = list[Unsigned] | None
_EMPTY = frozenset({b"", b"[]", b"null"})


def read_counts(texts: list[bytes]) -> tuple[Ragged, Mask]:
    """The lists of counts, each in valid JSON, and which of them are no such list."""
    sizes = np.fromiter(
        (0 if text in _EMPTY else text.count(b",") + 1 for text in texts), np.int64, len(texts)
    )
    values = _read_joined(b",".join([text for text in texts if text not in _EMPTY]), int(sizes.sum()))
    if values is not None:
        return Ragged(sizes, values), np.zeros(len(texts), dtype=np.bool_)
    lists = [_read_one(text) for text in texts]
    sizes = np.fromiter((len(found or ()) for found in lists), np.int64, len(texts))
    flat = np.array([count for found in lists for count in found or ()], dtype=np.int64)
    return Ragged(sizes, flat), np.fromiter((found is None for found in lists), np.bool_, len(texts))


def _read_joined(text: bytes, expected: int) -> NDArray[np.int64] | None:
    """The counts of all lists; None if any of these may be more than plain counts in plain quotes."""
    quotes = text.count(b'"')
    digits = text.translate(None, b'[]"')
    plain = (
        quotes in (0, 2 * expected)
        and not digits.translate(None, b"0123456789,")
        and b",," not in digits
        and not digits.startswith(b",")
        and not digits.endswith(b",")
        and b"[[" not in text
        and b",[" not in text.replace(b"],[", b"")
    )
    if not plain:
        return None
    counts = np.fromstring(digits, dtype=np.int64, sep=",") if digits else np.zeros(0, dtype=np.int64)
    return counts if len(counts) == expected and counts.max(initial=0) < INT64_MAX else None


def _read_one(text: bytes) -> list[int] | None:
    try:
        return msgspec.json.decode(text, type=_Counts, strict=False) or [] if text else []
    except (msgspec.MsgspecError, RecursionError):
        return None
