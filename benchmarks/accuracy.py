"""Measures accuracy on public data and writes the tables of `docs/accuracy.md`.

    python benchmarks/accuracy.py --data DIR [--only nab,security] [--tables]

Runs the benchmarks one after another, keeps the JSON of each in FOLDER (`build/accuracy`), and writes
the tables that the page has between its markers. With --only, the others keep the results they have. It takes
a quarter of an hour on two cores; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "accuracy.md"

Result = dict[str, Any]


def table(head: Sequence[str], rows: Iterator[Sequence[object]]) -> str:
    """A Markdown table; numbers are right-aligned as all columns but the first."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    lines += [f"| {' | '.join(map(written, row))} |" for row in rows]
    return "\n".join(lines)


def written(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def nab(result: Result) -> str:
    def rows() -> Iterator[Sequence[object]]:
        ours = (result[key] for key in ("standard", "reward_low_FP", "reward_low_FN"))
        yield "**streamgauge, traffic**", *ours, None
        measured, published = (result["peers"][kind]["standard"] for kind in ("measured", "published"))
        for name in sorted({**published, **measured}, key=lambda name: -measured.get(name, 0.0)):
            yield name, measured.get(name), None, None, published.get(name)

    head = ("detector", "standard", "reward low FP", "reward low FN", "standard, published for 58 files")
    return table(head, rows())


def security(result: Result) -> str:
    def rows() -> Iterator[Sequence[object]]:
        for name, one in result["sets"].items():
            forest = one["isolation_forest"]
            yield (
                name,
                one["roc_auc"],
                forest["roc_auc"],
                one["average_precision"],
                forest["average_precision"],
                one["recall_at_1_percent_fp"],
                forest["recall_at_1_percent_fp"],
            )

    head = ("set", "ROC-AUC", "plain forest", "AP", "plain forest", "recall at 1 % FP", "plain forest")
    return table(head, rows())


def multivariate(result: Result) -> str:
    def rows() -> Iterator[Sequence[object]]:
        for name, one in result["sets"].items():
            yield (
                name,
                one["average_precision"],
                one["isolation_forest"]["average_precision"],
                one["segments_touched"],
                one["false_alarms_per_week"],
            )

    head = ("set", "AP", "plain forest", "segments touched", "false alarms per week and metric")
    return table(head, rows())


def logs(result: Result) -> str:
    def rows() -> Iterator[Sequence[object]]:
        for name, one in result["systems"].items():
            yield name, one["grouping_accuracy"], round(one["lines_per_second"])
        mean = result["mean"]
        yield "**mean**", mean["grouping_accuracy"] if isinstance(mean, dict) else mean, None

    return table(("system", "grouping accuracy", "lines a second"), rows())


def access_log(result: Result) -> str:
    def rows() -> Iterator[Sequence[object]]:
        for name, one in result["attacks"].items():
            seconds = [each for each in one["seconds_until_flagged"] if each is not None]
            yield name, f"{len(seconds)} of {len(one['seconds_until_flagged'])}", max(seconds, default=None)

    def ordinary() -> Iterator[Sequence[object]]:
        for name, one in result["logs"].items():
            yield name, one["clients"], one["flagged_clients"]

    return "\n\n".join(
        (
            table(("attack", "flagged", "seconds until flagged, at most"), rows()),
            table(("ordinary log", "clients", "flagged"), ordinary()),
        )
    )


def forecast(result: Result) -> str:
    def rows() -> Iterator[Sequence[object]]:
        for name, one in result["sets"].items():
            yield (
                name,
                one["series"],
                *(one.get(key) for key in ("smape", "mase", "owa", "coverage_80", "coverage_95", "msis")),
                one["seconds_per_series"]
                if not isinstance(one["seconds_per_series"], dict)
                else one["seconds_per_series"].get("total", one["seconds_per_series"].get("fit")),
            )

    head = ("set", "series", "sMAPE", "MASE", "OWA", "80 % covers", "95 % covers", "MSIS", "s a series")
    return table(head, rows())


BENCHMARKS: dict[str, tuple[str, Callable[[Result], str]]] = {
    "nab": ("nab.py", nab),
    "security": ("security.py", security),
    "multivariate": ("multivariate.py", multivariate),
    "logs": ("logs.py", logs),
    "access-log": ("access_log_scan.py", access_log),
    "forecast": ("forecast.py", forecast),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with the public data")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {', '.join(BENCHMARKS)}, with commas")
    parser.add_argument("--tables", action="store_true", help="run nothing, write what was measured before")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "accuracy", metavar="FOLDER")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else list(BENCHMARKS)
    unknown = sorted(set(chosen) - BENCHMARKS.keys())
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    arguments.results.mkdir(parents=True, exist_ok=True)
    for name in chosen if not arguments.tables else ():
        command = [
            sys.executable,
            str(ROOT / "benchmarks" / BENCHMARKS[name][0]),
            "--data",
            str(arguments.data),
        ]
        print(f"== {' '.join(command[1:])}", file=sys.stderr)
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        (arguments.results / f"{name}.json").write_text(done.stdout)
    page = PAGE.read_text(encoding="utf-8")
    for name, (_, written_as) in BENCHMARKS.items():
        file = arguments.results / f"{name}.json"
        if file.exists():
            page = with_table(page, name, written_as(json.loads(file.read_text())))
    PAGE.write_text(page, encoding="utf-8")


def with_table(page: str, name: str, text: str) -> str:
    """The page with a table between its markers."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    found, count = re.subn(pattern, lambda match: f"{match[1]}\n{text}\n\n{match[2]}", page, flags=re.DOTALL)
    assert count == 1, f"{PAGE} has no place for {name}"
    return found


if __name__ == "__main__":
    main()
