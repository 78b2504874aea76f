"""How many bytes a series takes in the window stage, once its rings have been filled to the last slot.

    python benchmarks/memory.py [--series 1000,10000,100000]

Three kinds of series, each in a fresh process:

    long    : good and total of an SLO, all windows up to 30 d, 10 s resolution for the last hour
    short   : total and errors, the 5 min window only
    latency : as short, with a latency sketch of 20 requests in each 10 s

What is measured is the growth of the process's resident memory, all of it: rings, sums, names, labels, open
buckets. One JSON object goes to stdout, progress to stderr; the goals are 16 kB for `long`, 2 kB for `short`.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import multiprocessing
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from models.arrays import Hashes  # noqa: E402
from streams.events.batch import Layout  # noqa: E402
from streams.judge.judged_source import JudgedSource  # noqa: E402
from streams.partials.frame import Frame  # noqa: E402
from streams.partials.payload import Payload, Ragged  # noqa: E402
from streams.partials.series import encode_labels  # noqa: E402
from streams.partials.table import Table  # noqa: E402
from streams.plan.plan import BUCKET_MS, SourcePlan  # noqa: E402
from streams.plan.rollup import Count, Rollup  # noqa: E402

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LONG_WINDOWS = tuple(
    n * unit
    for unit, counts in ((MINUTE, (5, 30)), (HOUR, (1, 2, 6)), (DAY, (1, 3, 7, 28, 30)))
    for n in counts
)
OPEN_BUCKETS = 8
"""Buckets that are still open: the current one and a minute of lateness, and one on its way."""

KINDS = ("long", "short", "latency")


def resident_bytes() -> int:
    """Return the resident memory of this process, once what is free was given back to the system."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # a C library other than glibc
            ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def table(rollup: str, kind: str, hashes: Hashes, names: list[bytes], bucket: int) -> Table:
    """Return rows of all series for one bucket."""
    count = len(hashes)
    random = np.random.default_rng(bucket)
    errors = random.integers(0, 2, size=count)
    twenty = np.full(count, 20)
    pair = [20 - errors, twenty] if kind == "long" else [twenty, errors]
    payload = Payload.of_counts(np.stack(pair, axis=1))
    if kind == "latency":
        latencies = random.lognormal(np.log(0.04), 0.8, size=(count, 20))
        found = np.sort(np.rint(np.log(latencies) / np.log(1.01 / 0.99)).astype(np.int64) + 2048, axis=1)
        first = np.diff(found, axis=1, prepend=-1) != 0
        starts = np.flatnonzero(first)
        held = np.diff(np.append(starts, first.size))
        payload = replace(payload, bins=Ragged(first.sum(axis=1), found.reshape(-1)[starts], held))
    return Table(
        rollup=rollup,
        hashes=hashes,
        names=names,
        series=np.arange(count),
        bucket=np.full(count, bucket, dtype=np.int64),
        payload=payload,
    )


def bytes_per_series(kind: str, series_count: int) -> float:
    """Fill the windows of `series_count` series and return how far the process has grown for each."""
    filled_window(kind, 10)  # what the first use of anything takes is not the series'
    before = resident_bytes()
    window = filled_window(kind, series_count)
    grown = resident_bytes() - before
    assert window.rollups["bench"].series_count == series_count
    return grown / series_count


def filled_window(kind: str, series_count: int) -> JudgedSource:
    """Return a window stage whose rings are full, with series of its own names."""
    rollup = Rollup(
        name="bench",
        kind="slo" if kind == "long" else "requests",
        source="requests",
        by=("service", "route"),
        measures=(Count("good"), Count("total")) if kind == "long" else (Count("total"), Count("errors")),
        sketch="duration" if kind == "latency" else None,
        windows_ms=LONG_WINDOWS if kind == "long" else (5 * MINUTE,),
    )
    plan = SourcePlan("requests", "requests", "json", Layout(wanted={}), (rollup,))
    labels = [(f"svc-{i % 100}", f"/r/{i // 100}") for i in range(series_count)]
    hashes = np.random.default_rng(0).integers(1 << 63, size=series_count).astype(np.uint64)
    names = [encode_labels(label) for label in labels]
    del labels
    window = JudgedSource(plan, (), 1, {})
    now = 1_760_000_000_000 // BUCKET_MS
    first = now - OPEN_BUCKETS
    if kind == "long":
        # Filled as a restart fills it, slot by slot, which is quicker than 30 days of buckets.
        target = window.rollups[rollup.name]
        stored = table(rollup.name, kind, hashes, names, first)
        stored = replace(stored, payload=Payload.of_counts(np.tile(stored.payload.counts, 3)))
        for level, spec in reversed(list(enumerate(target.rings.levels))):
            current = first // spec.width
            for slot in range(current - spec.slot_count + 1, current):
                target.load(level, slot, stored, first - 1)
        target.finish_load(first - 1)
        del stored
    else:
        first -= 2 * 5 * MINUTE // BUCKET_MS
    for offset, bucket in enumerate(range(first, now)):
        rows = table(rollup.name, kind, hashes, names, bucket)
        window.accept(Frame("requests", 0, offset + 1, bucket + 1, bucket, tables=(rows,)), offset)
        del rows
        final = bucket + 1 - OPEN_BUCKETS
        for _ in window.seal(final):
            pass
        window.confirm(final)
    return window


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", default="1000,10000,100000", help="default: 1000,10000,100000")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"default: {','.join(KINDS)}")
    options = parser.parse_args()
    rows: dict[str, dict[str, int]] = {}
    for kind in options.kinds.split(","):
        for count in map(int, options.series.split(",")):
            started = time.perf_counter()
            # A process of its own, so that no memory freed by one measurement is reused by the next.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                size = pool.apply(bytes_per_series, (kind, count))
            rows.setdefault(kind, {})[str(count)] = round(size)
            took = time.perf_counter() - started
            print(f"{kind}, {count:,} series: {size:,.0f} bytes a series ({took:.0f} s)", file=sys.stderr)
    print(json.dumps({"unit": "bytes per series", "rows": rows}))


if __name__ == "__main__":
    main()
