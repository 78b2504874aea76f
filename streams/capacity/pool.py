"""A few processes that forecast, with bounds: how many tasks wait, and how long one may take.

Guarantees:
- Nothing here waits: `submit` and `collect` return at once, so that a stream is never delayed.
- A task ends: as made, refused, overdue (its process is killed and restarted) or crashed.
- A series always goes to the same process, whose model of it is warm; what else runs changes no result.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, TypeAlias

from models.processes import Handler, Limits, ProcessPool, TaskError
from streams.capacity.task import ForecastMade, ForecastTask

Outcome: TypeAlias = Literal["made", "refused", "overdue", "crashed"]

DEADLINE_S = 10.0
"""Twenty times what a fit takes; only a model that does not converge needs longer."""

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


class ForecastPool:
    """Processes that forecast.

    processes  : how many; each takes about 150 MB
    deadline_s : longest time of a task
    waiting_max : tasks that may be on their way, all processes together
    make_runner : called in each process; a function of a module
    """

    def __init__(
        self,
        *,
        processes: int = 1,
        deadline_s: float = DEADLINE_S,
        waiting_max: int = WAITING_MAX,
        make_runner: Callable[[], Runner] = model_cache,
    ) -> None:
        if processes < 1:
            raise ValueError(f"at least one process expected, got {processes}")
        self._waiting_max = waiting_max
        # One pool for each process, since each has models of its own.
        self._pools = [
            ProcessPool(
                "forecast",
                partial(_forecasting, make_runner),
                Limits(deadline_s, NICENESS),
                processes=1,
                waiting_max=waiting_max,
            )
            for _ in range(processes)
        ]
        self._given: list[tuple[ForecastTask, Future[bytes]]] = []

    @property
    def free(self) -> int:
        """Tasks that may be given now."""
        return self._waiting_max - self.busy

    @property
    def busy(self) -> int:
        """Tasks that were given and are not collected."""
        return len(self._given)

    def submit(self, task: ForecastTask) -> bool:
        """Give a task; False if too many are on their way."""
        if self.free <= 0:
            return False
        pool = self._pools[task.key.number % len(self._pools)]
        self._given.append((task, pool.submit(task)))
        return True

    def collect(self) -> list[Finished]:
        """What has become of tasks since the last call."""
        given, self._given = self._given, []
        done = []
        for task, future in given:
            if future.done():
                done.append(_finished(task, future))
            else:
                self._given.append((task, future))
        return done

    def close(self) -> None:
        """End the processes; tasks that are not done are forgotten."""
        self._given.clear()
        for pool in self._pools:
            pool.close()


def _finished(task: ForecastTask, future: Future[bytes]) -> Finished:
    try:
        said: ForecastMade | str = pickle.loads(future.result())
    except TaskError as error:
        return Finished(task, "overdue" if error.why == "timeout" else "crashed", reason=str(error))
    return Finished(task, "refused", reason=said) if isinstance(said, str) else Finished(task, "made", said)


def _forecasting(make_runner: Callable[[], Runner]) -> Handler:
    """Answers with a forecast, or the words of a refusal, made by our own code in our own process."""
    runner = make_runner()

    def forecast(task: ForecastTask) -> bytes:
        try:
            return pickle.dumps(runner.run(task))
        except ValueError as error:
            return pickle.dumps(str(error))

    return forecast
