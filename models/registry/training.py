"""Training off the hot path, in processes of its own that are bounded in CPU, memory, time and result.

A process runs at low priority with one thread, so that training takes CPU that nobody else wants. What goes
wrong in it is a `TrainingError` of that one training. The result comes back as the bytes of a model file,
parsed nowhere here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Self, TypeAlias

from models.processes import Handler, Limits, ProcessPool
from models.registry.errors import ModelError
from models.registry.model_files import MODEL_BYTES_MAX, pack_state

__all__ = ["Trainer", "TrainingError"]

MEMORY_BYTES_MAX = 4 << 30
"""Address space: a week of minutes of 1,000 series and 10 features has 0.8 GB, and is copied a few times."""

TIMEOUT_S = 600.0
"""One training, once its process is up."""

PENDING_MAX = 32
"""Trainings that wait; each holds its data."""

Work: TypeAlias = Callable[..., Mapping[str, Any]]
"""What is trained: a function that a new process can import, of arguments that can be copied to it. It
returns what was learnt, as `pack_state` takes it."""


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
        self._pool = ProcessPool(
            "training",
            partial(_training, model_bytes_max),
            Limits(
                timeout_s,
                niceness,
                memory_bytes_max=memory_bytes_max,
                answer_bytes_max=model_bytes_max,
            ),
            processes=processes,
            waiting_max=pending_max,
            error=TrainingError,
        )

    def submit(self, work: Work, *arguments: Any) -> Future[bytes]:
        """Train in a process; the future has the model's bytes, or raises TrainingError.

        In a coroutine: `await asyncio.wrap_future(trainer.submit(…))`.
        Raises TrainingError at once where too many wait already, or the trainer was closed.
        """
        return self._pool.submit((work, arguments))

    def close(self) -> None:
        """End the processes at once; what still trains fails, what waits is cancelled."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _training(model_bytes_max: int) -> Handler:
    def train(task: tuple[Work, tuple[Any, ...]]) -> bytes:
        work, arguments = task
        return pack_state(work(*arguments), bytes_max=model_bytes_max)

    return train
