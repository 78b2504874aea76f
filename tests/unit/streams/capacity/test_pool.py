"""Processes that forecast: results, refusals, deadlines, crashes and bounds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from models.processes import STARTS_MAX
from streams.capacity.pool import Finished, ForecastPool
from streams.capacity.task import ForecastMade, ForecastTask
from streams.plan.resource import SeriesKey

HOUR_MS = 3_600_000


class Moody:
    """Does what the resource's name says."""

    def run(self, task: ForecastTask) -> ForecastMade:
        match task.key.resource:
            case "hangs":
                time.sleep(600)
            case "dies":
                os._exit(3)
            case "refuses":
                raise ValueError("there is nothing to forecast from")
        return ForecastMade(task.key, task.origin_ms, task.step_ms, (), float(os.getpid()))


def broken() -> Moody:
    os._exit(4)


def task(name: str, label: str = "") -> ForecastTask:
    starts = np.arange(3, dtype=np.int64) * HOUR_MS
    return ForecastTask(SeriesKey(name, (label,)), starts, (np.ones(3),), HOUR_MS, 2, seed=0)


@contextmanager
def pool_of(make_runner: type[Moody] | object = Moody, **options: object) -> Iterator[ForecastPool]:
    pool = ForecastPool(make_runner=make_runner, **options)  # type: ignore[arg-type]
    try:
        yield pool
    finally:
        pool.close()


def finish(pool: ForecastPool) -> list[Finished]:
    """Collect until nothing is on its way."""
    done: list[Finished] = []
    ends = time.monotonic() + 120
    while pool.busy:
        done += pool.collect()
        assert time.monotonic() < ends, "the pool hangs"
        time.sleep(0.005)
    return done


def test_what_hangs_is_killed_and_what_dies_is_told_while_the_rest_goes_on() -> None:
    with pool_of(deadline_s=3.0) as pool:
        assert pool.submit(task("fine"))
        assert pool.submit(task("refuses"))
        first = finish(pool)
        assert [(one.task.key.resource, one.outcome) for one in first] == [
            ("fine", "made"),
            ("refuses", "refused"),
        ]
        assert first[1].reason == "there is nothing to forecast from"
        pool.submit(task("hangs"))
        pool.submit(task("fine"))
        assert pool.collect() == []
        second = finish(pool)
        assert [(one.task.key.resource, one.outcome) for one in second] == [
            ("hangs", "overdue"),
            ("fine", "made"),
        ]
        assert "3 s" in second[0].reason
        made = [one.made.seconds for one in (first[0], second[1]) if one.made is not None]
        assert made[0] != made[1], "another process took over"
        pool.submit(task("dies"))
        pool.submit(task("fine"))
        assert [one.outcome for one in finish(pool)] == ["crashed", "made"]


def test_a_process_that_never_comes_up_is_given_up() -> None:
    with pool_of(broken) as pool:
        pool.submit(task("fine"))
        done = finish(pool)
        assert [one.outcome for one in done] == ["crashed"]
        assert str(STARTS_MAX) in done[0].reason


def test_bounds_hold_and_nothing_waits() -> None:
    with pool_of(processes=2, waiting_max=3) as pool:
        given = [pool.submit(task("fine", str(number))) for number in range(5)]
        assert given == [True, True, True, False, False]
        assert (pool.free, pool.busy) == (0, 3)
    for options in ({"processes": 0}, {"waiting_max": 0}, {"deadline_s": 0.0}):
        with pytest.raises(ValueError, match="at least one process"):
            ForecastPool(**options)  # type: ignore[arg-type]
