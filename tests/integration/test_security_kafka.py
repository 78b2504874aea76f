"""A scan and guessed passwords in a real access log, through Kafka and two workers: flagged in time."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.topics import unique_name
from tests.services.worker import WorkerProcess, summed

PARTITIONS = 3
SCANNER, GUESSER = "198.51.100.7", "203.0.113.9"
BEGIN_S, SPAN_S = 6 * 3_600, 8 * 3_600
"""The hours of the log that are taken."""

TIME = re.compile(r"\[([^]]+)\]")
CLF = "%d/%b/%Y:%H:%M:%S %z"


@dataclass(frozen=True)
class Line:
    """A line of an access log, its client and time taken out."""

    second: int
    client: str
    rest: str

    def at(self, second: int, client: str | None = None) -> Line:
        return Line(second, client or self.client, self.rest)

    def value(self) -> bytes:
        time = datetime.fromtimestamp(self.second, UTC).strftime(CLF)
        return f"{self.client} {TIME.sub(f'[{time}]', self.rest, count=1)}".encode()


def read(path: Path) -> list[Line]:
    lines = []
    for text in gzip.decompress(path.read_bytes()).decode(errors="replace").splitlines():
        client, _, rest = text.strip().strip('"').partition(" ")
        stamp = TIME.search(rest)
        if stamp is not None:
            lines.append(Line(int(datetime.strptime(stamp[1], CLF).timestamp()), client, rest))
    return sorted(lines, key=lambda line: line.second)


def scan_from(path: Path, second: int) -> list[Line]:
    lines = read(path)
    return [line.at(line.second - lines[0].second + second, SCANNER) for line in lines]


def guesses_from(second: int) -> list[Line]:
    """Someone who tries a password every other second."""
    rest = '- - [-] "POST /login HTTP/1.1" 401 512 "-" "Mozilla/5.0"'
    return [Line(second + 2 * number, GUESSER, rest) for number in range(120)]


@dataclass
class Run:
    """What two workers made of the log."""

    workers: list[WorkerProcess]
    kafka: Broker
    app: str
    ordinary: set[str]
    begun: dict[str, int]

    def records(self, topic: str) -> list[dict[str, Any]]:
        """Distinct records by their natural key."""
        found = {}
        for record in self.kafka.read_all(f"{self.app}-{topic}"):
            found[record.key] = json.loads(record.value or b"")
        return list(found.values())

    def flagged(self) -> dict[str, list[dict[str, Any]]]:
        """Firing alerts about addresses, by address."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in self.records("alerts"):
            client = alert["labels"].get("client")
            if client is not None and alert["state"] == "firing":
                found.setdefault(client, []).append(alert)
        return {client: sorted(alerts, key=lambda a: a["starts_at_ms"]) for client, alerts in found.items()}


def busy_from(lines: Sequence[Line]) -> int:
    """The first request after which a minute has ten of them: scanners may knock once long before."""
    seconds = [line.second for line in lines]
    return next(first for first, tenth in zip(seconds, seconds[9:], strict=False) if tenth - first <= 60)


@pytest.fixture(scope="module")
def run(kafka: Broker, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    whole = read(data_dir / "access_logs" / "apache_logs.log.gz")
    first = whole[0].second + BEGIN_S
    ordinary = [line for line in whole if first <= line.second < first + SPAN_S]
    (scan_file,) = sorted((data_dir / "scans").glob("*.gz"))[:1]
    scan, guesses = scan_from(scan_file, first + SPAN_S // 3), guesses_from(first + 2 * SPAN_S // 3)
    scan = [line for line in scan if line.second < first + SPAN_S]
    lines = sorted([*ordinary, *scan, *guesses], key=lambda line: line.second)

    folder, app = tmp_path_factory.mktemp("security"), unique_name("security")
    topic = kafka.create_topic(f"{app}-access", PARTITIONS)
    for number in range(PARTITIONS):
        mine = [line.value() for line in lines if zlib.crc32(line.client.encode()) % PARTITIONS == number]
        kafka.produce(topic, mine, partition=number, linger_ms=50, compression="zstd")
    config = {
        "app": app,
        "broker": {
            "bootstrap": [kafka.bootstrap],
            "session_timeout": "6s",
            "heartbeat_interval": "1s",
            "partitions": 2,
        },
        "sources": {"access": {"topic": topic, "format": "access_log", "future": "36500d", "idle": "5s"}},
        "detectors": {"security": [{"source": "access"}]},
    }
    workers = [WorkerProcess(config, folder=folder, name=f"worker-{number}") for number in range(2)]
    begun = {SCANNER: busy_from(scan), GUESSER: busy_from(guesses)}
    with workers[0], workers[1]:
        for worker in workers:
            worker.wait_until_ready()
        run = Run(workers, kafka, app, {line.client for line in ordinary}, begun)
        wait_until(
            lambda: (
                sum(value for _, value in summed(workers, "streamgauge_events_total").items()) == len(lines)
            ),
            timeout_s=180,
            pause_s=1.0,
        )
        wait_until(lambda: begun.keys() <= run.flagged().keys(), timeout_s=180, pause_s=1.0)
        yield run


@pytest.mark.parametrize(("client", "kind"), [(SCANNER, "scanner"), (GUESSER, "brute force")])
def test_an_attacker_is_flagged_within_a_minute_with_reasons(run: Run, client: str, kind: str) -> None:
    first = run.flagged()[client][0]
    assert first["starts_at_ms"] <= (run.begun[client] + 60) * 1_000
    kinds = {alert["labels"]["kind"] for alert in run.flagged()[client]}
    assert kind in kinds
    assert first["evidence"]["reasons"]
    assert first["evidence"]["contributions"]
    assert re.search(r"\d", first["annotations"]["description"])


def test_ordinary_clients_are_left_alone(run: Run) -> None:
    flagged = run.flagged().keys() & run.ordinary
    assert len(flagged) * 200 <= len(run.ordinary), sorted(flagged)


def test_anomalies_are_told_in_their_topic_and_in_metrics(run: Run) -> None:
    told = {(each["fingerprint"], each["starts_at_ms"]) for each in run.records("anomalies")}
    alerts = {
        (each["fingerprint"], each["starts_at_ms"])
        for each in run.records("alerts")
        if each["alertname"] == "SecurityAnomaly"
    }
    assert alerts
    assert alerts <= told
    counted = sum(
        value
        for labels, value in summed(run.workers, "streamgauge_anomalies_total").items()
        if dict(labels)["severity"] in ("ticket", "page")
    )
    assert counted == len(alerts)
