"""Log templates of files, without Kafka: each line by its signature, signatures by their template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.arrays import EpochMs
from models.logs.catalog import TemplateCatalog
from streams.decode.format import Signal
from streams.decode.registry import find_format
from streams.derive.log_signatures import SignatureColumn
from streams.events.batch import Decoder, Layout, Records, Strings
from streams.offline.files import Source, read_records

CHUNK_LINES = 50_000

TEXT = "text"
"""The format of files whose lines are messages as they stand."""

MESSAGES = ("message", "msg", "body", "log")
"""Columns where a message is looked for in events whose format does not say, the best first."""


@dataclass(slots=True)
class TemplateReader:
    """Gathers the templates of lines.

    format  : `text`, or that of the events
    message : column of the message, for events that have it elsewhere than their format
    time    : path of the time; the format's own place if left out. Lines of text have their record's time,
              which a capture has and a file has not: such lines are of time 0, which means unknown.

    Raises FormatError for an unknown format, ValueError for a message or time that it cannot read.
    """

    format: str = TEXT
    message: str | None = None
    time: str | None = None
    catalog: TemplateCatalog = field(default_factory=TemplateCatalog)
    lines: int = 0
    """Lines that have a message."""
    silent: int = 0
    """Lines without one."""
    dead: Counter[str] = field(default_factory=Counter)
    """Lines that could not be read, by reason."""
    _signatures: SignatureColumn = field(default_factory=SignatureColumn)
    _columns: Sequence[str] = ()
    _decoder: Decoder | None = None

    def __post_init__(self) -> None:
        if self.format == TEXT:
            return
        format = find_format(self.format)
        signal: Signal | None = "logs" if format.signals else None
        message = self.message or format.schema_of(signal).roles.get("message")
        self._columns = MESSAGES if message is None else (message,)
        layout = Layout(wanted=dict.fromkeys(self._columns, "string"), time_field=self.time, signal=signal)
        self._decoder = format.make(layout)

    def read(self, source: Source, progress: Callable[[int], None] | None = None) -> None:
        """Take a file's lines in.

        progress : told the bytes consumed so far

        Raises RecordsFileError for a file that cannot be read.
        """
        for _, _, records in read_records(source, chunk=CHUNK_LINES, progress=progress):
            for messages, time_ms in self._messages(records):
                self._count(messages, time_ms)

    def _messages(self, records: Records) -> Iterator[tuple[Strings, EpochMs]]:
        """Columns of messages [E] and their times; an event has its message in one of them."""
        known_ms = np.maximum(records.timestamps_ms, 0)
        if self._decoder is None:
            yield _texts(records.values), known_ms
            return
        batch = self._decoder.decode(Records(records.values, records.offsets, known_ms))
        self.dead += Counter(dead.reason for dead in batch.dead)
        without = np.ones(len(batch), np.bool_)
        for column in self._columns:
            found = batch.columns.get(column)
            if isinstance(found, Strings):
                codes = np.where(without, found.codes, np.int32(-1))
                without &= codes < 0
                yield Strings(codes, found.values), batch.time_ms
        self.silent += int(np.count_nonzero(without))

    def _count(self, messages: Strings, time_ms: EpochMs) -> None:
        signatures = self._signatures.derive(messages)
        there = signatures.codes >= 0
        codes, count = np.unique(signatures.codes[there], return_counts=True)
        if not len(codes):
            return
        self.lines += int(count.sum())
        times = time_ms[there]
        place = np.searchsorted(codes, signatures.codes[there])
        first_ms, last_ms = np.full(len(codes), times.max()), np.full(len(codes), times.min())
        np.minimum.at(first_ms, place, times)
        np.maximum.at(last_ms, place, times)
        names = [signatures.values[code] for code in codes.tolist()]
        self.catalog.observe(names, count, first_ms, self._signatures.examples)
        self.catalog.observe(names, np.zeros_like(count), last_ms)


def _texts(values: Sequence[bytes | None]) -> Strings:
    """Lines as a column; missing where they are blank."""
    place: dict[str, int] = {}
    codes = np.full(len(values), -1, np.int32)
    for row, value in enumerate(values):
        text = (value or b"").decode(errors="replace").strip()
        if text:
            codes[row] = place.setdefault(text, len(place))
    return Strings(codes, list(place))
