"""Loading a configuration, what the environment adds, and the plan that comes of it."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.slo.slo import Maintenance, Tier
from streams.compile.check import check_paths
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.config.models import Config
from streams.decode.otlp import events as otlp_events
from streams.decode.otlp import metrics as otlp_metrics
from streams.decode.text import access_log
from streams.events.batch import Field
from streams.language.duration import format_duration, parse_duration
from streams.language.problems import ConfigError
from streams.plan.rollup import Count

EXAMPLES = Path(__file__).parents[4] / "examples"


def load(folder: Path, text: str, environment: dict[str, str] | None = None) -> Config:
    path = folder / "streamgauge.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return load_config(path, environment or {})


def mistakes(folder: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compile_plan(load(folder, text, environment))
    return [str(problem).removeprefix(f"{folder}/streamgauge.yaml:") for problem in caught.value.problems]


SOURCE = """
sources:
  requests: {topic: requests, format: json}
"""


def test_everything_else_has_a_default(tmp_path: Path) -> None:
    config = load(tmp_path, SOURCE)
    assert config.app == "streamgauge"
    assert config.broker.bootstrap == ("127.0.0.1:9092",)
    assert config.broker.security.protocol == "PLAINTEXT"
    assert config.sources["requests"].lateness == timedelta(seconds=60)
    assert config.sources["requests"].windows == (timedelta(minutes=5),)
    assert config.alerting.confidence == 0.95
    assert config.web.port == 9464


def test_values_are_read_as_people_write_them(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        broker: {bootstrap: "a:1, b:2"}
        sources:
          requests:
            topic: requests
            format: json
            time: {field: ts, format: epoch_ms}
            fields: {status: http.status, duration: {path: latency_ms, unit: ms}}
            lateness: 90
            idle: 1h30m
            series: service
        maintenance: [{from: 2026-01-01T01:00:00+01:00, to: 2026-01-01T02:00:00Z, services: [checkout]}]
        """,
    )
    source = config.sources["requests"]
    assert config.broker.bootstrap == ("a:1", "b:2")
    assert source.time.field == "ts"
    assert source.fields["status"].path == "http.status"
    assert source.fields["duration"].scale == 0.001
    assert source.lateness == timedelta(seconds=90)
    assert source.idle == timedelta(minutes=90)
    assert source.series == ("service",)
    assert config.maintenance[0].start.isoformat() == "2026-01-01T00:00:00+00:00"


def test_variables_are_replaced_after_yaml_is_read(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        SOURCE
        + """
broker:
  security: {protocol: SASL_SSL, mechanism: PLAIN, username: "${USER}", password: "${PASSWORD}"}
  bootstrap: ["${HOST:-kafka}:9092", "${OTHER:-}${PORTED}"]
web: {port: "8080", host: "$${HOST}"}
sinks: {alertmanager: {url: "http://a", repeat: 60s}}
limits: {series: ${SERIES}}
""",
        {"USER": "a: b", "PASSWORD": "}: #{", "PORTED": "x:1", "SERIES": "7"},
    )
    assert config.broker.security.username == "a: b"
    assert config.broker.security.password is not None
    assert config.broker.security.password.get_secret_value() == "}: #{"
    assert config.broker.bootstrap == ("kafka:9092", "x:1")
    assert config.web.host == "${HOST}"
    assert config.limits.series == 7
    assert "}: #{" not in repr(config) + str(config.document)


def test_overrides_come_from_the_environment(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        SOURCE,
        {
            "STREAMGAUGE_APP": "shop",
            "STREAMGAUGE_WEB__PORT": "8080",
            "STREAMGAUGE_BROKER__BOOTSTRAP": "[a:1, b:2]",
            "STREAMGAUGE_BROKER__SECURITY__CA_FILE": "streamgauge.yaml",
            "STREAMGAUGE_SOURCES__REQUESTS__TOPIC": "other",
            "STREAMGAUGE_DATA": "/somewhere",
            "STREAMGAUGE_TEST_BROKER": "localhost:9092",
        },
    )
    assert config.app == "shop"
    assert config.web.port == 8080
    assert config.broker.bootstrap == ("a:1", "b:2")
    assert config.broker.security.ca_file == Path("streamgauge.yaml")
    assert config.sources["requests"].topic == "other"


