"""Capturing topics of a real Kafka."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiokafka
import pytest

from streams.kafka.capture import Taken, capture_topic
from streams.kafka.topics import TopicError
from tests.services.kafka import Broker
from tests.services.topics import unique_name

ROOT = Path(__file__).parents[2]


async def captured(kafka: Broker, topic: str, **options: Any) -> list[dict[str, Any]]:
    lines: list[bytes] = []
    taken = Taken()
    await capture_topic(
        topic, client={"bootstrap_servers": kafka.bootstrap}, write=lines.append, taken=taken, **options
    )
    assert taken.record_count == len(lines)
    return [json.loads(line) for line in lines]


async def test_all_records_are_taken_and_no_group_is_left(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name(), partitions=3)
    kafka.produce(
        topic, [b"one", None, b"three"], partition=2, key=b"n", timestamp_ms=1_000, compression="zstd"
    )
    kafka.produce(topic, [b"key"], partition=0, key=b"k", timestamp_ms=2_000)
    progress: list[tuple[int, int | None]] = []
    rows = await captured(kafka, topic, progress=lambda done, total: progress.append((done, total)))
    fields = ("partition", "offset", "timestamp", "key_b64", "value_b64")
    assert sorted(tuple(row[field] for field in fields) for row in rows) == [
        (0, 0, 2_000, "aw==", "a2V5"),
        (2, 0, 1_000, "bg==", "b25l"),
        (2, 1, 1_000, "bg==", None),
        (2, 2, 1_000, "bg==", "dGhyZWU="),
    ]
    assert progress[-1] == (4, 4)


async def test_an_empty_topic_ends_at_once(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name(), partitions=2)
    assert await asyncio.wait_for(captured(kafka, topic), 10) == []


async def test_only_the_last_minutes_are_taken(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name(), partitions=2)
    now_ms = int(time.time() * 1000)
    for age_s in (3_600, 1_200, 300, 0):
        kafka.produce(topic, [b"%d" % age_s], partition=0, timestamp_ms=now_ms - age_s * 1_000)
    kafka.produce(topic, [b"old"], partition=1, timestamp_ms=now_ms - 3_600_000)
    rows = await captured(kafka, topic, since_ms=now_ms - 600_000)
    assert [(r["partition"], r["offset"]) for r in rows] == [(0, 2), (0, 3)]


async def test_a_log_that_ends_in_a_transaction_marker_is_read_to_its_end(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name())
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=unique_name("tx")
    )
    async with producer, producer.transaction():
        await producer.send_and_wait(topic, b"in a transaction")
    assert kafka.end_offsets(topic) == {0: 2}
    rows = await asyncio.wait_for(captured(kafka, topic), 20)
    assert [r["offset"] for r in rows] == [0]


async def test_a_limit_ends_the_capture(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name())
    kafka.produce(topic, [b"%d" % number for number in range(20)], partition=0)
    assert [r["offset"] for r in await captured(kafka, topic, record_count_max=7)] == list(range(7))


async def test_following_goes_on_after_the_end(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name())
    kafka.produce(topic, [b"before"], partition=0)
    following = asyncio.create_task(captured(kafka, topic, follow=True, record_count_max=2))
    await asyncio.sleep(1.0)
    assert not following.done()
    await asyncio.to_thread(kafka.produce, topic, [b"after", b"too late"], partition=0)
    rows = await asyncio.wait_for(following, 20)
    assert [r["value_b64"] for r in rows] == ["YmVmb3Jl", "YWZ0ZXI="]


async def test_a_missing_topic_is_named_with_its_neighbour_and_not_made(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name("requests"))
    with pytest.raises(TopicError, match=rf"did you mean {topic}"):
        await captured(kafka, f"{topic}s")
    assert f"{topic}s" not in kafka.list_topics()


async def test_a_broker_that_is_not_there_is_named() -> None:
    with pytest.raises(TopicError, match=r"topic t at 127\.0\.0\.1:9 cannot be read"):
        await capture_topic(
            "t", client={"bootstrap_servers": "127.0.0.1:9"}, write=lambda line: None, taken=Taken()
        )


def streamgauge(*arguments: str, stdin: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli", *arguments],
        cwd=ROOT,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def config(kafka: Broker, tmp_path: Path) -> tuple[Path, str]:
    """An access log's configuration on a topic of its own, and that topic."""
    topic = kafka.create_topic(unique_name("access"), partitions=2)
    example = (ROOT / "examples" / "access-log.yaml").read_text()
    changes = {"topic: access-log": f"topic: {topic}", "127.0.0.1:9092": kafka.bootstrap}
    for old, new in changes.items():
        assert old in example
        example = example.replace(old, new)
    path = tmp_path / "streamgauge.yaml"
    path.write_text(example.replace("slos/", f"{ROOT}/examples/slos/"))
    return path, topic


LINE = '203.0.113.14 - - [25/Nov/2026:05:54:{:02} +0000] "GET / HTTP/1.1" {} 16 "-" "-" 0.020'


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_captured_topic_is_replayed_like_its_lines(
    kafka: Broker, config: tuple[Path, str], tmp_path: Path, suffix: str
) -> None:
    path, topic = config
    for partition in (0, 1):
        lines = [LINE.format(second, 500 if second % 9 == partition else 200) for second in range(40)]
        kafka.produce(topic, [line.encode() for line in lines], partition=partition, compression="lz4")
    file, out = str(tmp_path / f"taken{suffix}"), str(tmp_path / "out")
    # By the source's name; the topic is found in the configuration.
    capture = streamgauge("capture", "access_log", "-c", str(path), "--output", file)
    _, errors = capture.communicate(timeout=60)
    assert capture.returncode == 0, errors
    assert f"80 records, {sum(map(len, lines)) * 2:,} bytes of values, in {file}" in errors
    replay = streamgauge("replay", file, "-c", str(path), "--output", out, "--json")
    output, errors = replay.communicate(timeout=60)
    assert replay.returncode == 0, errors
    summary = json.loads(output)
    assert [summary[key] for key in ("events", "good", "bad", "late", "dead")] == [80, 70, 10, 0, 0]


def test_capture_to_standard_output_is_only_lines(kafka: Broker, config: tuple[Path, str]) -> None:
    path, topic = config
    kafka.produce(topic, [b"one", b"two"], partition=1)
    capture = streamgauge("capture", topic, "-c", str(path), "--output", "-")
    output, errors = capture.communicate(timeout=60)
    assert capture.returncode == 0, errors
    assert [json.loads(line)["offset"] for line in output.splitlines()] == [0, 1]
