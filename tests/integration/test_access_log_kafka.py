"""A real access log through Kafka and two workers: counted as by plain Python, and as by `replay`.

One pair of workers reads all topics, so that they start once:

whole      the log as it is in one partition, which `examples/access-log.yaml` describes
spread     the same lines over four partitions, some of them late, with a few that are no log lines
timed, upstream   logs of a real nginx with request times, in the two forms it has
lognormal  generated durations over four partitions
"""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml

from streams.publish.metrics.rollup_families import QUANTILES
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.topics import unique_name
from tests.services.worker import WorkerProcess, summed

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "access-log.yaml"
EXAMPLE_SLOS = ROOT / "examples" / "slos" / "access-log.yaml"

SEED = 20150517
PARTITIONS = 4
LATENESS_S = 60
BUCKET_S = 10
GARBAGE = [b"", b"\x16\x03\x01\x02", b"not a log line", b'127.0.0.1 - - [yesterday] "GET / HTTP/1.1" 200 1']
DURATIONS_PER_ROUTE = 4_000

Line = tuple[int, str, int]
"""(event time in seconds, method, status)"""

LINE = re.compile(rb'\S+ \S+ \S+ \[([^]]+)\] "(\S+) .*?" (\d{3}) ')


def parsed(line: bytes) -> Line | None:
    """A line as a few characters of regular expression see it; None if it is no log line."""
    match = LINE.match(line)
    try:
        time = datetime.strptime(match[1].decode(), "%d/%b/%Y:%H:%M:%S %z")  # type: ignore[index]
    except (TypeError, ValueError):
        return None
    assert match is not None
    return int(time.timestamp()), match[2].decode(), int(match[3])


@dataclass
class Truth:
    """What became of the lines, and of those on time (method, failed)."""

    outcomes: Counter[str]
    methods: Counter[tuple[str, bool]]

    @property
    def bad(self) -> int:
        return sum(count for (_, failed), count in self.methods.items() if failed)

    @property
    def good(self) -> int:
        return sum(count for (_, failed), count in self.methods.items() if not failed)


def truth(partitions: Sequence[Sequence[bytes]]) -> Truth:
    outcomes: Counter[str] = Counter()
    methods: Counter[tuple[str, bool]] = Counter()
    for lines in partitions:
        newest = -(10**18)
        for line in lines:
            entry = parsed(line)
            if entry is None:
                outcomes["dead"] += 1
                continue
            time, method, status = entry
            if (time // BUCKET_S + 1) * BUCKET_S <= newest - LATENESS_S:
                outcomes["late"] += 1
            else:
                outcomes["in"] += 1
                methods[method, status >= 500] += 1
            newest = max(newest, time)
    return Truth(outcomes, methods)


def spread(lines: Sequence[bytes]) -> list[list[bytes]]:
    """Four partitions by client, as with keys; some lines arrive up to three hours late, some are broken."""
    rng = random.Random(SEED)
    arrivals = []
    for number, line in enumerate(lines):
        entry = parsed(line)
        assert entry is not None
        delay = rng.choice([0] * 9 + [rng.randrange(3 * 3600)])
        arrivals.append((entry[0] + delay, number, line))
    partitions: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for _, _, line in sorted(arrivals):
        partitions[zlib.crc32(line.split(b" ", 1)[0]) % PARTITIONS].append(line)
    for number, line in enumerate(GARBAGE * 3):
        log = partitions[number % PARTITIONS]
        log.insert(rng.randrange(len(log)), line)
    return partitions


def durations() -> dict[str, list[float]]:
    """Seconds by route: from a tenth of a millisecond to minutes."""
    rng = random.Random(SEED)
    return {f"/r{n}": [rng.lognormvariate(n - 4, 1.5) for _ in range(DURATIONS_PER_ROUTE)] for n in range(5)}


@dataclass
class Run:
    """The topics, and the workers that have counted them."""

    kafka: Broker
    app: str
    workers: list[WorkerProcess]
    folder: Path
    whole: list[bytes]
    parts: list[list[bytes]]

    def counts(self, metric: str, source: str, label: str) -> dict[str, int]:
        """A counter of a source by one of its labels, zeros left out."""
        rows = summed(self.workers, metric)
        return {
            dict(labels)[label]: int(value)
            for labels, value in rows.items()
            if dict(labels)["source"] == source and value
        }

    def outcomes(self, source: str) -> dict[str, int]:
        return self.counts("streamgauge_events_total", source, "outcome")

    def value(self, metric: str, **labels: str) -> float:
        """The only sample of a metric that has these labels, whichever worker shows it."""
        found = [
            value
            for key, value in summed(self.workers, metric).items()
            if labels.items() <= dict(key).items()
        ]
        assert len(found) == 1, f"{metric} {labels} has {len(found)} samples"
        return found[0]

    def slis(self, slo: str, source: str) -> dict[int, dict[str, Any]]:
        """Reports of an SLO by their instant; a repeat must say the same."""
        found: dict[int, dict[str, Any]] = {}
        for record in self.kafka.read_all(f"{self.app}-slis"):
            report = json.loads(record.value or b"")
            if report["slo"] == slo and report["service"] == source:
                assert found.setdefault(report["at_ms"], report) == report
        return found


def slo(name: str, source: str, condition: str) -> dict[str, Any]:
    def metric(where: str | None) -> dict[str, Any]:
        spec = {"source": source} if where is None else {"source": source, "where": where}
        return {"metricSource": {"type": "streamgauge", "spec": spec}}

    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": name},
        "spec": {
            "service": source,
            "indicator": {
                "metadata": {"name": name},
                "spec": {"ratioMetric": {"bad": metric(condition), "total": metric(None)}},
            },
            "timeWindow": [{"duration": "30d", "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": name, "target": 0.999}],
        },
    }


