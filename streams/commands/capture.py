"""`streamgauge capture`: records of a topic into a file that `replay` reads."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.commands.console import ConfigFile, duration_seconds, fail, load, progress_bar, tell


def capture(
    topic: Annotated[str, typer.Argument(help="The topic, or the name of a source in the configuration.")],
    config: ConfigFile,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .jsonl, .jsonl.gz or .jsonl.zst; - for stdout."),
    ],
    last: Annotated[
        float | None,
        typer.Option(
            metavar="DURATION", parser=duration_seconds, help="Only records of this last time, such as 10m."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on after the end, until SIGTERM or Ctrl-C.")
    ] = False,
    record_count_max: Annotated[
        int | None, typer.Option("--max", min=1, metavar="N", help="Stop after this many records.")
    ] = None,
) -> None:
    """Write the records of a topic to a file, so that any topic becomes a test case.

    It stops at the end offsets as of its start. It joins no consumer group and commits nothing. Values of
    headers whose names suggest a secret are left out; keys and values are written as they are.

    **Example**

        streamgauge capture requests -c streamgauge.yaml --last 10m --output requests.jsonl.gz

        streamgauge replay requests.jsonl.gz -c streamgauge.yaml --output out
    """
    from streams.kafka.capture import Taken, capture_topic, opened_output
    from streams.kafka.client import client_arguments
    from streams.kafka.topics import TopicError

    settings = load(config)
    name = settings.sources[topic].topic if topic in settings.sources else topic
    taken = Taken()
    try:
        with progress_bar("offsets") as bars, opened_output("-" if str(output) == "-" else output) as file:
            bar = bars.add_task(f"Capturing {name}", total=None)
            _run(
                capture_topic(
                    name,
                    client=client_arguments(settings),
                    write=file.write,
                    taken=taken,
                    since_ms=None if last is None else int((time.time() - last) * 1_000),
                    follow=follow,
                    record_count_max=record_count_max,
                    progress=lambda done, total: bars.update(bar, completed=done, total=total),
                )
            )
    except TopicError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{output}: cannot be written ({error.strerror})")
    except KeyboardInterrupt:
        if not follow:
            fail(f"interrupted; {output} holds the first {taken.record_count:,} records", 130)
    tell(f"{taken.record_count:,} records, {taken.value_bytes:,} bytes of values, in {output}")


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run it to its end; SIGTERM ends it as Ctrl-C does, with KeyboardInterrupt once all is closed."""

    async def stoppable() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await work

    try:
        asyncio.run(stoppable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
