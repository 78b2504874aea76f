"""Format `access_log`: lines of nginx and Apache, and nginx's logs as JSON lines.

Columns: client, user, method, path, query, protocol, status, bytes, referrer, agent, duration,
upstream_duration (both in seconds), host; a JSON line's other keys by their own names.
Guarantee: a line is either an event or dead (`not_a_log_line`, `bad_time`); see `access_line` for the
shapes. Cost: about 2 µs a line with six columns; the meaning of a part is worked out once per distinct text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from models.arrays import Codes, EpochMs, Mask, Numbers, Rows
from streams.decode.accounting import skipped_count
from streams.decode.format import JSON_REASONS, Format, Schema, kinds, roles_by_name
from streams.decode.json.columns import JsonDecoder, Rules
from streams.decode.json.reader import shown
from streams.decode.json.shape import to_number
from streams.decode.strings import Encoder, scaled
from streams.decode.text.access_line import (
    PARTS,
    bulk,
    cut,
    read_extras,
    seconds,
    split_request,
    split_target,
    text_or_missing,
    unescape,
)
from streams.decode.times import parse_clf, parse_times
from streams.events.batch import Column, Dead, EventBatch, Field, Layout, Records, Strings
from streams.events.merge import merge, select, with_values

Meaning = Callable[[Any], str | float | None]
"""What a column makes of a part: of its raw text, or of what `_PARSERS` made of that for all columns."""

_PARSERS: Mapping[str, Callable[[str], Any]] = {"request": split_request, "rest": read_extras}

CHUNK = 1024
"""Lines cut together, few enough to stay in the CPU's cache."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a column's raw text stands in a line, and in a JSON line under which keys."""

    part: str
    meaning: Meaning
    keys: tuple[str, ...]
    key_meaning: Meaning


def _plain(text: str) -> str | None:
    return None if text in ("", "-") else text


def _bytes(raw: str) -> float:
    return 0.0 if raw == "-" else to_number(raw)


def _status(raw: str) -> str | None:
    return None if raw in ("-", "000", "0") else raw


_SOURCES = {
    "client": _Source(
        "client",
        text_or_missing,
        ("remote_addr", "client", "client_ip", "clientip", "remote_ip", "remote_host", "ip"),
        _plain,
    ),
    "user": _Source("user", text_or_missing, ("remote_user", "user", "auth"), _plain),
    "method": _Source("request", lambda parts: parts.method, ("method", "request_method", "verb"), _plain),
    "path": _Source(
        "request",
        lambda parts: parts.path,
        ("request_uri", "uri", "path", "url"),
        lambda raw: split_target(raw)[0],
    ),
    "query": _Source("request", lambda parts: parts.query, ("args", "query_string", "query"), _plain),
    "protocol": _Source("request", lambda parts: parts.protocol, ("server_protocol", "protocol"), _plain),
    "status": _Source("status", _status, ("status", "code", "response_code", "status_code"), _status),
    "bytes": _Source("bytes", _bytes, ("bytes", "body_bytes_sent", "bytes_sent", "size"), _bytes),
    "referrer": _Source(
        "referrer", text_or_missing, ("referer", "referrer", "http_referer", "http_referrer"), _plain
    ),
    "agent": _Source("agent", text_or_missing, ("ua", "agent", "http_user_agent", "user_agent"), _plain),
    "duration": _Source(
        "rest",
        lambda parts: parts.duration,
        ("request_time", "duration", "response_time", "rt"),
        lambda raw: seconds(raw),
    ),
    "upstream_duration": _Source(
        "rest",
        lambda parts: parts.upstream,
        ("upstream_response_time", "upstream_duration", "urt"),
        lambda raw: seconds(raw),
    ),
    "host": _Source("host", text_or_missing, ("host", "http_host", "server_name", "vhost"), _plain),
}

_JSON_TIMES = ("msec", "time_iso8601", "time", "timestamp", "@timestamp", "ts", "time_local")
"""The most precise first: `$msec` has milliseconds, nginx's other times whole seconds."""

