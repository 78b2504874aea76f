"""How well log lines are grouped into templates, and how fast.

    python benchmarks/logs.py --data DIR

DIR/loghub/*/ each hold one system's lines: `*_structured.csv.gz` with columns Content and EventId (the true
template); `*_2k.log.gz` is the same with the header of each line. One configuration serves all systems.

    grouping_accuracy : share of the lines whose template holds exactly the lines of their true template
                        (Zhu et al., ICSE-SEIP 2019). Lines come in small batches; templates may merge later,
                        as in the worker, and the templates after the last line are compared
    at_arrival        : the same by the template that each line was given when it came, merges ignored
    lines_per_second  : from Content to templates by a parser that has seen nothing yet, masks included, by
                        the processor time of one core; median of some runs over the system's lines
    signatures        : distinct lines once masked, which is how many series a count by signature takes

One JSON object goes to stdout, progress to stderr. Where drain3 is installed it is measured in the same run.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib.util
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from models.logs.drain import TemplateMiner  # noqa: E402
from models.logs.masks import LogMasks  # noqa: E402

RUNS = 7
BATCH_LINES = 1_000
"""Lines that are looked at together: a fetch from Kafka of 1 MB brings several thousand."""

PUBLISHED = {
    "drain3, plain": {
        "mean": 0.842,
        "source": "measured on the ten systems of this project's reference data",
    },
    "drain3, its usual masks": {
        "mean": 0.862,
        "lines_per_second": 45_000,
        "source": "measured on the ten systems of this project's reference data",
    },
    "Drain, masks for each system": {
        "systems": {
            "Android": 0.911,
            "Apache": 1.0,
            "BGL": 0.963,
            "HDFS": 0.998,
            "HPC": 0.887,
            "Hadoop": 0.948,
            "HealthApp": 0.780,
            "Linux": 0.690,
            "Mac": 0.787,
            "OpenSSH": 0.788,
            "OpenStack": 0.733,
            "Proxifier": 0.527,
            "Spark": 0.920,
            "Thunderbird": 0.955,
            "Windows": 0.997,
            "Zookeeper": 0.967,
        },
        "source": "Zhu et al., Tools and Benchmarks for Automated Log Parsing, ICSE-SEIP 2019, table II",
    },
}


def grouping_accuracy(found: Sequence[Hashable], true: Sequence[Hashable]) -> float:
    """Share of the lines whose group is, as a set of lines, a true one."""
    found_sizes, true_sizes = Counter(found), Counter(true)
    both = Counter(zip(found, true, strict=True))
    right = sum(n for (a, b), n in both.items() if n == found_sizes[a] == true_sizes[b])
    return right / max(len(true), 1)


def read_system(folder: Path) -> tuple[list[str], list[str]]:
    """Return the contents and the true templates of a system's lines."""
    path = next(iter(sorted(folder.glob("*structured.csv*"))))
    opener = gzip.open if path.suffix == ".gz" else open
    csv.field_size_limit(1 << 24)
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["Content"] for row in rows], [row["EventId"] for row in rows]


def parse(lines: Sequence[str]) -> list[int]:
    """Return a template for each line, batch by batch, and merges that came later taken into account."""
    masks, miner = LogMasks(), TemplateMiner()
    signatures: list[str] = []
    for start in range(0, len(lines), BATCH_LINES):
        batch = masks.signatures(lines[start : start + BATCH_LINES])
        miner.learn(batch)
        signatures += batch
    return miner.templates(signatures).tolist()


def parse_at_arrival(lines: Sequence[str]) -> list[int]:
    """Return the template that each line is given if lines come one by one."""
    masks, miner = LogMasks(), TemplateMiner()
    return [int(miner.learn(masks.signatures([line]))[0]) for line in lines]


def drain3_parser() -> Callable[[Sequence[str]], list[int]]:
    """Return the peer: drain3 as it comes, with the masks of its own example."""
    from drain3 import TemplateMiner as Drain3
    from drain3.masking import MaskingInstruction
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    before, after = r"((?<=[^A-Za-z0-9])|^)", r"((?=[^A-Za-z0-9])|$)"
    config.masking_instructions = [
        MaskingInstruction(before + pattern + after, name)
        for pattern, name in (
            (r"(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))", "ID"),
            (r"(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})", "IP"),
            (r"([0-9a-f]{6,} ?){3,}", "SEQ"),
            (r"([0-9A-F]{4} ?){4,}", "SEQ"),
            (r"(0x[a-f0-9A-F]+)", "HEX"),
            (r"([\-\+]?\d+)", "NUM"),
        )
    ]

    def parse_with_drain3(lines: Sequence[str]) -> list[int]:
        miner = Drain3(config=config)
        return [miner.add_log_message(line)["cluster_id"] for line in lines]

    return parse_with_drain3


def lines_per_second(parser: Callable[[Sequence[str]], list[int]], lines: Sequence[str], runs: int) -> int:
    """Return the median rate of parsers that have seen nothing."""
    taken = []
    for _ in range(runs):
        started = time.process_time()
        parser(lines)
        taken.append(time.process_time() - started)
    return round(len(lines) / statistics.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds loghub/")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs of each timing; default: {RUNS}")
    options = parser.parse_args()
    drain3 = drain3_parser() if importlib.util.find_spec("drain3") else None
    systems: dict[str, dict[str, float]] = {}
    peer: dict[str, dict[str, float]] = {}
    for folder in sorted(
        path for path in (options.data / "loghub").glob("*") if any(path.glob("*structured.csv*"))
    ):
        lines, true = read_system(folder)
        found = parse(lines)
        systems[folder.name] = {
            "grouping_accuracy": round(grouping_accuracy(found, true), 4),
            "lines_per_second": lines_per_second(parse, lines, options.runs),
            "at_arrival": round(grouping_accuracy(parse_at_arrival(lines), true), 4),
            "signatures": len(set(LogMasks().signatures(lines))),
            "templates": len(set(found)),
            "true_templates": len(set(true)),
        }
        if drain3:
            peer[folder.name] = {
                "grouping_accuracy": round(grouping_accuracy(drain3(lines), true), 4),
                "lines_per_second": lines_per_second(drain3, lines, 1),
            }
        print(f"{folder.name}: {systems[folder.name]}", file=sys.stderr)
    peers: dict[str, object] = dict(PUBLISHED)
    if drain3 and peer:
        peers["drain3, masks of its example, in this run"] = {
            "systems": peer,
            "mean": _mean(peer),
            "source": "this run",
        }
    print(json.dumps({"systems": systems, "mean": _mean(systems), "peers": peers}))


def _mean(systems: dict[str, dict[str, float]]) -> float:
    scores = [score["grouping_accuracy"] for score in systems.values()]
    return round(statistics.fmean(scores), 4) if scores else 0.0


if __name__ == "__main__":
    main()
