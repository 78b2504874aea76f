"""The security detector on panels: what it flags, what it lets pass, and what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from detectors.api.detector import Calibrated, Detector, Panel, Verdicts
from detectors.security.baseline import ROWS_MIN
from detectors.security.detector import SecurityDetector
from streams.judge.state_codec import decode_state, encode_state

COUNTS = (
    "requests",
    "4xx",
    "401",
    "404",
    "429",
    "5xx",
    "get",
    "post",
    "bytes",
    "logins",
    "failed_logins",
    "probes",
    "distinct security.path",
    "distinct security.missed_path",
    "distinct security.failed_user",
    "distinct security.second",
)
STEP_MS = 10_000
START_MS = 1_700_000_000_000 // 60_000 * 60_000

Row = Mapping[str, float]


def ordinary(random: np.random.Generator) -> Row:
    requests = float(1 + random.poisson(3))
    missed = float(random.random() < 0.05)
    return {
        "requests": requests,
        "4xx": missed,
        "404": missed,
        "get": requests,
        "bytes": requests * 9_000,
        "distinct path": requests,
        "distinct missed_path": missed,
        "distinct second": min(requests, 10),
    }


def panel(step: int, rows: Mapping[str, Row]) -> Panel:
    def value(row: Row, name: str) -> float:
        return row.get(name.replace("security.", ""), 0.0)

    values = np.array([[value(row, name) for name in COUNTS] for row in rows.values()])
    times = np.array([START_MS + (step + 1) * STEP_MS])
    return Panel(times, tuple((name,) for name in rows), COUNTS, values.reshape(1, len(rows), len(COUNTS)))


def play(
    detector: SecurityDetector,
    steps: int,
    attack: Callable[[int], Mapping[str, Row]],
    *,
    clients: int = 40,
    first: int = 0,
    seed: int = 1,
) -> dict[str, list[tuple[int, str]]]:
    """Steps of ordinary clients with an attack among them; for whom an alarm was raised, when, as what."""
    random = np.random.default_rng(seed)
    found: dict[str, list[tuple[int, str]]] = {}
    for step in range(first, first + steps):
        rows = {f"client {n}": ordinary(random) for n in range(clients) if random.random() < 0.5}
        shown = panel(step, {**rows, **attack(step)})
        verdicts = detector.update(shown)
        for row in np.flatnonzero(verdicts.alarm[0]).tolist():
            found.setdefault(shown.series[row][0], []).append((step, str(verdicts.kind[0, row])))
    return found


def nothing(_step: int) -> dict[str, Row]:
    return {}


def failing(users: float, failed: float = 2.0) -> Row:
    return {
        "requests": failed,
        "4xx": failed,
        "401": failed,
        "post": failed,
        "logins": failed,
        "failed_logins": failed,
        "distinct path": 1,
        "distinct failed_user": users,
        "distinct second": failed,
    }


ATTACKS: Mapping[str, Row] = {
    "scanner": {
        "requests": 30,
        "get": 30,
        "4xx": 20,
        "404": 20,
        "distinct path": 28,
        "distinct missed_path": 18,
        "distinct second": 10,
    },
    "brute force": failing(users=1),
    "password spraying": failing(users=2),
    "credential stuffing": failing(users=20, failed=20),
    "rate-limit abuse": {"requests": 40, "get": 40, "4xx": 38, "429": 38, "distinct path": 1},
    "exfiltration": {"requests": 9, "get": 9, "bytes": 3e9, "distinct path": 9, "distinct second": 9},
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_finds_an_attack_within_a_minute_and_nobody_else(kind: str) -> None:
    detector = SecurityDetector()
    found = play(detector, 60, lambda step: {"attacker": ATTACKS[kind]} if step >= 30 else {})
    assert set(found) == {"attacker"}
    first, seen = found["attacker"][0]
    assert first <= 36
    assert kind in {word for _, word in found["attacker"]}
    assert seen in (kind, "brute force", "password spraying")
    assert any(kind in reason for reason in detector.reasons[("attacker",)])


def test_alarms_have_tails_below_that_of_alarms() -> None:
    detector = SecurityDetector()
    assert isinstance(detector, Calibrated)
    assert detector.alarm_tail == pytest.approx(0.1 / (7 * 1440))
    play(detector, 30, nothing)
    verdicts = detector.update(panel(30, ATTACKS))
    assert verdicts.alarm.any()
    np.testing.assert_array_equal(verdicts.alarm, verdicts.tail < detector.alarm_tail)


def test_a_reason_has_the_numbers() -> None:
    detector = SecurityDetector()
    detector.update(panel(0, {"a": ATTACKS["scanner"]}))
    (reason,) = detector.reasons[("a",)]
    assert reason == (
        "scanner: 18 distinct paths that are not there and 20 answers 4xx to 30 requests within a minute"
    )


def test_what_speaks_for_a_verdict_is_told() -> None:
    verdicts = SecurityDetector().update(
        panel(0, {"a": ATTACKS["scanner"], "b": ordinary(np.random.default_rng())})
    )
    spoken = {COUNTS[column] for column in np.flatnonzero(verdicts.contributions[0, 0]).tolist()}
    assert spoken == {"distinct security.missed_path", "4xx", "404", "probes"}
    assert not verdicts.contributions[0, 1].any()
    assert verdicts.direction[0].tolist() == [1, 0]


def test_where_everybody_fails_nobody_is_an_attacker() -> None:
    def broken(_step: int) -> dict[str, Row]:
        return {f"user {n}": failing(users=1) for n in range(40)}

    detector = SecurityDetector()
    used: Row = {"requests": 2, "get": 2}
    assert play(detector, 61, lambda _: {f"user {n}": used for n in range(40)}) == {}
    assert play(detector, 12, broken, first=61) == {}


def test_a_key_that_has_expired_is_no_attack() -> None:
    refused: Row = {"requests": 1, "get": 1, "4xx": 1, "401": 1, "failed_logins": 1, "distinct path": 1}
    assert play(SecurityDetector(), 90, lambda step: {"key": refused} if step % 3 == 0 else {}) == {}
    assert set(play(SecurityDetector(), 12, lambda _: {"key": {**refused, "failed_logins": 2}})) == {"key"}


def test_many_new_clients_that_fail_a_few_times_are_one_attack() -> None:
    def spread(step: int) -> dict[str, Row]:
        return {f"bot {n}": failing(users=1, failed=1) for n in range(30)} if step in (40, 42, 44) else {}

    found = play(SecurityDetector(), 60, spread)
    assert len([name for name in found if name.startswith("bot")]) == 30
    assert {kind for name in found for _, kind in found[name]} == {"credential stuffing"}


def test_learns_what_is_ordinary_and_flags_what_nobody_does() -> None:
    detector = SecurityDetector(unusual_requests=20)
    odd: Row = {"requests": 50, "5xx": 40, "bytes": 40, "distinct path": 1, "distinct second": 1}
    assert play(detector, 120, nothing, clients=120) == {}
    assert detector._baseline.seen >= ROWS_MIN
    found = play(detector, 12, lambda step: {"odd": odd}, clients=120, first=120, seed=2)
    assert found["odd"][0][1] == "unusual"
    assert set(found) == {"odd"}


def test_nobody_is_unusual_before_anything_is_learnt() -> None:
    verdicts = SecurityDetector().update(panel(0, {"a": {"requests": 40, "get": 40}, "silent": {}}))
    assert verdicts.tail[0, 0] == 1
    assert np.isnan(verdicts.tail[0, 1])
    assert not verdicts.alarm.any()


def test_between_minutes_only_rules_judge() -> None:
    detector = SecurityDetector()
    play(detector, 120, nothing, clients=120)
    tails = [
        detector.update(panel(step, {"a": {"requests": 9}, "s": ATTACKS["scanner"]})).tail[0]
        for step in range(120, 126)
    ]
    assert np.isnan([tail[0] for tail in tails]).tolist().count(False) == 1
    assert max(tail[1] for tail in tails) < 1e-4


def test_goes_on_from_its_state() -> None:
    one, other = SecurityDetector(unusual_requests=5), SecurityDetector(unusual_requests=5)
    play(one, 100, nothing, clients=120)
    assert one._baseline.forest is not None
    other.restore(decode_state(encode_state(one.state())))
    shown = panel(
        150, {"a": {"requests": 90, "5xx": 80}, "client 1": {"requests": 3}, "s": ATTACKS["scanner"]}
    )
    scored = one.score(shown)
    assert_same(scored, one.update(shown))
    assert_same(scored, other.update(shown))
    assert set(scored.kind[0].tolist()) == {"unusual", "", "scanner"}
    assert one.reasons == other.reasons
    assert isinstance(one, Detector)


def assert_same(one: Verdicts, other: Verdicts) -> None:
    for name in Verdicts.__slots__:
        mine, others = getattr(one, name), getattr(other, name)
        assert mine.dtype == others.dtype
        np.testing.assert_array_equal(mine, others)


def test_the_order_of_entities_does_not_matter() -> None:
    rows = {"a": ATTACKS["scanner"], "b": failing(1, 30), "c": {"requests": 3.0}}
    one = SecurityDetector().update(panel(0, rows))
    other = SecurityDetector().update(panel(0, dict(reversed(rows.items()))))
    assert one.kind[0].tolist() == other.kind[0].tolist()[::-1]
    np.testing.assert_array_equal(one.tail, other.tail[:, ::-1])


def test_entities_beyond_the_limit_are_nobody() -> None:
    verdicts = SecurityDetector().update(panel(0, {"__other__": ATTACKS["scanner"]}))
    assert not verdicts.alarm.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_odd_numbers_do_no_harm(value: float) -> None:
    shown = panel(0, {"a": dict.fromkeys(("requests", "4xx", "distinct path", "bytes"), value)})
    verdicts = SecurityDetector().update(shown)
    assert not verdicts.alarm.any()


def test_says_what_is_lacking() -> None:
    shown = Panel(np.array([1]), (("a",),), ("rate",), np.ones((1, 1, 1)))
    with pytest.raises(ValueError, match="no feature 'requests' among rate"):
        SecurityDetector().update(shown)
    detector = SecurityDetector().fit(panel(0, {"a": {"requests": 1}}))
    other = Panel(np.array([START_MS * 2]), (("a",),), ("requests",), np.ones((1, 1, 1)))
    with pytest.raises(ValueError, match="fit again"):
        detector.update(other)
    with pytest.raises(ValueError, match="not a state of security"):
        detector.restore({"detector": "traffic"})
    with pytest.raises(ValueError, match="no time zone is called 'Moon'"):
        SecurityDetector(time_zone="Moon")


def test_adopts_what_another_has_learnt() -> None:
    teacher, pupil = SecurityDetector(unusual_requests=20), SecurityDetector(unusual_requests=20)
    play(teacher, 100, nothing, clients=120)
    pupil.adopt(teacher.state())
    odd: Row = {"requests": 50, "5xx": 40, "bytes": 40, "distinct path": 1, "distinct second": 1}
    found = pupil.update(panel(200, {"odd": odd, "even": {"requests": 4, "get": 4, "bytes": 36_000}}))
    assert found.kind[0].tolist() == ["unusual", ""]
    assert found.direction[0, 0] == 1
    (reason,) = pupil.reasons[("odd",)]
    assert "share of 5xx 0.74 (usual 0)" in reason
    with pytest.raises(ValueError, match="not a state of security"):
        pupil.adopt({"detector": "traffic"})


def test_what_others_adopt_names_nobody() -> None:
    teacher, pupil = SecurityDetector(unusual_requests=20), SecurityDetector(unusual_requests=20)
    play(teacher, 100, nothing, clients=120)
    assert "client 7" in repr(teacher.state())
    shared = teacher.trained()
    assert "client" not in repr(shared)
    pupil.adopt(shared)
    odd: Row = {"requests": 50, "5xx": 40, "bytes": 40, "distinct path": 1, "distinct second": 1}
    assert pupil.update(panel(200, {"odd": odd})).kind[0].tolist() == ["unusual"]
