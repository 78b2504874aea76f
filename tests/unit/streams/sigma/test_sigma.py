"""Sigma rules: what their detections mean, what their correlations count, and how mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sigma.rule import SigmaRule

from detectors.api.detector import Panel
from detectors.security.sigma_rules import SigmaDetector
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.events.batch import Column, Records, Strings
from streams.language.expression import compile_expression
from streams.language.problems import ConfigError
from streams.offline.flow import LocalFlow
from streams.plan.plan import Plan
from streams.sigma.condition import condition_text

COLUMNS = {"client": "client", "path": "path", "status": "status", "method": "method", "agent": "agent"}


def texts(*values: str | None) -> Strings:
    known = list(dict.fromkeys(value for value in values if value is not None))
    return Strings(np.array([-1 if v is None else known.index(v) for v in values], np.int32), known)


EVENTS: dict[str, Column] = {
    "client": texts("10.0.0.1", "192.168.7.9", "2001:db8::5", None),
    "path": texts("/Admin/login.php", "/index.html", "/a?b\\c", None),
    "method": texts("POST", "GET", "get", "PUT"),
    "status": np.array([401.0, 200.0, 404.0, np.nan]),
    "agent": texts("curl/8.0", "Mozilla/5.0", "", None),
    "size": np.array([10.0, 2000.0, 0.0, np.nan]),
}


def holds(detection: str) -> list[int]:
    """Events for which a detection holds."""
    rule = SigmaRule.from_yaml(f"title: t\nlogsource: {{category: webserver}}\ndetection:\n{detection}")
    (condition,) = rule.detection.parsed_condition
    text = condition_text(condition.parsed, COLUMNS, {"status"}, "agent")
    return np.flatnonzero(compile_expression(text).mask(EVENTS, 4)).tolist()


@pytest.mark.parametrize(
    ("selection", "events"),
    [
        ("{cs-method: get}", [1, 2]),
        ("{cs-method|cased: GET}", [1]),
        ("{cs-method: [GET, POST]}", [0, 1, 2]),
        ("{sc-status: 401}", [0]),
        ("{sc-status: '404'}", [2]),
        ("{sc-status|gte: 400}", [0, 2]),
        ("{size|lt: 10}", [2]),
        ("{cs-uri-stem|contains: ADMIN}", [0]),
        ("{cs-uri-stem|contains|all: [admin, '.php']}", [0]),
        ("{cs-uri-stem|startswith: /i}", [1]),
        ("{cs-uri-stem|endswith: html}", [1]),
        ("{cs-uri-stem: '/a\\?b\\\\c'}", [2]),
        ("{cs-uri-stem: '/?????.html'}", [1]),
        ("{cs-uri-stem: '*'}", [0, 1, 2]),
        ("{cs-uri-stem|re: 'log.n'}", [0]),
        ("{cs-uri-stem|re|i: 'ADMIN'}", [0]),
        ("{cs-uri-stem|re: 'ADMIN'}", []),
        ("{cs-uri-stem: null}", [3]),
        ("{cs-uri-stem|exists: true}", [0, 1, 2]),
        ("{c-ip|cidr: 10.0.0.0/8}", [0]),
        ("{c-ip|cidr: 192.168.6.0/23}", [1]),
        ("{c-ip|cidr: '2001:db8::/32'}", [2]),
        ("{cs-method|fieldref: client}", []),
        ("[{sc-status: 401}, {sc-status: 200}]", [0, 1]),
        ("[curl]", [0]),
    ],
)
def test_a_selection_means(selection: str, events: list[int]) -> None:
    assert holds(f"  s: {selection}\n  condition: s") == events


def test_conditions_join_selections() -> None:
    parts = "  a: {cs-method: POST}\n  b1: {sc-status: 200}\n  b2: {sc-status: 404}\n"
    assert holds(f"{parts}  condition: a or 1 of b*") == [0, 1, 2]
    assert holds(f"{parts}  condition: not a and not all of b*") == [1, 2, 3]
    assert holds(f"{parts}  condition: not (a or b1)") == [2, 3]


RULES = """
title: Failed login
name: failed_login
logsource: {category: webserver}
detection:
  selection: {cs-method: POST, cs-uri-stem|contains: login, sc-status: 401}
  condition: selection
level: low
---
title: Logged in
name: logged_in
logsource: {category: webserver}
detection:
  selection: {cs-method: POST, cs-uri-stem|contains: login, sc-status: 200}
  condition: selection
---
title: Many failed logins
correlation:
  type: event_count
  rules: [failed_login]
  group-by: [c-ip]
  timespan: 1m
  condition: {gte: 5}
level: high
---
title: Many users
correlation:
  type: value_count
  rules: [failed_login]
  group-by: [c-ip]
  timespan: 2m
  condition: {gte: 4, field: cs-username}
---
title: Guessed
correlation:
  type: temporal
  rules: [failed_login, logged_in]
  group-by: [c-ip]
  timespan: 1m
level: critical
---
title: Shell
logsource: {category: webserver}
detection:
  selection: {cs-uri-query|contains: 'cmd='}
  condition: selection
