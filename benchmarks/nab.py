"""How well the traffic detector does on the Numenta Anomaly Benchmark, by NAB's own scoring.

    python benchmarks/nab.py --data DIR

DIR holds `nab/data/<category>/*.csv` (columns timestamp and value) and `nab/labels/combined_windows.json`.
Files without an entry there are left out. Each file is a stream of one series for a detector with default
settings that knows nothing of other files; a row is judged when it comes, by the rows before it. The score
of a row is 1 - tail where an incident begins, and 0 in all other rows: one incident, one alarm.

One JSON object goes to stdout, progress to stderr:

    standard, reward_low_FP, reward_low_FN : the three profiles, 0 for saying nothing and 100 for perfection
    threshold : the one threshold for all files that is best for `standard`
    files     : standard score of each file with that threshold on the same scale; of a file without windows,
                what its false alarms cost, on the scale of one window
    seconds   : time taken by the detector
    peers     : scores of other detectors, with their source
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from benchmarks.nab_scoring import (  # noqa: E402
    PROFILES,
    Judged,
    best_threshold,
    counted_windows,
    file_score,
    normalised,
)
from detectors.api.detector import Panel  # noqa: E402
from detectors.traffic.detector import TrafficDetector  # noqa: E402
from detectors.traffic.incident_length import onsets  # noqa: E402
from models.arrays import EpochMs, Numbers, Rows  # noqa: E402

INCIDENT_TAIL = 1e-3
"""Tail from which a step belongs to an incident. NAB weighs nine false alarms like one
missed window, and a window is a tenth of a file: about one false alarm in a thousand rows is what it asks
for."""

PUBLISHED = "github.com/numenta/NAB, README: standard profile, all 58 files"
MEASURED = "their published results under NAB's scoring, on 35 of the 58 files"

PEERS = {
    "published": {
        "source": PUBLISHED,
        "standard": {
            "ARTime": 74.9,
            "Numenta HTM": 70.5,
            "CAD OSE": 69.9,
            "KNN-CAD": 58.0,
            "Relative Entropy": 54.6,
            "Random Cut Forest": 51.7,
            "Twitter ADVec": 47.1,
            "Windowed Gaussian": 39.6,
        },
    },
    "measured": {
        "source": MEASURED,
        "standard": {
            "ARTime": 72.4,
            "Numenta HTM": 71.6,
            "CAD OSE": 69.6,
            "HTM Java": 67.3,
            "KNN-CAD": 64.8,
            "Twitter ADVec": 49.5,
            "Random Cut Forest": 46.2,
            "Windowed Gaussian": 37.6,
        },
    },
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One file: EpochMs [T], Numbers [T], and its windows as Rows [W, 2], first and last row of each."""

    name: str
    times: EpochMs
    values: Numbers
    windows: Rows


def read_files(folder: Path) -> Iterator[Labelled]:
    """All labelled files of a NAB folder, by name. Raises ValueError where there is none."""
    labels = folder / "labels" / "combined_windows.json"
    if not labels.is_file():
        raise ValueError(f"{labels} is not there; --data names the folder that holds nab/")
    for name, spans in sorted(json.loads(labels.read_text()).items()):
        path = folder / "data" / name
        if not path.is_file():
            continue
        table = pd.read_csv(path)
        stamps = pd.to_datetime(table["timestamp"]).astype("datetime64[ms]")
        edges = pd.to_datetime(pd.Series([edge for span in spans for edge in span], dtype=object))
        edges = edges.astype("datetime64[ms]").to_numpy()
        first = np.searchsorted(stamps.to_numpy(), edges[0::2], side="left")
        last = np.searchsorted(stamps.to_numpy(), edges[1::2], side="right") - 1
        times = stamps.to_numpy().astype(np.int64)
        # Clock changes repeat an hour in some files; the order of the rows is what counts.
        times = np.maximum.accumulate(times - np.arange(len(times))) + np.arange(len(times))
        yield Labelled(name, times, table["value"].to_numpy(np.float64), np.stack([first, last], axis=1))


def alarm_scores(file: Labelled) -> Numbers:
    """Numbers [T] in [0, 1]: how surely an incident begins at each row."""
    verdicts = TrafficDetector().update(Panel.of_series(file.times, file.values))
    return onsets(verdicts.score[:, 0], 1 - INCIDENT_TAIL)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds nab/")
    options = parser.parse_args()
    judged: dict[str, Judged] = {}
    started = time.perf_counter()
    try:
        for file in read_files(options.data / "nab"):
            judged[file.name] = Judged(alarm_scores(file), file.windows)
            print(f"{file.name}: {np.count_nonzero(judged[file.name].scores)} incidents", file=sys.stderr)
    except ValueError as error:
        parser.error(str(error))
    seconds = time.perf_counter() - started
    files = list(judged.values())
    if not counted_windows(files):
        parser.error(f"no file of {options.data / 'nab'} has a labelled window after the rows for learning")
    report: dict[str, object] = {}
    thresholds = {}
    for name, profile in PROFILES.items():
        thresholds[name], total = best_threshold(files, profile)
        report[name] = round(normalised(total, counted_windows(files), profile), 2)
    standard = PROFILES["standard"]
    report["threshold"] = thresholds["standard"]
    report["files"] = {
        name: round(on_file_scale(one, file_score(one, thresholds["standard"], standard)), 2)
        for name, one in judged.items()
    }
    report["seconds"] = round(seconds, 1)
    report["peers"] = PEERS
    print(json.dumps(report))


def on_file_scale(judged: Judged, total: float) -> float:
    """A file's sum as a score of its own; a file without windows starts from 0."""
    profile = PROFILES["standard"]
    windows = counted_windows([judged])
    return normalised(total, windows, profile) if windows else 100.0 * total / (profile.tp + profile.fn)


if __name__ == "__main__":
    main()
