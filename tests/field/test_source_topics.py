"""A source topic that is deleted, made anew or grown while workers run.

Seen: five and a half minutes in which nothing was read, while `/readyz` said 200 and the lag metric was gone.
aiokafka looks at a topic every five minutes, and then only at the number of its partitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_worker import configuration, every_second, source, wait_for_outcomes
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.worker import WorkerProcess

START_S = 1_779_000_000


@pytest.fixture
def topic(topic_name: Callable[[str], str]) -> str:
    return topic_name("requests")


def working(
    kafka: Broker, topic: str, topic_name: Callable[[str], str], folder: Path, **broker: Any
) -> WorkerProcess:
    sources = {"requests": source(topic, idle="2s")}
    config = configuration(kafka.bootstrap, topic_name("field"), folder, sources, broker=broker)
    return WorkerProcess(config, folder=folder)


def grow(kafka: Broker, topic: str, partitions: int) -> None:
    from aiokafka.admin import NewPartitions

    from tests.services.topics import run_blocking

    run_blocking(kafka._admin(lambda admin: admin.create_partitions({topic: NewPartitions(partitions)})))
    wait_until(lambda: len(kafka.partitions(topic)) == partitions, timeout_s=20, what="the new partitions")


def test_a_topic_that_is_deleted_is_told_by_readiness_and_read_again_once_it_is_back(
    kafka: Broker, topic: str, topic_name: Callable[[str], str], tmp_path: Path
) -> None:
    kafka.create_topic(topic)
    with working(kafka, topic, topic_name, tmp_path, start_at="latest") as worker:
        worker.wait_until_ready()
        kafka.produce(topic, every_second(START_S, 100), partition=0)
        wait_for_outcomes(worker, {"in": 100})
        kafka.delete_topic(topic)
        told = "has no partitions"
        wait_until(lambda: told in worker.log_tail(), timeout_s=40, what=f"a line that says {told}")
        assert not worker.ready()
        kafka.create_topic(topic)
        kafka.produce(topic, every_second(START_S + 200, 50), partition=0)
        wait_for_outcomes(worker, {"in": 150})
        assert worker.ready()


def test_a_topic_that_is_made_anew_between_two_looks_is_read_from_its_beginning(
    kafka: Broker, topic: str, topic_name: Callable[[str], str], tmp_path: Path
) -> None:
    """The new one holds more records than the old one, so no offset gives it away."""
    kafka.create_topic(topic)
    with working(kafka, topic, topic_name, tmp_path) as worker:
        worker.wait_until_ready()
        kafka.produce(topic, every_second(START_S, 100), partition=0)
        wait_for_outcomes(worker, {"in": 100})
        kafka.delete_topic(topic)
        wait_until(lambda: topic not in kafka.list_topics(), timeout_s=20, what="the topic's end")
        kafka.create_topic(topic)
        kafka.produce(topic, every_second(START_S + 200, 300), partition=0)
        wait_for_outcomes(worker, {"in": 400})


def test_a_partition_that_is_added_is_read_from_its_beginning(
    kafka: Broker, topic: str, topic_name: Callable[[str], str], tmp_path: Path
) -> None:
    """With `start_at: latest` too, since what it holds came after the first start."""
    kafka.create_topic(topic)
    kafka.produce(topic, every_second(START_S - 500, 30), partition=0)
    with working(kafka, topic, topic_name, tmp_path, start_at="latest") as worker:
        worker.wait_until_ready()
        kafka.produce(topic, every_second(START_S, 100), partition=0)
        wait_for_outcomes(worker, {"in": 100})
        grow(kafka, topic, 2)
        kafka.produce(topic, every_second(START_S + 100, 60), partition=1)
        wait_for_outcomes(worker, {"in": 160})


def test_what_was_counted_before_a_restart_is_not_reported_as_lost(
    kafka: Broker, topic: str, topic_name: Callable[[str], str], tmp_path: Path
) -> None:
    """Seen: a restart reads again from the committed offset, and called all that was deleted there lost."""
    kafka.create_topic(topic)
    with working(kafka, topic, topic_name, tmp_path) as worker:
        worker.wait_until_ready()
        kafka.produce(topic, every_second(START_S, 100), partition=0)
        wait_for_outcomes(worker, {"in": 100})
        time.sleep(2.5)  # for the commit that tells of it
        worker.stop()
        kafka.produce(topic, every_second(START_S + 100, 7), partition=0)
        kafka.delete_records(topic, {0: 105})
        worker.start()
        worker.wait_until_ready()
        lost = ("streamgauge_lost_records_total", (("source", "requests"),))
        wait_until(lambda: worker.samples().get(lost) == 5, timeout_s=60, what="five lost records")
        assert "5 records" in worker.log_tail()
