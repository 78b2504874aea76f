"""What `check` knows of sources: columns of metric formats, times, shared topics, windows too long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.compile.check import check_paths
from streams.compile.columns import own_columns
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.config.models import Source, Web
from streams.decode.registry import make_decoder
from streams.events.batch import Strings
from tests.unit.decoding import decode, plain, reasons, records_of

TELEGRAF = {"name": "cpu", "tags": {}, "fields": {"idle": 1.5}, "timestamp": 1_700_000_000}
ADAPTER = {"timestamp": "2023-11-14T22:13:20Z", "value": "1.5", "name": "up", "labels": {}}
COLLECTD = {
    "values": [1.5],
    "dstypes": ["gauge"],
    "dsnames": ["value"],
    "time": 1_700_000_000,
    "host": "web-1",
    "plugin": "cpu",
    "plugin_instance": "0",
    "type": "percent",
    "type_instance": "idle",
}


@pytest.mark.parametrize(
    ("format", "record"),
    [
        ("influx", "cpu idle=1.5 1700000000000000000"),
        ("telegraf", json.dumps(TELEGRAF)),
        ("prometheus", json.dumps(ADAPTER)),
        ("collectd", json.dumps([COLLECTD])),
    ],
)
def test_the_columns_known_of_a_metric_format_are_those_it_makes(format: str, record: str) -> None:
    own = own_columns(Source(topic="a", format=format))
    assert own["value"] == "number"
    batch = decode(format, [record], own)
    for name, kind in own.items():
        assert isinstance(batch.columns[name], Strings) == (kind == "string")
        assert plain(batch.columns[name]) != [None], name


def checked(folder: Path, *sources: str, slo: str = "", more: str = "") -> tuple[list[str], list[str]]:
    """Problems and notes of a configuration with these sources, without the file's name."""
    path = folder / "c.yaml"
    lines = [f"  s{number}: {source}" for number, source in enumerate(sources)]
    path.write_text("\n".join(["sources:", *lines, more]), encoding="utf-8")
    if slo:
        (folder / "slo.yaml").write_text(slo, encoding="utf-8")
        path.write_text(path.read_text(encoding="utf-8") + "\nslos: [slo.yaml]\n", encoding="utf-8")
    report = check_paths([path], environment={})
    problems = [str(problem).replace(f"{folder}/", "") for problem in report.problems]
    return problems, [str(note).replace(f"{folder}/", "") for note in report.notes]


def test_slips_in_columns_of_metric_formats(tmp_path: Path) -> None:
    problems, notes = checked(
        tmp_path,
        "{topic: a, format: influx, series: [host, measurment]}",
        "{topic: b, format: prometheus, series: [instance, metrics]}",
        "{topic: c, format: collectd, series: [host, plugins, instance]}",
        "{topic: d, format: telegraf, error: measurement > 3}",
    )
    assert problems == [
        "c.yaml:4: sources.s2.series[1]: expected a column of collectd, found plugins; did you mean plugin?",
        "c.yaml:4: sources.s2.series[2]: expected a column of collectd, found instance; did you mean "
        "type_instance?",
        "c.yaml:5: sources.s3.error: expected a number column, found measurement, which is text in telegraf\n"
        "      measurement > 3\n      ^",
    ]
    assert notes == [
        "c.yaml:2: sources.s0.series[1]: note: measurment is no column of influx itself and is read as a tag;"
        " did you mean measurement?",
        "c.yaml:3: sources.s1.series[1]: note: metrics is no column of prometheus itself and is read as a "
        "label; did you mean metric?",
    ]


@pytest.mark.parametrize(
    "source",
    [
        "{topic: a, format: influx, time: {format: epoch_s}}",
        "{topic: a, format: influx, time: {field: timestamp, format: epoch_ns}}",
        "{topic: a, format: influx, time: {format: record}}",
        "{topic: a, format: telegraf, time: {format: epoch_ms}}",
        "{topic: a, format: collectd, time: {format: epoch_s}}",
        '{topic: a, format: access_log, time: {format: "%Y-%m-%d %H:%M:%S"}}',
        "{topic: a, format: otlp_json, signal: logs, time: {format: record}}",
        "{topic: a, format: json, time: {format: record}}",
    ],
)
def test_a_format_with_a_place_for_the_time_needs_no_field(tmp_path: Path, source: str) -> None:
    assert checked(tmp_path, source) == ([], [])


