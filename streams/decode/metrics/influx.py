"""Influx line protocol: `measurement,tag=value field=value,field=value timestamp`, lines of a record apart.

Each field is an event. `metric` is the measurement and the field's key joined by `_`, as Telegraf's
Prometheus output names it (`cpu_usage_idle`); `measurement` and `field` are columns of their own, tags
are columns by name. Truth values count 1 and 0, text is NaN. A line without a time takes its record's.
A bare time is told by its magnitude, since collectd and others write milliseconds where the protocol's
own unit is nanoseconds; a source's time format fixes the unit.

Guarantee: a line counts as a whole or is one `Dead`; empty lines and comments are nothing.
Cost: 0.8 µs a line and 0.4 µs a field while measurement, tags and keys have been seen before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from models.arrays import Codes, EpochMs, Mask, Rows
from streams.decode.format import EventTime, Format, Schema, kinds
from streams.decode.json.reader import shown
from streams.decode.metrics.influx_lines import (
    Cut,
    Lines,
    cut_lines,
    has_content,
    parse_head,
    parse_value,
    parse_values,
    split_lines,
    unescape,
)
from streams.decode.metrics.points import SERIES_REMEMBERED_MAX, SeriesTable, to_batch
from streams.decode.times import UNIT_PER_SECOND, parse_times
from streams.events.batch import Dead, Decoder, EventBatch, Layout, Records

_TIME = re.compile(rb"-?\d{1,25}")
_EXPECTED = "measurement[,tag=value…] field=value[,field=value…] [timestamp]"


def make(layout: Layout) -> Decoder:
    """A decoder of line protocol; ValueError where the layout asks for what lines do not have."""
    if layout.time_field not in (None, "timestamp"):
        raise ValueError(
            f"format influx: a line's time stands at its end and is called 'timestamp', found the field"
            f" {layout.time_field!r}"
        )
    if layout.time_format not in (*UNIT_PER_SECOND, "auto", "record"):
        raise ValueError(
            f"format influx: expected the time format auto, record, {', '.join(UNIT_PER_SECOND)},"
            f" found {layout.time_format!r}"
        )
    return _InfluxDecoder(layout)


class _Numbered(dict[bytes, int]):
    """Gives each new word the next number."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[bytes] = []

    def __missing__(self, word: bytes) -> int:
        number = self[word] = len(self.words)
        self.words.append(word)
        return number


class _InfluxDecoder:
    """Heads (measurement with tags), keys and the pairs of both are numbered as they are met."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._reset()

    def _reset(self) -> None:
        self._table = SeriesTable(self._layout)
        self._heads = _Numbered()
        self._keys = _Numbered()
        self._series: dict[int, int] = {}

    def decode(self, records: Records) -> EventBatch:
        if max(len(self._series), len(self._heads), len(self._keys)) > SERIES_REMEMBERED_MAX:
            self._reset()
        lines = split_lines(records.values)
        cut = cut_lines(lines.text)
        item = np.repeat(np.arange(len(cut.line)), cut.size)
        item_record = lines.record[cut.line]
        series = self._number(cut, item)
        value, texts, bad = parse_values(cut.value)
        time_ms, good = _times(cut.stamp, records.timestamps_ms[item_record], self._layout.time_format)
        good[item[bad]] = False
        good[item[series < 0]] = False
        refused = np.sort(np.concatenate([cut.line[~good], cut.unclear])).tolist()
        return to_batch(
            self._table,
            records,
            item_record=item_record,
            time_ms=time_ms,
            good=good,
            item=item,
            series=series,
            value=value,
            texts=texts,
            dead=[_explain(lines, line) for line in refused if has_content(lines.text[line])],
        )

    def _number(self, cut: Cut, item: Rows) -> Codes:
        """Numbers of the points' series [E]; -1 where measurement, tags or key are malformed."""
        heads = np.fromiter(map(self._heads.__getitem__, cut.head), np.int64, len(cut.head))
        keys = np.fromiter(map(self._keys.__getitem__, cut.key), np.int64, len(cut.key))
        pairs: list[int] = (heads[item] << 32 | keys).tolist()
        try:
            return np.fromiter(map(self._series.__getitem__, pairs), np.int32, len(pairs))
        except KeyError:
            for pair in set(pairs) - self._series.keys():
                head, key = self._heads.words[pair >> 32], self._keys.words[pair & 0xFFFFFFFF]
                self._series[pair] = self._learn(head, key)
            return np.fromiter(map(self._series.__getitem__, pairs), np.int32, len(pairs))

    def _learn(self, head: bytes, key: bytes) -> int:
        parsed = parse_head(head)
        if parsed is None or not key:
            return -1
        measurement, tags = parsed
        name = unescape(key)
        return self._table.add(f"{measurement}_{name}", {"measurement": measurement, "field": name}, tags)


def _times(stamps: Sequence[bytes], record_ms: EpochMs, time_format: str) -> tuple[EpochMs, Mask]:
    """Times [M] and Mask [M] of those that could be read; a line without one takes its record's."""
    if time_format == "record":
        return record_ms, np.ones(len(stamps), np.bool_)
    try:
        if b"".join(stamps).translate(None, b"0123456789-"):
            raise ValueError
        return parse_times(list(map(int, stamps)), time_format)
    except ValueError:
        numbers = [int(stamp) if _TIME.fullmatch(stamp) else None for stamp in map(_bare, stamps)]
    time_ms, readable = parse_times(numbers, time_format)
    is_absent = np.array([not stamp for stamp in stamps])
    return np.where(is_absent, record_ms, time_ms), readable | is_absent


def _bare(stamp: bytes) -> bytes:
    return stamp.removesuffix(b"\r")


def _explain(lines: Lines, line: int) -> Dead:
    """Why a line was refused; depends on its bytes alone."""
    text = lines.text[line]
    cut = cut_lines([text])
    place, record = f"line {lines.position(line) + 1}", int(lines.record[line])
    if not len(cut.line) or parse_head(cut.head[0]) is None or not all(cut.key):
        return Dead(record, "bad_line", f"{place}: expected {_EXPECTED}, found {shown(text)}")
    for key, word in zip(cut.key, cut.value, strict=True):
        if not word.startswith(b'"') and parse_value(word) is None:
            expected = f'1.5, 2i, 3u, true or "text" in field {shown(key)}'
            return Dead(record, "bad_line", f"{place}: expected {expected}, found {shown(word)}")
    expected = "a time in whole numbers, in the years 1 to 9999"
    return Dead(record, "bad_time", f"{place}: expected {expected}, found {shown(cut.stamp[0])}")


FORMAT = Format(
    name="influx",
    description="Influx line protocol",
    make=make,
    reasons=("bad_line",),
    schema=Schema(columns=kinds(("metric", "measurement", "field"), ["value"]), others="a tag"),
    time=EventTime(
        fields=("timestamp",),
        formats=tuple(UNIT_PER_SECOND),
        expected="timestamp, as the number at the end of a line is called",
    ),
)
