"""Metrics of Vector as columns: metric, value, type, kind, namespace, and tags by name (or `tags.name`).

One metric is one event. A counter, gauge or set (its number of members) is one row; a distribution has a
row per sample, as often as its rate; an aggregated histogram one per bucket that holds anything, with the
bucket's upper limit as value (the last one's lower limit if it has none above); a summary or sketch is one
row, its mean as often as it counts. Incremental counts weigh what they count, absolute ones are counters
whose increase is still to be found, as with OTLP. A metric that is none is dead (`bad_metric`).
Cost: a few µs a metric; metrics are small and few beside logs.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import numpy as np

from models.arrays import Codes, Counts, EpochMs, Hashes, Mask, Rows
from streams.decode.accounting import skipped_count
from streams.decode.json.reader import parse_freely, shown
from streams.decode.json.shape import parse_path, to_number, walk
from streams.decode.metrics.points import SERIES_REMEMBERED_MAX, SeriesTable
from streams.decode.otlp.points import mix
from streams.decode.strings import plain_text
from streams.decode.times import parse_times
from streams.events.batch import Dead, EventBatch, Layout, Records

_KINDS = ("incremental", "absolute")
_COUNT_MAX = 1 << 53
_MEAN = 1
"""Part and shape of the only row of a summary, a sketch, or a histogram without buckets."""


class Row(NamedTuple):
    """A row of a metric.

    value  : what the row's occurrences measured
    amount : how many they are, or by how much a counter rose
    part   : which part of its metric the row is; 0 for the whole
    shape  : which buckets the metric has; 0 where it has no parts
    """

    value: float
    amount: float
    part: int = 0
    shape: int = 0


class _BadMetricError(ValueError):
    """What is no metric; the message says where, what was expected and what was found."""


def rows_of(metric: Mapping[str, Any]) -> tuple[str, list[Row]]:
    """A metric's type and its rows, at least one.

    >>> rows_of({"distribution": {"samples": [{"value": 0.5, "rate": 3}], "statistic": "histogram"}})
    ('distribution', [Row(value=0.5, amount=3.0, part=0, shape=0)])
    """
    for type_, read in _READERS.items():
        content = metric.get(type_)
        if isinstance(content, dict):
            rows = read(content)
            if any(not 0 <= row.amount <= _COUNT_MAX for row in rows):
                raise _BadMetricError(f"{type_}: expected counts from 0 to 2^53")
            return type_, rows or [Row(math.nan, 0)]
    found = ", ".join(map(shown, metric))[:80]
    raise _BadMetricError(f"expected one of {', '.join(_READERS)}, found {found}")


def _number(content: Mapping[str, Any], key: str) -> float:
    number = to_number(content.get(key))
    if math.isnan(number):
        raise _BadMetricError(f"{key}: expected a number, found {shown(content.get(key))}")
    return number


def _members(content: Mapping[str, Any], key: str) -> list[Any]:
    members = content.get(key)
    if not isinstance(members, list):
        raise _BadMetricError(f"{key}: expected a list, found {shown(members)}")
    return members


def _objects(content: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    for member in _members(content, key):
        if not isinstance(member, dict):
            raise _BadMetricError(f"{key}: expected objects, found {shown(member)}")
        yield member


def _counter(content: Mapping[str, Any]) -> list[Row]:
    value = _number(content, "value")
    return [Row(value, value)]


def _gauge(content: Mapping[str, Any]) -> list[Row]:
    return [Row(_number(content, "value"), 1)]


def _set(content: Mapping[str, Any]) -> list[Row]:
    return [Row(float(len(_members(content, "values"))), 1)]


def _distribution(content: Mapping[str, Any]) -> list[Row]:
    samples = [Row(_number(one, "value"), _number(one, "rate")) for one in _objects(content, "samples")]
    return [sample for sample in samples if sample.amount]


def _histogram(content: Mapping[str, Any]) -> list[Row]:
    buckets = sorted((_limit(one), _number(one, "count")) for one in _objects(content, "buckets"))
    if not buckets:
        return _mean(content)
    digest = blake2b(array("d", [limit for limit, _ in buckets]).tobytes(), digest_size=8).digest()
    shape = int.from_bytes(digest, "little") | 1
    rows = []
    for index, (limit, count) in enumerate(buckets):
        if count:
            value = buckets[index - 1][0] if math.isinf(limit) and index else limit
            rows.append(Row(value, count, index + _MEAN + 1, shape))
    return rows or [Row(math.nan, 0, _MEAN, shape)]


def _limit(bucket: Mapping[str, Any]) -> float:
    """A bucket's upper limit; JSON has no infinity, so null stands for it."""
    return math.inf if bucket.get("upper_limit", 0) is None else _number(bucket, "upper_limit")


def _mean(content: Mapping[str, Any]) -> list[Row]:
    count = _number(content, "count")
    return [Row(_number(content, "sum") / count if count else math.nan, count, _MEAN, _MEAN)]


def _sketch(content: Mapping[str, Any]) -> list[Row]:
    inner = content.get("AgentDDSketch", content)
    if not isinstance(inner, dict):
        raise _BadMetricError(f"AgentDDSketch: expected an object, found {shown(inner)}")
    return _mean(inner)


_READERS = {
    "counter": _counter,
    "gauge": _gauge,
    "set": _set,
    "distribution": _distribution,
    "aggregated_histogram": _histogram,
    "aggregated_summary": _mean,
    "sketch": _sketch,
}


@dataclass(slots=True)
class _Found:
    """Metrics of some records, M, and their rows, E, as lists that grow together."""

    record: list[int] = field(default_factory=list)
    time: list[Any] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    series: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)


