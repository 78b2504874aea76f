"""What publishing and judging cost at 10,000 series: a page of metrics, a verdict, a step of the alert book.

    python benchmarks/publish.py [--series N]

One JSON object goes to stdout: seconds, the best of five.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detectors.alerts.alert_state import AlertBook
from detectors.slo.burn_rate import judge
from detectors.slo.slo import Slo, Tier
from streams.partials.sketch import BIN_COUNT, bins_of
from streams.plan.rollup import Count, Rollup
from streams.publish.metrics.page import render
from streams.publish.metrics.snapshot import RollupSnapshot, WorkerSnapshot

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def best(work: Callable[[], object], rounds: int = 5) -> float:
    """Seconds of the fastest of some rounds."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return round(min(taken), 4)


def page(series: int) -> WorkerSnapshot:
    """A worker with so many series of five minutes."""
    rng = np.random.default_rng(1)
    keys = np.unique(
        np.repeat(np.arange(series), 20) * BIN_COUNT + bins_of(rng.lognormal(-2, 1, 20 * series))
    )
    rollup = Rollup(
        "r", "r", ("route",), None, (Count("total"), Count("errors")), "duration", kind="requests"
    )
    counts = rng.integers(1, 1000, (1, series, 2))
    labels = [(f"/route/{number}",) for number in range(series)]
    sketches = {5 * MINUTE: (keys, np.ones(len(keys), np.int64))}
    return WorkerSnapshot(
        "1", rollups=[RollupSnapshot(rollup, labels, (5 * MINUTE,), counts, counts[0], sketches)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=10_000)
    series = parser.parse_args().series
    slo = Slo("s", "shop", 0.99, "r", "slo:s", 30 * DAY, tiers=(Tier("page", HOUR, 5 * MINUTE, 14.4),))
    total = np.full(series, 1000)
    calm = dict.fromkeys((5 * MINUTE, HOUR), (total - 1, total))
    bad = dict.fromkeys((5 * MINUTE, HOUR), (total - 500, total))
    names = [str(number) for number in range(series)]
    book, burning = AlertBook(), judge(slo, bad)

    def label(number: int) -> tuple[str, ...]:
        return (names[number],)

    grouped = replace(slo, group_by=("route",))
    began = time.perf_counter()
    book.step(DAY, grouped, label, burning)
    first = round(time.perf_counter() - began, 4)
    snapshot = page(series)
    at = iter(range(DAY + 10_000, 10 * DAY, 10_000))
    figures = {
        "series": series,
        "page_seconds": best(lambda: render(snapshot)),
        "judge_calm_seconds": best(lambda: judge(slo, calm)),
        "judge_burning_seconds": best(lambda: judge(slo, bad)),
        "first_step_all_firing_seconds": first,
        "later_step_all_firing_seconds": best(lambda: book.step(next(at), grouped, label, burning)),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
