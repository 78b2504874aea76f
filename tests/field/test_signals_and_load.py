"""Seen: started in the background (`make test &`, `nohup`), where SIGINT is ignored and children inherit
that, the tests failed at a `capture --follow` that they interrupt; `capture --follow` lost its file at
SIGTERM; on a busy machine tests failed at hypothesis' deadline of 200 ms for an example.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from streams.offline.files import read_records
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.topics import unique_name

ROOT = Path(__file__).parents[2]


def ignore_signals() -> None:
    """What a shell does before it starts a command behind `&`."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def test_children_of_tests_have_default_signals_where_the_tests_ignore_them() -> None:
    child = "import signal; print([signal.getsignal(n).name for n in (3, 1)])"
    code = f"""
import os, signal, subprocess, sys
import tests.conftest
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    os.kill(os.getpid(), number)
sleeper = subprocess.Popen([sys.executable, "-S", "-c", "import time; print(flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
sleeper.stdout.readline()
sleeper.send_signal(signal.SIGINT)
assert sleeper.wait(60) == -signal.SIGINT, sleeper.returncode
print(subprocess.run([sys.executable, "-c", {child!r}], capture_output=True, text=True).stdout.strip())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=ignore_signals,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['SIG_DFL', 'SIG_DFL']"


def test_no_property_is_measured_by_the_clock() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check
    assert not [
        path
        for path in (ROOT / "tests").rglob("*.py")
        if "deadline=" in path.read_text()
        and "settings(" in path.read_text()
        and path.name != "conftest.py"
        and path != Path(__file__)
    ], "one profile in tests/conftest.py says it for all"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_following_until_a_signal_leaves_a_whole_file(
    kafka: Broker, tmp_path: Path, number: signal.Signals
) -> None:
    topic = kafka.create_topic(unique_name("access"))
    config = tmp_path / "streamgauge.yaml"
    config.write_text(
        f"app: a\nbroker: {{bootstrap: '{kafka.bootstrap}'}}\n"
        f"sources:\n  web: {{topic: {topic}, format: access_log}}\n"
    )
    values = [os.urandom(200_000), os.urandom(200_000)]
    kafka.produce(topic, values, partition=0)
    file = tmp_path / "taken.jsonl.gz"
    part = tmp_path / "taken.jsonl.gz.part"
    capture = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "capture", topic, "-c", str(config), "-o", str(file), "-f"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(
        lambda: part.exists() and part.stat().st_size > 250_000, timeout_s=120, what="the second record"
    )
    assert capture.poll() is None
    capture.send_signal(number)
    _, errors = capture.communicate(timeout=60)
    assert capture.returncode == 0, errors
    assert "2 records" in errors
    ((_, _, records),) = read_records(file)
    assert [record for record in records.values if record] == values
    assert not part.exists()
