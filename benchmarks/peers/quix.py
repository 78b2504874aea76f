"""The job as Quix Streams: a tumbling window of 10 s, and a stateful step that keeps the last 30 of a series.

Closed windows give the rolling 5 minutes; a hopping window of 5 minutes by 10 s would write 30 windows
for each event, and be slower still.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from quixstreams import Application, State

from benchmarks.peers.job import BUCKET_MS, ROLLING_BUCKET_COUNT, Stopwatch, arguments, fold, new_bucket


def main() -> None:
    options = arguments()
    app = Application(
        broker_address=options.bootstrap,
        consumer_group=f"{options.topic}-quix",
        auto_offset_reset="earliest",
        state_dir=options.folder,
        loglevel="ERROR",
    )
    requests = app.topic(
        options.topic,
        key_deserializer="str",
        value_deserializer="json",
        timestamp_extractor=lambda value, headers, timestamp, kind: value["ts"],
    )
    watch = Stopwatch()
    seen = errors = 0

    def begin(event: dict[str, Any]) -> None:
        if not watch.started:
            watch.start()

    def first(event: dict[str, Any]) -> dict[str, Any]:
        return observe(new_bucket(), event)

    def observe(bucket: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen, errors
        seen += 1
        errors += event["status"] >= 500
        fold(bucket, event)
        if seen == options.events:
            watch.write(options.result, events=seen, check={"errors": errors})
            app.stop()
        return bucket

    def roll(window: dict[str, Any], state: State) -> dict[str, int]:
        bucket = window["value"]
        last = [*state.get("last", []), [window["start"], bucket["total"], bucket["errors"]]]
        state.set("last", last[-ROLLING_BUCKET_COUNT:])
        return {"total": sum(b[1] for b in last), "errors": sum(b[2] for b in last)}

    stream = app.dataframe(requests).update(begin)
    windows = stream.tumbling_window(timedelta(milliseconds=BUCKET_MS), grace_ms=timedelta(seconds=60))
    windows.reduce(reducer=observe, initializer=first).final().apply(roll, stateful=True)
    app.run()


if __name__ == "__main__":
    main()
