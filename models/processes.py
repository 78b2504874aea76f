"""Work in processes of its own: bounded in number, CPU, memory, time and size of the answer.

Guarantees:
- What goes wrong in a process, an exception, too much memory, no end, a crash, is the error of that one task;
  where it leaves the process in doubt, the next task gets a new one.
- An answer comes back as bytes, which are parsed nowhere here.
- No process outlives this one, however this one ends, nor `close`.

Processes are spawned, not forked: a copy of a process with threads and connections may hang. Each imports
nothing large before its limits are set, so that numerical libraries see how many threads they may have.

Pebble's pool gives less: a process that dies while idle or while it starts, or has no memory to take a task,
breaks the pool for good, since all share one pipe; and it unpickles answers of any size.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeAlias

__all__ = ["STARTS_MAX", "Handler", "Limits", "ProcessPool", "TaskError", "Why"]

START_S = 60.0
"""A process that is not up by then never will be."""

STARTS_MAX = 3
"""Failed starts in a row; then tasks fail at once for `REST_S`, so that a machine does more than start."""

REST_S = 60.0

Handler: TypeAlias = Callable[[Any], bytes]
"""Answers a task in a process. A MemoryError ends the process, any other exception is the task's alone."""

Why: TypeAlias = Literal["failed", "memory", "timeout", "crashed", "busy", "closed"]

_UP, _DONE, _FAILED, _NO_MEMORY = b"U", b"D", b"F", b"M"
"""First byte of what a process says; behind it the answer, or the text of what went wrong."""

