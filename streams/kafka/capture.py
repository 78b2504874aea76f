"""Records of a topic as lines of JSON, so that any topic becomes a test case that `replay` reads.

Guarantee: it only reads. No consumer group, no commit, so nobody's position moves; nothing of the
configuration is written, and header values whose name tells a secret are left out. Values and keys are
written as they are, for they are the case: whoever passes a capture on passes on what the events say.

A line is one record: `topic`, `partition`, `offset`, `timestamp` (ms), `key_b64`, `headers` (pairs of name
and base64), `value_b64` (null for a tombstone). Within a partition offsets ascend.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import orjson
import zstandard

from streams.kafka.topic_reader import Record, open_topic

__all__ = ["Progress", "Taken", "capture_topic", "line_of", "opened_output"]

_SECRET = re.compile(r"auth|cookie|token|secret|passw|credential|api[-_.]?key|session", re.IGNORECASE)


class Progress(Protocol):
    """Told how far the reading has come."""

    def __call__(self, done: int, total: int | None) -> None:
        """`done` of `total` offsets are read; None where the end is open."""
        ...


@dataclass(slots=True)
class Taken:
    """What a capture holds so far; `record_count` tells how far it came also when it is interrupted."""

    record_count: int = 0
    value_bytes: int = 0


async def capture_topic(
    topic: str,
    *,
    client: Mapping[str, Any],
    write: Callable[[bytes], object],
    taken: Taken,
    since_ms: int | None = None,
    follow: bool = False,
    record_count_max: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the records of `topic` up to the ends it has now.

    client   : arguments of aiokafka's consumer: address, security
    write    : takes each line, its end included
    taken    : counts what was written
    since_ms : records with older timestamps are left out
    follow   : go on after the ends, until cancelled or `record_count_max` is reached

    Raises TopicError where the broker or the topic is not there.
    """
    async with open_topic(client, topic, since_ms=since_ms) as reader:
        async for records in reader.for_ever() if follow else reader.to_ends():
            for record in records:
                # The look-up by time only spares reading: each record's own time decides.
                if since_ms is not None and record.timestamp < since_ms:
                    continue
                if taken.record_count == record_count_max:
                    return
                write(line_of(record))
                taken.record_count += 1
                taken.value_bytes += len(record.value or b"")
            if progress is not None:
                progress(reader.offsets_read, None if follow else reader.offsets_total)


def line_of(record: Record) -> bytes:
    """One record as a line of a capture."""
    return orjson.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key_b64": _base64(record.key),
            "headers": [
                (name, None if _SECRET.search(name) else _base64(value)) for name, value in record.headers
            ],
            "value_b64": _base64(record.value),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


@contextlib.contextmanager
def opened_output(target: Path | Literal["-"]) -> Iterator[BinaryIO]:
    """A file to write a capture to, packed as its name says (`.gz`, `.zst`, else plain); `-` is the output.

    The file appears under its name only when it is whole: at the end, or where a signal ended it.
    """
    if target == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = target.with_name(target.name + ".part")
    interrupt = None
    try:
        with part.open("wb") as raw, _packed(raw, target.suffix) as output:
            try:
                yield output
            except KeyboardInterrupt as error:
                interrupt = error
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    if interrupt is not None:
        raise interrupt


@contextlib.contextmanager
def _packed(raw: BinaryIO, suffix: str) -> Iterator[Any]:
    if suffix == ".gz":
        # No name and no time in the header: the same records give the same file.
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
            yield packed
    elif suffix == ".zst":
        with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as packed:
            yield packed
    else:
        yield raw
