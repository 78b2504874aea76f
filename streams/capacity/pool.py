"""A few processes that forecast, with bounds: how many tasks wait, and how long one may take.

Guarantees:
- Nothing here waits: `submit` and `collect` return at once, so that a stream is never delayed.
- A task ends: as made, refused, overdue (its process is killed and restarted) or crashed.
- A series always goes to the same process, whose model of it is warm; what else runs changes no result.

Processes are started afresh (spawn): a copy of a worker would hold its sockets and threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Literal, Protocol, TypeAlias

from streams.capacity.task import ForecastMade, ForecastTask

Outcome: TypeAlias = Literal["made", "refused", "overdue", "crashed"]

DEADLINE_S = 10.0
"""Twenty times what a fit takes; only a model that does not converge needs longer."""

START_S = 60.0
"""A process that has not come up by then will not."""

STARTS_MAX = 3
"""Starts in a row without a task done; then the process is given up, and its tasks crash at once."""

WAITING_MAX = 256
NICENESS = 5
"""Forecasts wait for the stream, not the other way round."""


class Runner(Protocol):
    """What a process of the pool does with a task; raises ValueError to refuse it."""

    def run(self, task: ForecastTask) -> ForecastMade:
        """Forecast."""


def model_cache() -> Runner:
    """What forecasts in earnest; imported where it runs, since the models take seconds to import."""
    from streams.capacity.model_cache import ModelCache

    return ModelCache()


@dataclass(frozen=True, slots=True)
class Finished:
    """A task and what became of it.

    made   : None unless `outcome` is made
    reason : why not, in words
    """

    task: ForecastTask
    outcome: Outcome
    made: ForecastMade | None = None
    reason: str = ""


@dataclass(slots=True)
class _Place:
    """One process and its tasks.

    ready      : it has said that it is up
    since      : when it was started, or given its task
    start_count : starts since the last task that was done
    """

    waiting: deque[ForecastTask] = field(default_factory=deque)
    process: BaseProcess | None = None
    connection: Connection | None = None
    task: ForecastTask | None = None
    ready: bool = False
    since: float = 0.0
    start_count: int = 0


class ForecastPool:
    """Processes that forecast.

    processes  : how many; each takes about 150 MB
    deadline_s : longest time of a task
    waiting_max : tasks that may wait, all processes together
    make_runner : called in each process; a function of a module
    """

    def __init__(
        self,
        *,
        processes: int = 1,
        deadline_s: float = DEADLINE_S,
        waiting_max: int = WAITING_MAX,
        make_runner: Callable[[], Runner] = model_cache,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if processes < 1 or waiting_max < 1 or deadline_s <= 0:
            raise ValueError(
                f"at least one process and waiting task and a deadline above 0 expected, got {processes}, "
                f"{waiting_max} and {deadline_s}"
            )
        self._deadline_s, self._waiting_max = deadline_s, waiting_max
        self._make_runner, self._clock = make_runner, clock
        self._places = [_Place() for _ in range(processes)]

    @property
    def free(self) -> int:
        """Tasks that may be given now."""
        return self._waiting_max - sum(len(place.waiting) for place in self._places)

    @property
    def busy(self) -> int:
        """Tasks that were given and are not done."""
        return sum(len(place.waiting) + (place.task is not None) for place in self._places)

    def submit(self, task: ForecastTask) -> bool:
        """Give a task; False if too many wait."""
        if self.free <= 0:
            return False
        place = self._places[task.key.number % len(self._places)]
        place.waiting.append(task)
        self._feed(place)
        return True

    def collect(self) -> list[Finished]:
        """What has become of tasks since the last call."""
        done: list[Finished] = []
        for place in self._places:
            done += self._received(place)
            done += self._late(place)
            self._feed(place)
            if place.waiting and place.start_count > STARTS_MAX:
                reason = f"the forecasting process did not come up in {STARTS_MAX} attempts"
                done += [Finished(task, "crashed", reason=reason) for task in place.waiting]
                place.waiting.clear()
        return done

    def close(self) -> None:
        """End the processes; tasks that are not done are forgotten."""
        for place in self._places:
            place.waiting.clear()
            _stop(place)

    def _feed(self, place: _Place) -> None:
        """Start the process where it is needed, and give it its next task."""
        if not place.waiting or place.task is not None:
            return
        if place.process is None:
            place.start_count += 1
            if place.start_count <= STARTS_MAX:
                self._start(place)
        elif place.ready and place.connection is not None:
            task = place.waiting.popleft()
            try:
                place.connection.send(task)
            except OSError:  # it has died meanwhile
                place.waiting.appendleft(task)
                _stop(place)
                return
            place.task, place.since = task, self._clock()

    def _start(self, place: _Place) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self._make_runner), name="streamgauge-forecast", daemon=True
        )
        process.start()
        theirs.close()
        place.process, place.connection = process, ours
        place.ready, place.since = False, self._clock()

    def _received(self, place: _Place) -> list[Finished]:
        """Take what the process has said."""
        done: list[Finished] = []
        try:
            while place.connection is not None and place.connection.poll():
                said = place.connection.recv()
                if said is None:
                    place.ready = True
                    continue
                assert place.task is not None
                task, place.task, place.start_count = place.task, None, 0
                done.append(
                    Finished(task, "refused", reason=said)
                    if isinstance(said, str)
                    else Finished(task, "made", said)
                )
        except (EOFError, OSError):
            done += self._ended(place, "crashed", "the forecasting process ended")
        return done

    def _late(self, place: _Place) -> list[Finished]:
        """Kill what takes too long."""
        waited = self._clock() - place.since
        if place.task is not None and waited > self._deadline_s:
            return self._ended(place, "overdue", f"not done within {self._deadline_s:g} s")
        if place.process is not None and not place.ready and waited > START_S:
            _stop(place)
        return []

    def _ended(self, place: _Place, outcome: Outcome, reason: str) -> list[Finished]:
        task = place.task
        _stop(place)
        return [] if task is None else [Finished(task, outcome, reason=reason)]


def _stop(place: _Place) -> None:
    if place.connection is not None:
        place.connection.close()
    if place.process is not None:
        place.process.kill()
        place.process.join()
    place.process = place.connection = place.task = None
    place.ready = False


def _serve(connection: Connection, make_runner: Callable[[], Runner]) -> None:
    """Run in a process of the pool: None once it is up, then a result, or the words of a refusal, a task."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    # Ctrl-C reaches the whole group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        os.nice(NICENESS)
    runner = make_runner()
    with threadpool_limits(1), suppress(EOFError, OSError):
        connection.send(None)
        while True:
            task: ForecastTask = connection.recv()
            try:
                connection.send(runner.run(task))
            except ValueError as error:
                connection.send(str(error))
