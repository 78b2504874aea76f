"""The made-up access log: lines that the decoder reads, traffic that follows the day, incidents that show."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.demo.access_log import DAY_SWING, LogIncident, write_access_log
from streams.offline.files import read_records
from streams.offline.flow import LocalFlow

EXAMPLE = Path(__file__).parents[4] / "examples" / "access-log.yaml"
START = datetime(2026, 12, 31, 23, tzinfo=UTC)
LINE = re.compile(r'\[(?P<time>[^]]+)\] "[A-Z]+ [^ ]+ HTTP/1.1" (?P<status>\d+) .* (?P<took>[0-9.]+)$')


def parsed(path: Path) -> list[tuple[datetime, int, float]]:
    """(time, status, seconds) of each line, by another reader than our own."""
    found = [LINE.search(line) for line in path.read_text("ascii").splitlines()]
    assert all(found)
    return [
        (datetime.strptime(one["time"], "%d/%b/%Y:%H:%M:%S %z"), int(one["status"]), float(one["took"]))
        for one in found
        if one
    ]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    for path, seed in ((one, 1), (two, 1), (other, 2)):
        write_access_log(path, start=START, duration=timedelta(minutes=5), seed=seed)
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()


def test_times_ascend_over_the_turn_of_the_year(tmp_path: Path) -> None:
    count = write_access_log(tmp_path / "log", start=START, duration=timedelta(hours=2), rate=2)
    times = [time for time, _, _ in parsed(tmp_path / "log")]
    assert len(times) == count
    assert times == sorted(times)
    assert times[0] >= START
    assert times[-1] < START + timedelta(hours=2)
    assert {time.year for time in times} == {2026, 2027}


def test_traffic_follows_the_day(tmp_path: Path) -> None:
    day = datetime(2026, 5, 16, tzinfo=UTC)
    count = write_access_log(tmp_path / "log", start=day, duration=timedelta(days=1), rate=0.5)
    assert count == pytest.approx(0.5 * 86_400, rel=0.03)
    hours = [time.hour for time, _, _ in parsed(tmp_path / "log")]
    assert hours.count(15) / 1_800 == pytest.approx(1 + DAY_SWING, rel=0.1)
    assert hours.count(3) / 1_800 == pytest.approx(1 - DAY_SWING, rel=0.2)


def test_an_incident_fails_and_slows_within_its_time(tmp_path: Path) -> None:
    incident = LogIncident("outage", START + timedelta(minutes=20), timedelta(minutes=10), 0.5, 8)
    hour = timedelta(hours=1)
    write_access_log(tmp_path / "log", start=START, duration=hour, rate=5, incidents=[incident])
    inside, outside = [], []
    for time, status, took in parsed(tmp_path / "log"):
        (inside if incident.start <= time < incident.end else outside).append((status, took))
    failed = [status == 502 for status, _ in inside]
    assert sum(failed) / len(failed) == pytest.approx(0.5, abs=0.05)
    assert sum(status == 502 for status, _ in outside) <= 5
    slow = [took > 0.5 for _, took in inside]
    assert sum(slow) / len(slow) > 0.5 > 0.05 > sum(took > 0.5 for _, took in outside) / len(outside)


def test_every_line_is_read_by_the_worker(tmp_path: Path) -> None:
    count = write_access_log(tmp_path / "log", start=START, duration=timedelta(minutes=30))
    flow = LocalFlow(compile_plan(load_config(EXAMPLE)))
    for _, partition, records in read_records(tmp_path / "log"):
        flow.feed("access_log", partition, records)
    summary = flow.finish()
    assert summary.outcomes["access_log"] == {"in": count, "late": 0, "dead": 0}
    assert summary.rollups["slo:latency"].counts.sum(axis=0)[1] == count
