"""Entities through the whole flow: columns made for them, their counts, and what the detector finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.alerts.alert import Transition
from models.registry.manifest import is_name
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.derive.attack_signatures import AGENT_SIGNATURES, ATTACKS, HIDDEN
from streams.derive.entities import (
    SLOT_COUNT,
    AttackSignature,
    Chosen,
    Network,
    Pseudonym,
    Second,
    Slot,
    network_of,
    pseudonym,
)
from streams.events.batch import Column, Records, Strings
from streams.language.expression import compile_expression
from streams.language.problems import ConfigError
from streams.offline.flow import LocalFlow, SeriesTotals
from streams.plan.plan import Plan

SOURCES = "sources: {access: {topic: access, format: access_log}}\n"


def plan_of(tmp_path: Path, entry: str, sources: str = SOURCES) -> Plan:
    path = tmp_path / "streamgauge.yaml"
    path.write_text(f"{sources}detectors: {{security: [{entry}]}}\n")
    return compile_plan(load_config(path))


def texts(*values: str | None) -> Strings:
    known = list(dict.fromkeys(value for value in values if value is not None))
    return Strings(np.array([-1 if v is None else known.index(v) for v in values], np.int32), known)


def read(column: Column) -> list[str | None]:
    assert isinstance(column, Strings)
    return [None if code < 0 else column.values[code] for code in column.codes.tolist()]


def line(second: int, client: str, request: str, status: int, user: str = "-", size: int = 100) -> str:
    stamp = f"[17/May/2015:10:{second // 60:02d}:{second % 60:02d} +0000]"
    return f'{client} - {user} {stamp} "{request} HTTP/1.1" {status} {size} "-" "Mozilla/5.0"'


def totals(plan: Plan, lines: list[str], batch: int = 1000) -> dict[str, SeriesTotals]:
    flow = LocalFlow(plan, partitions=None)
    for first in range(0, len(lines), batch):
        values: list[bytes | None] = [text.encode() for text in lines[first : first + batch]]
        records = Records(values, np.arange(first, first + len(values)), np.full(len(values), -1))
        flow.feed("access", 0, records)
    return dict(flow.finish().rollups)


def test_an_ecs_client_is_found_wherever_the_format_has_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{source: access}", SOURCES.replace("access_log", "ecs"))
    event = {"@timestamp": 1_779_000_000_000, "http": {"response": {"status_code": 404}}}
    events = [{**event, "client": {"ip": "192.0.2.1"}}, {**event, "source": {"ip": "192.0.2.1"}}]
    found = totals(plan, [json.dumps(one) for one in events])
    assert counts(found["entity:access:client"], "192.0.2.1")["404"] == 2


def test_pino_has_path_and_query_in_one(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{source: access}", SOURCES.replace("access_log", "pino"))
    request = {"remoteAddress": "192.0.2.1", "method": "POST"}
    urls = ["/login?next=/a", "/login", "/item?file=/etc/passwd"]
    events = [{"time": 1_779_000_000_000, "req": {**request, "url": url}} for url in urls]
    found = counts(totals(plan, [json.dumps(one) for one in events])["entity:access:client"], "192.0.2.1")
    assert (found["requests"], found["logins"], found["probes"]) == (3, 2, 1)


def counts(found: SeriesTotals, label: str) -> dict[str, int]:
    row = found.counts[[labels[0] for labels in found.labels].index(label)]
    return dict(zip(found.measures, row.tolist(), strict=True))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::1", "::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("host.example.org", "host.example.org"),
        ("", ""),
        ("300.1.1.1", "300.1.1.1"),
    ],
)
def test_a_network_stands_for_its_addresses(address: str, network: str) -> None:
    assert network_of(address) == network


def test_columns_are_made_of_others() -> None:
    columns: dict[str, Column] = {
        "client": texts("192.0.2.1", None, "192.0.2.9", "2001:db8::1"),
        "path": texts("/a", "/b", None, "/b"),
        "status": np.array([200.0, 404.0, 404.0, np.nan]),
    }
    times = np.array([0, 59_999, 60_000, 61_000])
    assert read(Network("n", "client").make(columns, times)) == [
        "192.0.2.0/24",
        None,
        "192.0.2.0/24",
        "2001:db8::/48",
    ]
    missed = Chosen("m", "path", compile_expression("status == 404"))
    assert read(missed.make(columns, times)) == [None, "/b", None, None]
    assert read(Second("s").make(columns, times)) == ["00", "59", "00", "01"]
    hidden = read(Pseudonym("p", "client", b"key").make(columns, times))
    assert hidden == [pseudonym("192.0.2.1", b"key"), None, pseudonym("192.0.2.9", b"key"), hidden[3]]
    slots = Slot("x", "path").make(columns, times)
    assert isinstance(slots, np.ndarray)
    assert slots[1] == slots[3] != slots[0]
    assert np.isnan(slots).tolist() == [False, False, True, False]
    assert 0 <= np.nanmin(slots) <= np.nanmax(slots) < SLOT_COUNT
    for derived in (Network("n", "none"), Chosen("m", "none", compile_expression("status == 404"))):
        assert read(derived.make(columns, times)) == [None] * 4


@given(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "x", None]), max_size=30), st.integers(0, 30))
def test_a_column_does_not_depend_on_the_batch(values: list[str | None], cut: int) -> None:
    derived = Pseudonym("p", "client", b"key")

    def made(part: list[str | None]) -> list[str | None]:
        return read(derived.make({"client": texts(*part)}, np.zeros(len(part), np.int64)))

    assert made(values) == made(values[:cut]) + made(values[cut:])


@pytest.mark.parametrize(
    ("path", "probe"),
    [
        ("/../../etc/passwd", True),
        ("/%2e%2e%2fetc%2fpasswd", True),
        ("/.git/config", True),
        ("/backup.sql.gz", True),
        ("/?q=<script>alert(1)</script>", True),
        ("/?id=1' or '1'='1", True),
        ("/?id=1+UNION+ALL+SELECT+a,b", True),
        ("/?x=${jndi:ldap://a}", True),
        ("/", False),
        ("/blog/geekery/sleep.html?id=3&page=2", False),
        ("/search?q=select+a+colour+from+the+union+jack", False),
        ("/images/logo.png", False),
        ("/robots.txt", False),
        ("/reset.css?v=1.2.3..4", False),
        ("/images/../logo.png", False),
        ("/javascript:void(0)", False),
        ("/{{item.url}}", False),
        ("/report?url=http://10.0.0.1/", False),
    ],
)
def test_probes_are_told_from_pages(path: str, probe: bool) -> None:
    found = AttackSignature("p", [("path", ATTACKS), ("path", HIDDEN)]).make(
        {"path": texts(path, None)}, np.zeros(2, np.int64)
    )
    assert found.tolist() == [float(probe), 0.0]


@pytest.mark.parametrize(
    ("agent", "probe"),
    [
        ("sqlmap/1.7", True),
        ("Mozilla/5.0 (Nikto/2.1.6)", True),
        ("Googlebot/2.1", False),
        ("curl/8.0", False),
    ],
)
def test_scanners_that_say_so_are_probes(agent: str, probe: bool) -> None:
    found = AttackSignature("p", [("agent", AGENT_SIGNATURES)]).make(
        {"agent": texts(agent)}, np.zeros(1, np.int64)
    )
    assert found.tolist() == [float(probe)]


LINES = [
    line(0, "192.0.2.1", "GET /", 200),
    line(1, "192.0.2.1", "POST /login", 401, "ann"),
    line(2, "192.0.2.1", "POST /wp-login.php", 403),
    line(3, "192.0.2.2", "GET /none", 404, size=50),
    line(4, "198.51.100.7", "GET /.env", 429),
    line(5, "198.51.100.7", "GET /x", 503),
    line(6, "198.51.100.7", "OPTIONS /blog/login-tips", 200),
]


def test_entities_are_counted(tmp_path: Path) -> None:
    found = totals(plan_of(tmp_path, "{source: access}"), LINES)
    one = counts(found["entity:access:client"], "192.0.2.1")
    assert {
        name: one[name]
        for name in ("requests", "4xx", "401", "403", "get", "post", "logins", "failed_logins")
    } == {
        "requests": 3,
        "4xx": 2,
        "401": 1,
        "403": 1,
        "get": 1,
        "post": 2,
        "logins": 2,
        "failed_logins": 2,
    }
    network = counts(found["entity:access:client_network"], "192.0.2.0/24")
    assert (network["requests"], network["404"], network["missed"]) == (4, 1, 2)
    assert network["bytes"] == 350_000_000
    other = counts(found["entity:access:client"], "198.51.100.7")
    assert (other["probes"], other["429"], other["5xx"], other["logins"]) == (1, 1, 1, 0)
    assert counts(found["entity:access:user"], "ann")["failed_logins"] == 1
    assert len(found["entity:access:user"].labels) == 1


def test_what_an_administrator_finds_is_no_probe(tmp_path: Path) -> None:
    lines = [
        line(0, "192.0.2.1", "GET /phpmyadmin/", 200),
        line(1, "192.0.2.1", "GET /phpmyadmin/x", 404),
        line(2, "192.0.2.1", "GET /?id=1'+or+'1'='1", 200),
    ]
    found = totals(plan_of(tmp_path, "{source: access}"), lines)
    assert counts(found["entity:access:client"], "192.0.2.1")["probes"] == 2


def test_counts_do_not_depend_on_batches(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{source: access}")
    one, other = totals(plan, LINES), totals(plan, LINES, batch=2)
    for name in one:
        assert one[name].labels == other[name].labels
        np.testing.assert_array_equal(one[name].counts, other[name].counts)


def test_pseudonyms_take_the_place_of_entities(tmp_path: Path) -> None:
    secret = "0123456789abcdef"
    plan = plan_of(tmp_path, f"{{source: access, pseudonymise: {secret}}}")
    found = totals(plan, LINES)
    hidden = pseudonym("192.0.2.1", secret.encode())
    assert counts(found["entity:access:client_pseudonym"], hidden)["requests"] == 3
    network = pseudonym("192.0.2.0/24", secret.encode())
    assert counts(found["entity:access:client_network_pseudonym"], network)["requests"] == 4
    names = {label for name, each in found.items() if name.startswith("entity") for (label,) in each.labels}
    assert not [name for name in names if "." in name or "ann" in name]
    assert secret not in repr(plan)


def test_each_kind_is_judged_by_a_detector_of_its_own(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{source: access, false_alarms_per_series_per_week: 0.5, forget: 1h}")
    told = {monitor.rollup: monitor.settings for monitor in plan.monitors}
    assert {rollup: settings["scale"] for rollup, settings in told.items()} == {
        "entity:access:client": 1.0,
        "entity:access:client_network": 3.0,
        "entity:access:user": 1.0,
    }
    assert {settings["false_alarms_per_series_per_week"] for settings in told.values()} == {0.5}
    assert {settings["forget_ms"] for settings in told.values()} == {3_600_000}


@pytest.mark.parametrize("more", ["", ", pseudonymise: 0123456789abcdef"])
def test_each_kind_has_a_model_of_its_own(tmp_path: Path, more: str) -> None:
    models = [monitor.model for monitor in plan_of(tmp_path, f"{{source: access{more}}}").monitors]
    assert models == ["security-client", "security-network", "security-user"]
    assert all(map(is_name, models))


def test_conditions_and_columns_can_be_named(tmp_path: Path) -> None:
    sources = "sources: {access: {topic: access, format: json, time: {field: ts, format: epoch_s}}}\n"
    entry = (
        "{source: access, client: ip, prefix: false, status: code, "
        "failed_login: 'event == \"refused\"', where: 'code > 0'}"
    )
    plan = plan_of(tmp_path, entry, sources)
    lines = [
        '{"ts": 1700000000, "ip": "192.0.2.1", "code": 200, "event": "refused"}',
        '{"ts": 1700000001, "ip": "192.0.2.1", "code": 404, "event": "granted"}',
        '{"ts": 1700000002, "ip": "192.0.2.1", "code": 0}',
    ]
    found = totals(plan, lines)
    assert [name for name in found if name.startswith("entity")] == ["entity:access:ip"]
    one = counts(found["entity:access:ip"], "192.0.2.1")
    assert (one["requests"], one["4xx"], one["failed_logins"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{source: acces}", "did you mean access"),
        ("{source: access}, {source: access}", "one entry a source"),
        ("{source: access, pseudonymise: short}", "a secret of 16 to 64 bytes"),
        ("{source: access, clint: ip}", "did you mean client"),
        ("{source: access, where: 'status ='}", "status ="),
    ],
)
def test_mistakes_are_told(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(tmp_path, entry)


def test_a_source_without_entities_needs_them_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name the client, user, api_key or session"):
        plan_of(tmp_path, "{source: access}", "sources: {access: {topic: a, format: json}}\n")


def test_nothing_is_made_where_nothing_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "streamgauge.yaml"
    path.write_text(SOURCES)
    plan = compile_plan(load_config(path))
    assert plan.sources["access"].derived == ()
    assert [rollup.name for rollup in plan.sources["access"].rollups] == ["access"]


def flagged(plan: Plan, lines: list[str]) -> list[tuple[str, str, int]]:
    """(client, kind, time) of each alert that begins, in order."""
    found: list[tuple[str, str, int]] = []

    def note(transition: Transition) -> None:
        labels = transition.alert.labels
        if transition.alert.state == "firing" and "client" in labels:
            found.append((labels["client"], labels["kind"], transition.at_ms))

    flow = LocalFlow(plan, on_anomaly=note)
    ordered = sorted(lines, key=lambda text: text[text.index("[") : text.index("]")])
    values: list[bytes | None] = [text.encode() for text in ordered]
    flow.feed("access", 0, Records(values, np.arange(len(values)), np.full(len(values), -1)))
    flow.finish()
    return found


ORDINARY = [line(second, f"192.0.2.{second % 50}", f"GET /{second % 7}", 200) for second in range(0, 1800, 2)]


def test_an_attacker_is_flagged_within_a_minute(tmp_path: Path) -> None:
    attack = [line(second, "203.0.113.9", "POST /login", 401) for second in range(300, 420)]
    ((client, kind, at_ms),) = flagged(plan_of(tmp_path, "{source: access}"), ORDINARY + attack)
    start_ms = 1_431_857_100_000  # 2015-05-17T10:05:00Z
    assert (client, kind) == ("203.0.113.9", "brute force")
    assert 0 < at_ms - start_ms <= 60_000


def test_a_slow_attack_is_one_anomaly(tmp_path: Path) -> None:
    attack = [line(second, "203.0.113.9", "POST /login", 401) for second in range(0, 1800, 55)]
    ((client, kind, _),) = flagged(plan_of(tmp_path, "{source: access}"), ORDINARY + attack)
    assert (client, kind) == ("203.0.113.9", "brute force")
