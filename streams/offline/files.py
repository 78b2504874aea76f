"""Files as the log of a topic: lines of text, or a capture of a topic's records.

Guarantee: reading a file twice gives the same records in the same order, whatever the chunk size; every
line of a text file is one record, empty ones too, so that counts can be compared with `wc -l`. Nothing
depends on the clock or on the file's times.

Cost: one chunk of lines in memory, at most 16 MiB and a line, and per line one `bytes` object; base64 is
decoded in C.

Plain text, gzip and zstd are told apart by their first bytes, never by the name, so that `-` (standard
input) takes all of them.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

import msgspec
import numpy as np
import zstandard

from streams.events.batch import Records

__all__ = [
    "CapturedRecord",
    "RecordsFileError",
    "Source",
    "is_capture",
    "named",
    "read_records",
    "size_bytes",
]

Source: TypeAlias = Path | Literal["-"]
"""Where to read from; `-` is standard input."""

CHUNK_LINES = 10_000
"""Lines a chunk: enough for columns to pay off, a few megabytes of memory."""

CHUNK_BYTES_MAX = 1 << 24
"""Bytes of lines after which a chunk ends, however few they are."""

BLOCK_BYTES = 1 << 20
LINE_BYTES_MAX = 1 << 26
"""A longer line is no record but a file of another kind (64 MiB is 60 times Kafka's usual limit)."""

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_UTF8_MARK = b"\xef\xbb\xbf"


class RecordsFileError(Exception):
    """A file that cannot be read as records; its text says where, what was expected, what was found."""


class CapturedRecord(msgspec.Struct):
    """One line of a capture: a record as Kafka kept it. The key and the headers are not needed to replay.

    timestamp : the record's Kafka timestamp in milliseconds, -1 where the topic has none
    value_b64 : the value, None for a tombstone
    """

    partition: int
    offset: int
    timestamp: int
    value_b64: bytes | None
    topic: str | None = None


_LINE_DECODER = msgspec.json.Decoder(CapturedRecord)
_CHUNK_DECODER = msgspec.json.Decoder(list[CapturedRecord])


def size_bytes(source: Source) -> int | None:
    """Bytes of the file as it lies on the disk, None where that cannot be known before reading it."""
    if source == "-" or not source.is_file():
        return None
    return source.stat().st_size


def read_records(
    source: Source,
    *,
    chunk: int = CHUNK_LINES,
    text_partition: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[str | None, int, Records]]:
    """Yield (topic, partition, records) of a file, in the file's order.

    A text file is one partition of no topic (None), its lines are the values, their numbers counted from
    0 the offsets, and their timestamps -1, which means unknown. A capture's records keep what they had;
    those of a chunk come grouped by partition, in order of each group's first record.

    source   : path, or `-` for standard input
    chunk    : lines read before records are handed out, at least 1
    text_partition : number of the partition that the lines of a text file make
    progress : told the bytes consumed so far, compressed as they lie on the disk

    Raises RecordsFileError for a file that is missing, cut short, or a capture with a broken line.
    """
    with _opened(source) as raw:
        lines = _lines(_blocks(io.BufferedReader(raw, BLOCK_BYTES), named(source)), named(source))
        first = next(lines, None)
        if first is None:
            return
        chunks = _chunks(first.removeprefix(_UTF8_MARK), lines, chunk)
        parts = (
            _read_capture(chunks, named(source))
            if _is_captured(first)
            else _read_text(chunks, text_partition)
        )
        for part in parts:
            yield part
            if progress is not None:
                progress(raw.count)


def is_capture(path: Path) -> bool:
    """Whether a file holds captured records; only its beginning is read.

    Raises RecordsFileError where it cannot be read.
    """
    with _opened(path) as raw:
        first = next(_lines(_blocks(io.BufferedReader(raw, BLOCK_BYTES), str(path)), str(path)), b"")
    return _is_captured(first)


def named(source: Source) -> str:
    """The source as messages name it."""
    return "standard input" if source == "-" else str(source)


def _read_text(chunks: Iterator[list[bytes]], partition: int) -> Iterator[tuple[str | None, int, Records]]:
    count = 0
    for lines in chunks:
        offsets = np.arange(count, count + len(lines), dtype=np.int64)
        count += len(lines)
        yield None, partition, Records(lines, offsets, np.full(len(lines), -1, dtype=np.int64))


def _read_capture(chunks: Iterator[list[bytes]], name: str) -> Iterator[tuple[str | None, int, Records]]:
    line_count = 0
    newest: dict[tuple[str | None, int], int] = {}
    for lines in chunks:
        groups: dict[tuple[str | None, int], list[CapturedRecord]] = {}
        for record in _decode_lines(lines, name, line_count):
            groups.setdefault((record.topic, record.partition), []).append(record)
        line_count += len(lines)
        for (topic, partition), group in groups.items():
            offsets = np.array([record.offset for record in group], dtype=np.int64)
            _check_order(offsets, newest.get((topic, partition), -1), name, topic, partition)
            newest[topic, partition] = int(offsets[-1])
            timestamps = np.array([record.timestamp for record in group], dtype=np.int64)
            yield topic, partition, Records([record.value_b64 for record in group], offsets, timestamps)


def _decode_lines(lines: Sequence[bytes], name: str, first_line: int) -> list[CapturedRecord]:
    """The records of a chunk, all at once; one by one only to find the line at fault."""
    try:
        return _CHUNK_DECODER.decode(b"[" + b",".join(filter(None, lines)) + b"]")
    except msgspec.DecodeError:
        pass
    records = []
    for number, line in enumerate(lines, first_line + 1):
        try:
            if line:
                records.append(_LINE_DECODER.decode(line))
        except msgspec.DecodeError as error:
            raise RecordsFileError(
                f"{name}:{number}: expected a captured record such as "
                '{"topic": "requests", "partition": 0, "offset": 7, "timestamp": 1767225600000, '
                f'"value_b64": "e30="}}, found {line[:60]!r} ({error})'
            ) from error
    return records


def _check_order(
    offsets: np.ndarray[tuple[int], np.dtype[np.int64]],
    newest: int,
    name: str,
    topic: str | None,
    partition: int,
) -> None:
    steps = np.diff(offsets, prepend=newest)
    if (steps > 0).all():
        return
    at = int(np.argmax(steps <= 0))
    before = newest if at == 0 else int(offsets[at - 1])
    raise RecordsFileError(
        f"{name}: expected ascending offsets in partition {partition}"
        f"{f' of {topic}' if topic else ''}, found {int(offsets[at])} after {before}; "
        "captures that were joined must be given as separate files"
    )


def _is_captured(line: bytes) -> bool:
    """Whether a file's first line has all fields of a captured record; no ordinary event does."""
    if not line.startswith(b"{") or b"value_b64" not in line:
        return False
    try:
        _LINE_DECODER.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def _chunks(first: bytes, lines: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    gathered, held = [first], len(first)
    for line in lines:
        if len(gathered) == size or held > CHUNK_BYTES_MAX:
            yield gathered
            gathered, held = [], 0
        gathered.append(line)
        held += len(line)
    yield gathered


def _lines(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The lines without their ends (`\\n` or `\\r\\n`); a last line without an end is a line too."""
    begun: list[bytes] = []
    held = 0
    for block in blocks:
        *whole, rest = block.split(b"\n")
        if whole:
            begun.append(whole[0])
            whole[0] = b"".join(begun)
            begun, held = [], 0
        for line in whole:
            yield line.removesuffix(b"\r")
        begun.append(rest)
        held += len(rest)
        if held > LINE_BYTES_MAX:
            raise RecordsFileError(
                f"{name}: expected lines of text, found one of more than {LINE_BYTES_MAX >> 20} MiB"
            )
    last = b"".join(begun)
    if last:
        yield last.removesuffix(b"\r")


def _blocks(stream: io.BufferedReader, name: str) -> Iterator[bytes]:
    """The file's content, decompressed; RecordsFileError where it is damaged or ends too soon."""
    magic = stream.peek(4)[:4]
    try:
        if magic.startswith(_GZIP_MAGIC):
            yield from iter(partial(gzip.GzipFile(fileobj=stream).read, BLOCK_BYTES), b"")
        elif magic == _ZSTD_MAGIC:
            yield from _zstd_blocks(stream)
        else:
            yield from iter(partial(stream.read, BLOCK_BYTES), b"")
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise RecordsFileError(
            f"{name}: expected a whole file, found a damaged or cut one ({error})"
        ) from error


def _zstd_blocks(stream: io.BufferedReader) -> Iterator[bytes]:
    """Block by block, each of which has at most 128 KiB, however small it was compressed.

    The library's own reader takes a cut file for a whole one. See RFC 8878, 3.1.1.
    """
    while magic := stream.read(4):
        if magic[1:] == _ZSTD_SKIPPABLE:
            _exactly(stream, int.from_bytes(_exactly(stream, 4), "little"))
            continue
        descriptor = _exactly(stream, 1)
        flags = descriptor[0]
        single, has_checksum = flags >> 5 & 1, flags >> 2 & 1
        size = (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
        frame = zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(magic + descriptor + _exactly(stream, size))
        last = 0
        while not last:
            head = _exactly(stream, 3)
            number = int.from_bytes(head, "little")
            last, repeats, size = number & 1, number >> 1 & 3 == 1, number >> 3
            yield frame.decompress(head + _exactly(stream, 1 if repeats else size))
        if has_checksum:
            yield frame.decompress(_exactly(stream, 4))


def _exactly(stream: io.BufferedReader, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the last zstd frame has no end")
    return data


@contextmanager
def _opened(source: Source) -> Iterator[_Counted]:
    """The raw bytes of the file, counted."""
    if source == "-":
        yield _Counted(sys.stdin.buffer)
        return
    try:
        raw = source.open("rb")
    except OSError as error:
        raise RecordsFileError(f"{source}: cannot be read ({error.strerror})") from error
    with raw:
        yield _Counted(raw)


class _Counted(io.RawIOBase):
    """A raw stream that counts the bytes taken from it."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._raw.read1(len(buffer)) if hasattr(self._raw, "read1") else self._raw.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)