class VectorMetrics:
    """Decodes records that hold metrics: one, a list of them, or one a line."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._place = parse_path(layout.time_field or "timestamp")
        self._reset()

    def _reset(self) -> None:
        self._table = SeriesTable(self._layout)
        self._numbers: dict[tuple[object, ...], int] = {}

    def decode(self, records: Records) -> EventBatch:
        """Decode all `records`; see `Decoder.decode`."""
        if len(self._table) > SERIES_REMEMBERED_MAX:
            self._reset()
        found = _Found()
        for place, value in enumerate(records.values):
            if value is not None:
                self._read(value, place, found)
        time_ms, alive = self._times(found, records)
        return self._batch(found, time_ms, alive, len(records))

    def _read(self, value: bytes, place: int, into: _Found) -> None:
        for parsed in _parsed(value):
            if parsed is None:
                detail = f"expected JSON, found {shown(value)}"
                into.dead.append(Dead(place, "bad_json", detail))
            elif not isinstance(parsed, dict):
                detail = f"expected a JSON object, found {shown(parsed)}"
                into.dead.append(Dead(place, "not_an_object", detail))
            else:
                try:
                    self._add(parsed, place, into)
                except _BadMetricError as error:
                    into.dead.append(Dead(place, "bad_metric", str(error)))

    def _add(self, event: Mapping[str, Any], place: int, into: _Found) -> None:
        metric = event.get("metric")
        if not isinstance(metric, dict):
            metric = event
        name, kind, tags = metric.get("name"), metric.get("kind"), metric.get("tags") or {}
        if not isinstance(name, str) or kind not in _KINDS or not isinstance(tags, dict):
            raise _BadMetricError(
                f"expected a name, a kind (incremental or absolute) and tags, found {shown(name)}, "
                f"{shown(kind)} and {shown(tags)}"
            )
        type_, rows = rows_of(metric)
        texts = {tag: _tag(value) for tag, value in tags.items()}
        labels = {tag: text for tag, text in texts.items() if text is not None}
        parts = {"type": type_, "kind": str(kind)}
        if isinstance(metric.get("namespace"), str):
            parts["namespace"] = metric["namespace"]
        key = (name, *parts.values(), None, *labels.items())
        number = self._numbers.get(key)
        if number is None:
            counts = type_ not in ("gauge", "set", "distribution")
            temporality = "gauge" if not counts else "cumulative" if kind == "absolute" else "delta"
            number = self._numbers[key] = self._table.add(name, parts, labels, temporality)  # type: ignore[arg-type]
        time = walk(metric, self._place)
        into.time.append(walk(event, self._place) if time is None else time)
        into.record.append(place)
        into.size.append(len(rows))
        into.series.extend([number] * len(rows))
        into.rows.extend(rows)

    def _times(self, found: _Found, records: Records) -> tuple[EpochMs, Mask]:
        """Times [M] and which metrics have one."""
        by_record = self._layout.time_format == "record"
        if by_record:
            found.time = [None] * len(found.time)
        missing = np.array([time is None for time in found.time], np.bool_)
        times, readable = parse_times(found.time, "auto" if by_record else self._layout.time_format)
        if missing.any() and (by_record or self._layout.time_field is None):
            times[missing] = records.timestamps_ms[np.array(found.record, np.int64)[missing]]
            readable[missing] = times[missing] >= 0
        for row in np.flatnonzero(~readable).tolist():
            time = found.time[row]
            reason = "missing_time" if time is None else "bad_time"
            detail = f"expected a time at {self._layout.time_field or 'timestamp'!r}, found {shown(time)}"
            found.dead.append(Dead(found.record[row], reason, detail))
        return times, readable

    def _batch(self, found: _Found, time_ms: EpochMs, alive: Mask, record_count: int) -> EventBatch:
        owner: Rows = np.repeat(np.arange(len(found.size)), np.array(found.size, np.int64))
        kept = alive[owner]
        owner = owner[kept]
        series: Codes = np.array(found.series, np.int32)[kept]
        value = np.array([row.value for row in found.rows], np.float64)[kept]
        amount = np.array([row.amount for row in found.rows], np.float64)[kept]
        part: Hashes = np.array([row.part for row in found.rows], np.uint64)[kept]
        shape: Hashes = np.array([row.shape for row in found.rows], np.uint64)[kept]
        weight: Counts = np.rint(amount).astype(np.int64)
        counters = self._table.counters(series, amount)
        if counters is not None:
            rows, of_series = counters.rows, counters.identity
            point = np.where(shape[rows] == 0, of_series, mix(of_series, shape[rows]))
            identity = np.where(part[rows] == 0, point, mix(point, part[rows]))
            counters = replace(counters, identity=identity, point=point)
            weight[rows] = 0
        record: Rows = np.array(found.record, np.int64)[owner]
        return EventBatch(
            time_ms=time_ms[owner],
            record=record,
            columns=self._table.columns(series, value, {}),
            weight=weight,
            head=np.diff(owner, prepend=-1) > 0,
            counters=counters,
            dead=sorted(found.dead, key=lambda one: one.record),
            skipped=skipped_count(record_count, record, found.dead),
        )


def _parsed(value: bytes) -> Sequence[Any]:
    """The JSON values of a record; None stands for what is no JSON."""
    for parse in (msgspec.json.decode, parse_freely):
        try:
            parsed = parse(value)
            return parsed if isinstance(parsed, list) else [parsed]
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
    lines = [line for line in value.splitlines() if line.strip()]
    return [one for line in lines for one in _parsed(line)] if len(lines) > 1 else [None]


def _tag(value: object) -> str | None:
    """A tag's value; of several the last one counts, as in Vector, and a bare tag is empty."""
    if isinstance(value, list):
        value = value[-1] if value else None
    return "" if value is None else plain_text(value)
