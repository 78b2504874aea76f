"""Sends the shop's traffic to the broker while the clock runs, with event time faster than the clock.

Guarantee: the events are the shop's, in order within each partition; a machine that is too slow makes the
steps longer, never the traffic thinner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer

from streams.demo.setup import PARTITIONS
from streams.demo.traffic import Shop

__all__ = ["Pace", "produce_traffic"]

STEP_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the demo runs.

    duration_s : seconds by the clock
    rate       : requests a second by the clock
    speed      : seconds of event time in a second by the clock
    start_ms   : event time at which it begins
    """

    duration_s: float
    rate: float
    speed: float
    start_ms: int

    def time_ms(self, elapsed_s: float) -> int:
        """Event time after `elapsed_s` by the clock."""
        return self.start_ms + int(elapsed_s * self.speed * 1_000)

    @property
    def end_ms(self) -> int:
        return self.time_ms(self.duration_s)


async def produce_traffic(bootstrap: str, shop: Shop, pace: Pace) -> None:
    """Send traffic until the duration is over; every event is acknowledged before this returns."""
    loop = asyncio.get_running_loop()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20) as producer:
        began = loop.time()
        done_s, requests = 0.0, 0
        while done_s < pace.duration_s:
            await asyncio.sleep(max(0.0, began + done_s + STEP_SECONDS - loop.time()))
            now_s = min(loop.time() - began, pace.duration_s)
            wanted = int(now_s * pace.rate)
            events = shop.serve(pace.time_ms(done_s), pace.time_ms(now_s), wanted - requests)
            await _send(producer, events)
            done_s, requests = now_s, wanted
        await producer.flush()


async def _send(producer: AIOKafkaProducer, events: Mapping[str, list[tuple[int, bytes]]]) -> None:
    for topic, rows in events.items():
        for number, (time_ms, value) in enumerate(rows):
            await producer.send(topic, value, partition=number % PARTITIONS, timestamp_ms=time_ms)