def configuration(bootstrap: str, app: str, folder: Path) -> dict[str, Any]:
    """The example as it is, and beside it the other topics."""
    config: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    log = config["sources"]["access_log"]
    slos = [slo("answered", "spread", "status >= 500"), slo("found", "spread", "status == 404")]
    (folder / "spread.yaml").write_text(yaml.safe_dump_all(slos))
    # Times of these files may lie ahead of the clock of the machine that runs the test.
    logs = {
        name: {**log, "topic": f"{app}-{name}", "future": "36500d"}
        for name in ("spread", "timed", "upstream")
    }
    lognormal = {
        "topic": f"{app}-lognormal",
        "format": "json",
        "time": {"field": "ts", "format": "epoch_ms"},
        "fields": {"seconds": "seconds"},
        "series": ["route"],
        "duration": "seconds",
        "lateness": "5m",
        "future": "36500d",
    }
    return {
        "app": app,
        "broker": {
            "bootstrap": [bootstrap],
            "session_timeout": "6s",
            "heartbeat_interval": "1s",
            "partitions": 3,
        },
        "sources": {
            "access_log": {**log, "topic": f"{app}-access_log", "future": "36500d"},
            **logs,
            "lognormal": lognormal,
        },
        "slos": [str(EXAMPLE_SLOS), "spread.yaml"],
    }


