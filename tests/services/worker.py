"""A real `streamgauge worker` in a process of its own, watched and hurt from outside."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.services.http import answers, get_text
from tests.services.process import ServerProcess, free_ports

ROOT = Path(__file__).resolve().parents[2]

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""(metric, sorted labels) to value."""


class WorkerProcess:
    """A worker on a configuration given as a mapping; its web server gets a free port.

    packages : folders of packages that it finds beside its own
    url      : of the web server
    """

    def __init__(
        self, config: dict[str, Any], *, folder: Path, name: str = "worker", packages: Sequence[Path] = ()
    ) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.path = folder / f"{name}.yaml"
        web = {**config.get("web", {}), "host": "127.0.0.1", "port": port}
        self.path.write_text(yaml.safe_dump({**config, "web": web}))
        self._server = ServerProcess(
            f"streamgauge worker {name}",
            [sys.executable, "-m", "streams.cli", "worker", "-c", str(self.path)],
            log=folder / f"{name}.log",
            env={"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *packages)))},
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self._server.log_tail(), file=sys.stderr)
        self.stop()

    @property
    def running(self) -> bool:
        return self._server.running

    @property
    def pid(self) -> int:
        return self._server.pid

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop(timeout_s=30.0)

    def kill(self) -> None:
        """SIGKILL: nothing of its own runs after this."""
        self._server.kill()

    def freeze(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        self._server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._server.signal(signal.SIGCONT)

    def ready(self) -> bool:
        """Whether it owns partitions and reads them."""
        return answers(f"{self.url}/readyz")

    def wait_until_ready(self, *, timeout_s: float = 60.0) -> None:
        self._server.wait_until(self.ready, timeout_s=timeout_s)

    def log_tail(self, line_count: int = 40) -> str:
        return self._server.log_tail(line_count)

    def samples(self) -> Samples:
        """All samples of /metrics."""
        found: Samples = {}
        for family in text_string_to_metric_families(get_text(f"{self.url}/metrics", timeout_s=20.0)):
            for sample in family.samples:
                found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        return found


def summed(workers: list[WorkerProcess], metric: str) -> dict[tuple[tuple[str, str], ...], float]:
    """A metric over several workers, by labels; each series is in one worker, sums are over none."""
    total: dict[tuple[tuple[str, str], ...], float] = {}
    for worker in workers:
        for (name, labels), value in worker.samples().items():
            if name == metric:
                total[labels] = total.get(labels, 0.0) + value
    return total