def test_wrong_overrides_name_their_variable(tmp_path: Path) -> None:
    environment = {"STREAMGAUGE_WEB__PROT": "1", "STREAMGAUGE_LIMITS__SERIES": "many"}
    assert mistakes(tmp_path, SOURCE, environment) == [
        "environment: STREAMGAUGE_WEB__PROT: expected a known key in place of PROT, found PROT; "
        "did you mean port?",
        "environment: STREAMGAUGE_LIMITS__SERIES: expected a whole number, found a value that is not shown",
    ]


def test_a_variable_that_is_not_set_is_one_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path, SOURCE + "app: ${APP}\n") == [
        "4: app: expected the environment variable APP to be set, or a default as in ${APP:-value}"
    ]


@pytest.mark.parametrize(
    ("security", "key"),
    [
        ("{protocol: SASL_SSL}", "mechanism"),
        ("{protocol: SASL_SSL, mechanism: PLAIN, username: u}", "password"),
        ("{protocol: SASL_SSL, mechanism: OAUTHBEARER, client_id: a, client_secret: b}", "token_endpoint"),
        ("{mechanism: PLAIN, username: u, password: p}", "protocol"),
        ("{protocol: SSL, cert_file: streamgauge.yaml}", "key_file"),
        ("{protocol: SSL, ca_file: absent.pem}", "ca_file"),
    ],
)
def test_security_must_be_complete(tmp_path: Path, security: str, key: str) -> None:
    told = mistakes(tmp_path, SOURCE + f"broker: {{security: {security}}}\n")
    assert len(told) == 1
    assert told[0].startswith(f"4: broker.security.{key}: expected ")


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("{}", "1: sources: expected a value, found nothing; add sources: under this line"),
        ("[a]", "1: expected a mapping, found a list"),
        ("", "1: expected a configuration, found an empty file"),
        (SOURCE + "---\n" + SOURCE, "6: expected one configuration in a file, found a second document"),
        (
            SOURCE + "sources: {}",
            "4: sources: expected each key once, found it a second time; remove one of the two",
        ),
        ("sources: &a {requests: *a}", "1: expected valid YAML, found"),
    ],
)
def test_documents_that_are_no_configuration(tmp_path: Path, yaml: str, expected: str) -> None:
    assert mistakes(tmp_path, yaml)[0].startswith(expected)


def test_models_trained_anew_need_a_place(tmp_path: Path) -> None:
    assert load(tmp_path, SOURCE + "models: {url: models, retrain: drift}").models.retrain == "drift"
    assert mistakes(tmp_path, SOURCE + "models: {retrain: drift}") == [
        "4: models.url: expected the registry that new models are put into, found nothing"
    ]


def test_yaml_is_not_unfolded_without_end(tmp_path: Path) -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 9))
    told = mistakes(tmp_path, f"l0: &l0 [{', '.join('a' * 10)}]\n{levels}" + SOURCE)
    assert "once aliases are followed" in told[0]


def test_yaml_is_that_of_version_1_2(tmp_path: Path) -> None:
    config = load(tmp_path, "sources: {no: {topic: on, format: json, time: 12:30, where: 'yes == 1'}}")
    assert config.sources["no"].topic == "on"
    assert config.sources["no"].time.field == "12:30"


