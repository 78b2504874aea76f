"""Training off the hot path: processes of their own, bounded in number, CPU, memory, time and result.

A process runs at low priority with one thread, so that training takes CPU that nobody else wants. What goes
wrong in it, an exception, too much memory, no end, even a crash, is a `TrainingError` of that one training;
the next one gets a new process. The result comes back as the bytes of a model file, parsed nowhere here.
"""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeAlias

from models.registry.errors import ModelError
from models.registry.model_files import MODEL_BYTES_MAX
from models.registry.training_process import LEARNT, NO_MEMORY, Limits, serve

__all__ = ["Trainer", "TrainingError"]

MEMORY_BYTES_MAX = 4 << 30
"""Address space: a week of minutes of 1,000 series and 10 features has 0.8 GB, and is copied a few times."""

TIMEOUT_S = 600.0
"""One training, with the start of its process."""

PENDING_MAX = 32
"""Trainings that wait; each holds its data."""

Work: TypeAlias = Callable[..., Mapping[str, Any]]
"""What is trained: a function that a new process can import, of arguments that can be copied to it. It
returns what was learnt, as `pack_state` takes it."""

_ANSWER_EXTRA_BYTES = 1 << 16


class TrainingError(ModelError):
    """A training gave no model.

    `why` is `failed`, `memory`, `timeout`, `crashed`, `busy` or `closed`.
    """

    reason = "training"

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why = why


class Trainer:
    """A few processes that train, started when they are first needed.

    Close it, or use it in a `with` statement, so that they end.
    """

    def __init__(
        self,
        *,
        processes: int = 1,
        niceness: int = 15,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
        model_bytes_max: int = MODEL_BYTES_MAX,
        timeout_s: float = TIMEOUT_S,
        pending_max: int = PENDING_MAX,
    ) -> None:
        if min(processes, pending_max) < 1 or timeout_s <= 0:
            raise ValueError("a trainer needs at least one process, one place to wait and some time")
        self._limits = Limits(niceness, memory_bytes_max, model_bytes_max)
        self._timeout_s = timeout_s
        self._places = threading.BoundedSemaphore(pending_max + processes)
        self._threads = ThreadPoolExecutor(processes, "training")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._processes: set[_Process] = set()
        self._closed = False

    def submit(self, work: Work, *arguments: Any) -> Future[bytes]:
        """Train in a process; the future has the model's bytes, or raises TrainingError.

        In a coroutine: `await asyncio.wrap_future(trainer.submit(…))`.
        Raises TrainingError at once where too many wait already, or the trainer was closed.
        """
        if self._closed:
            raise TrainingError("closed", "the trainer was closed")
        if not self._places.acquire(blocking=False):
            raise TrainingError("busy", "too many trainings wait already; try again later")
        try:
            future = self._threads.submit(self._run, work, arguments)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return future

    def close(self) -> None:
        """End the processes at once; what still trains fails, what waits is cancelled."""
        with self._lock:
            self._closed = True
            processes = list(self._processes)
        for process in processes:
            process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: Work, arguments: tuple[Any, ...]) -> bytes:
        process = self._process()
        try:
            return process.train(work, arguments, self._timeout_s)
        except TrainingError as error:
            if self._closed:
                raise TrainingError("closed", "the trainer was closed") from error
            raise
        finally:
            if process.is_spent:
                process.kill()
                with self._lock:
                    self._processes.discard(process)
                del self._own.process

    def _process(self) -> _Process:
        """The process of this thread."""
        process: _Process | None = getattr(self._own, "process", None)
        if process is None:
            with self._lock:
                if self._closed:
                    raise TrainingError("closed", "the trainer was closed")
                process = _Process(self._limits)
                self._processes.add(process)
            self._own.process = process
        return process


class _Process:
    """One training process. `is_spent` after anything that leaves its memory or its pipe in doubt."""

    def __init__(self, limits: Limits) -> None:
        # Spawned, not forked: a copy of a process with threads and Kafka connections may hang.
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._limits = limits
        self._process = context.Process(target=serve, args=(other, limits), name="training", daemon=True)
        self._process.start()
        other.close()
        self.is_spent = False

    def kill(self) -> None:
        self.is_spent = True
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def train(self, work: Work, arguments: tuple[Any, ...], timeout_s: float) -> bytes:
        # The end of the process ends whatever waits for it here: sending as well as receiving.
        timed_out = threading.Event()

        def end() -> None:
            timed_out.set()
            self._process.kill()

        watchdog = threading.Timer(timeout_s, end)
        watchdog.start()
        try:
            self._connection.send((work, arguments))
            answer = self._connection.recv_bytes(self._limits.model_bytes_max + _ANSWER_EXTRA_BYTES)
        except (EOFError, OSError) as error:
            raise self._end_found(timed_out=timed_out.is_set(), timeout_s=timeout_s) from error
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TrainingError("failed", f"the work cannot be given to a process: {error}") from error
        finally:
            watchdog.cancel()
        if answer[:1] == LEARNT:
            return answer[1:]
        text = answer[1:].decode(errors="replace")
        if answer[:1] == NO_MEMORY:
            self.is_spent = True
            raise TrainingError(
                "memory",
                f"training needs more than {self._limits.memory_bytes_max:,} bytes of memory: {text}. Train "
                "on less data, or raise the bound",
            )
        raise TrainingError("failed", text)

    def _end_found(self, *, timed_out: bool, timeout_s: float) -> TrainingError:
        self.is_spent = True
        if timed_out:
            return TrainingError("timeout", f"training took longer than {timeout_s:g} s and was ended")
        self._process.join(1.0)
        return TrainingError(
            "crashed",
            f"the training process ended by itself (exit code {self._process.exitcode}); it may have needed "
            f"more than {self._limits.memory_bytes_max:,} bytes of memory",
        )