@pytest.fixture(scope="module")
def run(kafka: Broker, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder, app = tmp_path_factory.mktemp("access-log"), unique_name("access-log")
    whole = gzip.decompress((data_dir / "access_logs" / "apache_logs.log.gz").read_bytes()).splitlines()
    logs = {"access_log": [whole], "spread": spread(whole)}
    for name in ("timed", "upstream"):
        packed = (data_dir / "wire" / f"nginx-{name}.log.gz").read_bytes()
        logs[name] = [gzip.decompress(packed).splitlines()]
    logs["lognormal"] = lognormal_events()
    for name, partitions in logs.items():
        topic = kafka.create_topic(f"{app}-{name}", len(partitions))
        for number, lines in enumerate(partitions):
            kafka.produce(topic, lines, partition=number, linger_ms=50, compression="zstd")
    config = configuration(kafka.bootstrap, app, folder)
    workers = [WorkerProcess(config, folder=folder, name=f"worker{n}") for n in range(2)]
    with workers[0], workers[1]:
        run = Run(kafka, app, workers, folder, whole, logs["spread"])
        for worker in workers:
            worker.wait_until_ready()
        counts = {name: sum(map(len, partitions)) for name, partitions in logs.items()}
        wait_until(
            lambda: {name: sum(run.outcomes(name).values()) for name in counts} == counts,
            timeout_s=150,
            pause_s=1.0,  # a scrape takes from what the workers have to do
            what=f"counts {counts}",
        )
        yield run


def lognormal_events() -> list[list[bytes]]:
    """Durations of all routes within four minutes of event time, over four partitions."""
    events = [
        json.dumps(
            {"ts": 1_800_000_000_000 + number * 60 % 240_000, "route": route, "seconds": value}
        ).encode()
        for route, values in durations().items()
        for number, value in enumerate(values)
    ]
    random.Random(SEED).shuffle(events)
    return [events[number::PARTITIONS] for number in range(PARTITIONS)]


def replay(files: Sequence[Path], config: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    names = [str(file) for file in files]
    command = [sys.executable, "-m", "streams.cli", "replay", *names, "-c", str(config), *arguments]
    done = subprocess.run(
        [*command, "--output", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def table_of(folder: Path, slo: str) -> dict[int, dict[str, tuple[int, int]]]:
    """(good, total) of replay's SLIs by instant and window."""
    found: dict[int, dict[str, tuple[int, int]]] = {}
    for row in pyarrow.parquet.read_table(folder / "slis.parquet").to_pylist():
        if row["slo"] == slo:
            at_ms = int(row["time"].astimezone(UTC).timestamp() * 1000)
            found.setdefault(at_ms, {})[row["window"]] = (row["good"], row["total"])
    return found


WINDOW_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def counts_of(report: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    """(good, total) of a worker's report by window, ms."""
    (group,) = report["groups"]
    return dict(zip(report["windows_ms"], zip(group["good"], group["total"], strict=True), strict=True))


def by_ms(row: Mapping[str, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    return {int(name[:-1]) * WINDOW_MS[name[-1]]: counts for name, counts in row.items()}


def announced(run: Run, slo: str) -> set[tuple[str, str, int, int]]:
    alerts = [json.loads(record.value or b"") for record in run.kafka.read_all(f"{run.app}-alerts")]
    return changes(alert for alert in alerts if alert["labels"].get("slo") == slo)


def changes(alerts: Any) -> set[tuple[str, str, int, int]]:
    return {(a["state"], a["labels"]["severity"], a["starts_at_ms"], a["at_ms"]) for a in alerts}


def assert_alike(run: Run, folder: Path, slo: str, source: str) -> None:
    """What the workers published is what replay wrote, for every instant that they have sealed."""
    expected = {at: by_ms(row) for at, row in table_of(folder, slo).items()}
    live = {at: counts_of(report) for at, report in run.slis(slo, source).items()}
    # The last minutes are still open while more could come, so replay alone, which knows the end, has them.
    assert len(live) > 1_000
    assert set(live) == {at for at in expected if at <= max(live)}
    assert max(expected) - max(live) <= 60_000 * 3
    assert live == {at: expected[at] for at in live}
    lines = (folder / "alerts.jsonl").read_bytes().splitlines()
    wanted = changes(alert for line in lines if (alert := json.loads(line))["labels"]["slo"] == slo)
    assert announced(run, slo) == {change for change in wanted if change[3] <= max(live)}


def test_two_workers_count_the_log_as_it_is(run: Run) -> None:
    expected = truth([run.whole])
    assert expected.bad == 2
    assert run.outcomes("access_log") == expected.outcomes == {"in": len(run.whole)}
    methods = run.counts("streamgauge_requests_total", "access_log", "method")
    assert methods == {
        method: expected.methods[method, False] + expected.methods[method, True]
        for method in {method for method, _ in expected.methods}
    }
    assert run.counts("streamgauge_request_errors_total", "access_log", "method") == {"GET": expected.bad}
    ratio = run.value("streamgauge_sli_ratio", service="website", slo="availability", window="30d")
    assert ratio == pytest.approx(expected.good / len(run.whole), rel=1e-12)


def test_the_log_as_it_is_by_both_ways(run: Run, data_dir: Path, tmp_path: Path) -> None:
    log = data_dir / "access_logs" / "apache_logs.log.gz"
    summary = replay([log], EXAMPLE, tmp_path)
    expected = truth([run.whole])
    assert summary["events"] + summary["late"] + summary["dead"] == len(run.whole)
    assert (summary["good"], summary["bad"]) == (expected.good, expected.bad)
    requests = run.counts("streamgauge_requests_total", "access_log", "method")
    assert {entry["labels"]["method"]: entry["events"] for entry in summary["series"]} == requests
    assert_alike(run, tmp_path, "availability", "website")


def test_two_workers_count_late_and_broken_lines_of_several_partitions(run: Run, tmp_path: Path) -> None:
    expected = truth(run.parts)
    assert expected.outcomes["late"] > 100
    assert expected.outcomes["dead"] == 3 * len(GARBAGE)
    assert run.outcomes("spread") == expected.outcomes
    assert sum(expected.outcomes.values()) == sum(map(len, run.parts))
    requests = run.counts("streamgauge_requests_total", "spread", "method")
    assert Counter(requests) == sum(
        (Counter({method: count}) for (method, _), count in expected.methods.items()), Counter[str]()
    )
    ratio = run.value("streamgauge_sli_ratio", slo="answered", window="30d")
    assert ratio == pytest.approx(expected.good / (expected.good + expected.bad), rel=1e-12)
    dead = [
        record
        for record in run.kafka.read_all(f"{run.app}-dead-letters")
        if ("source", b"spread") in record.headers
    ]
    assert {(record.key, record.value) for record in dead if ("reason", b"late") not in record.headers} == {
        (f"{run.app}-spread/{partition}/{offset}".encode(), line)
        for partition, lines in enumerate(run.parts)
        for offset, line in enumerate(lines)
        if parsed(line) is None
    }
    assert len({record.key for record in dead}) == expected.outcomes["late"] + expected.outcomes["dead"]


def test_several_partitions_by_both_ways(run: Run, tmp_path: Path) -> None:
    files = []
    for number, lines in enumerate(run.parts):
        files.append(tmp_path / f"{number}.log")
        files[-1].write_bytes(b"\n".join(lines) + b"\n")
    expected = truth(run.parts)
    summary = replay(files, run.workers[0].path, tmp_path / "out", "--source", "spread")
    assert {key: summary[key] for key in ("events", "late", "dead")} == {
        "events": expected.outcomes["in"],
        "late": expected.outcomes["late"],
        "dead": expected.outcomes["dead"],
    }
    assert (summary["good"], summary["bad"]) == (expected.good, expected.bad)
    assert_alike(run, tmp_path / "out", "answered", "spread")
    assert_alike(run, tmp_path / "out", "found", "spread")
    assert {state for state, *_ in announced(run, "found")} == {"firing", "resolved"}


def assert_quantiles(run: Run, values: Sequence[float], **labels: str) -> None:
    """Each published quantile lies within 1 % of the value that stands at its rank."""
    ordered = sorted(values)
    for share in QUANTILES:
        found = run.value("streamgauge_request_duration_seconds", quantile=str(share), window="5m", **labels)
        exact = ordered[int(share * (len(ordered) - 1))]
        assert found == pytest.approx(exact, rel=0.01, abs=1e-12), (labels, share)


@pytest.mark.parametrize(
    ("source", "seconds"),
    [("timed", re.compile(rb" ([0-9.]+)$")), ("upstream", re.compile(rb" rt=([0-9.]+) "))],
)
def test_quantiles_of_a_real_log(run: Run, data_dir: Path, source: str, seconds: re.Pattern[bytes]) -> None:
    lines = gzip.decompress((data_dir / "wire" / f"nginx-{source}.log.gz").read_bytes()).splitlines()
    by_method: dict[str, list[float]] = {}
    for line in lines:
        match = seconds.search(line)
        assert match is not None
        request = line.split(b'"')[1].split(b" ")[0].decode()
        by_method.setdefault(request, []).append(float(match[1]))
    counted = run.counts("streamgauge_requests_total", source, "method")
    assert sum(counted.values()) == len(lines)
    compared = {method: values for method, values in by_method.items() if counted.get(method) == len(values)}
    assert sum(map(len, compared.values())) > 100  # the others are garbage, whose method is not in the log
    assert any(value > 0 for values in compared.values() for value in values)
    for method, values in compared.items():
        assert_quantiles(run, values, source=source, method=method)


def test_quantiles_of_durations_over_six_decades(run: Run) -> None:
    for route, values in durations().items():
        assert_quantiles(run, values, source="lognormal", route=route)