def test_a_plan_counts_each_source_by_its_series(tmp_path: Path) -> None:
    plan = compile_plan(
        load(
            tmp_path,
            """
            app: shop
            sources:
              requests:
                topic: requests
                format: json
                time: ts
                fields: {duration: {path: latency_ms, unit: ms}}
                where: method != "OPTIONS"
                series: [service, status]
                error: status >= 500
                duration: duration
                distinct: [client]
                windows: [1h, 5m]
                histogram: [0.1, 1]
                trace_id: trace
                counters: ["*_sum"]
                lateness: 2m
            limits: {series: 5}
            """,
        )
    )
    source = plan.sources["requests"]
    assert (plan.app, source.topic, source.format) == ("shop", "requests", "json")
    assert (source.lateness_ms, source.future_ms, source.idle_ms) == (120_000, 300_000, 30_000)
    assert (source.series_count_max, source.exemplar) == (5, "trace")
    # status is a label, so it is decoded as a string; its condition reads the number from it.
    assert source.layout.wanted == {
        "method": "string",
        "status": "string",
        "service": "string",
        "client": "string",
        "duration": "number",
        "trace": "string",
    }
    assert source.layout.fields == {"duration": Field("latency_ms", 0.001)}
    assert (source.layout.time_field, source.layout.counters) == ("ts", ("*_sum",))
    (rollup,) = source.rollups
    assert (rollup.name, rollup.by, rollup.sketch) == ("requests", ("service", "status"), "duration")
    names = [measure.name for measure in rollup.measures]
    assert names == ["total", "errors", "le 0.1", "le 1.0", "seconds"]
    assert isinstance(rollup.measures[1], Count)
    assert rollup.measures[1].where is not None
    assert rollup.measures[1].where.text == "status >= 500"
    assert rollup.where is not None
    assert rollup.windows_ms == (300_000, 3_600_000)
    assert rollup.histogram == (0.1, 1.0)
    assert rollup.distinct == ("client",)


SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: checkout
  indicator:
    spec:
      ratioMetric:
        good: {metricSource: {type: streamgauge, spec: {source: requests, where: status < 500}}}
        total: {metricSource: {type: streamgauge, spec: {source: requests}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
"""


def test_slos_join_their_source(tmp_path: Path) -> None:
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "a.yaml").write_text(SLO, encoding="utf-8")
    plan = compile_plan(
        load(
            tmp_path,
            """
            sources:
              requests: {topic: requests, format: json, where: method != "OPTIONS"}
              others: {topic: others, format: json}
            slos: slos/*.yaml
            alerting:
              confidence: 0.5
              tiers:
                - {severity: page, long: 1h, short: 5m, factor: 10}
                - {severity: ticket, long: 3d, short: 6h, budget: 0.2}
            maintenance:
              - {from: 2026-01-01T00:00:00Z, to: 2026-01-01T02:00:00Z, services: [checkout]}
              - {from: 2026-01-02T00:00:00Z, to: 2026-01-02T02:00:00Z, services: [search]}
              - {from: 2026-01-03T00:00:00Z, to: 2026-01-03T02:00:00Z}
            """,
        )
    )
    assert [rollup.name for rollup in plan.sources["requests"].rollups] == ["requests", "slo:availability"]
    assert [rollup.name for rollup in plan.sources["others"].rollups] == ["others"]
    assert plan.sources["requests"].layout.wanted == {"method": "string", "status": "number"}
    (slo,) = plan.slos
    rollup = plan.sources["requests"].rollups[1]
    assert rollup.where is not None
    assert rollup.where.text == 'method != "OPTIONS"'
    assert slo.tiers == (
        Tier("page", 3_600_000, 300_000, 10.0),
        Tier("ticket", 259_200_000, 21_600_000, 2.0),
    )
    assert slo.confidence == 0.5
    new_year = 1_767_225_600_000
    assert slo.maintenance == (
        Maintenance(new_year, new_year + 7_200_000, ("checkout",)),
        Maintenance(new_year + 2 * 86_400_000, new_year + 2 * 86_400_000 + 7_200_000, ()),
    )
    assert {tier.long_ms for tier in slo.tiers} <= set(rollup.windows_ms)


def test_an_empty_list_of_tiers_turns_burn_rates_off(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SLO, encoding="utf-8")
    plan = compile_plan(load(tmp_path, SOURCE + "slos: [a.yaml]\nalerting: {tiers: []}\n"))
    assert plan.slos[0].tiers == ()


def test_what_is_added_up_cannot_be_a_label(tmp_path: Path) -> None:
    told = mistakes(
        tmp_path,
        "sources: {requests: {topic: requests, format: json, series: [duration], duration: duration}}",
    )
    assert told == [
        "1: sources.requests.duration: expected a column used as a number only, found duration, which is a "
        f"label or text at {tmp_path}/streamgauge.yaml:1; give one of the two a name of its own under fields"
    ]


def test_the_columns_known_of_a_format_are_those_it_decodes(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        sources:
          access: {topic: a, format: access_log}
          spans: {topic: a, format: otlp_proto, signal: spans}
          logs: {topic: a, format: otlp_json, signal: logs}
          metrics: {topic: a, format: otlp_json, signal: metrics}
        """,
    )
    own = {name: set(source.event_schema.columns) for name, source in config.sources.items()}
    assert own["access"] == set(access_log._SOURCES)
    assert own["spans"] == otlp_events.FIELDS["spans"] | otlp_events.CONTEXT_FIELDS
    assert own["metrics"] == otlp_metrics.EVENT_FIELDS | otlp_metrics.CONTEXT_FIELDS
    assert own["logs"] == otlp_events.FIELDS["logs"] | otlp_events.CONTEXT_FIELDS


@pytest.mark.parametrize(
    ("source", "problems", "notes"),
    [
        ("{topic: a, format: access_log, series: [stauts]}", 1, 0),
        ("{topic: a, format: access_log, series: [http_host]}", 0, 1),
        ("{topic: a, format: access_log, series: [stauts], fields: {stauts: code}}", 0, 0),
        ("{topic: a, format: otlp_json, signal: spans, series: [service.name, http.route]}", 0, 0),
        ("{topic: a, format: otlp_json, signal: spans, series: [durations]}", 0, 1),
        ("{topic: a, format: json, series: [stauts]}", 0, 0),
    ],
)
def test_slips_in_a_formats_own_columns(tmp_path: Path, source: str, problems: int, notes: int) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"sources: {{a: {source}}}", encoding="utf-8")
    report = check_paths([path], environment={})
    assert (len(report.problems), len(report.notes)) == (problems, notes)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_examples_compile(path: Path) -> None:
    plan = compile_plan(load_config(path, {}))
    names = [rollup.name for source in plan.sources.values() for rollup in source.rollups]
    assert len(names) == len(set(names))
    assert {slo.rollup for slo in plan.slos} <= set(names)
    assert plan.slos


def test_the_digest_changes_with_the_configuration_but_not_with_secrets(tmp_path: Path) -> None:
    def digest(password: str, error: str) -> str:
        security = f"{{protocol: SASL_SSL, mechanism: PLAIN, username: u, password: {password}}}"
        source = f"{{topic: requests, format: json, error: {error}}}"
        text = f"broker: {{security: {security}}}\nsources: {{requests: {source}}}\n"
        return load(tmp_path, text).digest()

    one = digest("a", "status >= 500")
    assert one == digest("b", "status >= 500")
    assert one != digest("a", "status >= 400")


@given(st.integers(min_value=0, max_value=10**11))
def test_durations_are_read_as_they_are_written(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds / 1000


@pytest.mark.parametrize("text", ["", "5", "5.", "m", "5 minutes", "-5m", "5M", "1e3s", "nan", "٥s", "５s"])
def test_only_durations_are_durations(text: str) -> None:
    if text == "5":
        assert parse_duration(text) == 5.0
        return
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


def test_units_of_durations_agree() -> None:
    spelled = ["1w", "7d", "168h", "10080m", "604800s", "604800000ms"]
    assert {parse_duration(text) for text in spelled} == {604_800.0}
    assert [parse_duration(f"1{a}1{b}") for a, b in itertools.pairwise(["h", "m", "s", "ms"])] == [
        3_660.0,
        61.0,
        1.001,
    ]
