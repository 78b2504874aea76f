"""Training in processes of its own: what it gives, and that nothing it does stops the next one."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from models.registry.model_files import pack_state, unpack_state
from models.registry.training import Trainer, TrainingError


def learn(values: np.ndarray, seed: int) -> dict[str, Any]:
    noise = np.random.default_rng(seed).normal(size=values.shape)
    return {"centre": (values + noise).mean(axis=0), "pid": 0}


def where() -> dict[str, Any]:
    threads = os.environ["OMP_NUM_THREADS"]
    return {"pid": os.getpid(), "nice": os.nice(0), "threads": threads}


def fail(text: str) -> dict[str, Any]:
    raise ValueError(text)


def crash() -> dict[str, Any]:
    os._exit(7)


def hang() -> dict[str, Any]:
    time.sleep(600)
    return {}


def swallow() -> dict[str, Any]:
    return {"array": np.ones(1 << 28)}


def large(count: int) -> dict[str, Any]:
    return {"noise": np.random.default_rng(0).random(count)}


def not_storable() -> dict[str, Any]:
    return {"forest": object()}


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    with Trainer(memory_bytes_max=1 << 30, model_bytes_max=1 << 20, timeout_s=60) as trainer:
        yield trainer


def why(trainer: Trainer, work: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(TrainingError) as caught:
        trainer.submit(work, *arguments).result(60)
    return caught.value.why, str(caught.value)


def test_a_process_learns_what_this_one_would_have(trainer: Trainer) -> None:
    values = np.arange(30.0).reshape(10, 3)
    first = trainer.submit(learn, values, 3).result(60)
    assert first == trainer.submit(learn, values, 3).result(60)
    assert first == pack_state(learn(values, 3))
    assert first != trainer.submit(learn, values, 4).result(60)


def test_it_is_another_process_of_low_priority_with_one_thread(trainer: Trainer) -> None:
    first = unpack_state(trainer.submit(where).result(60))
    assert first["pid"] != os.getpid()
    assert first["nice"] >= min(19, os.nice(0) + 15)
    assert first["threads"] == "1"
    assert unpack_state(trainer.submit(where).result(60))["pid"] == first["pid"]


def test_what_fails_is_told_and_the_process_stays(trainer: Trainer) -> None:
    pid = unpack_state(trainer.submit(where).result(60))["pid"]
    assert why(trainer, fail, "no rows") == ("failed", "ValueError: no rows")
    assert why(trainer, not_storable)[0] == "failed"
    assert "object cannot be stored" in why(trainer, not_storable)[1]
    assert "1,048,576 bytes" in why(trainer, large, 1 << 18)[1]
    assert why(trainer, threading.Lock())[0] == "failed"
    assert unpack_state(trainer.submit(where).result(60))["pid"] == pid


@pytest.mark.parametrize("end", ["crash", "memory"])
def test_after_a_crash_or_too_much_memory_there_is_a_new_process(trainer: Trainer, end: str) -> None:
    if end == "memory" and not sys.platform.startswith("linux"):
        pytest.skip("the address space is bounded on Linux only")
    pid = unpack_state(trainer.submit(where).result(60))["pid"]
    reason, text = why(trainer, crash if end == "crash" else swallow)
    assert reason == ("crashed" if end == "crash" else "memory")
    assert ("exit code 7" if end == "crash" else "1,073,741,824 bytes") in text
    assert unpack_state(trainer.submit(where).result(60))["pid"] != pid


def test_what_takes_too_long_is_ended() -> None:
    with Trainer(timeout_s=3) as trainer:
        assert why(trainer, hang) == ("timeout", "training took longer than 3 s and was ended")


def test_closing_ends_what_trains_and_what_waits() -> None:
    before = set(threading.enumerate())
    trainer = Trainer(pending_max=1)
    running, waiting = trainer.submit(hang), trainer.submit(hang)
    with pytest.raises(TrainingError, match="too many trainings") as caught:
        trainer.submit(hang)
    assert caught.value.why == "busy"
    while not trainer._pool._processes:
        time.sleep(0.01)
    trainer.close()
    with pytest.raises(TrainingError, match="closed"):
        running.result(10)
    # it may have got its turn just before
    assert waiting.cancelled() or isinstance(waiting.exception(10), TrainingError)
    with pytest.raises(TrainingError, match="closed"):
        trainer.submit(hang)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one process"):
        Trainer(processes=0)
