"""Topics of a test's broker: made, filled, read back and deleted by plain calls, also from async tests."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from tests.services.process import wait_until

Result = TypeVar("Result")


def unique_name(stem: str = "test") -> str:
    """Return a name for a topic, group or app that no other test has, such as `test-3f9c2a1b`."""
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def run_blocking(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on a loop and a thread of its own, so that callers with a running loop can wait."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


class Topics:
    """The topics and groups behind one address.

    bootstrap : `host:port`
    """

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def answers(self) -> bool:
        """Tell whether the broker lists topics and has a coordinator for groups, the last to come up."""

        async def ask(admin: AIOKafkaAdminClient) -> None:
            await admin.list_topics()
            await admin.find_coordinator("streamgauge-ready")

        try:
            run_blocking(self._admin(ask))
        except (aiokafka.errors.KafkaError, OSError, TimeoutError):
            return False
        return True

    def wait_until_it_answers(self, *, timeout_s: float) -> None:
        wait_until(self.answers, timeout_s=timeout_s, what=f"an answer from the broker at {self.bootstrap}")

    def list_topics(self) -> list[str]:
        return sorted(run_blocking(self._admin(lambda admin: admin.list_topics())))

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Make a topic and return its name; `config` as Kafka names it (`cleanup.policy`, …)."""
        topic = NewTopic(name, partitions, 1, topic_configs=dict(config or {}))
        response = run_blocking(self._admin(lambda admin: admin.create_topics([topic])))
        for _, code, message in response.topic_errors:
            if code:
                raise aiokafka.errors.for_code(code)(f"topic {name}: {message}")
        # The answer comes before the leaders are chosen, and a client that asks too early waits and warns.
        wait_until(
            lambda: len(self.partitions(name)) == partitions,
            timeout_s=20.0,
            what=f"topic {name} with leaders",
        )
        self.end_offsets(name)  # asks each leader, until it knows that it is one
        return name

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Return the partitions that have a leader; empty when there is no such topic."""
        (described,) = run_blocking(self._admin(lambda admin: admin.describe_topics([topic])))
        return [
            TopicPartition(topic, p["partition"])
            for p in sorted(described["partitions"], key=lambda p: p["partition"])
            if p["error_code"] == 0 and p["leader"] >= 0
        ]

    def delete_topic(self, name: str) -> None:
        run_blocking(self._admin(lambda admin: admin.delete_topics([name])))

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Cut the log: in each partition, records below the given offset are gone."""
        from aiokafka.admin import RecordsToDelete

        cut = {TopicPartition(topic, p): RecordsToDelete(before_offset=o) for p, o in before.items()}
        run_blocking(self._admin(lambda admin: admin.delete_records(cut)))

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """Return the committed offsets of a consumer group."""
        offsets: Mapping[TopicPartition, OffsetAndMetadata] = run_blocking(
            self._admin(lambda admin: admin.list_consumer_group_offsets(group))
        )
        return {partition: value.offset for partition, value in offsets.items()}

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return each partition's end offset."""
        partitions = self.partitions(topic)

        async def ask() -> dict[int, int]:
            async with aiokafka.AIOKafkaConsumer(bootstrap_servers=self.bootstrap) as consumer:
                ends = await consumer.end_offsets(partitions)
                return {partition.partition: offset for partition, offset in ends.items()}

        return run_blocking(ask())

    def produce(
        self,
        topic: str,
        values: Iterable[bytes | None],
        *,
        partition: int | None = None,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
        compression: str | None = None,
        linger_ms: int = 5,
    ) -> int:
        """Send values, wait until all are stored, return how many.

        Without `partition` and `key` they go to the partitions as the client's partitioner pleases.
        """

        async def send() -> int:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=self.bootstrap, compression_type=compression, linger_ms=linger_ms
            )
            count = 0
            async with producer:
                futures = []
                for value in values:
                    futures.append(
                        await producer.send(
                            topic, value, key=key, partition=partition, timestamp_ms=timestamp_ms
                        )
                    )
                    count += 1
                await producer.flush()
                for future in futures:
                    future.result()
            return count

        return run_blocking(send())

    def read_all(self, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
        """Return every record that the topic holds now, in order within each partition."""
        partitions = self.partitions(topic)

        async def read() -> list[ConsumerRecord[bytes, bytes]]:
            records: list[ConsumerRecord[bytes, bytes]] = []
            consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
            async with consumer:
                ends = await consumer.end_offsets(partitions)
                consumer.assign(partitions)
                await consumer.seek_to_beginning(*partitions)
                waiting = set(partitions)
                while waiting:
                    for batch in (await consumer.getmany(*waiting, timeout_ms=200)).values():
                        records.extend(batch)
                    waiting = {tp for tp in waiting if await consumer.position(tp) < ends[tp]}
            return sorted(records, key=lambda record: (record.partition, record.offset))

        return run_blocking(read())

    async def _admin(self, work: Any) -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=20_000)
        await admin.start()
        try:
            return await work(admin)
        finally:
            await admin.close()