def test_a_time_format_without_field_is_the_one_that_is_used(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("sources: {a: {topic: a, format: influx, time: {format: epoch_s}}}", encoding="utf-8")
    source = compile_plan(load_config(path, {})).sources["a"]
    decoder = make_decoder(source.format, source.layout)
    batch = decoder.decode(records_of([b"cpu idle=1.5 1700000000", b"cpu idle=1.5 1700000000000000"]))
    assert batch.time_ms.tolist() == [1_700_000_000_000]
    assert reasons(batch) == [(1, "bad_time")]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "{topic: a, format: json, time: {format: epoch_s}}",
            "sources.s0.time.field: expected the path of the time that is in format epoch_s, found nothing",
        ),
        (
            "{topic: a, format: influx, time: ts}",
            "sources.s0.time: expected timestamp, as the number at the end of a line is called, "
            'found "ts"; remove it',
        ),
        (
            "{topic: a, format: influx, time: {format: iso8601}}",
            "sources.s0.time.format: expected one of auto, record, epoch_s, epoch_ms, epoch_us, epoch_ns, "
            'found "iso8601"',
        ),
        (
            "{topic: a, format: otlp_proto, signal: spans, time: ts}",
            "sources.s0.time: expected no time, since OTLP says where it is, or {format: record}, "
            'found "ts"; remove it',
        ),
        (
            r"""{topic: a, format: json, fields: {status: 'a"b'}, error: status > 3}""",
            "sources.s0: expected columns that format json can read, found path 'a\"b': expected keys "
            "without quotes, backslashes and control characters",
        ),
    ],
)
def test_what_a_format_cannot_read_is_told_by_check(tmp_path: Path, source: str, problem: str) -> None:
    assert checked(tmp_path, source) == ([f"c.yaml:2: {problem}"], [])


def test_each_topic_has_one_source(tmp_path: Path) -> None:
    source = "{topic: requests, format: json}"
    told = 'expected a topic that no other source reads; s0 reads this one, found "requests"; keep one'
    problems, _ = checked(tmp_path, source, "{topic: other, format: json}", source, source)
    assert [problem.partition(" source for it")[0] for problem in problems] == [
        f"c.yaml:4: sources.s2.topic: {told}",
        f"c.yaml:5: sources.s3.topic: {told}",
    ]


SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: a}
spec:
  service: s
  indicator: {spec: {ratioMetric: {good: {metricSource: {type: streamgauge, spec: {source: s0}}},
                                   total: {metricSource: {type: streamgauge, spec: {source: s0}}}}}}
  timeWindow: [WINDOW]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""

SOURCE = "{topic: a, format: json}"


@pytest.mark.parametrize(
    ("window", "problems"),
    [
        ("{duration: 366d, isRolling: true}", 0),
        ("{duration: 367d, isRolling: true}", 1),
        ("{duration: 2Y, isRolling: true}", 1),
        ("{duration: 2Y, calendar: {startTime: '2026-01-01 00:00:00', timeZone: UTC}}", 0),
    ],
)
def test_an_slo_looks_back_as_far_as_rings_do(tmp_path: Path, window: str, problems: int) -> None:
    told, _ = checked(tmp_path, SOURCE, slo=SLO.replace("WINDOW", window))
    assert len(told) == problems
    for one in told:
        assert one.startswith(
            "slo.yaml:9: spec.timeWindow[0].duration: expected a rolling window of at most 366d"
        )


def test_a_tier_looks_back_as_far_as_rings_do(tmp_path: Path) -> None:
    policy = """
  alertPolicies:
    - kind: AlertPolicy
      metadata: {name: p}
      spec:
        conditions:
          - kind: AlertCondition
            metadata: {name: c}
            spec:
              severity: page
              condition: {kind: burnrate, threshold: 1, lookbackWindow: 400d}
        notificationTargets: []
"""
    slo = SLO.replace("WINDOW", "{duration: 30d, isRolling: true}").rstrip() + policy
    problems, _ = checked(tmp_path, SOURCE, slo=slo)
    assert problems == [
        "slo.yaml:21: spec.alertPolicies[0].spec.conditions[0].spec.condition.lookbackWindow: expected a "
        'rolling window of at most 366d, found "400d"; a calendar period may be longer'
    ]
    tiers = "alerting: {tiers: [{severity: page, long: 400d, short: 15s, factor: 2}]}"
    problems, _ = checked(tmp_path, SOURCE, more=tiers)
    assert problems == [
        'c.yaml:3: alerting.tiers[0].long: expected a window of at most 366d, found "400d"',
        'c.yaml:3: alerting.tiers[0].short: expected a multiple of 10s, the width of a bucket, found "15s"',
    ]


def test_a_tier_that_can_never_fire_is_noted(tmp_path: Path) -> None:
    slo = SLO.replace("WINDOW", "{duration: 30d, isRolling: true}")
    assert checked(tmp_path, SOURCE, slo=slo) == ([], [])
    _, notes = checked(tmp_path, SOURCE, slo=slo.replace("0.99", "0.8"))
    assert [note.rpartition(": ")[2] for note in notes] == [
        f"even a total outage burns only 5 times too fast at this target, so the page alert at {tier} never"
        " fires"
        for tier in ("14.4 over 1h", "6 over 6h")
    ]


@pytest.mark.parametrize(
    ("web", "address"),
    [
        (Web(), "http://127.0.0.1:9464"),
        (Web(host="0.0.0.0", port=80), "http://gauge-1:80"),
        (Web(host="::"), "http://gauge-1:9464"),
        (Web(host="::1"), "http://[::1]:9464"),
        (Web(host="0.0.0.0", url="https://slo.example.org/team/"), "https://slo.example.org/team"),
    ],
)
def test_links_in_alerts_lead_to_the_public_address(web: Web, address: str) -> None:
    assert web.address("gauge-1") == address
