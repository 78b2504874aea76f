"""A real Prometheus on a free loopback port, with data in a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.services.http import answers, get_json
from tests.services.process import ServerProcess, free_ports, require_program, wait_until


def scrape_config(*targets: str, job: str = "streamgauge", interval: str = "1s") -> dict[str, Any]:
    """Return a configuration that scrapes `host:port` targets."""
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": list(targets)}]}],
    }


class Prometheus:
    """Prometheus with the given configuration, text of `prometheus.yml` or the same as a mapping.

    url   : `http://127.0.0.1:PORT`
    files : further files by name, such as rules, written beside the configuration
    flags : further arguments, such as `--enable-feature=exemplar-storage`
    """

    def __init__(
        self,
        config: str | Mapping[str, Any],
        *,
        files: Mapping[str, str] | None = None,
        flags: tuple[str, ...] = (),
    ) -> None:
        program = require_program("prometheus", package="prometheus", purpose="A test of the metrics")
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.folder = Path(tempfile.mkdtemp(prefix="streamgauge-prometheus-"))
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)
        (self.folder / "prometheus.yml").write_text(text)
        for name, content in (files or {}).items():
            (self.folder / name).write_text(content)
        self._server = ServerProcess(
            "Prometheus",
            [
                program,
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                *flags,
            ],
            log=self.folder / "prometheus.log",
        )

    def __enter__(self) -> Self:
        try:
            self._server.start()
            self._server.wait_until(lambda: answers(f"{self.url}/-/ready"), timeout_s=60.0)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        return self._server.log_tail()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an instant vector: `[{"metric": {…}, "value": [time, "1"]}, …]`."""
        answer = get_json(f"{self.url}/api/v1/query", params={"query": expression})
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        """Return the value of the only sample; None when there is none yet."""
        samples = self.query(expression)
        assert len(samples) <= 1, f"{expression} has {len(samples)} samples, expected one"
        return float(samples[0]["value"][1]) if samples else None

    def wait_for(self, expression: str, *, timeout_s: float = 30.0) -> list[dict[str, Any]]:
        """Wait until the expression has samples and return them."""
        wait_until(lambda: bool(self.query(expression)), timeout_s=timeout_s, what=f"the query {expression}")
        return self.query(expression)

    def targets(self) -> list[dict[str, Any]]:
        """Return the active scrape targets with `health` and `lastError`."""
        found: list[dict[str, Any]] = get_json(f"{self.url}/api/v1/targets")["data"]["activeTargets"]
        return found


def promtool_check_metrics(exposition: str) -> list[str]:
    """Return the complaints of `promtool check metrics`, none for a clean exposition."""
    program = require_program("promtool", package="prometheus", purpose="A test of the metrics")
    done = subprocess.run(
        [program, "check", "metrics"],
        input=exposition,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert not done.returncode or lines, f"promtool ended with {done.returncode} and said nothing"
    return lines
