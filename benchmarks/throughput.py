"""How many events a second the whole worker takes, beside Faust, Quix Streams and a bare aiokafka loop.

    python benchmarks/throughput.py [--events N] [--peers streamgauge,faust,quix,raw]

One run, one real Kafka, one topic filled before, one peer at a time, each in a fresh process. The job:
events, errors and a latency sketch per series and 10 s of event time, and rolling 5 minutes; `raw` only
adds up the values' lengths. Time runs from when a peer has its partitions to its last event;
streamgauge's ends only once its partials are acknowledged as well. Plain Faust and Quix Streams stop
after fewer events, since theirs is a rate per event too. The quick rows are the median of three rounds
in turn, and a first, unmeasured reading warms the broker.

One JSON object goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.request_events import Filled, fill  # noqa: E402
from benchmarks.worker_process import WorkerProcess  # noqa: E402
from tests.services.kafka import Broker, open_broker  # noqa: E402
from tests.services.kafka_jars import kafka_version  # noqa: E402
from tests.services.topics import unique_name  # noqa: E402

PARTITION_COUNT = 8
PEERS = ("streamgauge", "faust", "quix", "raw")
ROUND_COUNT = {"streamgauge": 3, "raw": 3}
EVENTS_MAX = {"faust": 100_000, "quix": 400_000}
PROGRAMS = {"faust": "faust_plain", "quix": "quix", "raw": "raw"}
TIMEOUT_S = 900


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def machine() -> str:
    """Name processor, cores and Python."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def python_for(peer: str) -> str:
    """Return the interpreter of a peer: ours, or one made for a Quix Streams that ours lacks."""
    if peer != "quix" or importlib.util.find_spec("quixstreams") is not None:
        return sys.executable
    folder = ROOT / ".cache" / "bench-venv"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        say(f"installing Quix Streams into {folder.relative_to(ROOT)}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, stdout=sys.stderr)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        lock = ["-c", str(ROOT / "requirements.lock")]
        subprocess.run([*pip, *lock, "quixstreams"], check=True, stdout=sys.stderr)
        (folder / "complete").touch()
    return str(python)


def run_peer(peer: str, broker: Broker, topic: str, filled: Filled) -> dict[str, float]:
    """Run one peer in a process of its own and return its figures."""
    events = min(filled.events, EVENTS_MAX.get(peer, filled.events))
    with tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as scratch:
        result, log = Path(scratch) / "result.json", Path(scratch) / "log"
        command = [python_for(peer), "-m", f"benchmarks.peers.{PROGRAMS[peer]}"]
        options = {
            "bootstrap": broker.bootstrap,
            "topic": topic,
            "events": events,
            "partitions": PARTITION_COUNT,
            "result": result,
            "folder": Path(scratch) / "state",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        with log.open("wb") as output:
            done = subprocess.run(
                [*command, *arguments], cwd=ROOT, stdout=output, stderr=output, timeout=TIMEOUT_S, check=False
            )
        if not result.exists():
            tail = log.read_text(errors="replace")[-3000:]
            sys.exit(f"{peer} ended with {done.returncode} and gave no figures. Its output:\n{tail}")
        figures: dict[str, Any] = json.loads(result.read_text())
    truth = {"errors": filled.errors, "bytes": filled.value_bytes}
    for name, value in figures["check"].items():
        if figures["events"] == filled.events and value != truth[name]:
            sys.exit(f"{peer} found {value} {name}, expected {truth[name]}")
    return figures


def streamgauge_config(broker: Broker, topic: str) -> dict[str, Any]:
    return {
        "app": unique_name("bench"),
        "broker": {"bootstrap": [broker.bootstrap], "start_at": "earliest", "partitions": PARTITION_COUNT},
        "sources": {
            "requests": {
                "topic": topic,
                "format": "json",
                "time": {"field": "ts", "format": "epoch_ms"},
                "fields": {
                    "service": "service",
                    "route": "route",
                    "status": "status",
                    "duration": {"path": "duration_ms", "unit": "ms"},
                },
                "series": ["service", "route"],
                "error": "status >= 500",
                "duration": "duration",
                "windows": ["5m"],
            }
        },
    }


def run_streamgauge(broker: Broker, topic: str, filled: Filled) -> dict[str, float]:
    """Run the real worker until it has counted every event and its partials are on the broker."""
    config = streamgauge_config(broker, topic)
    partials = f"{config['app']}-partials"
    with (
        tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as scratch,
        WorkerProcess(config, folder=Path(scratch)) as worker,
    ):
        started = cpu_started = 0.0
        counted = 0
        deadline = time.perf_counter() + TIMEOUT_S
        # Begun is when the last look before the first event began: never later than the first fetch's end.
        while counted == 0:
            started, cpu_started = time.perf_counter(), worker.cpu_seconds()
            counted = int(worker.metric("streamgauge_events_total", source="requests"))
            _check_alive(worker, deadline)
        while counted < filled.events:
            time.sleep(0.02)
            counted = int(worker.metric("streamgauge_events_total", source="requests"))
            _check_alive(worker, deadline)
        ended, cpu_ended = time.perf_counter(), worker.cpu_seconds()
        # The last flush may still be under way: wait for it, and count the time until it was there.
        stored, quiet_since = sum(broker.end_offsets(partials).values()), time.perf_counter()
        while time.perf_counter() - quiet_since < 3.0:
            now = sum(broker.end_offsets(partials).values())
            if now != stored:
                stored, quiet_since = now, time.perf_counter()
                ended, cpu_ended = quiet_since, worker.cpu_seconds()
        if counted != filled.events:
            sys.exit(f"streamgauge counted {counted} events, expected {filled.events}")
    return {"events": counted, "seconds": ended - started, "cpu_seconds": cpu_ended - cpu_started}


def _check_alive(worker: WorkerProcess, deadline: float) -> None:
    if not worker.running:
        raise RuntimeError("the worker ended before it had read the topic")
    if time.perf_counter() > deadline:
        raise TimeoutError(f"the worker has not read the topic within {TIMEOUT_S} s")


def measure(peers: list[str], broker: Broker, topic: str, filled: Filled) -> dict[str, dict[str, float]]:
    """Run the peers in turn, the quick ones several times, and return the median row of each."""
    found: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
    for turn in range(max(ROUND_COUNT.values())):
        for peer in peers:
            if turn >= ROUND_COUNT.get(peer, 1):
                continue
            run = run_streamgauge(broker, topic, filled) if peer == "streamgauge" else None
            figures = run or run_peer(peer, broker, topic, filled)
            rate = figures["events"] / figures["seconds"]
            say(f"{peer}: {figures['events']:,} events in {figures['seconds']:.2f} s, {rate:,.0f} a second")
            found[peer].append(figures)
    rows = {}
    for peer, runs in found.items():
        rates = [run["events"] / run["seconds"] for run in runs]
        costs = [run["cpu_seconds"] / run["events"] * 1e6 for run in runs]
        rows[peer] = {
            "events_per_second": round(statistics.median(rates)),
            "cpu_seconds_per_million": round(statistics.median(costs), 3),
        }
    return rows


def ratios(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return streamgauge's rate over each peer's that was run."""
    if "streamgauge" not in rows:
        return {}
    ours = rows["streamgauge"]["events_per_second"]
    return {
        f"vs_{peer}": round(ours / rows[peer]["events_per_second"], 2)
        for peer in ("faust", "quix", "raw")
        if peer in rows
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000, metavar="N", help="default: 1000000")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"default: {','.join(PEERS)}")
    parser.add_argument("--compression", choices=["none", "gzip", "snappy", "lz4", "zstd"], default="none")
    parser.add_argument(
        "--spread", action="store_true", help="every series in every partition, instead of keyed by series"
    )
    options = parser.parse_args()
    options.peers = options.peers.split(",")
    unknown = sorted(set(options.peers) - set(PEERS))
    if unknown:
        parser.error(f"unknown peers {', '.join(unknown)}; peers are: {', '.join(PEERS)}")
    return options


def main() -> None:
    options = parse_arguments()
    with open_broker() as broker:
        topic = broker.create_topic(unique_name("requests"), partitions=PARTITION_COUNT)
        say(f"filling {topic} with {options.events:,} events")
        filled = asyncio.run(
            fill(
                broker.bootstrap,
                topic,
                count=options.events,
                partition_count=PARTITION_COUNT,
                start_ms=int(time.time() - 120) // 10 * 10_000,
                compression=None if options.compression == "none" else options.compression,
                spread=options.spread,
            )
        )
        say(f"{filled.value_bytes / filled.events:.0f} bytes a value; warming the broker")
        run_peer("raw", broker, topic, filled)
        rows = measure(options.peers, broker, topic, filled)
    report = {
        "machine": machine(),
        "broker": f"Apache Kafka {kafka_version()}",
        "events": filled.events,
        "rows": rows,
        "ratios": ratios(rows),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
