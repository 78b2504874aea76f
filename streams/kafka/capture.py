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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import orjson
import zstandard
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.language.problems import nearest

__all__ = ["CaptureError", "Progress", "Taken", "capture_topic", "line_of", "opened_output"]

POLL_MS = 500
"""How long one poll waits; it bounds how late an interrupt is seen."""

RECORDS_POLL_MAX = 5_000

_SECRET = re.compile(r"auth|cookie|token|secret|passw|credential|api[-_.]?key|session", re.IGNORECASE)


class CaptureError(Exception):
    """A topic that cannot be captured; the text says what was expected, what was found, and the way out."""


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


class Record(Protocol):
    """What a line is made of: a record as the client gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


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

    Raises CaptureError where the broker or the topic is not there.
    """
    consumer = AIOKafkaConsumer(
        **client, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        partitions = await _partitions(client, topic)
        await consumer.start()
        await _read(consumer, partitions, write, taken, since_ms, follow, record_count_max, progress)
    except KafkaError as error:
        raise CaptureError(
            f"topic {topic} at {_address(client)} cannot be read: {str(error) or type(error).__name__}"
        ) from error
    finally:
        await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    write: Callable[[bytes], object],
    taken: Taken,
    since_ms: int | None,
    follow: bool,
    record_count_max: int | None,
    progress: Progress | None,
) -> None:
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    starts = await _starts(consumer, partitions, ends, since_ms)
    consumer.assign(partitions)
    for partition, start in starts.items():
        consumer.seek(partition, start)
    waiting = {partition for partition in partitions if follow or starts[partition] < ends[partition]}
    total = None if follow else sum(ends.values()) - sum(starts.values())
    while waiting:
        batches = await consumer.getmany(*waiting, timeout_ms=POLL_MS, max_records=RECORDS_POLL_MAX)
        for partition, records in batches.items():
            for record in records:
                if not follow and record.offset >= ends[partition]:
                    break
                if since_ms is not None and record.timestamp < since_ms:
                    continue
                if taken.record_count == record_count_max:
                    return
                write(line_of(record))
                taken.record_count += 1
                taken.value_bytes += len(record.value or b"")
        # The position, not the last record's offset: the log may end in markers that are no records.
        positions = {partition: await consumer.position(partition) for partition in partitions}
        if not follow:
            waiting = {partition for partition in waiting if positions[partition] < ends[partition]}
        if progress is not None:
            progress(sum(positions.values()) - sum(starts.values()), total)


async def _partitions(client: Mapping[str, Any], topic: str) -> list[TopicPartition]:
    """The topic's partitions; its name is looked up in the list, since asking for a topic may make it."""
    admin = AIOKafkaAdminClient(**client)
    try:
        await admin.start()
        topics = await admin.list_topics()
        if topic not in topics:
            hint = nearest(topic, topics, most=3) or f"there are {len(topics)} other topics"
            raise CaptureError(f"topic {topic}: expected a topic of the broker, found none; {hint}")
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    return [
        TopicPartition(topic, number) for number in sorted(p["partition"] for p in described["partitions"])
    ]


async def _starts(
    consumer: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    ends: Mapping[TopicPartition, int],
    since_ms: int | None,
) -> dict[TopicPartition, int]:
    """Where to begin. The look-up by time only spares reading: each record's own time decides."""
    starts: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
    if since_ms is None:
        return starts
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    for partition in partitions:
        place = found.get(partition)
        if place is None:
            starts[partition] = ends[partition]
        elif place.timestamp is not None and place.timestamp >= since_ms:
            starts[partition] = max(starts[partition], place.offset)
    return starts


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


def _address(client: Mapping[str, Any]) -> str:
    address = client.get("bootstrap_servers", "?")
    return address if isinstance(address, str) else ",".join(address)


@contextlib.contextmanager
def opened_output(target: Path | Literal["-"]) -> Iterator[BinaryIO]:
    """A file to write a capture to, packed as its name says (`.gz`, `.zst`, else plain); `-` is the output.

    The file appears under its name only when it is whole: at the end, or where Ctrl-C ended it.
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
