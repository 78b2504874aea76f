"""How long an event takes from a producer to `/metrics`, and what a scrape of many series costs.

    python benchmarks/latency.py [--seconds 30] [--rate 20000]

A real Kafka and a real worker. First a producer sends requests of 1,000 series at a steady rate, in
batches of 20 ms; ten times a second the page is read, and every event that it counts for the first time
has become visible: that is the end of its way, the reading included. Then a fresh worker reads requests
of 10,000 series, and once it has them the page is read again and again, while `/healthz` is asked
without a pause: its longest answer bounds how long a scrape keeps the event loop busy.

One JSON object goes to stdout, progress to stderr; the goals are p50 1.5 s, p99 3 s, a scrape 0.5 s,
0.05 s of the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from aiokafka import AIOKafkaProducer  # noqa: E402

from benchmarks.request_events import SERIES_COUNT, events, fill, partition_of  # noqa: E402
from benchmarks.throughput import PARTITION_COUNT, machine, say  # noqa: E402
from benchmarks.worker_process import MeasuredWorker, worker_config  # noqa: E402
from tests.services.http import get_text  # noqa: E402
from tests.services.kafka import Broker, open_broker  # noqa: E402
from tests.services.process import wait_until  # noqa: E402
from tests.services.topics import unique_name  # noqa: E402

TICK_S = 0.02
SCRAPE_EVERY_S = 0.1
SCRAPE_COUNT = 10


async def produce(
    bootstrap: str, topic: str, *, rate: int, seconds: float, sent: list[tuple[float, int]]
) -> None:
    """Send `rate` events a second, with the time they are sent; note (time, count so far) at each tick."""
    total = int(rate * seconds)
    # What does not change is made ahead, so that producer and worker do not fight for the processor.
    prepared = [
        (key, value[value.index(b",") :], partition_of(key, PARTITION_COUNT))
        for _, key, value, _ in events(total, start_ms=0, service_count=10)
    ]
    count, started = 0, time.time()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1 << 20) as producer:
        while count < total:
            now_ms = int(time.time() * 1000)
            until = min(total, int((now_ms / 1000 - started) * rate))
            batches = {}
            for key, rest, partition in prepared[count:until]:
                if partition not in batches:
                    batches[partition] = producer.create_batch()
                batches[partition].append(key=key, value=b'{"ts":%d' % now_ms + rest, timestamp=now_ms)
            for partition, batch in batches.items():
                batch.close()
                await producer.send_batch(batch, topic, partition=partition)
            count = max(count, until)
            sent.append((now_ms / 1000, count))
            await asyncio.sleep(TICK_S)


def ask_health(url: str, stop: threading.Event, answers_s: list[float]) -> None:
    """Note the seconds of each answer of `/healthz`, one question after the other."""
    while not stop.is_set():
        asked = time.perf_counter()
        get_text(f"{url}/healthz")
        answers_s.append(time.perf_counter() - asked)
        stop.wait(0.005)


@contextlib.contextmanager
def worker_on(broker: Broker, topic: str) -> Iterator[MeasuredWorker]:
    config = worker_config(broker.bootstrap, topic, partition_count=PARTITION_COUNT)
    with (
        tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as scratch,
        MeasuredWorker(config, folder=Path(scratch)) as worker,
    ):
        worker.wait_for_log("Reading ", timeout_s=120.0)
        worker.wait_until_it_answers()
        yield worker


def measure_visibility(broker: Broker, *, rate: int, seconds: float) -> list[float]:
    """Return, ascending, how long the last event of each tick took to be counted on the page."""
    topic = broker.create_topic(unique_name("requests"), partitions=PARTITION_COUNT)
    total = int(rate * seconds)
    sent: list[tuple[float, int]] = []
    seen: list[tuple[float, int]] = []
    with worker_on(broker, topic) as worker:
        say(f"sending {rate:,} events a second for {seconds:g} s")
        work = produce(broker.bootstrap, topic, rate=rate, seconds=seconds, sent=sent)
        feeding = threading.Thread(target=asyncio.run, args=(work,))
        feeding.start()
        deadline = time.time() + seconds + 60
        while not seen or seen[-1][1] < total:
            time.sleep(SCRAPE_EVERY_S)
            count = int(worker.metric("streamgauge_events_total", source="requests"))
            seen.append((time.time(), count))
            if time.time() > deadline:
                sys.exit(f"only {count:,} of {total:,} events became visible")
        feeding.join()
    return sorted(visible_after(sent, seen))


def measure_scrapes(broker: Broker, *, series_count: int) -> tuple[list[float], float]:
    """Return the seconds of each scrape of a page with so many series, and the event loop's longest pause."""
    topic = broker.create_topic(unique_name("requests"), partitions=PARTITION_COUNT)
    count = 20 * series_count
    say(f"filling a topic with {series_count:,} series")
    start_ms = int(time.time() - 60) * 1000
    asyncio.run(
        fill(broker.bootstrap, topic, count=count, partition_count=PARTITION_COUNT, start_ms=start_ms)
    )
    health: list[float] = []
    scrapes = []
    with worker_on(broker, topic) as worker:
        wait_until(
            lambda: worker.metric("streamgauge_events_total", source="requests") >= count,
            timeout_s=120.0,
            what="that the worker has read everything",
        )
        stop = threading.Event()
        asking = threading.Thread(target=ask_health, args=(worker.url, stop, health))
        asking.start()
        for _ in range(SCRAPE_COUNT):
            asked = time.perf_counter()
            page = get_text(f"{worker.url}/metrics")
            scrapes.append(time.perf_counter() - asked)
            time.sleep(0.5)
        stop.set()
        asking.join()
    say(f"the page has {page.count(chr(10)):,} lines, {len(page) / 1e6:.1f} MB")
    return scrapes, max(health)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="default: 30")
    parser.add_argument("--rate", type=int, default=20_000, help="events a second; default: 20000")
    options = parser.parse_args()
    with open_broker() as broker:
        latencies = measure_visibility(broker, rate=options.rate, seconds=options.seconds)
        scrapes, busy = measure_scrapes(broker, series_count=SERIES_COUNT)
    report = {
        "machine": machine(),
        "events_per_second": options.rate,
        "visible_seconds": {
            "p50": round(latencies[len(latencies) // 2], 3),
            "p99": round(latencies[int(len(latencies) * 0.99)], 3),
        },
        "scrape_series": SERIES_COUNT,
        "scrape_seconds": {"median": round(statistics.median(scrapes), 3), "max": round(max(scrapes), 3)},
        "event_loop_busy_seconds_max": round(busy, 3),
    }
    print(json.dumps(report))


def visible_after(sent: list[tuple[float, int]], seen: list[tuple[float, int]]) -> list[float]:
    """Return for each tick of the producer how long its last event took to be counted on the page.

    The page counts events, it does not name them: the n-th one sent is taken to be visible with the
    n-th counted.
    """
    result = []
    reading = iter(seen)
    at, counted = next(reading)
    for sent_at, number in sent:
        while counted < number:
            at, counted = next(reading)
        result.append(at - sent_at)
    return result


if __name__ == "__main__":
    main()
