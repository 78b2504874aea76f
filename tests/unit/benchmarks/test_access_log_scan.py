"""Attackers in a real access log: flagged within a minute, and ordinary clients left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.access_log_scan import Line, burst_start, guessing, moved, read_lines, run, spraying

DATA = os.environ.get("STREAMGAUGE_DATA")

pytestmark = pytest.mark.skipif(not DATA, reason="STREAMGAUGE_DATA names no folder with the real data")

HOURS = 3
"""Of the log, and the attack begins after the first of them."""


@pytest.fixture(scope="module")
def ordinary() -> list[Line]:
    assert DATA is not None
    lines = read_lines(Path(DATA) / "access_logs" / "apache_logs.log.gz")
    return [line for line in lines if line.second < lines[0].second + HOURS * 3600]


def scan() -> list[Line]:
    """The first minutes of a scanner, from where it begins in earnest."""
    assert DATA is not None
    lines = read_lines(Path(DATA) / "scans" / "acunetix.txt.gz")
    first = burst_start(lines)
    return [line for line in lines if first <= line.second < first + 300]


@pytest.mark.parametrize(
    ("make", "kind"), [(scan, "scanner"), (guessing, "brute force"), (spraying, "password spraying")]
)
def test_an_attack_is_flagged_within_a_minute(
    ordinary: list[Line], make: Callable[[], list[Line]], kind: str
) -> None:
    start = ordinary[0].second + 3600
    attack = moved(make(), start, place=1)
    found = run([*ordinary, *attack])
    attacker = attack[0].client
    assert found.kinds[attacker] == kind
    assert 0 < found.first_second[attacker] - start <= 60
    assert found.reasons[attacker]
    clients = {line.client for line in ordinary}
    assert len(clients) > 50
    assert len(set(found.first_second) - {attacker}) < len(clients) / 200
