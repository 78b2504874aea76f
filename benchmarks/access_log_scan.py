"""How soon attackers in a real access log are flagged, and how many ordinary clients are.

    python benchmarks/access_log_scan.py --data DIR

DIR holds `access_logs/*.log.gz` (ordinary traffic) and `scans/*.txt.gz` (lines of scanners). Each scan is
moved in time to begin at several places of each log, sorted into it and sent through the whole flow: decode,
aggregate, window, judge. So are logins that were made up: a client that guesses a password, one that tries
many users. In each place an attack comes from addresses of its own.

One JSON object goes to stdout, progress to stderr:

    {"logs": {log: {"requests", "clients", "flagged_clients", "flagged_share", "flagged": {client: kind}}},
     "attacks": {name: {"seconds_until_flagged": [...], "kind", "reasons", "flagged_share"}}, "seconds"}

`seconds_until_flagged` counts event time from the attack's first request of a minute with at least ten, since
scanners may knock once long before they begin; `since_first_request` counts from the very first.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from detectors.alerts.alert import Transition  # noqa: E402
from streams.compile.configuration import compile_plan  # noqa: E402
from streams.config.load import load_config  # noqa: E402
from streams.events.batch import Records  # noqa: E402
from streams.offline.flow import LocalFlow  # noqa: E402

CONFIG = Path(__file__).parent / "access_log_scan.yaml"

STARTS = (0.1, 0.35, 0.6, 0.85)
"""Where in a log an attack begins, as shares of its length."""

BATCH = 500

_TIME = re.compile(r"\[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d) ([+-]\d{4})\]")
_CLF = "%d/%b/%Y:%H:%M:%S"


@dataclass(frozen=True)
class Line:
    """A line of a log without its time, which stands where `{}` is."""

    second: float
    text: str

    @property
    def client(self) -> str:
        return self.text.split(" ", 1)[0]

    def value(self) -> bytes:
        moment = datetime.fromtimestamp(int(self.second), UTC)
        return self.text.replace("[]", f"[{moment.strftime(_CLF)} +0000]", 1).encode()


@dataclass
class Found:
    """Who was flagged, when first, as what and why."""

    first_second: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, Any] = field(default_factory=dict)


def read_lines(path: Path) -> list[Line]:
    """The lines of a log by time; those without one are left out."""
    lines = []
    with gzip.open(path, "rt", errors="replace") as file:
        texts = file.read().splitlines()
    for raw in texts:
        text = raw.strip()
        if text.startswith('"') and text.endswith('"'):
            text = text[1:-1]
        found = _TIME.search(text)
        if found:
            stamp = datetime.strptime(f"{found[1]} {found[2]}", f"{_CLF} %z").timestamp()
            lines.append(Line(stamp, text[: found.start()] + "[]" + text[found.end() :]))
    return sorted(lines, key=lambda line: line.second)


def moved(lines: Sequence[Line], start: float, place: int) -> list[Line]:
    """The lines, the first of them at `start`, from addresses that are this place's own."""
    shift = start - lines[0].second
    clients = {client: f"198.18.{place}.{n}" for n, client in enumerate({line.client: 0 for line in lines})}
    return [Line(line.second + shift, clients[line.client] + line.text[len(line.client) :]) for line in lines]


def guessing() -> list[Line]:
    """A client that guesses the password of one user every two seconds."""
    text = '203.0.113.9 - - [] "POST /login HTTP/1.1" 401 512 "-" "python-requests/2.31"'
    return [Line(2.0 * number, text) for number in range(150)]


def spraying() -> list[Line]:
    """A client that tries one password with a new user each second."""
    return [
        Line(number, f'203.0.113.7 - user{number:03d} [] "GET /private/ HTTP/1.1" 401 381 "-" "curl/8.0"')
        for number in range(120)
    ]


def run(lines: Iterable[Line]) -> Found:
    """Send lines through the whole flow."""
    found = Found()

    def note(transition: Transition) -> None:
        alert = transition.alert
        client = alert.labels.get("client")
        if alert.state != "firing" or client is None or client in found.first_second:
            return
        found.first_second[client] = transition.at_ms / 1000
        found.kinds[client] = alert.labels["kind"]
        found.reasons[client] = alert.evidence.get("reasons") or alert.evidence["contributions"]

    flow = LocalFlow(compile_plan(load_config(CONFIG)), on_anomaly=note)
    values = [line.value() for line in sorted(lines, key=lambda line: line.second)]
    for first in range(0, len(values), BATCH):
        part = values[first : first + BATCH]
        flow.feed("access", 0, Records(part, np.arange(first, first + len(part)), np.full(len(part), -1)))
    flow.finish()
    return found


def burst_start(attack: Sequence[Line]) -> float:
    """Second of the first request after which a minute has ten of them."""
    seconds = [line.second for line in attack]
    busy = (s for s, later in zip(seconds, seconds[9:], strict=False) if later - s <= 60)
    return next(busy, seconds[0])


def judge(ordinary: Sequence[Line], attack: Sequence[Line]) -> dict[str, Any]:
    """Inject an attack at each of the places; what was found of it, and of others."""
    clients = {line.client for line in ordinary}
    first, last = ordinary[0].second, ordinary[-1].second
    attacks = [
        moved(attack, float(int(first + (last - first) * share)), place) for place, share in enumerate(STARTS)
    ]
    found = run([*ordinary, *(line for lines in attacks for line in lines)])
    waits: list[float | None] = []
    firsts: list[float | None] = []
    attackers: set[str] = set()
    for lines in attacks:
        mine = {line.client for line in lines}
        attackers |= mine
        at = min(
            (found.first_second[client] for client in mine if client in found.first_second), default=None
        )
        waits.append(None if at is None else at - burst_start(lines))
        firsts.append(None if at is None else at - lines[0].second)
    seen = [client for client in found.first_second if client in attackers]
    return {
        "seconds_until_flagged": waits,
        "since_first_request": firsts,
        "kinds": dict(Counter(found.kinds[client] for client in seen)),
        "reasons": found.reasons[seen[0]] if seen else None,
        "flagged_share": len(set(found.first_second) & clients - attackers) / len(clients),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with access_logs/ and scans/")
    options = parser.parse_args()
    began = time.perf_counter()
    logs: dict[str, Any] = {}
    attacks: dict[str, Any] = {}
    for path in sorted((options.data / "access_logs").glob("*.log.gz")):
        ordinary = read_lines(path)
        name = path.name.removesuffix(".log.gz")
        print(f"{name}: {len(ordinary)} requests", file=sys.stderr)
        found = run(ordinary)
        clients = {line.client for line in ordinary}
        logs[name] = {
            "requests": len(ordinary),
            "clients": len(clients),
            "flagged_clients": len(found.first_second),
            "flagged_share": len(found.first_second) / len(clients),
            "flagged": found.kinds,
        }
        sets = {
            scan.name.removesuffix(".txt.gz"): read_lines(scan)
            for scan in sorted((options.data / "scans").glob("*.txt.gz"))
        }
        for title, lines in (*sets.items(), ("brute force", guessing()), ("password spraying", spraying())):
            print(f"{title} in {name}", file=sys.stderr)
            attacks[f"{title} in {name}"] = judge(ordinary, lines)
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps({"logs": logs, "attacks": attacks, "seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
