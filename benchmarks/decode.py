"""How many events a second each decoder makes into columns, beside plain `json.loads` into dicts.

    python benchmarks/decode.py [--formats json,otlp_proto] [--events N]

Bytes to columns on one core, in batches as a worker fetches them; of three rounds the best, in CPU time,
so that neighbours on the machine do not count. For formats that are no JSON there is nothing beside.
One JSON object goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.decode_samples import SAMPLES, START_MS, Sample  # noqa: E402
from streams.decode.registry import make_decoder  # noqa: E402
from streams.events.batch import Records  # noqa: E402

BATCH_EVENTS = 20_000
ROUNDS = 3


def machine() -> str:
    """Processor, cores and Python."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, Python {platform.python_version()}"


def best_seconds(run: Callable[[], None]) -> float:
    """CPU seconds of the fastest round."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return min(seconds)


def measure(name: str, sample: Sample, event_count: int) -> dict[str, Any]:
    """Figures of one sample."""
    record_count = max(1, event_count // sample.events_per_record)
    values = list(islice(sample.make(Random(6)), record_count))
    size = max(1, BATCH_EVENTS // sample.events_per_record)
    batches = []
    for start in range(0, record_count, size):
        piece = values[start : start + size]
        offsets = np.arange(start, start + len(piece), dtype=np.int64)
        batches.append(Records(piece, offsets, np.full(len(piece), START_MS, np.int64)))
    decoder = make_decoder(name.partition(" ")[0], sample.layout)
    events = record_count * sample.events_per_record
    decoded = [decoder.decode(batch) for batch in batches]
    found = sum(batch.event_count for batch in decoded)
    assert found == events, f"{name}: {found} events of {events}; dead: {decoded[0].dead[:1]}"

    def to_columns() -> None:
        for batch in batches:
            decoder.decode(batch)

    def to_dicts() -> None:
        for value in values:
            json.loads(value)

    seconds = best_seconds(to_columns)
    plain = best_seconds(to_dicts) if sample.is_json else None
    return {
        "events": events,
        "bytes_per_event": round(sum(map(len, values)) / events, 1),
        "events_per_second": round(events / seconds),
        "json_loads_events_per_second": None if plain is None else round(events / plain),
        "vs_json_loads": None if plain is None else round(plain / seconds, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--formats", default="", help=f"some of {', '.join(SAMPLES)}, by comma; default all")
    parser.add_argument("--events", type=int, default=200_000, help="events of each sample")
    options = parser.parse_args(arguments)
    asked = [one.strip() for one in options.formats.split(",") if one.strip()]
    chosen = [name for name in SAMPLES if not asked or name in asked or name.partition(" ")[0] in asked]
    unknown = [
        one for one in asked if one not in SAMPLES and one not in {n.partition(" ")[0] for n in SAMPLES}
    ]
    if unknown or options.events < 1:
        parser.error(f"unknown format {', '.join(unknown)}" if unknown else "--events must be at least 1")
    rows = {}
    for name in chosen:
        rows[name] = measure(name, SAMPLES[name], options.events)
        print(f"{name:20} {rows[name]['events_per_second']:>12,} events/s", file=sys.stderr, flush=True)
    print(json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