"""


def plan_of(tmp_path: Path, rules: str, entry: str = "") -> Plan:
    (tmp_path / "rules.yml").write_text(rules)
    path = tmp_path / "streamgauge.yaml"
    path.write_text(
        "sources: {access: {topic: access, format: access_log}}\n"
        f"detectors: {{security: [{{source: access, sigma: rules.yml{entry}}}]}}\n"
    )
    return compile_plan(load_config(path))


def flagged(plan: Plan, lines: list[tuple[int, str]]) -> set[tuple[str, str, str]]:
    """(rule, client, severity) of all alerts of Sigma rules."""
    found: set[tuple[str, str, str]] = set()

    def note(transition: object) -> None:
        labels = transition.alert.labels  # type: ignore[attr-defined]
        if labels["alertname"] == "SigmaRule":
            client = labels.get("client") or labels.get("client_pseudonym", "")
            found.add((labels["kind"], client, labels["severity"]))

    values: list[bytes | None] = []
    for second, text in sorted(lines):
        stamp = f"[17/May/2015:10:{second // 60:02d}:{second % 60:02d} +0000]"
        values.append(text.replace("[]", stamp).encode())
    flow = LocalFlow(plan, on_anomaly=note)
    flow.feed("access", 0, Records(values, np.arange(len(values)), np.full(len(values), -1)))
    flow.finish()
    return found


def login(client: str, status: int, user: str = "-") -> str:
    return f'{client} - {user} [] "POST /login HTTP/1.1" {status} 9 "-" "curl"'


def test_rules_are_judged_through_the_whole_flow(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, RULES)
    lines = [(second, login("192.0.2.1", 401)) for second in (0, 20, 40, 50, 55)]
    lines += [(second, login("192.0.2.2", 401)) for second in (0, 30, 60, 90, 120, 150)]
    lines += [(second, login("192.0.2.3", 401, f"user{second}")) for second in (0, 30, 60, 90)]
    lines += [(300, login("192.0.2.4", 401)), (340, login("192.0.2.4", 200)), (500, login("192.0.2.5", 200))]
    lines += [(310, '192.0.2.6 - - [] "GET /x?cmd=ls HTTP/1.1" 404 9 "-" "curl"')]
    assert flagged(plan, lines) == {
        ("Many failed logins", "192.0.2.1", "page"),
        ("Many users", "192.0.2.3", "ticket"),
        ("Guessed", "192.0.2.4", "page"),
        ("Shell", "192.0.2.6", "ticket"),
    }


def test_groups_of_pseudonyms_stay_pseudonyms(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, RULES, ", pseudonymise: 0123456789abcdef")
    ((rule, client, _),) = flagged(plan, [(second, login("192.0.2.1", 401)) for second in range(5)])
    assert rule == "Many failed logins"
    assert "." not in client
    assert len(client) == 16


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            "cs-uri-stem|contains: login, sc-status: 401",
            "cs-uri-stem|containz: login",
            6,
            "did you mean contains",
        ),
        ("sc-status: 401", "sc-status|hour: 4", 6, "found hour"),
        ("type: event_count", "type: temporal_ordered", 19, "the order of events within 10 s is not known"),
        ("rules: [failed_login]", "rules: [failed_logins]", 20, "did you mean failed_login"),
        ("timespan: 1m", "timespan: 3d", 22, "at most 24 h"),
        ("condition: {gte: 5}", "condition: {least: 5}", 18, "condition"),
        ("cs-uri-query|contains: 'cmd='", "cs-uri-query|expand: '%cmd%'", 45, "found expand"),
        ("selection: {cs-uri-query|contains: 'cmd='}", "selection: ['cmd=']", 44, "keywords without a field"),
        ("condition: selection\nlevel: low", "condition: selektion\nlevel: low", 5, "selektion"),
    ],
)
def test_mistakes_are_told_with_their_lines(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        plan_of(tmp_path, RULES.replace(old, new, 1))
    told = str(error.value)
    assert message in told
    assert f"rules.yml:{line}" in told


def test_a_pattern_without_files_is_a_mistake(tmp_path: Path) -> None:
    plan_of(tmp_path, RULES)
    path = tmp_path / "streamgauge.yaml"
    path.write_text(path.read_text().replace("rules.yml", "none*.yml"))
    with pytest.raises(ConfigError, match=r"none for none\*.yml"):
        compile_plan(load_config(path))


def step(at_s: int, counts: dict[tuple[str, ...], list[float]]) -> Panel:
    values = np.array(list(counts.values()), np.float64).reshape(1, len(counts), -1)
    return Panel(np.array([at_s * 1000]), tuple(counts), ("a", "b")[: values.shape[2]], values)


def test_sums_are_over_the_timespan() -> None:
    detector = SigmaDetector(rule="event_count", count=3, timespan_ms=20_000)
    alarms = [
        detector.update(step(at, {("x",): [count]})).alarm[0, 0]
        for at, count in ((10, 2), (20, 1), (30, 1), (40, 2), (60, 2), (70, 2))
    ]
    assert alarms == [False, True, False, True, False, True]


def test_goes_on_from_its_state() -> None:
    one = SigmaDetector(rule="value_count", count=2, timespan_ms=60_000)
    one.update(step(10, {("g", "v1"): [1]}))
    other = SigmaDetector(rule="value_count", count=2, timespan_ms=60_000)
    other.restore(json.loads(json.dumps(one.state(), default=lambda array: array.tolist())))
    shown = step(20, {("g", "v2"): [1]})
    assert other.score(shown).alarm.tolist() == [[True]]
    assert one.update(shown).alarm.tolist() == other.update(shown).alarm.tolist() == [[True]]
    assert one.reasons == {("g", "v2"): ("Sigma rule: 2 distinct values within 60 s, at least 2 asked for",)}
    later = step(30, {("g", "v3"): [1]})
    assert one.update(later).alarm.tolist() == other.update(later).alarm.tolist() == [[False]]


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="expected one each of match, event_count"):
        SigmaDetector(rule="value_sum")
