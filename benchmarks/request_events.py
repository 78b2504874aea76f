"""The events of the benchmarks: requests to 100 services with 100 routes each, at a steady 20,000 a second.

Series are drawn uniformly, the hardest case for whoever aggregates, since no series is ever hot. 1 % of
the answers are server errors; latencies are log-normal with a median of 40 ms. Everything comes from
one seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

SERVICE_COUNT = 100
ROUTE_COUNT = 100
SERIES_COUNT = SERVICE_COUNT * ROUTE_COUNT
EVENTS_PER_SECOND = 20_000
CHUNK = 50_000

BATCH_BYTES = 16_384
"""Size at which a producer closes a batch: the default of the Java client and of aiokafka."""

BATCHES_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Filled:
    """What a filled topic holds: the truth that every peer must find."""

    events: int
    errors: int
    value_bytes: int


def events(
    count: int, *, start_ms: int, service_count: int = SERVICE_COUNT, seed: int = 6
) -> Iterator[tuple[int, bytes, bytes, bool]]:
    """Yield (time in ms, key, value, is an error) in the order of time."""
    random = np.random.default_rng(seed)
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        times = start_ms + (np.arange(first, first + size) * 1000) // EVENTS_PER_SECOND
        services = random.integers(service_count, size=size)
        routes = random.integers(ROUTE_COUNT, size=size)
        failed = random.random(size) < 0.01
        durations = random.lognormal(mean=np.log(40.0), sigma=0.8, size=size)
        clients = random.integers(256, size=size)
        columns = zip(
            times.tolist(),
            services.tolist(),
            routes.tolist(),
            failed.tolist(),
            durations.tolist(),
            clients.tolist(),
            strict=True,
        )
        for time_ms, service, route, error, duration, client in columns:
            value = (
                f'{{"ts":{time_ms},"service":"svc-{service}","route":"/r/{route}","method":"GET",'
                f'"status":{503 if error else 200},"duration_ms":{duration:.3f},'
                f'"client":"10.120.137.{client}"}}'
            )
            yield time_ms, b"svc-%d/r/%d" % (service, route), value.encode(), error


def partition_of(key: bytes, partition_count: int) -> int:
    """Return the partition that every Kafka client gives a key."""
    return int(murmur2(key) & 0x7FFFFFFF) % partition_count


async def fill(
    bootstrap: str,
    topic: str,
    *,
    count: int,
    partition_count: int,
    start_ms: int,
    compression: str | None = None,
    spread: bool = False,
    progress: Callable[[int], None] = lambda sent: None,
) -> Filled:
    """Write the events to an existing topic, in full batches as a busy producer with some linger makes them.

    A record's key is its series and chooses the partition as every Kafka client does (murmur2), unless
    `spread`: then events go round all partitions, and every partition holds every series.
    """
    partitions: dict[bytes, int] = {}
    errors = value_bytes = sent = 0
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        max_batch_size=BATCH_BYTES,
        compression_type=compression,
        enable_idempotence=True,  # or a retry could swap batches of a partition
    )
    async with producer:
        batches = [producer.create_batch() for _ in range(partition_count)]
        flying: set[asyncio.Future[object]] = set()

        async def send(partition: int) -> None:
            nonlocal flying
            if len(flying) >= BATCHES_IN_FLIGHT:
                done, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    future.result()
            batches[partition].close()
            flying.add(await producer.send_batch(batches[partition], topic, partition=partition))
            batches[partition] = producer.create_batch()

        for time_ms, key, value, error in events(count, start_ms=start_ms):
            if spread:
                partition = sent % partition_count
            else:
                known = partitions.get(key)
                partition = partition_of(key, partition_count) if known is None else known
                partitions[key] = partition
            if batches[partition].append(key=key, value=value, timestamp=time_ms) is None:
                await send(partition)
                batches[partition].append(key=key, value=value, timestamp=time_ms)
            errors += error
            value_bytes += len(value)
            sent += 1
            if sent % CHUNK == 0:
                progress(sent)
        for partition in range(partition_count):
            if batches[partition].record_count():
                await send(partition)
        for future in flying:
            await future
    return Filled(events=sent, errors=errors, value_bytes=value_bytes)
