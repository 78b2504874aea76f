"""The floor: an aiokafka `getmany` loop that adds up the lengths of the values and does nothing else."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from benchmarks.peers.job import Stopwatch, arguments


async def main() -> None:
    options = arguments()
    consumer = AIOKafkaConsumer(
        options.topic,
        bootstrap_servers=options.bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
    )
    async with consumer:
        partitions: set[TopicPartition] = consumer.assignment()
        assert partitions, f"topic {options.topic} has no partitions"
        events = length = 0
        watch = Stopwatch()
        watch.start()
        while events < options.events:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                events += len(records)
                for record in records:
                    length += len(record.value)
        watch.write(options.result, events=events, check={"bytes": length})


if __name__ == "__main__":
    asyncio.run(main())
