"""`streamgauge worker`: the job on Kafka."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.commands.console import ConfigFile, fail, load


def worker(
    config: ConfigFile,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for a broker that does not answer at the start.")
    ] = True,
) -> None:
    """Count the sources' topics; publish SLIs, burn rates and alerts, until SIGTERM or Ctrl-C.

    Start as many as the topics have partitions: they share the work and take over from each other. Metrics
    are at /metrics of the configured address. What cannot be counted goes to the dead-letter topic.

    **Example**

        streamgauge worker -c streamgauge.yaml

        STREAMGAUGE_WEB__PORT=9465 streamgauge worker -c streamgauge.yaml
    """
    from streams.language.problems import ConfigError
    from streams.publish.sinks.sink import SinkSetupError
    from streams.worker.process import run_worker

    settings = load(config)
    try:
        code = run_worker(settings, wait=wait)
    except (ConfigError, SinkSetupError) as error:
        fail(str(error))
    raise typer.Exit(code)
