"""Seen: `streamgauge_dead_letters_total` began to exist with its first dead letter, so that `increase()` saw
none and the rule that warns of dead letters was silent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from streams.decode.format import COMMON_REASONS, JSON_REASONS
from tests.integration.test_worker import configuration, event, source
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.worker import WorkerProcess

REASONS = {*JSON_REASONS, *COMMON_REASONS}


def dead(workers: list[WorkerProcess]) -> list[tuple[str, int]]:
    """(reason, count) of each series that any of the workers shows."""
    return sorted(
        (dict(labels)["reason"], int(value))
        for worker in workers
        for (name, labels), value in worker.samples().items()
        if name == "streamgauge_dead_letters_total"
    )


def test_each_reason_has_a_counter_at_one_worker_before_the_first_dead_letter(
    kafka: Broker, topic_name: Callable[[str], str], tmp_path: Path
) -> None:
    topic, app = kafka.create_topic(topic_name("requests"), partitions=2), topic_name("first")
    config = configuration(kafka.bootstrap, app, tmp_path, {"requests": source(topic)})
    with ExitStack() as stack:
        workers = [
            stack.enter_context(WorkerProcess(config, folder=tmp_path, name=name)) for name in ("a", "b")
        ]
        for worker in workers:
            worker.wait_until_ready(timeout_s=120)

        none = sorted((reason, 0) for reason in REASONS)
        one = sorted((reason, int(reason == "bad_json")) for reason in REASONS)
        wait_until(lambda: dead(workers) == none, timeout_s=120, what="a zero for each reason")
        start = time.time() - 600
        kafka.produce(topic, [event(start), b"{", event(start + 400)], partition=0)
        wait_until(lambda: dead(workers) == one, timeout_s=120, what="one dead letter")
        # The counts move with their partitions, and no worker shows another's.
        workers[0].stop()
        wait_until(lambda: dead(workers[1:]) == one, timeout_s=120, what="the same at the other worker")
