"""What is said of a broker that is away, and what is not."""

from __future__ import annotations

import logging

import pytest

from streams.worker.broker_watch import SAY_EVERY_S, BrokerWatch


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> BrokerWatch:
    return BrokerWatch(["kafka:9092"], clock)


def record(name: str, message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "", 0, message, values, None)


def outage(watch: BrokerWatch, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now_s += 1
        watch.note(connected=False, silent_s=0.0)


def test_an_outage_is_said_once_in_a_while_and_its_end(
    watch: BrokerWatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    outage(watch, clock, 100)
    watch.note(connected=True, silent_s=0.0)
    first, *more, last = [one.getMessage() for one in caplog.records]
    assert first.startswith("The broker at kafka:9092 has been away since")
    assert len(more) == 100 // SAY_EVERY_S
    assert last == "The broker answers again, after 100 s"


def test_a_connection_that_is_made_anew_is_no_outage(watch: BrokerWatch, clock: Clock) -> None:
    outage(watch, clock, 1)
    watch.note(connected=True, silent_s=0.0)
    outage(watch, clock, 1)
    assert not watch.away


def test_a_broker_that_hangs_is_away(watch: BrokerWatch, clock: Clock) -> None:
    watch.note(connected=True, silent_s=29.0)
    assert not watch.away
    watch.note(connected=True, silent_s=31.0)
    assert watch.away


def test_clients_are_quiet_while_the_broker_is_away(watch: BrokerWatch, clock: Clock) -> None:
    def said(*of: object) -> bool:
        return bool(watch.filter(record(*of)))  # type: ignore[arg-type]

    assert said("aiokafka.conn", "Unable to connect to %s", 1)
    assert not said("aiokafka.conn", "Unable to connect to %s", 2)
    assert said("aiokafka.conn", "Something else of %s", 2)
    outage(watch, clock, 40)
    assert not said("aiokafka.conn", "Unable to connect to %s", 3)
    assert not said("streams.worker.aggregate_stage", "Flush of %s failed, its content", 1)
    assert said("streams.worker.aggregate_stage", "%d records of %s were deleted before", 1, 2)
    watch.note(connected=True, silent_s=0.0)
    assert said("aiokafka.conn", "Unable to connect to %s", 4)