_UNSCALED: Mapping[str, tuple[Meaning, Meaning]] = {
    "duration": (
        lambda parts: parts.raw_duration,
        lambda raw: seconds(raw, raw=True),
    ),
    "upstream_duration": (
        lambda parts: parts.raw_upstream,
        lambda raw: seconds(raw, raw=True),
    ),
}
"""Meanings of times for which the source declares the unit: then nothing is told from the spelling."""


class AccessLogDecoder:
    """Decodes access logs; records that begin with `{` are JSON lines, all others lines of text."""

    def __init__(self, layout: Layout) -> None:
        self._text = _TextLines(layout)
        self._json = _JsonLines(layout)

    def decode(self, records: Records) -> EventBatch:
        """Decode all `records`; see `Decoder.decode`."""
        beginnings = {value[:1] for value in records.values if value is not None}
        if beginnings == {b"{"} and None not in records.values:
            return self._json.decode(records)
        if not beginnings & _MAY_BEGIN_JSON:
            return self._text.decode(records)
        is_json = np.fromiter(map(_is_json, records.values), np.bool_, len(records))
        parts = []
        for decoder, mask in ((self._text, ~is_json), (self._json, is_json)):
            places = np.flatnonzero(mask).astype(np.int64)
            parts.append((decoder.decode(select(records, places)), places))
        return merge(parts)


_BLANK = b"\xef\xbb\xbf \t\r\n"
_MAY_BEGIN_JSON = {b"{", *(bytes([byte]) for byte in _BLANK)}


def _is_json(value: bytes | None) -> bool:
    return value is not None and value.lstrip(_BLANK)[:1] == b"{"