_TEXT_BYTES_MAX = 1 << 16

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class TaskError(Exception):
    """A task has no answer; `why` says it in a word."""

    def __init__(self, why: Why, text: str) -> None:
        super().__init__(text)
        self.why = why


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may take.

    timeout_s        : one task, its way to the process and back included
    niceness         : added to this process's, so that the stream goes first
    memory_bytes_max : address space, where the system can bound it
    answer_bytes_max : size of an answer
    """

    timeout_s: float
    niceness: int
    memory_bytes_max: int | None = None
    answer_bytes_max: int = 1 << 30


class ProcessPool:
    """A few processes that answer tasks, started when they are first needed. Close it, so that they end.

    name         : of one task, for errors
    make_handler : called in each process; it, and all that is sent, must be picklable
    waiting_max  : tasks that may wait, besides those at work
    error        : makes the errors, so that callers see their own
    """

    def __init__(
        self,
        name: str,
        make_handler: Callable[[], Handler],
        limits: Limits,
        *,
        processes: int,
        waiting_max: int,
        error: Callable[[Why, str], Exception] = TaskError,
    ) -> None:
        if min(processes, waiting_max) < 1 or limits.timeout_s <= 0:
            raise ValueError(
                f"at least one process, one place to wait and some time expected for each {name}, got "
                f"{processes}, {waiting_max} and {limits.timeout_s:g} s"
            )
        self._name, self._make_handler, self._limits, self._error = name, make_handler, limits, error
        self._places = threading.BoundedSemaphore(waiting_max + processes)
        self._threads = ThreadPoolExecutor(processes, name)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._processes: set[_Process] = set()
        self._closed = False
        self._rests_until = 0.0

    def submit(self, task: Any) -> Future[bytes]:
        """Give a task; the future has its answer, or raises an error. It returns at once.

        Raises an error where too many wait already, or the pool was closed.
        """
        if self._closed:
            raise self._closed_error()
        if not self._places.acquire(blocking=False):
            raise self._error("busy", f"too many {self._name}s wait already; try again later")
        try:
            future = self._threads.submit(self._run, task)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return future

    def close(self) -> None:
        """End the processes at once; tasks at work fail, those that wait are cancelled."""
        with self._lock:
            self._closed = True
            processes = list(self._processes)
        for process in processes:
            process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, task: Any) -> bytes:
        try:
            return self._process().answer(task)
        except TaskError as error:
            if self._closed:
                raise self._closed_error() from error
            raise self._error(error.why, str(error)) from error

    def _process(self) -> _Process:
        """The process of this thread, which is up."""
        process: _Process | None = getattr(self._own, "process", None)
        if process is not None and process.is_alive:
            return process
        if time.monotonic() >= self._rests_until:
            for _ in range(STARTS_MAX):
                with self._lock:
                    if self._closed:
                        raise TaskError("closed", "")
                    self._processes.discard(process)
                    try:
                        process = self._own.process = _Process(self._name, self._limits)
                    except OSError:  # the machine has none to give
                        continue
                    self._processes.add(process)
                if process.comes_up(self._make_handler):
                    return process
            self._rests_until = time.monotonic() + REST_S
        raise TaskError("crashed", f"the {self._name} process did not come up in {STARTS_MAX} attempts")

    def _closed_error(self) -> Exception:
        return self._error("closed", f"the {self._name} processes were closed")


class _Process:
    """One process; it is killed after anything that leaves its memory or its pipe in doubt."""

    def __init__(self, name: str, limits: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._name, self._limits = name, limits
        self._process = context.Process(
            target=_serve, args=(other, limits), name=f"streamgauge-{name}", daemon=True
        )
        self._process.start()
        other.close()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def comes_up(self, make_handler: Callable[[], Handler]) -> bool:
        """Have it make its handler; False if it ended or took too long."""
        with suppress(EOFError, OSError), self._killed_after(START_S):
            self._connection.send(make_handler)
            return self._connection.recv_bytes() == _UP
        self.kill()
        return False

    def answer(self, task: Any) -> bytes:
        """Raises TaskError."""
        limits = self._limits
        with self._killed_after(limits.timeout_s) as is_late:
            try:
                self._connection.send(task)
                said = self._connection.recv_bytes(limits.answer_bytes_max + _TEXT_BYTES_MAX)
            except (EOFError, OSError) as error:
                text = self._end()
                if is_late.is_set():
                    text = f"{self._name} took longer than {limits.timeout_s:g} s and was ended"
                raise TaskError("timeout" if is_late.is_set() else "crashed", text) from error
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                text = f"the {self._name} cannot be given to a process: {error}"
                raise TaskError("failed", text) from error
        if said[:1] == _DONE:
            return said[1:]
        text = said[1:].decode(errors="replace")
        if said[:1] == _FAILED:
            raise TaskError("failed", text)
        self.kill()
        bound = limits.memory_bytes_max or 0
        raise TaskError(
            "memory",
            f"{self._name} needs more than {bound:,} bytes of memory: {text}. Give it less data, or raise "
            "the bound",
        )

    @contextmanager
    def _killed_after(self, seconds: float) -> Iterator[threading.Event]:
        """The end of the process ends whatever waits for it here: sending as well as receiving."""
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            self._process.kill()

        watchdog = threading.Timer(seconds, end)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield is_late
        finally:
            watchdog.cancel()
            if is_late.is_set():
                self.kill()

    def _end(self) -> str:
        """How it ended; it is killed where only its pipe has."""
        self._process.join(1.0)
        self.kill()
        text = f"the {self._name} process ended by itself (exit code {self._process.exitcode})"
        bound = self._limits.memory_bytes_max
        return text if bound is None else f"{text}; it may have needed more than {bound:,} bytes of memory"


def _serve(connection: Connection, limits: Limits) -> None:
    """Run in the process: say when it is up, then answer until the other side closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _bound(limits)
    handler: Handler = connection.recv()()
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    threadpool_limits(1)  # for libraries that were there before the variables were set
    with suppress(EOFError, BrokenPipeError):
        connection.send_bytes(_UP)
        while True:
            try:
                task = connection.recv()
            except MemoryError:
                return  # after half a message nothing more can be understood
            except EOFError:
                raise
            except Exception as error:
                said = _FAILED + f"the work cannot be read: {error}".encode()
            else:
                said = _said(handler, task)
            connection.send_bytes(said)


def _said(handler: Handler, task: Any) -> bytes:
    try:
        return _DONE + handler(task)
    except MemoryError as error:
        return _NO_MEMORY + str(error).encode()[:_TEXT_BYTES_MAX]
    except Exception as error:
        return _FAILED + f"{type(error).__name__}: {error}".encode(errors="replace")[:_TEXT_BYTES_MAX]


def _end_with_parent() -> None:
    """A task that never ends would not see that nobody waits for it any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _bound(limits: Limits) -> None:
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    try:
        os.nice(limits.niceness)
        import resource
    except (AttributeError, ImportError, OSError):
        return  # Windows has neither; the time limit holds everywhere
    if limits.memory_bytes_max is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = limits.memory_bytes_max
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
