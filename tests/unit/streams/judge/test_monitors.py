"""Detectors beside the windows: what they are shown, restarts at any instant, failures, other settings."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.alerts.alert import Transition
from detectors.feedback.labels import Label
from models.registry.manifest import version_name
from models.registry.registry import StoredModel
from streams.aggregate.partition import PartitionAggregate
from streams.decode.registry import make_decoder
from streams.events.batch import Layout, Records
from streams.judge.judged_source import JudgedSource
from streams.language.expression import compile_expression
from streams.offline.flow import LocalFlow
from streams.partials.frame import decode_frame
from streams.partials.series import SeriesIndexes
from streams.plan.plan import BUCKET_MS, MonitorPlan, Plan, SourcePlan
from streams.plan.rollup import Count, Rollup
from streams.window.blocks import LEARNT_LEVEL, PANELS_LEVEL, Block, decode_blocks, encode_block
from tests.unit.levels import NAME, Levels
from tests.unit.models.registry.test_registry import manifest

START_MS = 1_779_000_000_000
DAY_MS = 86_400_000

SOURCE = SourcePlan(
    "web",
    "web",
    "json",
    Layout(
        {"service": "string", "status": "number", "seconds": "number", "client": "string"},
        time_field="ts",
        time_format="epoch_ms",
    ),
    (
        Rollup(
            "web",
            "web",
            kind="requests",
            by=("service",),
            measures=(Count("total"), Count("errors", compile_expression("status >= 500"))),
            sketch="seconds",
            distinct=("client",),
        ),
    ),
    lateness_ms=0,
)
MONITOR = MonitorPlan(
    "levels:web", "web", "web", NAME, "TrafficAnomaly", step_ms=60_000, kept_ms=DAY_MS, service="service"
)
PLAN = Plan("app", {"web": SOURCE}, (), (MONITOR,))


def event(at_ms: int, service: str = "shop", **more: Any) -> bytes:
    fields = {"ts": at_ms, "service": service, "status": 200, "seconds": 0.1, "client": "a", **more}
    return json.dumps(fields).encode()


def minutes(counts: list[int], service: str = "shop") -> list[bytes]:
    """So many events in each minute, the first in its first bucket."""
    return [
        event(START_MS + minute * 60_000 + number * 60_000 // max(count, 1), service)
        for minute, count in enumerate(counts)
        for number in range(count)
    ]


def records(values: list[bytes], first_offset: int = 0) -> Records:
    offsets = np.arange(first_offset, first_offset + len(values))
    return Records(values, offsets, np.full(len(values), -1))


def run(values: list[bytes], plan: Plan = PLAN) -> tuple[list[Transition], LocalFlow]:
    found: list[Transition] = []
    flow = LocalFlow(plan, on_anomaly=found.append)
    flow.feed("web", 0, records(values))
    flow.finish()
    return found, flow


class Worker:
    """A source window with what outlives it, restarted whenever a test wants."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stored: dict[bytes, bytes] = {}
        self.announced: list[Transition] = []
        self.window = self._new()

    def _new(self) -> JudgedSource:
        return JudgedSource(SOURCE, (), 1, {}, self.plan.monitors)

    def restart(self, plan: Plan | None = None) -> None:
        self.plan = plan or self.plan
        self.window = self._new()
        self.window.load(decode_blocks(self.stored.values()))

    def store(self, blocks: list[Block]) -> None:
        for block in blocks:
            self.stored |= dict(encode_block(block))

    def seal(self, below: int) -> None:
        for sealed in self.window.seal(below):
            self.announced += sealed.anomalies
            self.store(list(sealed.blocks))
        self.window.confirm(below)


