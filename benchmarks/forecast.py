"""How good forecasts are: accuracy, calibration and speed on series whose future is known but never shown.

    python benchmarks/forecast.py --data DIR [--set NAME] [--limit N]

Sets, each left out where its files are missing:

    m4_hourly, m4_weekly, … : M4 series (DIR/m4/Hourly-train.csv.gz, Hourly-test.csv.gz), scored as there
    capacity_FILE : the columns of a csv file in DIR/capacity, forecast 1 d and 7 d ahead from rolling origins
        over their last third (`parts`: each column and horizon); finer than an hour also as hourly means
    requests_FILE : the same for DIR/requests; a file of events is counted

Peers in the same run: seasonal naive, plain statsmodels ETS (additive, damped), seconds of statsforecast's
AutoETS and MSTL where that is installed; and published results. `owa` is relative to M4's Naive2 on the same
series. Seconds are those of one core. One JSON object goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one core, as the goals say

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from benchmarks import forecast_scoring as scoring  # noqa: E402
from benchmarks.forecast_peers import PEERS, PUBLISHED, statsforecast_seconds  # noqa: E402
from benchmarks.forecast_scoring import Case, Set  # noqa: E402
from models.arrays import Numbers  # noqa: E402
from models.forecast.forecaster import Forecaster  # noqa: E402

LEVELS = (0.8, 0.95)

SCORES = ("smape", "mase", "coverage_80", "coverage_95", "msis")

SPEED_SERIES = 3
"""Series that statsforecast is timed on: it takes seconds for each."""

UPDATE_STEPS = 24
"""Values that were held back to time updates, one by one."""


def score(case: Case, median: Numbers, lower: Numbers, upper: Numbers) -> list[float]:
    """Return the scores of `SCORES`."""
    scale = scoring.naive_scale(case.past, case.season) or 1.0
    return [
        scoring.smape(median, case.future),
        scoring.mase(median, case.future, scale),
        scoring.coverage(lower[0], upper[0], case.future),
        scoring.coverage(lower[1], upper[1], case.future),
        scoring.msis(lower[1], upper[1], case.future, scale),
    ]


def judge(case: Case) -> tuple[list[float], list[float]]:
    """Return the scores of a forecast, and the seconds of its fit and of the forecast."""
    started = time.process_time()
    model = Forecaster(step_ms=case.step_ms, horizon=len(case.future), levels=LEVELS).fit(case.past)
    fitted = time.process_time()
    ahead = model.forecast()
    lower, upper = ahead.lower, ahead.upper
    seconds = [fitted - started, time.process_time() - fitted]
    return score(case, ahead.median, lower, upper), seconds


def update_seconds(cases: list[Case]) -> float:
    """Return the mean seconds that one new value and the forecast after it take."""
    spent = []
    for case in cases:
        kept = max(len(case.past) - UPDATE_STEPS, 4)
        model = Forecaster(step_ms=case.step_ms, horizon=len(case.future), levels=LEVELS).fit(
            case.past[:kept]
        )
        for value in case.past[kept:]:
            started = time.process_time()
            model.update(np.array([value]))
            model.forecast()
            spent.append(time.process_time() - started)
    return float(np.mean(spent)) if spent else 0.0


def mean_scores(rows: list[list[float]], naive2: list[list[float]]) -> dict[str, float]:
    """Return mean scores, and OWA against mean sMAPE and MASE of Naive2 on the same cases."""
    means = np.mean(rows, axis=0)
    base = np.mean(naive2, axis=0)[:2]
    found = dict(zip(SCORES, means.tolist(), strict=True))
    ratios = means[:2] / np.where(base > 0, base, 1.0)
    return {**found, "owa": float(ratios.mean())}


def spread(count: int, wanted: int | None) -> list[int]:
    """Return rows of `wanted` of `count`, spread evenly; all of them without a wish."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return np.unique(np.linspace(0, count - 1, wanted).astype(int)).tolist()


def run(chosen: Set, limit: int | None) -> dict[str, object]:
    """Return the results of a set."""
    cases = [chosen.cases[row] for row in spread(len(chosen.cases), limit)]
    ours, naive2, seconds = [], [], []
    for number, case in enumerate(cases):
        scores, spent = judge(case)
        ours.append(scores)
        seconds.append(spent)
        base = scoring.naive2(case.past, len(case.future), case.season)
        naive2.append(score(case, base, np.stack([base, base]), np.stack([base, base])))
        if number % 25 == 24:
            print(f"{chosen.name}: {number + 1} of {len(cases)}", file=sys.stderr, flush=True)
    peers: dict[str, object] = {}
    peer_rows = {"streamgauge": ours}
    for name, peer in PEERS.items():
        started = time.process_time()
        peer_rows[name] = [score(case, *peer(case)) for case in cases]
        spent_each = (time.process_time() - started) / len(cases)
        peers[name] = {**mean_scores(peer_rows[name], naive2), "seconds_per_series": spent_each}
        print(f"{chosen.name}: {name} took {spent_each:.2f} s a series", file=sys.stderr, flush=True)
    naive_scores = np.mean(naive2, axis=0)
    peers["naive2"] = {"smape": float(naive_scores[0]), "mase": float(naive_scores[1]), "owa": 1.0}
    timed = [cases[row] for row in spread(len(cases), SPEED_SERIES)]
    if chosen.name.startswith("m4_"):
        peers |= statsforecast_seconds(timed)
    peers |= PUBLISHED.get(chosen.name, {})
    fit, ahead = np.mean(seconds, axis=0).tolist()
    return {
        "series": len(cases),
        **mean_scores(ours, naive2),
        "seconds_per_series": fit + ahead,
        "seconds_per_series_max": float(np.sum(seconds, axis=1).max()),
        "fit_seconds": fit,
        "update_seconds": update_seconds(timed),
        "forecast_seconds": ahead,
        "peers": peers,
        **({"parts": by_part(cases, peer_rows)} if cases[0].part else {}),
    }


def by_part(cases: list[Case], rows: dict[str, list[list[float]]]) -> dict[str, object]:
    """Return MASE and coverage of each part of a set, beside the MASE of the peers in `rows`."""
    found: dict[str, object] = {}
    for part in dict.fromkeys(case.part for case in cases):
        chosen = [row for row, case in enumerate(cases) if case.part == part]
        means = {name: np.mean([scores[row] for row in chosen], axis=0) for name, scores in rows.items()}
        ours = dict(zip(SCORES, means.pop("streamgauge").tolist(), strict=True))
        peers = {name: float(scores[SCORES.index("mase")]) for name, scores in means.items()}
        found[part] = {"series": len(chosen), **ours, "mase_of_peers": peers}
    return found


def rounded(value: object) -> object:
    """Return results with four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    """Run the sets that are there and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with m4/, capacity/, requests/")
    parser.add_argument("--set", action="append", help="only sets whose name begins so; may be repeated")
    parser.add_argument("--limit", type=int, help="at most so many series of each set, spread evenly")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"--data {options.data} is not a folder")
    if options.limit is not None and options.limit < 1:
        parser.error(f"--limit must be at least 1, found {options.limit}")
    results: dict[str, object] = {}
    for found in scoring.find_sets(options.data):
        if not found.cases or (options.set and not found.name.startswith(tuple(options.set))):
            continue
        started = time.process_time()
        results[found.name] = rounded(run(found, options.limit))
        print(f"{found.name}: {time.process_time() - started:.1f} s", file=sys.stderr, flush=True)
    print(json.dumps({"sets": results}, indent=1))


if __name__ == "__main__":
    main()
