"""Series by number: label values become small integers once, so that everything after is arrays.

Guarantee: a series keeps its number until `keep` numbers the series anew, and its 64-bit key depends on the
rollup's name and the label values alone, so that all workers agree on it and on the partition it goes to.
Cost: one dictionary look-up per distinct label value and batch, none per event; pairs of values are
numbered through a dense table while that is small, through a sorted array otherwise.

The keys are BLAKE2b of 8 bytes: among a million series two share a key with probability 3e-8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.arrays import Hashes, Rows
from streams.events.batch import Column, Strings
from streams.partials.cells import member_mask

OTHER = "__other__"
"""Label value of the series that takes in all beyond the limit."""

LABEL_LENGTH_MAX = 1_000
"""Characters of a label value that tell series apart; the name of a series must fit into a record."""

_DENSE_PAIRS_MAX = 1 << 22


def encode_labels(labels: Sequence[str]) -> bytes:
    """Label values as they travel; `decode_labels` reverses it."""
    return msgspec.msgpack.encode(tuple(labels))


def decode_labels(name: bytes) -> tuple[str, ...]:
    return msgspec.msgpack.decode(name, type=tuple[str, ...])


def series_hash(rollup: str, name: bytes) -> int:
    """64-bit key of a series."""
    digest = blake2b(rollup.encode() + b"\0" + name, digest_size=8).digest()
    return int.from_bytes(digest, "little")


class SeriesIndexes:
    """The indexes of all rollups of a process whose series stay."""

    def __init__(self) -> None:
        self._indexes: dict[str, SeriesIndex] = {}

    def of(self, rollup: str, by: Sequence[str]) -> SeriesIndex:
        index = self._indexes.get(rollup)
        if index is None:
            index = self._indexes[rollup] = SeriesIndex(rollup, by)
        return index


class _Values:
    """Numbers for the distinct values of one label."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self.texts: list[str] = []

    def number(self, text: str) -> int:
        number = self._number.get(text)
        if number is None:
            number = self._number[text] = len(self.texts)
            self.texts.append(text)
        return number

    def numbers(self, column: Column | None, length: int) -> Rows:
        """Number of each row's value; a missing value is the empty string, as in Prometheus."""
        if column is None:
            return np.full(length, self.number(""), dtype=np.int64)
        if isinstance(column, Strings):
            # of a dictionary only what occurs gets a number: it may be that of a larger batch
            occurs = np.zeros(len(column.values) + 1, dtype=np.bool_)
            occurs[column.codes] = True  # a missing value, -1, marks the additional last entry
            used = np.flatnonzero(occurs)
            table = np.empty(len(occurs), dtype=np.int64)
            texts = (
                column.values[i][:LABEL_LENGTH_MAX] if i < len(column.values) else "" for i in used.tolist()
            )
            table[used] = np.fromiter(map(self.number, texts), np.int64, len(used))
            return table[column.codes]
        distinct, inverse = np.unique(column, return_inverse=True)
        table = np.fromiter((self.number(format_number(x)) for x in distinct), np.int64, len(distinct))
        return table[inverse]


def format_number(value: float) -> str:
    """A number as a label value: 200 and not 200.0, and nothing for NaN."""
    if value != value:
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))


