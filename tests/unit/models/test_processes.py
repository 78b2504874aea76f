"""Processes that work: what ends one ends no other, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from models import processes
from models.processes import STARTS_MAX, Handler, Limits, ProcessPool, TaskError

ROOT = Path(__file__).parents[3]


def working() -> Handler:
    return work


def work(task: Any) -> bytes:
    if task == "hang":
        time.sleep(600)
    return b"%d" % os.getpid() if task == "pid" else b"." * task


def hanging() -> Handler:
    time.sleep(600)
    return work


def dying(starts: Path) -> Handler:
    with starts.open("a") as file:
        file.write("started\n")
    os._exit(4)


@contextmanager
def pool_of(make_handler: Any = working, **limits: Any) -> Iterator[ProcessPool]:
    pool = ProcessPool(
        "task",
        make_handler,
        Limits(**{"timeout_s": 60.0, "niceness": 0, **limits}),
        processes=1,
        waiting_max=9,
    )
    try:
        yield pool
    finally:
        pool.close()


def why(pool: ProcessPool, task: Any) -> tuple[str, str]:
    with pytest.raises(TaskError) as caught:
        pool.submit(task).result(60)
    return caught.value.why, str(caught.value)


def test_a_process_that_dies_while_it_has_nothing_to_do_is_replaced() -> None:
    with pool_of() as pool:
        first = int(pool.submit("pid").result(60))
        os.kill(first, signal.SIGKILL)
        while any(process.is_alive for process in pool._processes):
            time.sleep(0.01)
        assert int(pool.submit("pid").result(60)) != first


NEVER_UP = ("crashed", f"the task process did not come up in {STARTS_MAX} attempts")


def test_what_dies_at_its_start_is_tried_a_few_times_and_then_left_alone(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    with pool_of(partial(dying, starts)) as pool:
        assert why(pool, 1) == NEVER_UP
        assert why(pool, 1) == NEVER_UP
        assert starts.read_text().count("started") == STARTS_MAX


def test_what_hangs_at_its_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START_S", 0.5)
    with pool_of(hanging) as pool:
        assert why(pool, 1) == NEVER_UP


def test_a_machine_without_a_process_to_give_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(processes, "_Process", refuse)
    with pool_of() as pool:
        assert why(pool, 1) == NEVER_UP


def test_an_answer_beyond_its_bound_is_not_taken() -> None:
    with pool_of(answer_bytes_max=1 << 20) as pool:
        assert why(pool, 1 << 22)[0] == "crashed"
        assert pool.submit(1 << 10).result(60) == b"." * (1 << 10)


def run_for_ever() -> None:
    """Have a process hang, say so, and wait for the end."""
    pool = ProcessPool("task", working, Limits(600.0, 0), processes=1, waiting_max=2)
    assert pool.submit("pid").result(60)
    pool.submit("hang")
    print("running", flush=True)
    time.sleep(600)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(end: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import run_for_ever; run_for_ever()"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "running\n"
    parent.send_signal(end)
    # The processes of the pool hold the same output, which ends with the last of them.
    assert parent.communicate(timeout=60)[0] == ""
