"""A real `streamgauge worker` in a process of its own, measured from outside."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from tests.services.http import answers, get_text
from tests.services.topics import unique_name
from tests.services.worker import WorkerProcess

_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)", re.MULTILINE)


def worker_config(bootstrap: str, topic: str, *, partition_count: int) -> dict[str, Any]:
    """Return a configuration for the events: total, errors and latency of each series, 5 minutes."""
    return {
        "app": unique_name("bench"),
        "broker": {"bootstrap": [bootstrap], "start_at": "earliest", "partitions": partition_count},
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


class MeasuredWorker(WorkerProcess):
    """A worker whose output, processor time and memory are watched closely."""

    def wait_for_log(self, text: str, *, timeout_s: float) -> None:
        """Wait until the worker's output holds `text`; looks every few milliseconds at what is new."""
        deadline = time.monotonic() + timeout_s
        with self._server.log.open(encoding="utf-8", errors="replace") as log:
            seen = ""
            while text not in seen:
                seen = seen[-len(text) :] + log.read()
                if not self.running or time.monotonic() > deadline:
                    raise RuntimeError(f"the worker never said {text!r}")
                time.sleep(0.003)

    def wait_until_it_answers(self, *, timeout_s: float = 60.0) -> None:
        self._server.wait_until(lambda: answers(f"{self.url}/metrics"), timeout_s=timeout_s)

    def cpu_seconds(self) -> float:
        """Processor time of all threads of the worker so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        """Resident memory of the worker."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels; asks for that metric alone."""
        text = get_text(f"{self.url}/metrics", params={"name[]": name})
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(value)
            for found, described, value in _SAMPLE.findall(text)
            if found == name and all(part in described.split(",") for part in wanted)
        )
