"""How well attacks are told from normal traffic on public data, by what was learnt from normal traffic only.

    python benchmarks/security.py --data DIR [--train-data DIR2] [--seed N]

DIR holds one folder for each kind of data; what is not there is left out:

    nsl_kdd/  KDDTrain+*.txt, KDDTest+*.txt (or .csv, each with or without .gz): 41 columns and the label.
              Learnt from the first 70 % of the normal rows, as far as they precede the last 30 % of the
              file, which is what is judged.
    csic2010/ normal*.txt, anomalous*.txt (with or without .gz): a request "METHOD url" a line. Learnt from
              the first half of the normal requests; judged are the other half and all attacks.
    kdd99/    *.npz of X and y. Learnt from all rows, labels unseen; all rows are judged.

With --train-data, normal rows of DIR2 are learnt and all rows of DIR are judged; of NSL-KDD those of
KDDTest+ where DIR has it. A set of kdd99/ that DIR2 lacks is judged as without.

One set of settings for all files: `OutlierEnsemble` with its defaults (no contamination where what is learnt
is known to be normal) over the columns (`MixedTable`), the requests (`UrlFeatures`) or the numbers as they
are. `isolation_forest` is scikit-learn's with its defaults on the same features. One JSON object goes to
stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from sklearn.ensemble import IsolationForest  # noqa: E402
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve  # noqa: E402

from detectors.security.url_features import UrlFeatures  # noqa: E402
from models.anomaly.mixed_table import Columns, MixedTable  # noqa: E402
from models.anomaly.outliers import CONTAMINATION, OutlierEnsemble  # noqa: E402
from models.arrays import Mask, Numbers  # noqa: E402

LABEL = 41
"""Column of the label in NSL-KDD, counted from 0."""

WORDS = (1, 2, 3)
"""Columns of words in NSL-KDD: protocol, service, flag."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt and what is judged.

    learnt : Numbers [N, F]
    judged : Numbers [M, F]
    attack : Mask [M]
    clean  : whether all that is learnt is known to be normal
    """

    learnt: Numbers
    judged: Numbers
    attack: Mask
    clean: bool


def main() -> None:
    """Judge every set that is there and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder of nsl_kdd/, csic2010/, kdd99/"
    )
    parser.add_argument(
        "--train-data", type=Path, metavar="DIR2", help="folder whose normal rows are learnt from"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")
    options = parser.parse_args()
    for folder in (options.data, options.train_data):
        if folder is not None and not folder.is_dir():
            parser.error(f"{folder} is no folder")
    sets = {}
    for name, prepare in found_tasks(options.data, options.train_data):
        started = time.perf_counter()
        try:
            task = prepare()
        except ValueError as reason:
            print(f"{name}: left out, {reason}", file=sys.stderr)
            continue
        prepared = time.perf_counter() - started
        sets[name] = judged(task, prepared, options.seed)
        print(f"{name}: {json.dumps(sets[name])}", file=sys.stderr)
    if not sets:
        parser.error(f"none of nsl_kdd/, csic2010/ and kdd99/*.npz is in {options.data}")
    print(json.dumps({"sets": sets}, indent=2))


def found_tasks(data: Path, train: Path | None) -> list[tuple[str, Callable[[], Task]]]:
    """Return the names of the sets that are there, each with the function that reads it."""
    tasks: list[tuple[str, Callable[[], Task]]] = []
    if connection_files(data):
        tasks.append(("nsl_kdd", partial(connections, data, train)))
    if request_files(data, "normal"):
        tasks.append(("csic2010", partial(requests, data, train)))
    files = sorted((data / "kdd99").glob("*.npz"))
    return tasks + [(path.stem, partial(numbers, path, train)) for path in files]


def judged(task: Task, prepared: float, seed: int) -> dict[str, Any]:
    """Return the figures of the ensemble and of a plain forest; `prepared` seconds went into features."""

    def ensemble() -> Numbers:
        contamination = 0.0 if task.clean else CONTAMINATION
        return OutlierEnsemble.fit(task.learnt, contamination=contamination, seed=seed).score(task.judged)

    def plain() -> Numbers:
        learnt, rows = task.learnt.astype(np.float32), task.judged.astype(np.float32)
        found: Numbers = -IsolationForest(random_state=seed).fit(learnt).score_samples(rows)
        return found

    return {
        **timed_figures(ensemble, task.attack, prepared),
        "isolation_forest": timed_figures(plain, task.attack, prepared),
    }


def timed_figures(score: Callable[[], Numbers], attack: Mask, prepared: float) -> dict[str, float]:
    """Return the figures of scores and the seconds they took."""
    started = time.perf_counter()
    scores = score()
    seconds = prepared + time.perf_counter() - started
    return {**figures(attack, scores), "seconds": round(seconds, 2)}


def figures(attack: Mask, scores: Numbers) -> dict[str, float]:
    """Return how well scores : Numbers [M] tell attacks : Mask [M] from the other rows."""
    false, true, _ = roc_curve(attack, scores)
    return {
        "roc_auc": round(float(roc_auc_score(attack, scores)), 4),
        "average_precision": round(float(average_precision_score(attack, scores)), 4),
        "recall_at_1_percent_fp": round(float(true[false <= 0.01].max()), 4),
    }


def both_kinds(attack: Mask, learnt: int) -> None:
    """Raise ValueError unless there is something to learn from, and attacks and normal rows to judge."""
    if learnt == 0:
        raise ValueError("there is no normal row to learn from")
    if attack.all() or not attack.any():
        raise ValueError("both attacks and normal rows are needed to judge by")


def connections(data: Path, train: Path | None) -> Task:
    """NSL-KDD."""
    if train is None:
        columns, normal = read_connections(connection_files(data)[0])
        first_judged = int(0.7 * len(normal))
        known = np.flatnonzero(normal)[: int(0.7 * normal.sum())]
        known, rows = known[known < first_judged], np.arange(first_judged, len(normal))
        learnt, judged_columns, attack = taken(columns, known), taken(columns, rows), ~normal[rows]
    else:
        files = connection_files(train)
        if not files:
            raise ValueError(f"{train} has no nsl_kdd/KDDTrain+ to learn from")
        columns, normal = read_connections(files[0])
        learnt = taken(columns, np.flatnonzero(normal))
        tests = [path for path in connection_files(data) if path.name.lower().startswith("kddtest+")]
        judged_columns, normal = read_connections((tests or connection_files(data))[0])
        attack = ~normal
    both_kinds(attack, len(learnt["0"]))
    table = MixedTable.fit(learnt)
    return Task(table.transform(learnt), table.transform(judged_columns), attack, clean=True)


def connection_files(folder: Path) -> list[Path]:
    """Files of NSL-KDD: those of training first, then those of the test, by name."""
    names = ("kddtrain", "kddtest")
    ends = (".txt", ".csv", ".txt.gz", ".csv.gz")
    found = [path for path in sorted((folder / "nsl_kdd").glob("*")) if path.name.lower().endswith(ends)]
    return [path for name in names for path in found if path.name.lower().startswith(name)]


def read_connections(path: Path) -> tuple[dict[str, Any], Mask]:
    """Columns by their number, and Mask [N] of the normal rows."""
    rows = [line.split(",") for line in lines_of(path)]
    rows = [row for row in rows if len(row) > LABEL and row[0].strip().replace(".", "").isdigit()]
    if not rows:
        raise ValueError(f"{path.name} has no row of {LABEL + 1} columns")
    cells = list(zip(*rows, strict=False))
    columns = {
        str(number): np.array(cells[number]) if number in WORDS else np.array(cells[number], np.float64)
        for number in range(LABEL)
    }
    return columns, np.array([label.strip().rstrip(".") == "normal" for label in cells[LABEL]])


def taken(columns: Columns, rows: Any) -> dict[str, Any]:
    """The same columns with these rows only."""
    return {name: values[rows] for name, values in columns.items()}


def requests(data: Path, train: Path | None) -> Task:
    """CSIC 2010."""
    normal, attacks = read_requests(data, "normal"), read_requests(data, "anomalous")
    if train is None:
        half = len(normal) // 2
        known, others = normal[:half], normal[half:]
    else:
        known, others = read_requests(train, "normal"), normal
    attack = np.arange(len(others) + len(attacks)) >= len(others)
    both_kinds(attack, len(known))
    model, learnt = UrlFeatures.fit(known)
    return Task(learnt, model.transform(others + attacks), attack, clean=True)


def request_files(folder: Path, kind: str) -> list[Path]:
    """Files of normal or anomalous requests, by name."""
    found = sorted((folder / "csic2010").glob("*"))
    return [path for path in found if path.name.lower().startswith(kind) and path.is_file()]


def read_requests(folder: Path, kind: str) -> list[str]:
    """The requests of these files, in their order."""
    return [line for path in request_files(folder, kind) for line in lines_of(path)]


def lines_of(path: Path) -> list[str]:
    """Lines of a text file in Latin-1, packed or not, without empty ones; only line feeds end a line.

    CSIC's attacks end with a carriage return and its normal requests do not: kept, it would tell them apart.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    lines = (line.rstrip("\r") for line in content.decode("latin-1").split("\n"))
    return [line for line in lines if line]


def numbers(path: Path, train: Path | None) -> Task:
    """One set of KDD Cup 99 as kept by ADBench."""
    rows, attack = read_numbers(path)
    learnt, clean = rows, False
    if train is not None and (train / "kdd99" / path.name).exists():
        known, bad = read_numbers(train / "kdd99" / path.name)
        learnt, clean = known[~bad], True
    both_kinds(attack, len(learnt))
    return Task(learnt, rows, attack, clean)


def read_numbers(path: Path) -> tuple[Numbers, Mask]:
    """X as Numbers [N, F] and y as Mask [N]."""
    with np.load(path, allow_pickle=False) as stored:
        return stored["X"].astype(np.float64), stored["y"].ravel() > 0


if __name__ == "__main__":
    main()