class _TextLines:
    """Lines of text: cut into raw parts by one regular expression, which captures only what is wanted."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._columns = {name: _known(name, layout) for name in layout.wanted}
        parts = {source.part for source, _ in self._columns.values() if source is not None}
        parts |= {"time", "status"}
        if "host" in parts:
            parts.add("rest")
        self._parts = tuple(name for name in PARTS if name in parts)
        self._wanted = frozenset(parts)
        self._positions = tuple(PARTS.index(name) for name in self._parts)

    def decode(self, records: Records) -> EventBatch:
        encoders = {name: Encoder() for name in self._parts if name != "time"}
        raw_codes: dict[str, list[Codes]] = {name: [] for name in encoders}
        owners: list[Rows] = []
        times: list[EpochMs] = []
        dead: list[Dead] = []
        for start in range(0, len(records), CHUNK):
            piece = records.values[start : start + CHUNK]
            values = [value for value in piece if value is not None]
            rows = bulk(b"\n".join(values).decode("utf-8", "replace"), len(values), self._wanted)
            if rows is None or len(values) < len(piece):
                rows, owner = self._one_by_one(piece, start, dead)
            else:
                owner = np.arange(start, start + len(piece), dtype=np.int64)
            if not rows:
                continue
            columns = dict(zip(self._parts, zip(*rows, strict=True), strict=True))
            time_ms, alive = self._times(columns["time"], owner, records)
            for row in np.flatnonzero(~alive).tolist():
                detail = f"expected the time of a log line, found {shown(columns['time'][row])}"
                dead.append(Dead(int(owner[row]), "bad_time", detail))
            for name, encoder in encoders.items():
                codes = encoder.encode(columns[name])
                raw_codes[name].append(codes if alive.all() else codes[alive])
            owners.append(owner[alive])
            times.append(time_ms[alive])
        raw = {
            name: encoder.column(np.concatenate(raw_codes[name]) if owners else np.empty(0, np.int32))
            for name, encoder in encoders.items()
        }
        parsed = {
            name: list(map(_PARSERS[name], raw[name].values)) if name in _PARSERS else raw[name].values
            for name in raw
        }
        record = np.concatenate(owners) if owners else np.empty(0, np.int64)
        return EventBatch(
            time_ms=np.concatenate(times) if times else np.empty(0, np.int64),
            record=record,
            columns={name: self._column(name, raw, parsed, len(record)) for name in self._layout.wanted},
            dead=sorted(dead, key=lambda one: one.record),
            skipped=skipped_count(len(records), record, dead),
        )

    def _one_by_one(
        self, values: Sequence[bytes | None], start: int, dead: list[Dead]
    ) -> tuple[list[tuple[str, ...]], Rows]:
        """Wanted parts and Rows [lines] of a chunk's lines, which need not be alike."""
        rows: list[tuple[str, ...]] = []
        owners: list[int] = []
        for place, value in enumerate(values, start):
            for line in () if value is None else lines_of(value):
                parts = cut(line)
                if parts is None:
                    detail = f"expected an access log line, found {shown(line)}"
                    dead.append(Dead(place, "not_a_log_line", detail))
                else:
                    rows.append(tuple(parts[position] for position in self._positions))
                    owners.append(place)
        return rows, np.array(owners, np.int64)

    def _times(self, texts: Sequence[str], owner: Rows, records: Records) -> tuple[EpochMs, Mask]:
        time_format = self._layout.time_format
        if time_format == "record":
            arrived = records.timestamps_ms[owner]
            return arrived, arrived >= 0
        read = parse_clf if time_format == "auto" else partial(parse_times, time_format=time_format)
        distinct = dict.fromkeys(texts)
        if 2 * len(distinct) > len(texts):
            return read(texts)
        # Logs have seconds: most lines share theirs with others.
        times_ms, readable = read(list(distinct))
        places = dict(zip(distinct, range(len(distinct)), strict=True))
        place = np.fromiter(map(places.__getitem__, texts), np.int64, len(texts))
        return times_ms[place], readable[place]

    def _column(
        self, name: str, raw: Mapping[str, Strings], parsed: Mapping[str, Sequence[Any]], length: int
    ) -> Column:
        kind = self._layout.wanted[name]
        source, scale = self._columns[name]
        if source is None:
            return np.full(length, np.nan) if kind == "number" else Strings.missing(length)
        codes, entries = raw[source.part].codes, parsed[source.part]
        if kind == "number":
            return scaled(as_numbers(codes, map(source.meaning, entries)), scale)
        if source.meaning is text_or_missing:
            column = as_texts(raw[source.part])
        else:
            column = as_strings(codes, map(source.meaning, entries))
        if source.part == "host" and (column.codes < 0).any():
            named = as_strings(raw["rest"].codes, (extras.host for extras in parsed["rest"]))
            return _first_of(column, named)
        return column


