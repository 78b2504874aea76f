"""What every peer of the throughput benchmark shares: arguments, clock, and the arithmetic of the job.

The job, for each series (service and route): events, errors and a latency sketch for every 10 s of
event time, and from these the rolling totals of the last 5 minutes. All peers read one topic, filled
before, whose records are keyed by series: tables and windows need that, or would pay for a second topic
with every event in it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUCKET_MS = 10_000
ROLLING_BUCKET_COUNT = 30
LOG_GAMMA = math.log(1.01 / 0.99)
"""A sketch bin spans this much of log(latency): DDSketch at 1 % relative accuracy."""


def arguments() -> argparse.Namespace:
    """Parse what the benchmark passes to a peer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--events", type=int, required=True, help="stop after so many events")
    parser.add_argument("--result", type=Path, required=True, help="where the figures go, as JSON")
    parser.add_argument("--folder", type=Path, required=True, help="a scratch folder for state")
    return parser.parse_args()


class Stopwatch:
    """Wall and processor time (all threads of this process) from the first event to the last."""

    def __init__(self) -> None:
        self._start: tuple[float, float] | None = None

    @property
    def started(self) -> bool:
        return self._start is not None

    def start(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def write(self, path: Path, *, events: int, check: Mapping[str, int]) -> None:
        """Stop, and write the figures; `check` are totals that the benchmark compares with the truth."""
        assert self._start is not None, "stopped before it was started"
        seconds, cpu_seconds = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        figures: dict[str, Any] = {"events": events, "seconds": seconds, "cpu_seconds": cpu_seconds}
        path.write_text(json.dumps({**figures, "check": dict(check)}), encoding="utf-8")


def new_bucket() -> dict[str, Any]:
    return {"total": 0, "errors": 0, "bins": {}}


def fold(bucket: dict[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """Add one event to a bucket, in place, as a program without columns does it."""
    bucket["total"] += 1
    bucket["errors"] += event["status"] >= 500
    # Bins are keyed by strings, since the stores of Faust and Quix Streams keep them as JSON.
    index = str(math.ceil(math.log(event["duration_ms"]) / LOG_GAMMA))
    bins = bucket["bins"]
    bins[index] = bins.get(index, 0) + 1
    return bucket
