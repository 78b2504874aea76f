"""What judging costs: the traffic detector on many series, step by step, as the worker calls it.

    python benchmarks/judging.py [--series 10000] [--features 5] [--steps 20] [--interval 60]

Each series has rate, errors, two latencies and distinct clients (or fewer). Reported are the seconds that a
step takes, learning included, with full pools of shapes, the per cent of a core if a step comes every
`--interval` seconds, and the bytes of state a series takes. What belongs to the detector as a whole and not
to its series (pools of shapes, tails, the forest) is given apart. The goals are 5 % of a core and 2 kB for
10,000 series a minute. One JSON object goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from detectors.api.detector import Panel  # noqa: E402
from detectors.traffic.detector import TrafficDetector  # noqa: E402

FEATURES = ("rate", "errors", "p50", "p99", "clients")
WARM_STEPS = 1050
"""Enough to fill the pools of shapes, so that a step costs what it will always cost."""


def array_bytes(state: Any) -> int:
    """Bytes of all arrays in a state."""
    if isinstance(state, np.ndarray):
        return int(state.nbytes)
    if isinstance(state, Mapping):
        return sum(array_bytes(part) for part in state.values())
    if isinstance(state, Sequence) and not isinstance(state, str):
        return sum(array_bytes(part) for part in state)
    return 0


def rows(first: int, steps: int, series: int, features: int, seed: int) -> Panel:
    """Steps of a minute from step `first` on."""
    random = np.random.default_rng(seed + first)
    times = 1_760_000_040_000 + 60_000 * np.arange(first, first + steps, dtype=np.int64)
    level = 10.0 ** np.arange(features)
    values = level * random.lognormal(0.0, 0.2, (steps, series, features))
    names = tuple((f"service-{number % 100}", f"/{number // 100}") for number in range(series))
    return Panel(times, names, FEATURES[:features], values)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--features", type=int, default=5, choices=range(1, 6), help="default: 5")
    parser.add_argument("--steps", type=int, default=20, help="measured steps, default: 20")
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between steps, default: 60")
    options = parser.parse_args()
    detector = TrafficDetector(step_ms=60_000)
    few = min(options.series, 20)
    # Few series fill what all share; the others join at the end of it.
    detector.fit(rows(0, WARM_STEPS, few, options.features, 0))
    shared = array_bytes(detector.state())
    detector.update(rows(WARM_STEPS, 15, options.series, options.features, 0))
    grown = array_bytes(detector.state()) - shared
    taken = []
    for step in range(options.steps):
        panel = rows(WARM_STEPS + 15 + step, 1, options.series, options.features, 0)
        started = time.process_time()
        detector.update(panel)
        taken.append(time.process_time() - started)
        print(f"step {step}: {taken[-1]:.2f} s", file=sys.stderr)
    seconds = float(np.mean(taken))
    print(
        json.dumps(
            {
                "series": options.series,
                "features": options.features,
                "seconds_per_step": round(seconds, 3),
                "percent_of_a_core": round(100 * seconds / options.interval, 2),
                "bytes_per_series": round(grown / max(options.series - few, 1)),
                "shared_bytes": shared,
            }
        )
    )


if __name__ == "__main__":
    main()
