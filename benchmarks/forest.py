"""How fast isolation forests judge rows: from arrays, and with scikit-learn; and whether they agree.

    python benchmarks/forest.py [--rows 1,10,100,1000,10000] [--features 20] [--trees 200] [--samples 256]

The rows are lognormal numbers. For each size of a batch: microseconds of the processor a row for
`Forest.score`, of `IsolationForest.score_samples` of the same trees, and of `Forest.contributions`, the best
of several runs in one process and thread; `ratio` is how many times faster the arrays are.
`largest_difference` of the scores must be below 1e-9. `ensemble` is `OutlierEnsemble` with its defaults,
seconds for the largest batch. One JSON object goes to stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from sklearn.ensemble import IsolationForest  # noqa: E402

from models.anomaly.forest import Forest  # noqa: E402
from models.anomaly.outliers import OutlierEnsemble  # noqa: E402
from models.arrays import Numbers  # noqa: E402

RUNS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", default="1,10,100,1000,10000", help="sizes of batches (default %(default)s)"
    )
    parser.add_argument("--features", type=int, default=20, help="columns (default %(default)s)")
    parser.add_argument("--trees", type=int, default=200, help="trees (default %(default)s)")
    parser.add_argument(
        "--samples", type=int, default=256, help="rows a tree is grown from (default %(default)s)"
    )
    options = parser.parse_args()
    sizes = [int(size) for size in options.rows.split(",")]
    random = np.random.default_rng(0)
    learnt = random.lognormal(size=(20_000, options.features))
    judged = random.lognormal(size=(max(sizes), options.features))
    theirs = IsolationForest(n_estimators=options.trees, max_samples=options.samples, random_state=0)
    theirs.fit(learnt.astype(np.float32))
    ours = Forest.of_sklearn(theirs, np.median(learnt, axis=0))
    batches = {size: batch_figures(ours, theirs, judged[:size]) for size in sizes}
    ensemble = OutlierEnsemble.fit(learnt)
    print(
        json.dumps(
            {
                "batches": batches,
                "largest_difference": float(np.abs(ours.score(judged) + theirs.score_samples(judged)).max()),
                "ensemble": {
                    "rows": max(sizes),
                    "seconds": round(seconds(lambda: ensemble.score(judged)), 4),
                },
            },
            indent=2,
        )
    )


def batch_figures(ours: Forest, theirs: Any, rows: Numbers) -> dict[str, float]:
    """Return microseconds a row for one batch."""
    arrays = seconds(lambda: ours.score(rows))
    sklearn = seconds(lambda: theirs.score_samples(rows))
    explained = seconds(lambda: ours.contributions(rows))
    print(f"{len(rows)} rows: {arrays:.5f} s, scikit-learn {sklearn:.5f} s", file=sys.stderr)
    unit = 1e6 / len(rows)
    return {
        "arrays_us_per_row": round(arrays * unit, 2),
        "scikit_learn_us_per_row": round(sklearn * unit, 2),
        "contributions_us_per_row": round(explained * unit, 2),
        "ratio": round(sklearn / arrays, 2),
    }


def seconds(work: Callable[[], object]) -> float:
    """Return the processor's seconds for the fastest of several runs, after one that warms the caches."""
    work()
    best = float("inf")
    for _ in range(RUNS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


if __name__ == "__main__":
    main()
