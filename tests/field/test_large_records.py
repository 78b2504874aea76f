"""What is too large for a record is cut, split or left out, and stops nothing.

Seen: a value of 1 MB that does not decode, a record of 6 MB that is merely late, and a report of an SLO with
10,000 groups: the producer refused each (MessageSizeTooLargeError), which ended the worker, and ended it
again after every restart.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import aiokafka
import msgspec
import numpy as np
import pytest

from streams.events.batch import Strings
from streams.judge.slo_judge import SliReport
from streams.kafka.log import RECORD_BYTES_MAX, KafkaLog, Partition
from streams.offline.kafka_slis import table_of_records
from streams.partials.payload import Payload
from streams.partials.series import LABEL_LENGTH_MAX, SeriesIndex
from streams.partials.table import Table
from streams.window.blocks import Block, decode_blocks, encode_block
from streams.worker.window_stage import encode_report
from tests.integration.test_worker import configuration, event, slo, source
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.topics import run_blocking
from tests.services.worker import WorkerProcess
from tests.unit.streams.publish.metrics.test_page import SLO

GROUPS = 10_000


def report_of(groups: int) -> SliReport:
    counts = np.arange(3 * groups).reshape(3, groups)
    return SliReport(
        60_000,
        replace(SLO, group_by=("route",)),
        [(f"/{group}",) for group in range(groups)],
        (300_000, 3_600_000, 86_400_000),
        counts,
        counts + 1,
        counts[2],
        counts[2] + 1,
    )


def test_a_report_of_many_groups_is_split_and_read_as_one() -> None:
    report = report_of(20)
    (whole,) = encode_report(report)
    parts = encode_report(report, bytes_max=len(whole) - 1)
    assert len(parts) > 1
    assert all(len(part) < len(whole) for part in parts)
    assert [json.loads(part)["part"] for part in parts] == list(range(len(parts)))
    joined = list(chain.from_iterable(json.loads(part)["groups"] for part in parts))
    assert joined == json.loads(whole)["groups"]
    assert table_of_records(parts).equals(table_of_records([whole]))


def test_a_large_state_beside_large_tables_fits_into_records() -> None:
    rng = np.random.default_rng(7)
    state = msgspec.msgpack.encode(rng.bytes(2_000_000))
    index = SeriesIndex("s", ["a"])
    columns = {"a": Strings(np.arange(30_000, dtype=np.int32), [rng.bytes(16).hex() for _ in range(30_000)])}
    series, counts = index.numbers(columns, 30_000), rng.integers(0, 1 << 62, (30_000, 1))
    tables = [Table("s", index.hashes, index.names, series, series, Payload.of_counts(counts))]
    records = encode_block(Block("s", 0, 5, tables, state))
    assert all(len(key) + len(value) <= RECORD_BYTES_MAX for key, value in records)
    (read,) = decode_blocks(value for _, value in records)
    assert read.state == state


def test_names_of_series_are_bounded() -> None:
    index = SeriesIndex("s", ["a", "b"])
    long = Strings(np.array([0, 1], np.int32), ["x" * 1_000_000, "x" * 2_000_000])
    numbers = index.numbers({"a": long, "b": long}, 2)
    assert numbers.tolist() == [0, 0]
    assert len(index.names[0]) < 2 * LABEL_LENGTH_MAX + 20


class App:
    """A Faust app whose producer takes all that it is given."""

    def __init__(self) -> None:
        self.producer = self
        self.sent: list[bytes] = []

    async def send(self, topic: str, *, value: bytes, **_: Any) -> Any:
        assert len(value) <= RECORD_BYTES_MAX
        self.sent.append(value)


async def test_what_is_too_large_to_inform_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    log = KafkaLog(app)
    for size in (10, RECORD_BYTES_MAX, RECORD_BYTES_MAX + 1, 3 * RECORD_BYTES_MAX):
        acknowledged = await log.inform(Partition("incidents", 0), b"", bytes(size))
        if acknowledged is not None:
            await acknowledged
    assert [len(value) for value in app.sent] == [10, RECORD_BYTES_MAX]
    assert log.left_out == {"incidents": 2}
    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "incidents" in message


def produce_large(kafka: Broker, topic: str, values: list[bytes]) -> None:
    async def send() -> None:
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, max_request_size=8 << 20
        ) as producer:
            for value in values:
                await producer.send_and_wait(topic, value, partition=0)

    run_blocking(send())


def test_large_records_and_reports_stop_no_worker(
    kafka: Broker, topic_name: Callable[[str], str], tmp_path: Path
) -> None:
    topic = kafka.create_topic(topic_name("large"), config={"max.message.bytes": str(8 << 20)})
    app = topic_name("large")
    config = configuration(kafka.bootstrap, app, tmp_path, {"requests": source(topic)})
    grouped = slo("requests")
    grouped["metadata"] = {"name": "availability", "annotations": {"streamgauge/group-by": "route"}}
    (tmp_path / "slo.yaml").write_text(json.dumps(grouped))
    now = time.time() // 60 * 60 - 600
    broken = b"{" + b"x" * ((1 << 20) - 200)
    late = json.dumps({"ts": int((now - 3_600) * 1000), "filling": "x" * (6 << 20)}).encode()
    events = [event(now + n * 120 // GROUPS, route=f"/{n}") for n in range(GROUPS)]
    produce_large(kafka, topic, [event(now, route="/0"), broken, late])
    kafka.produce(topic, [*events, event(now + 300, route="/0"), event(now + 301, route="/1")], partition=0)

    def outcomes() -> dict[str, int]:
        return {
            dict(labels)["outcome"]: int(value)
            for (name, labels), value in worker.samples().items()
            if name == "streamgauge_events_total"
        }

    with WorkerProcess(config, folder=tmp_path) as worker:
        worker.wait_until_ready()
        expected = {"in": GROUPS + 3, "late": 1, "dead": 1}
        wait_until(lambda: outcomes() == expected, timeout_s=90, pause_s=1, what=f"{expected}")
        assert worker.running

        def largest_report() -> int:
            reports: dict[tuple[int, int], int] = {}
            for record in kafka.read_all(f"{app}-slis"):
                assert record.value is not None
                assert len(record.value) <= RECORD_BYTES_MAX
                report = json.loads(record.value)
                place = record.partition, report["at_ms"]
                reports[place] = reports.get(place, 0) + len(report["groups"])
            totals: dict[int, int] = {}
            for (_, at_ms), count in reports.items():
                totals[at_ms] = totals.get(at_ms, 0) + count
            return max(totals.values(), default=0)

        wait_until(lambda: largest_report() == GROUPS, timeout_s=60, pause_s=1, what="all groups")
    letters = {
        dict(record.headers)["reason"].decode(): record for record in kafka.read_all(f"{app}-dead-letters")
    }
    assert letters.keys() == {"bad_json", "late"}
    for reason, value in (("bad_json", broken), ("late", late)):
        record = letters[reason]
        assert record.value is not None
        assert value.startswith(record.value)
        assert dict(record.headers)["truncated"] == str(len(value)).encode()
