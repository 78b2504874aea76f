"""The process that trains: it takes functions to call, and answers with the bytes of what they learnt.

It imports nothing large before its limits are set, so that numerical libraries see how many threads they may
have, and its memory is bounded from the start.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["FAILED", "LEARNT", "NO_MEMORY", "Limits", "serve"]

LEARNT, FAILED, NO_MEMORY = b"L", b"F", b"M"
"""First byte of an answer; behind it the model, or the text of what went wrong."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a training process may take.

    niceness         : added to the parent's, so that the hot path goes first
    memory_bytes_max : address space, where the system can bound it
    model_bytes_max  : size of the result
    """

    niceness: int
    memory_bytes_max: int
    model_bytes_max: int


def serve(connection: Connection, limits: Limits) -> None:
    """Answer until the other side closes."""
    _bound(limits)
    while True:
        try:
            function, arguments = connection.recv()
        except (EOFError, MemoryError):
            return  # after half a message nothing more can be understood
        except Exception as error:
            answer = FAILED + f"the work cannot be read: {error}".encode()
        else:
            answer = _answer(function, arguments, limits)
        try:
            connection.send_bytes(answer)
        except BrokenPipeError:
            return


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...], limits: Limits) -> bytes:
    from models.registry.model_files import pack_state

    try:
        return LEARNT + pack_state(function(*arguments), bytes_max=limits.model_bytes_max)
    except MemoryError as error:
        return NO_MEMORY + str(error).encode()
    except Exception as error:
        return FAILED + f"{type(error).__name__}: {error}".encode(errors="replace")


def _bound(limits: Limits) -> None:
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    try:
        os.nice(limits.niceness)
        import resource
    except (AttributeError, ImportError, OSError):
        return  # Windows has neither; the time limit holds everywhere
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = limits.memory_bytes_max
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
