"""How well anomalies of servers with many metrics are found, point by point, and how many alarms are false.

    python benchmarks/multivariate.py --data DIR [--sets smd,asd] [--rate 0.1]

DIR/<set>/*.npz hold `train` [rows, F] without labels, `test` [rows, F] and `label` [rows]; beside them may
lie `<name>.causes.txt` with lines `first-last:metric,metric`. The detector learns from `train`, then reads
`test` as a stream: each row is judged by what came before. All settings are defaults, the same for each file.

    roc_auc, average_precision : means over servers of the scores' order of rows; no point adjustment
    segments_touched           : share of all labelled runs in which there was an alarm
    false_alarms_per_week      : incidents without a labelled row, per week of unlabelled rows and series.
                                 Each metric is a series, as in `false_alarms_per_series_per_week`: a server
                                 of F metrics may alarm F times as often, see `false_alarms_per_server_week`
    causes_hit_at_3            : share of the segments with known causes that the three largest contributions
                                 name at least one of
    isolation_forest           : scikit-learn's with its defaults on the raw metrics, for comparison

One JSON object goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from sklearn.ensemble import IsolationForest  # noqa: E402
from sklearn.metrics import average_precision_score, roc_auc_score  # noqa: E402

from benchmarks.multivariate_scoring import Tally, causes_hit, read_causes, tally  # noqa: E402
from detectors.api.detector import Panel  # noqa: E402
from detectors.multivariate.detector import QUIET_STEPS, MultivariateDetector  # noqa: E402
from models.arrays import Mask, Numbers  # noqa: E402
from models.calendar.units import WEEK_MS  # noqa: E402

STEP_MS = {"smd": 60_000, "asd": 300_000}
TOP = 3
START_MS = 1_700_000_000_000 // 300_000 * 300_000
"""The files tell no times; any will do, since the detector knows no seasons."""


@dataclass(frozen=True)
class Ranking:
    """How well scores order the rows of one server, NaN where all have one label, and the seconds it took."""

    roc_auc: float
    average_precision: float
    seconds: float

    @classmethod
    def of(cls, label: Mask, scores: Numbers, seconds: float) -> Ranking:
        if label.all() or not label.any():
            return cls(np.nan, np.nan, seconds)
        return cls(
            float(roc_auc_score(label, scores)), float(average_precision_score(label, scores)), seconds
        )


@dataclass(frozen=True)
class Server:
    """What was measured on one file of F metrics."""

    ours: Ranking
    forest: Ranking
    tally: Tally
    metrics: int


def panel(values: Numbers, first: int, step_ms: int) -> Panel:
    """Rows as a panel of one series, the first of them being step `first`."""
    times = START_MS + (np.arange(len(values)) + first) * step_ms
    return Panel(times, ((),), tuple(f"metric {n + 1}" for n in range(values.shape[1])), values[:, None])


def judge(path: Path, step_ms: int, rate: float) -> Server:
    """Learn from a file's `train` and judge its `test`."""
    with np.load(path) as stored:
        train, test = stored["train"].astype(np.float64), stored["test"].astype(np.float64)
        label = stored["label"].astype(np.bool_)
    started = time.perf_counter()
    detector = MultivariateDetector(false_alarms_per_series_per_week=rate)
    detector.fit(panel(train, 0, step_ms))
    verdicts = detector.update(panel(test, len(train), step_ms))
    # Tails beyond 1e-16 are told apart by their logarithm, not by 1 - tail.
    scores = -np.log(np.maximum(verdicts.tail[:, 0], np.finfo(np.float64).tiny))
    ours = Ranking.of(label, scores, time.perf_counter() - started)

    started = time.perf_counter()
    plain = -IsolationForest(random_state=0).fit(train).score_samples(test)
    forest = Ranking.of(label, plain, time.perf_counter() - started)

    counted = tally(label, verdicts.alarm[:, 0], quiet_steps=QUIET_STEPS)
    hits = causes_hit(
        read_causes(path.with_name(f"{path.stem}.causes.txt")), verdicts.contributions[:, 0], top=TOP
    )
    counted = replace(counted, causes=len(hits), causes_hit=sum(hits))
    return Server(ours, forest, counted, train.shape[1])


def report(servers: list[Server], step_ms: int) -> dict[str, Any]:
    """Means and totals over some servers."""
    segments = sum(server.tally.segments for server in servers)
    causes = sum(server.tally.causes for server in servers)
    false = sum(server.tally.false_incidents for server in servers)
    weeks = [server.tally.normal_steps * step_ms / WEEK_MS for server in servers]
    series_weeks = sum(span * server.metrics for span, server in zip(weeks, servers, strict=True))
    found: dict[str, Any] = {
        **ranking([server.ours for server in servers]),
        "segments": segments,
        "segments_touched": share(sum(server.tally.touched for server in servers), segments),
        "false_alarms_per_week": share(false, series_weeks),
        "false_alarms_per_server_week": share(false, sum(weeks)),
        "isolation_forest": ranking([server.forest for server in servers]),
    }
    if causes:
        found["causes_hit_at_3"] = share(sum(server.tally.causes_hit for server in servers), causes)
    return found


def ranking(rankings: list[Ranking]) -> dict[str, float | None]:
    """Means over the servers that have both labels, None where none has, and the sum of the seconds."""
    ordered = [one for one in rankings if np.isfinite(one.roc_auc)]
    return {
        "roc_auc": share(sum(one.roc_auc for one in ordered), len(ordered)),
        "average_precision": share(sum(one.average_precision for one in ordered), len(ordered)),
        "seconds": round(sum(one.seconds for one in rankings), 2),
    }


def share(part: float, whole: float) -> float | None:
    """A part of a whole, None where there is none."""
    return round(part / whole, 4) if whole > 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with smd/ and asd/")
    parser.add_argument("--sets", default=",".join(STEP_MS), help=f"default: {','.join(STEP_MS)}")
    parser.add_argument(
        "--rate", type=float, default=0.1, help="false_alarms_per_series_per_week, default: 0.1"
    )
    options = parser.parse_args()
    sets: dict[str, Any] = {}
    for name in options.sets.split(","):
        if name not in STEP_MS:
            parser.error(f"unknown set {name!r}; there are {', '.join(STEP_MS)}")
        step_ms = STEP_MS[name]
        servers: dict[str, Server] = {}
        for path in sorted((options.data / name).glob("*.npz")):
            servers[path.stem] = judge(path, step_ms, options.rate)
            ours = servers[path.stem].ours
            print(
                f"{name}/{path.stem}: average precision {ours.average_precision:.3f} ({ours.seconds:.1f} s)",
                file=sys.stderr,
            )
        if servers:
            sets[name] = {
                **report(list(servers.values()), step_ms),
                "false_alarms_per_series_per_week": options.rate,
                "entities": {stem: report([server], step_ms) for stem, server in servers.items()},
            }
    if not sets:
        parser.error(f"no *.npz in {', '.join(STEP_MS)} of {options.data}")
    print(json.dumps({"sets": sets}))


if __name__ == "__main__":
    main()