def seal_minutes(worker: Worker, counts: list[int], restarts: frozenset[int]) -> None:
    """Events of minute after minute, each sealed when it is over; restarts come before their minute."""
    decoder = partial(make_decoder, SOURCE.format, SOURCE.layout)
    aggregate = PartitionAggregate(SOURCE, 0, 0, decoder, SeriesIndexes())
    offset = 0
    for minute, count in enumerate(counts):
        if minute in restarts:
            worker.restart()
        start_ms = START_MS + minute * 60_000
        values = [event(start_ms + number * 60_000 // max(count, 1)) for number in range(count)]
        if values:
            batch = records(values, offset)
            offset += len(values)
            aggregate.read(batch, offset)
            flushed = aggregate.flush(1)
            assert flushed is not None
            for _, value in flushed.frames:
                worker.window.accept(decode_frame(value), offset)
            aggregate.acknowledge()
        worker.seal((start_ms + 60_000) // BUCKET_MS)


def told(transitions: list[Transition]) -> list[tuple[Any, ...]]:
    return [(each.at_ms, each.key, each.alert.labels["severity"]) for each in transitions]


def test_a_detector_sees_each_minute_once_with_all_signals() -> None:
    shown: list[Any] = []

    class Recorder(Levels):
        def update(self, panel: Any) -> Any:
            shown.append(panel)
            return super().update(panel)

    values = [event(START_MS, status=500, seconds=2.0, client="b"), *minutes([4, 2])]
    flow = LocalFlow(PLAN)
    (monitor,) = flow.window("web").monitors.running
    monitor.detector = Recorder()
    flow.feed("web", 0, records(values))
    flow.feed("web", 0, records([event(START_MS + 120_000)], 99))
    flow.finish()
    assert [int(panel.times[0]) for panel in shown] == [START_MS + 60_000, START_MS + 120_000]
    assert shown[0].features == ("rate", "error_ratio", "p50", "p99", "distinct client")
    rate, ratio, p50, p99, clients = shown[0].values[0, 0]
    assert (rate, ratio) == (5 / 60, 1 / 25)
    assert p50 == pytest.approx(0.1, rel=0.01)
    assert p99 == pytest.approx(0.1, rel=0.01)  # rank floor(0.99 * 4) of five
    assert clients == pytest.approx(2, abs=0.01)
    assert shown[1].values[0, 0, :2].tolist() == [2 / 60, 0.0]


def test_a_step_that_a_restart_cuts_shows_what_came_before_it() -> None:
    decoder = partial(make_decoder, SOURCE.format, SOURCE.layout)
    aggregate = PartitionAggregate(SOURCE, 0, 0, decoder, SeriesIndexes())
    worker, shown = Worker(PLAN), []
    aggregate.read(records([event(START_MS), event(START_MS)]), 2)
    flushed = aggregate.flush(1)
    assert flushed is not None
    for _, value in flushed.frames:
        worker.window.accept(decode_frame(value), 2)
    worker.seal((START_MS + 30_000) // BUCKET_MS)
    worker.restart()
    worker.window.monitors.on_panel = lambda _, panel: shown.append(panel)
    worker.seal((START_MS + 60_000) // BUCKET_MS)
    (panel,) = shown
    assert (panel.series, panel.values[0, 0, 0]) == ((("shop",),), 2 / 60)


def test_one_alert_while_it_lasts_and_its_end() -> None:
    found, flow = run(minutes([10, 10, 40, 50, 200, 10, 10, 10, 10, 1]))
    assert [(each.alert.state, each.alert.labels["severity"]) for each in found] == [
        ("firing", "ticket"),
        ("firing", "page"),
        ("resolved", "ticket"),
        ("resolved", "page"),
    ]
    first = found[0].alert
    assert first.labels == {
        "alertname": "TrafficAnomaly",
        "detector": NAME,
        "source": "web",
        "kind": "spike",
        "severity": "ticket",
        "service": "shop",
    }
    assert first.starts_at_ms == START_MS + 3 * 60_000
    assert first.evidence["contributions"] == [
        {"feature": "rate", "share": 1.0, "seen": 40 / 60, "expected": 10 / 60}
    ]
    assert flow.window("web").monitors.active() == []


def test_silence_is_shown_as_zeros_until_the_series_is_forgotten() -> None:
    forgetting = replace(MONITOR, kept_ms=120_000)
    values = [*minutes([10, 10, 0, 0, 0, 0]), *minutes([1] * 8, "other")]
    values.sort(key=lambda value: json.loads(value)["ts"])
    _, flow = run(values, replace(PLAN, monitors=(forgetting,)))
    (monitor,) = flow.window("web").monitors.running
    assert monitor.series == (("other",),)
    _, flow = run(values)
    (monitor,) = flow.window("web").monitors.running
    assert set(monitor.series) == {("other",), ("shop",)}


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from([0, 5, 5, 5, 6, 30, 90]), min_size=3, max_size=80),
    st.frozensets(st.integers(0, 79), max_size=6),
)
def test_a_restart_at_any_minute_changes_nothing(counts: list[int], restarts: frozenset[int]) -> None:
    steady, shaken = Worker(PLAN), Worker(PLAN)
    seal_minutes(steady, counts, frozenset())
    seal_minutes(shaken, counts, restarts)
    assert told(shaken.announced) == told(steady.announced)
    assert shaken.window.monitors.active() == steady.window.monitors.active()


def test_panels_are_kept_only_until_what_they_taught_is_stored() -> None:
    worker = Worker(PLAN)
    seal_minutes(worker, [5] * 200, frozenset())
    levels = [block.level for block in decode_blocks(worker.stored.values())]
    assert levels.count(LEARNT_LEVEL) == 2
    assert levels.count(PANELS_LEVEL) == 60
    worker.restart()
    (monitor,) = worker.window.monitors.running
    assert isinstance(monitor.detector, Levels)
    assert monitor.detector.sums[("shop",)].tolist() == [200, pytest.approx(200 * 5 / 60)]


@pytest.mark.parametrize(("complaints", "alarms"), [(0, 1), (1, 1), (3, 0)])
def test_noise_asks_for_more_evidence(complaints: int, alarms: int) -> None:
    worker = Worker(PLAN)
    labels = [
        Label(NAME, ("shop",), "noise", from_ms=number, to_ms=number, at_ms=START_MS)
        for number in range(1, complaints + 1)
    ]
    worker.window.monitors.labels = labels
    seal_minutes(worker, [10, 10, 40, 10], frozenset())
    assert sum(each.alert.state == "firing" for each in worker.announced) == alarms
    # a restart judges as it was judged then, whatever is known by now
    worker.restart()
    assert len(worker.window.monitors.active()) == alarms


def test_a_detector_that_tells_where_its_alarms_begin_is_taken_at_its_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker(PLAN)
    worker.window.monitors.labels = [Label(NAME, ("shop",), "noise", from_ms=1, to_ms=1, at_ms=START_MS)]
    monkeypatch.setattr(Levels, "alarm_tail", 1e-12, raising=False)
    seal_minutes(worker, [10, 10, 40, 10], frozenset())
    assert not worker.announced


def trained(sums: dict[str, float], detector: str = NAME) -> StoredModel:
    """A model that knows the mean of some series."""
    levels = Levels()
    levels.sums = {(name,): np.array([100.0, 100.0 * mean]) for name, mean in sums.items()}
    version = version_name(1, f"{hash(str(sums)) & (2**48 - 1):012x}")
    told = msgspec.structs.replace(manifest("levels"), detector=detector, version=version)
    return StoredModel(told, dict(levels.state()))


def test_a_model_takes_over_at_the_next_step_and_stays_through_a_restart() -> None:
    modelled = replace(PLAN, monitors=(replace(MONITOR, model="levels"),))
    worker = Worker(modelled)
    model = trained({"shop": 1 / 60})
    worker.window.monitors.adopt("levels", "champion", model)
    seal_minutes(worker, [10], frozenset())
    (alert,) = worker.window.monitors.active()
    assert alert.evidence["model"] == model.manifest.version
    worker.restart()
    (monitor,) = worker.window.monitors.running
    assert monitor.model == model.manifest.version
    assert worker.window.monitors.active() == [alert]
    assert isinstance(monitor.detector, Levels)
    before = monitor.detector.sums[("shop",)].tolist()
    worker.window.monitors.adopt("levels", "champion", model)
    assert monitor.detector.sums[("shop",)].tolist() == before


def test_a_model_on_trial_alerts_nobody() -> None:
    modelled = replace(PLAN, monitors=(replace(MONITOR, model="levels"),))
    worker = Worker(modelled)
    worker.window.monitors.adopt("levels", "shadow", trained({"shop": 1 / 60}))
    seal_minutes(worker, [10, 10, 10], frozenset())
    assert worker.announced == []
    (monitor,) = worker.window.monitors.running
    assert monitor.shadow is not None
    assert not monitor.shadow.failure
    assert monitor.shadow.comparison.shadow.alarm_steps == 3
    worker.window.monitors.adopt("levels", "shadow", None)
    assert monitor.shadow is None


def test_a_model_of_another_detector_is_refused() -> None:
    worker = Worker(replace(PLAN, monitors=(replace(MONITOR, model="levels"),)))
    with pytest.raises(ValueError, match="of detector traffic"):
        worker.window.monitors.adopt("levels", "champion", trained({"shop": 1.0}, "traffic"))


def test_a_detector_that_fails_is_left_out_and_its_alerts_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("broken")

    found: list[Transition] = []
    flow = LocalFlow(PLAN, on_anomaly=found.append)
    flow.feed("web", 0, records(minutes([10, 10, 50, 1])))
    (monitor,) = flow.window("web").monitors.running
    assert [each.alert.state for each in found] == ["firing"]
    monkeypatch.setattr(monitor.detector, "update", fail)
    flow.feed("web", 0, records([event(START_MS + 600_000)], 1_000))
    assert monitor.failures == 1
    assert [each.alert.state for each in found] == ["firing", "resolved"]
    summary = flow.finish()
    assert summary.outcomes["web"]["in"] == 72


class Unstorable(Levels):
    def state(self) -> Any:
        return {**super().state(), "clock": object()}


class Misshapen(Levels):
    def update(self, panel: Any) -> Any:
        late = panel.times[0] > START_MS + 30 * 60_000
        return super().update(panel.rows(0, 0) if late else panel)


@pytest.mark.parametrize("broken", [Unstorable, Misshapen])
def test_what_breaks_the_contract_is_left_out_and_its_alerts_end(broken: type[Levels]) -> None:
    worker = Worker(PLAN)
    (monitor,) = worker.window.monitors.running
    monitor.detector = broken()
    seal_minutes(worker, [5] * 20 + [40] * 20, frozenset())
    assert monitor.failures == 1
    assert [(each.at_ms - START_MS, each.alert.state) for each in worker.announced] == [
        (21 * 60_000, "firing"),
        (31 * 60_000, "resolved"),
    ]
    assert worker.window.monitors.active() == []


def test_a_detector_that_does_not_know_its_state_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("sums")

    worker = Worker(PLAN)
    seal_minutes(worker, [5] * 40, frozenset())
    monkeypatch.setattr(Levels, "restore", fail)
    worker.restart()
    (monitor,) = worker.window.monitors.running
    assert isinstance(monitor.detector, Levels)
    assert monitor.detector.sums[("shop",)][0] < 10  # what was shown since is shown again
    assert not monitor.failures


def test_a_model_that_a_detector_stumbles_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("sums")

    worker = Worker(replace(PLAN, monitors=(replace(MONITOR, model="levels"),)))
    monkeypatch.setattr(Levels, "adopt", fail)
    with pytest.raises(ValueError, match="KeyError: 'sums'"):
        worker.window.monitors.adopt("levels", "champion", trained({"shop": 1.0}))


def test_other_settings_begin_anew_and_end_what_was_announced() -> None:
    worker = Worker(PLAN)
    seal_minutes(worker, [5] * 28 + [50] * 10, frozenset())
    (alert,) = worker.window.monitors.active()
    worker.restart(replace(PLAN, monitors=(replace(MONITOR, settings={"times": 4.0}),)))
    assert worker.window.monitors.active() == []
    worker.announced.clear()
    worker.seal((START_MS + 39 * 60_000) // BUCKET_MS)
    assert [(each.alert.state, each.alert.fingerprint) for each in worker.announced] == [
        ("resolved", alert.fingerprint)
    ]


def test_what_another_version_stored_stops_nothing() -> None:
    worker = Worker(PLAN)
    seal_minutes(worker, [5] * 40, frozenset())
    for key, value in worker.stored.items():
        (block,) = decode_blocks([value]) or [None]
        if block is not None and block.level >= PANELS_LEVEL:
            worker.stored[key] = encode_block(replace(block, state=b"other"))[0][1]
    worker.restart()
    (monitor,) = worker.window.monitors.running
    assert isinstance(monitor.detector, Levels)
    assert monitor.detector.sums == {}
    assert worker.window.sealed == (START_MS + 40 * 60_000) // BUCKET_MS


def test_panels_do_not_depend_on_the_order_in_which_series_came() -> None:
    values = sorted(
        [*minutes([3, 9, 3, 1]), *minutes([4, 4, 4, 4], "a"), *minutes([1, 1, 5, 1], "b")],
        key=lambda value: json.loads(value)["ts"],
    )
    found, _ = run(values)
    other, _ = run([event(START_MS, "b"), *values])
    assert found
    assert [each.alert.fingerprint for each in other] == [each.alert.fingerprint for each in found]
    assert np.isfinite([each.alert.value["score"] for each in found]).all()
