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
from benchmarks.worker_process import MeasuredWorker, worker_config  # noqa: E402
from streams.partials.frame import decode_frame  # noqa: E402
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


def run_streamgauge(broker: Broker, topic: str, filled: Filled) -> dict[str, float]:
    """Run the real worker until every event is in partials on the broker; then ask it how many it counted.

    Nothing asks it anything while it works: it begins when its log says that it reads its partitions, and has
    ended when the last of the frames that hold everything was sent, by their own timestamps.
    """
    config = worker_config(broker.bootstrap, topic, partition_count=PARTITION_COUNT)
    partials = f"{config['app']}-partials"
    ends = broker.end_offsets(topic)
    with (
        tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as scratch,
        MeasuredWorker(config, folder=Path(scratch)) as worker,
    ):
        worker.wait_for_log("Reading ", timeout_s=120.0)
        started, usage = time.time(), [(time.time(), worker.cpu_seconds())]
        ended, stored, looked = None, 0, started
        while ended is None:
            time.sleep(0.02)
            usage.append((time.time(), worker.cpu_seconds()))
            if time.time() - looked > 1.0:
                looked = time.time()
                before, stored = stored, sum(broker.end_offsets(partials).values())
                if stored == before:  # quiet for a second, so it may be done
                    ended = covered_at(broker, partials, ends)
            if not worker.running or time.time() - started > TIMEOUT_S:
                raise RuntimeError("the worker ended, or hung, before it had read the topic")
        counted = int(worker.metric("streamgauge_events_total", source="requests"))
        if counted != filled.events:
            sys.exit(f"streamgauge counted {counted} events, expected {filled.events}")
    cpu = [seconds for at, seconds in usage if at <= ended][-1] - usage[0][1]
    return {"events": counted, "seconds": ended - started, "cpu_seconds": cpu}


def covered_at(broker: Broker, partials: str, ends: dict[int, int]) -> float | None:
    """When the last frame was sent of the flushes that reach the end of every source partition.

    Returns None while some partition has no such frame yet; frames without rows only announce.
    """
    last: dict[int, float] = {}
    for record in broker.read_all(partials):
        frame = decode_frame(record.value or b"")
        if frame.offset >= ends[frame.partition] and frame.tables:
            last[frame.partition] = max(last.get(frame.partition, 0.0), record.timestamp / 1000)
    return max(last.values()) if len(last) == len(ends) else None


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