class _JsonLines:
    """JSON lines: decoded as JSON into raw columns, from which the wanted ones are made."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._columns = {name: _known(name, layout) for name in layout.wanted}
        aliases: dict[str, tuple[str, ...]] = {}
        raw: dict[str, str] = {}
        for name, (source, _) in self._columns.items():
            if source is not None:
                aliases[f"raw {name}"] = source.keys
                raw[f"raw {name}"] = "string"
                if source.part == "request":
                    aliases["raw request"] = ("request",)
                    aliases["raw target"] = _SOURCES["path"].keys
                    raw |= {"raw request": "string", "raw target": "string"}
        others = {name: kind for name, kind in layout.wanted.items() if self._columns[name][0] is None}
        inner = replace(
            layout,
            wanted=raw | others,  # type: ignore[arg-type]
            fields={name: layout.fields[name] for name in others if name in layout.fields},
        )
        self._decoder = JsonDecoder(inner, Rules(times=_JSON_TIMES, aliases=aliases))

    def decode(self, records: Records) -> EventBatch:
        values = [_repaired(value) for value in records.values]
        batch = self._decoder.decode(with_values(records, values))
        columns = {name: self._column(name, batch) for name in self._layout.wanted}
        return replace(batch, columns=columns)

    def _column(self, name: str, batch: EventBatch) -> Column:
        source, scale = self._columns[name]
        if source is None:
            return batch.columns[name]
        raw = _strings(batch.columns[f"raw {name}"])
        entries = map(source.key_meaning, raw.values)
        if self._layout.wanted[name] == "number":
            return scaled(as_numbers(raw.codes, entries), scale)
        column = as_strings(raw.codes, entries)
        if source.part == "request" and (column.codes < 0).any():
            if name == "query":
                target = _strings(batch.columns["raw target"])
                queries = (split_target(value)[1] for value in target.values)
                column = _first_of(column, as_strings(target.codes, queries))
            whole = _strings(batch.columns["raw request"])
            requests = (source.meaning(split_request(value)) for value in whole.values)
            column = _first_of(column, as_strings(whole.codes, requests))
        return column


def _known(name: str, layout: Layout) -> tuple[_Source | None, float]:
    """What is known of a column under its own or its declared name, and its scale."""
    field = layout.fields.get(name, Field(name))
    source = _SOURCES.get(field.path)
    if source is not None and field.scale != 1 and field.path in _UNSCALED:
        meaning, key_meaning = _UNSCALED[field.path]
        source = replace(source, meaning=meaning, key_meaning=key_meaning)
    return source, field.scale


def _strings(column: Column) -> Strings:
    assert isinstance(column, Strings)
    return column


def lines_of(value: bytes) -> list[str]:
    """A record's lines; empty ones only end others, and where there is nothing else, one stands for it."""
    return [line for line in value.decode("utf-8", "replace").split("\n") if line.strip()] or [""]


_ESCAPES = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|.)", re.DOTALL)


def _repaired(value: bytes | None) -> bytes | None:
    """A JSON line with nginx's `\\xHH` (a log format without `escape=json`) made JSON."""
    if value is None or b"\\x" not in value:
        return value
    return _ESCAPES.sub(_json_escape, value)


def _json_escape(match: re.Match[bytes]) -> bytes:
    if not match[1]:
        return match[0]
    code = int(match[1], 16)
    return bytes([code]) if code >= 0x20 and code not in b'"\\' else b"\\u%04x" % code


def as_numbers(codes: Codes, entries: Iterable[object]) -> Numbers:
    """Numbers [E] of dictionary codes whose entries mean these values; NaN where there is none."""
    table = np.fromiter(map(to_number, entries), np.float64)
    return np.append(table, np.nan)[codes]


def as_texts(raw: Strings) -> Strings:
    """What `text_or_missing` gives, for most texts at no cost each."""
    values = list(map(unescape, raw.values)) if "\\" in "".join(raw.values) else raw.values
    absent = [code for code, value in enumerate(raw.values) if value in ("", "-")]
    return Strings(np.where(np.isin(raw.codes, absent), np.int32(-1), raw.codes), values)


def as_strings(codes: Codes, entries: Iterable[object]) -> Strings:
    """Strings [E] of dictionary codes whose entries mean these values."""
    encoder = Encoder()
    table = encoder.encode(list(entries))
    return encoder.column(np.append(table, np.int32(-1))[codes])


def _first_of(first: Strings, second: Strings) -> Strings:
    """`first` where it has a value, else `second`."""
    values = [*first.values, *second.values]
    moved = np.where(second.codes < 0, -1, second.codes + len(first.values))
    return Strings(np.where(first.codes < 0, moved, first.codes).astype(np.int32), values)


_NUMBERS = ("status", "bytes", "duration", "upstream_duration")

FORMAT = Format(
    name="access_log",
    description="lines as nginx and Apache write them",
    make=AccessLogDecoder,
    reasons=(*JSON_REASONS, "not_a_log_line"),
    schema=Schema(
        columns=kinds(_SOURCES) | kinds(numbers=_NUMBERS),
        others="a key",
        only="lines in JSON",
        roles=roles_by_name(_SOURCES),
    ),
)