class _Pairs:
    """Numbers for the distinct pairs of two numbers, each below 2**31.

    A dense table while one of `_DENSE_PAIRS_MAX` cells holds them all, a sorted array from then on.
    """

    def __init__(self) -> None:
        self._dense: NDArray[np.int64] | None = np.full((16, 16), -1, dtype=np.int64)
        self._keys: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._numbers: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.first: list[int] = []
        self.second: list[int] = []

    def numbers(self, a: Rows, b: Rows) -> Rows:
        """Number of each pair; a and b are not empty."""
        dense = self._with_room(int(a.max()) + 1, int(b.max()) + 1)
        if dense is None:
            return self._sparse_numbers(a, b)
        found = dense[a, b]
        unknown = found < 0
        if unknown.any():
            self._add((a[unknown] << 32) | b[unknown], dense)
            found = dense[a, b]
        return found

    def _with_room(self, row_count: int, column_count: int) -> NDArray[np.int64] | None:
        """The dense table, large enough; None once it would be too large."""
        if self._dense is None:
            return None
        rows, columns = self._dense.shape
        if row_count > rows or column_count > columns:
            wanted = (_above(max(rows, row_count)), _above(max(columns, column_count)))
            if wanted[0] * wanted[1] > _DENSE_PAIRS_MAX:
                one, two = np.nonzero(self._dense >= 0)
                self._keys, self._numbers = (one << 32) | two, self._dense[one, two]
                self._dense = None
            else:
                grown = np.full(wanted, -1, dtype=np.int64)
                grown[:rows, :columns] = self._dense
                self._dense = grown
        return self._dense

    def _sparse_numbers(self, a: Rows, b: Rows) -> Rows:
        packed = (a << 32) | b
        unknown = ~member_mask(packed, self._keys)
        if unknown.any():
            added, numbers = self._add(packed[unknown], None)
            at = np.searchsorted(self._keys, added)
            self._keys = np.insert(self._keys, at, added)
            self._numbers = np.insert(self._numbers, at, numbers)
        return self._numbers[np.searchsorted(self._keys, packed)]

    def _add(self, packed: Rows, dense: NDArray[np.int64] | None) -> tuple[Rows, Rows]:
        """(distinct pairs ascending, their new numbers) of unknown pairs, numbered as they occur."""
        added, at = np.unique(packed, return_index=True)
        numbers = np.empty(len(added), dtype=np.int64)
        order = np.argsort(at)
        numbers[order] = np.arange(len(self.first), len(self.first) + len(added))
        one, two = added >> 32, added & 0xFFFFFFFF
        self.first.extend(one[order].tolist())
        self.second.extend(two[order].tolist())
        if dense is not None:
            dense[one, two] = numbers
        return added, numbers


class SeriesIndex:
    """Numbers, names and keys of the series of one rollup.

    All source partitions of a worker share that of a rollup whose series stay: the numbers are names within a
    process, nothing more. Where they come and go, each has its own, since `keep` concerns all who use it.
    """

    def __init__(self, rollup: str, by: Sequence[str]) -> None:
        self.rollup = rollup
        self.by = tuple(by)
        self.names: list[bytes] = []
        self.hashes: Hashes = np.zeros(0, dtype=np.uint64)
        self._clear_numbers()

    def _clear_numbers(self) -> None:
        self._values = [_Values() for _ in self.by]
        self._pairs = [_Pairs() for _ in self.by[1:]]
        self._other: int | None = None

    def __len__(self) -> int:
        return len(self.names)

    def numbers(self, columns: Mapping[str, Column], length: int) -> Rows:
        """Series of each row.

        columns : the label columns among others; one that is not there is missing in all rows
        returns : Rows [E], 0 <= series < len(self) once this returns
        """
        if not self.by:
            numbers = np.zeros(length, dtype=np.int64)
        else:
            numbers = self._values[0].numbers(columns.get(self.by[0]), length)
            for values, pairs, label in zip(self._values[1:], self._pairs, self.by[1:], strict=True):
                if length:
                    numbers = pairs.numbers(numbers, values.numbers(columns.get(label), length))
        if length:
            self._name_up_to(int(numbers.max()) + 1)
        return numbers

    def keep(self, numbers: Rows) -> None:
        """Drop all series but some, ascending, which are numbered from 0 on."""
        self.names = [self.names[number] for number in numbers.tolist()]
        self.hashes = self.hashes[numbers]
        self._clear_numbers()
        labels = list(zip(*map(decode_labels, self.names), strict=True))
        if labels:
            # numbers are given in the order in which series occur
            rows = np.arange(len(self.names), dtype=np.int32)
            self.numbers(
                {name: Strings(rows, list(texts)) for name, texts in zip(self.by, labels, strict=True)},
                len(self.names),
            )

    def other(self) -> int:
        """Number of the series that takes in all beyond the limit."""
        if self._other is None:
            columns: dict[str, Column] = {
                label: Strings(np.zeros(1, dtype=np.int32), [OTHER]) for label in self.by
            }
            self._other = int(self.numbers(columns, 1)[0])
        return self._other

    def _labels(self, number: int) -> tuple[str, ...]:
        labels: list[str] = []
        for values, pairs in zip(self._values[:0:-1], self._pairs[::-1], strict=True):
            labels.append(values.texts[pairs.second[number]])
            number = pairs.first[number]
        labels.append(self._values[0].texts[number])
        return tuple(reversed(labels))

    def _name_up_to(self, count: int) -> None:
        if count <= len(self.names):
            return
        fresh = [
            encode_labels(self._labels(number) if self.by else ()) for number in range(len(self.names), count)
        ]
        self.names.extend(fresh)
        keys = np.fromiter((series_hash(self.rollup, name) for name in fresh), np.uint64, len(fresh))
        self.hashes = np.concatenate([self.hashes, keys])


def _above(count: int) -> int:
    return 1 << (count - 1).bit_length()
