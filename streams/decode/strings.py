"""Dictionary encoding: a column of Python values becomes integer codes and a list of distinct strings.

Guarantee: equal text has one code within an encoder, None has the code -1, numbers and truth values are
written plainly (`200`, `0.5`, `true`), and every entry can be written as UTF-8.
Cost: one dictionary look-up a value, about 60 ns for short strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.arrays import Codes, Numbers
from streams.events.batch import Strings

_MISSING = -1


class _NotTextError(Exception):
    """A value that is not a string was met; numbers compare equal across types, so they need care."""


class _Dictionary(dict[str | None, int]):
    """Gives each new string the next code; the entry for None makes the missing value free."""

    def __init__(self) -> None:
        super().__init__({None: _MISSING})

    def __missing__(self, key: str) -> int:
        if type(key) is not str:
            raise _NotTextError
        code = self[key] = len(self) - 1
        return code

    def learn(self, values: Sequence[object]) -> None:
        """Give all new strings their codes at once, which is faster where many are new."""
        new: list[Any] = [value for value in dict.fromkeys(values) if value not in self]
        if set(map(type, new)) - {str}:
            raise _NotTextError
        self.update(zip(new, range(len(self) - 1, len(self) - 1 + len(new)), strict=True))


class Encoder:
    """Encodes the pieces of one column, one after the other, into a common dictionary."""

    def __init__(self) -> None:
        self._dictionary = _Dictionary()
        self._many_are_new = False

    def encode(self, values: Sequence[object]) -> Codes:
        """Codes [E] of strings, numbers, truth values and None; anything else is missing."""
        dictionary, known = self._dictionary, len(self._dictionary)
        lookup = dictionary.__getitem__
        try:
            if self._many_are_new:
                dictionary.learn(values)
            codes = np.fromiter(map(lookup, values), np.int32, len(values))  # type: ignore[arg-type]
        except (_NotTextError, TypeError):  # TypeError: a list or an object, which cannot be a key
            codes = np.fromiter((lookup(plain_text(value)) for value in values), np.int32, len(values))
        self._many_are_new = 4 * (len(dictionary) - known) > len(values)
        return codes

    def column(self, codes: Codes) -> Strings:
        """The column that consists of `codes`, which this encoder gave out."""
        entries = list(self._dictionary)
        entries.remove(None)
        return Strings(codes, whole_texts(entries))


def whole_texts(entries: list[Any]) -> list[str]:
    """All `entries` as `whole_text` gives them."""
    try:
        "".join(entries).encode()
    except UnicodeEncodeError:
        return list(map(whole_text, entries))
    return entries


def plain_text(value: object) -> str | None:
    """How a scalar of an event reads as a label; None for None, lists and objects.

    Numbers are written as JavaScript writes them: no exponent from 1e-6 up to 1e21, no trailing `.0`.

    >>> plain_text(200.0), plain_text(True), plain_text(0.25), plain_text([1])
    ('200', 'true', '0.25', None)
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else repr(float_or_infinity(value))
    if isinstance(value, float):
        if value == 0:
            return "0"
        if 1e-6 <= abs(value) < 1e21:
            return np.format_float_positional(value, trim="-")
        return repr(value)
    return None


def float_or_infinity(value: int) -> float:
    """The nearest float; infinity for whole numbers beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def whole_text(text: str) -> str:
    """`text` with halves of surrogate pairs joined or, where alone, replaced, so that it encodes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def scaled(values: Numbers, scale: float) -> Numbers:
    """`values` in the base unit.

    Divides where the scale is one over a whole number: 1009 ms is then exactly the float 1.009, as it
    is not after a multiplication by 0.001, and thresholds compare as they are written.
    """
    if scale == 1:
        return values
    inverse = round(1 / scale) if 0 < scale < 1 else 0
    if inverse and 1 / inverse == scale:
        return values / inverse
    return values * scale
