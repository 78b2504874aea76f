"""The job as Faust's documentation teaches it: an agent, one event at a time, and a windowed table.

The windows tumble by 10 s; whenever a series enters a new one, the old one joins a table with the last
30 of the series, whose sum are the rolling 5 minutes. A hopping table of 5 minutes by 10 s would
instead write 30 windows for each event, and be slower still.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import faust

from benchmarks.peers.job import BUCKET_MS, ROLLING_BUCKET_COUNT, Stopwatch, arguments, fold, new_bucket


def main() -> None:
    options = arguments()
    app = faust.App(
        f"{options.topic}-faust",
        broker=f"kafka://{options.bootstrap}",
        store="memory://",
        datadir=str(options.folder),
        topic_partitions=options.partitions,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
    )
    requests = app.topic(options.topic, key_serializer="raw", value_serializer="json")
    # A window is that of the record's timestamp, which is the event's own time here.
    windows = app.Table("windows", default=new_bucket, partitions=options.partitions).tumbling(
        timedelta(milliseconds=BUCKET_MS), expires=timedelta(minutes=10)
    )
    rolling = app.Table("rolling", default=list, partitions=options.partitions)
    current: dict[str, tuple[int, dict[str, Any]]] = {}
    watch = Stopwatch()

    @app.agent(requests)
    async def count(stream: Any) -> None:
        seen = errors = 0
        async for event in stream:
            if not watch.started:
                watch.start()
            series = f"{event['service']} {event['route']}"
            slot = event["ts"] // BUCKET_MS
            bucket = fold(windows[series].value(), event)
            windows[series] = bucket
            old = current.get(series)
            if old is not None and old[0] < slot:
                totals = [old[0], old[1]["total"], old[1]["errors"]]
                rolling[series] = [*rolling[series], totals][-ROLLING_BUCKET_COUNT:]
            current[series] = slot, bucket
            seen += 1
            errors += event["status"] >= 500
            if seen == options.events:
                watch.write(options.result, events=seen, check={"errors": errors})
                # Shutting down in good order would take seconds that nobody measures.
                os._exit(0)

    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


if __name__ == "__main__":
    main()
