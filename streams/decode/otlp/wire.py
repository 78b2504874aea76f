"""Reads protobuf's wire format for many messages at once.

`scan` walks all given messages in step: one numpy pass reads the next field of each of them, so the cost
is one pass per field, not one Python iteration per field of each. The last few messages that go on are read
in plain Python, so that one with many fields costs no pass for each. Where messages hold many children each
(the containers of OTLP), `children` and `gather` walk in plain Python instead.

Guarantee: any bytes may come in. `scan` marks messages that are cut short or malformed in `bad`; the
functions in plain Python raise `ValueError`. Unknown fields are passed over by their wire type; groups,
which proto3 does not have, count as malformed.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, Mask, Numbers, Rows

Bytes: TypeAlias = NDArray[np.uint8]

PADDING = bytes(32)
"""Must follow the last message in a buffer, so that reading ahead stays inside of it."""

VARINT, FIXED64, SIZED, FIXED32 = 0, 1, 2, 5
_NEVER = 1 << 60  # a size that no buffer has: such a field always ends behind its message
_FIXED_SIZE = np.array([0, 8, 0, _NEVER, _NEVER, 4, _NEVER, _NEVER], dtype=np.int64)
_TAG_MAX = 0xFFFF

_LANES_MIN = 32
"""So few messages are read in plain Python: a pass over them all costs as much as their next fields do, and
a message may have many more fields than any other."""


@dataclass(frozen=True, slots=True)
class Fields:
    """All fields of M messages, grouped by tag (field number × 8 + wire type).

    tags  : ascending; a field's message, place and size or value stand in the same row below
    lane  : Rows [N], which of the messages; within one tag and message in the order of the bytes
    begin : Rows [N], where its content begins (behind tag and length)
    value : Counts [N], length of a sized field, value of a varint, else meaningless
    bad   : Mask [M], messages that are malformed; their fields may be missing
    """

    tags: NDArray[np.uint16]
    lane: Rows
    begin: Rows
    value: Counts
    bad: Mask

    def select(self, number: int, wire: int) -> tuple[Rows, Rows, Counts]:
        """Lane, begin and value of the fields with this number and wire type."""
        tag = number << 3 | wire
        first, last = np.searchsorted(self.tags, np.array([tag, tag + 1], dtype=np.uint16))
        return self.lane[first:last], self.begin[first:last], self.value[first:last]


@dataclass(frozen=True, slots=True)
class Buffer:
    """Joined messages with `PADDING` behind them, and the same bytes as numbers at every position."""

    raw: bytes
    data: Bytes
    words: NDArray[np.uint64]
    doubles: Numbers

    @classmethod
    def of(cls, raw: bytes) -> Buffer:
        """Views of `raw`, which must end in `PADDING`."""
        data = np.frombuffer(raw, dtype=np.uint8)
        shape = (len(data) - 7,)
        return cls(
            raw,
            data,
            np.ndarray(shape, np.dtype("<u8"), buffer=raw, strides=(1,)),
            np.ndarray(shape, np.dtype("<f8"), buffer=raw, strides=(1,)),
        )


def scan(data: Bytes, begin: Rows, end: Rows) -> Fields:
    """Read all fields of the messages `data[begin[i]:end[i]]`; `data` goes on for 32 bytes behind them."""
    bad = np.zeros(len(begin), dtype=np.bool_)
    lane: Rows = np.flatnonzero(begin < end).astype(np.int64, copy=False)
    at, stop = begin[lane], end[lane]
    lanes, tags, begins, values = [lane[:0]], [lane[:0]], [lane[:0]], [lane[:0]]
    while len(lane) > _LANES_MIN:
        tag = data[at].astype(np.int64)
        at = at + 1
        if tag.max() >= 128:
            overlong = _widen(data, tag, at, np.flatnonzero(tag >= 128))
            tag[overlong] = 7  # no wire type
        wire = tag & 7
        value = data[at].astype(np.int64)
        counted = (wire & 5) == 0  # varints and lengths: wire types 0 and 2
        content = at + counted
        wide = np.flatnonzero(counted & (value >= 128))
        if len(wide):
            content[_widen(data, value, content, wide)] = _NEVER
        after = content + np.where(wire == SIZED, value, _FIXED_SIZE[wire])
        good = (after <= stop) & (after >= content) & (tag >= 8)
        if not good.all():
            bad[lane[~good]] = True
            lane, stop, tag, value = lane[good], stop[good], tag[good], value[good]
            content, after = content[good], after[good]
        lanes.append(lane)
        tags.append(tag)
        begins.append(content)
        values.append(value)
        at = after
        unfinished = after < stop
        if not unfinished.all():
            lane, at, stop = lane[unfinished], after[unfinished], stop[unfinished]
    if len(lane):
        rest = _walk(data, lane, at, stop, bad)
        lanes.append(rest[:, 0])
        tags.append(rest[:, 1])
        begins.append(rest[:, 2])
        values.append(rest[:, 3])
    tag16 = np.minimum(np.concatenate(tags), _TAG_MAX).astype(np.uint16)
    order = np.argsort(tag16, kind="stable")
    return Fields(
        tag16[order],
        np.concatenate(lanes)[order],
        np.concatenate(begins)[order],
        np.concatenate(values)[order],
        bad,
    )


def _walk(data: Bytes, lane: Rows, at: Rows, stop: Rows, bad: Mask) -> NDArray[np.int64]:
    """Lane, tag, begin and value [N, 4] of the fields in the rest of some messages, in plain Python."""
    view, found = data.data, array("q")
    for one, begin, end in zip(lane.tolist(), at.tolist(), stop.tolist(), strict=True):
        place = begin
        while place < end:
            tag, place = _varint64(view, place)
            wire, value = tag & 7, 0
            if tag < 8:
                size = _NEVER
            elif wire in (VARINT, SIZED):
                value, place = _varint64(view, place)
                size = value if wire == SIZED else 0
            else:
                size = 8 if wire == FIXED64 else 4 if wire == FIXED32 else _NEVER
            if not 0 <= size <= end - place:
                bad[one] = True
                break
            found.extend((one, tag, place, value))
            place += size
    return np.frombuffer(found, dtype=np.int64).reshape(-1, 4) if found else np.zeros((0, 4), np.int64)


def _varint64(view: memoryview, at: int) -> tuple[int, int]:
    """A varint as a signed number of 64 bits, and where it ends; an overlong one ends behind everything."""
    total = 0
    for shift in range(0, 70, 7):
        byte = view[at]
        at += 1
        total |= (byte & 0x7F) << shift
        if byte < 128:
            total &= 0xFFFFFFFFFFFFFFFF
            return total - (total >> 63 << 64), at
    return -1, _NEVER


def _widen(data: Bytes, value: Counts, after: Rows, which: Rows) -> Rows:
    """Finish, in place, the varints whose first byte, in `value[which]`, says that more follow.

    `after` holds where their second byte is, and then where the varint ends. Returns those of `which`
    that go on for more than ten bytes, which no varint may.
    """
    total = value[which] & 0x7F
    place = after[which]
    open_: Rows = np.arange(len(which), dtype=np.int64)
    for shift in range(7, 70, 7):
        byte = data[place[open_]].astype(np.int64)
        place[open_] += 1
        total[open_] |= (byte & 0x7F) << shift if shift < 63 else (byte & 1) << 63
        open_ = open_[byte >= 128]
        if not len(open_):
            break
    value[which] = total
    after[which] = place
    return which[open_]


def unpack_varints(data: Bytes, begin: Rows, size: Counts) -> tuple[Counts, Counts]:
    """Values of packed varints in the regions `data[begin[i]:begin[i] + size[i]]`, and how many each has.

    A region that ends within a varint counts that one as if it were complete.
    """
    at = ramps(begin, size)
    byte = data[at].astype(np.int64)
    last = byte < 128
    ends = np.cumsum(size)[size > 0] - 1
    last[ends] = True
    stop = np.flatnonzero(last)
    if not len(stop):
        return stop.astype(np.int64), np.zeros(len(size), dtype=np.int64)
    start = np.concatenate((np.zeros(1, dtype=np.int64), stop[:-1] + 1))
    index = np.arange(len(byte), dtype=np.int64) - np.repeat(start, stop - start + 1)
    parts = np.where(index < 10, (byte & 0x7F) << np.minimum(7 * index, 63), 0)
    values = np.add.reduceat(parts, start)
    filled = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(last)))
    region_end = np.cumsum(size)
    return values, filled[region_end] - filled[region_end - size]


def ramps(begin: Rows, size: Counts, step: int = 1) -> Rows:
    """For each region the positions begin, begin + step, …, `size` of them, one region after another."""
    total = np.cumsum(size)
    count = int(total[-1]) if len(total) else 0
    return np.repeat(begin - (total - size) * step, size) + np.arange(count, dtype=np.int64) * step


def zigzag(value: Counts) -> Counts:
    """Signed values of varints of type sint32 or sint64."""
    return (value >> 1 & 0x7FFFFFFFFFFFFFFF) ^ -(value & 1)


def varint(raw: bytes, at: int, end: int) -> tuple[int, int]:
    """One varint at `at`, and where it ends: at `end` at the latest, whatever bytes follow."""
    total = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("a field ends behind its message")
        byte = raw[at]
        at += 1
        total |= (byte & 0x7F) << shift
        if byte < 128:
            return total, at
    raise ValueError("a varint of more than ten bytes")


def children(raw: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """Tag, begin and end of each field; a varint's begin is where its value stands."""
    found = []
    while at < end:
        tag, begin = varint(raw, at, end)
        wire = tag & 7
        if wire == SIZED:
            size, begin = varint(raw, begin, end)
            at = begin + size
        elif wire == VARINT:
            at = varint(raw, begin, end)[1]
        elif wire == FIXED64:
            at = begin + 8
        elif wire == FIXED32:
            at = begin + 4
        else:
            raise ValueError(f"the wire type {wire}")
        if at > end or tag < 8:
            raise ValueError("a field ends behind its message" if at > end else "field number 0")
        found.append((tag, begin, at))
    return found


def gather(
    raw: bytes, at: int, end: int, tag: int, begins: list[int], ends: list[int]
) -> list[tuple[int, int, int]]:
    """`children`, but the places of those with the one-byte, sized `tag` go to `begins` and `ends`.

    Appends nothing when it raises.
    """
    others: list[tuple[int, int, int]] = []
    count = len(begins)
    try:
        while at < end:
            if raw[at] == tag:
                size = raw[at + 1]
                if size < 128:
                    at += 2
                elif raw[at + 2] < 128:
                    size += (raw[at + 2] << 7) - 128
                    at += 3
                else:
                    size, at = varint(raw, at + 1, end)
                begins.append(at)
                at += size
                ends.append(at)
            else:
                start = at
                key, at = varint(raw, at, end)
                if key & 7 == SIZED:
                    size, at = varint(raw, at, end)
                    at += size
                elif key & 7 == VARINT:
                    at = varint(raw, at, end)[1]
                else:
                    at += int(_FIXED_SIZE[key & 7])
                if at <= end:
                    others.extend(children(raw, start, at))
        if at != end:
            raise ValueError("a field ends behind its message")
    except ValueError:
        del begins[count:], ends[count:]
        raise
    return others
