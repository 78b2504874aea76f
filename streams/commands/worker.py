"""`streamgauge worker`: the job on Kafka."""

from __future__ import annotations

from streams.commands.console import ConfigFile, load


def worker(config: ConfigFile) -> None:
    """Consume the sources' topics; publish SLIs, burn rates and alerts, until SIGTERM or Ctrl-C."""
    from streams.app import run_worker

    raise SystemExit(run_worker(load(config)))
