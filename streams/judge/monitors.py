"""All detectors of one source in one partition of the partials; they judge each step once it is sealed.

What a restart needs is stored with the sealed buckets: the learnt state of all detectors every half hour,
and the panels that they were shown since. A restart loads the state and shows them those panels again, which
gives the same state, live anomalies included, and announces nothing twice.

A detector that fails is left out from then on and counted; SLIs, SLOs and the other detectors continue.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from detectors.alerts.alert import Alert, Transition
from detectors.alerts.anomaly_alert import KEEP_STEPS, AnomalyBook, EvidenceOf, Naming
from detectors.api.detector import (
    Adopting,
    Calibrated,
    Detector,
    Explaining,
    Panel,
    Reviewed,
    SeriesName,
    check_verdicts,
)
from detectors.api.registry import make
from detectors.feedback.labels import Label
from detectors.feedback.recalibration import Factors, factors_of, recalibrated
from detectors.feedback.shadow import Shadow
from models.arrays import EpochMs, Numbers, Rows
from models.calendar.units import WEEK_MS
from models.registry.manifest import Role
from streams.judge.panels import feature_names, panel_of, step_counts
from streams.judge.state_codec import decode_state, encode_state, packed
from streams.plan.plan import BUCKET_MS, NEVER, MonitorPlan
from streams.window.blocks import LEARNT_LEVEL, PANELS_LEVEL, Block
from streams.window.rollup_window import RollupWindow

if TYPE_CHECKING:
    from models.registry.registry import StoredModel

logger = logging.getLogger(__name__)

KEEP_MS = 180_000
"""An anomaly ends after at least this long without it; steps may be as short as a bucket."""


FALSE_ALARMS_PER_WEEK = 0.1
"""What detectors accept for each series unless they are told otherwise."""

LEARNT_EVERY_BUCKETS = 180
"""What was learnt is stored every half hour; panels are kept for twice as long."""

_NO_SERIES: Rows = np.zeros(0, dtype=np.int64)


@dataclass(slots=True)
class Monitor:
    """One detector, its latest verdicts, and its live anomalies.

    seen      : series to the end of the last step with events, for those whose silence is judged
    anomalies : (kind, severity) to anomalies that have begun
    model     : version of the trained model in use; empty for none
    shadow    : another model on trial
    seconds   : time taken
    """

    plan: MonitorPlan
    digest: str
    detector: Detector
    book: AnomalyBook
    seen: dict[SeriesName, int] = field(default_factory=dict)
    series: tuple[SeriesName, ...] = ()
    tail: Numbers = field(default_factory=lambda: np.zeros(0))
    anomalies: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: int = 0
    model: str = ""
    shadow: Shadow | None = None
    seconds: float = 0.0

    def on_trial(self) -> tuple[int, int, int] | None:
        """Steps flagged since the trial began: by the champion, by the shadow, by both."""
        if self.shadow is None:
            return None
        found = self.shadow.comparison
        return found.champion.alarm_steps, found.shadow.alarm_steps, found.both_alarm_steps


class Monitors:
    """The monitors of one source.

    monitors : those of this source
    evidence_of : (plan, series) to what is known of its events, for alerts
    """

    def __init__(
        self,
        source: str,
        monitors: Sequence[MonitorPlan],
        rollups: Mapping[str, RollupWindow],
        evidence_of: Callable[[MonitorPlan, SeriesName], Mapping[str, Any]],
    ) -> None:
        self._source = source
        self._rollups = rollups
        self._evidence_of = evidence_of
        self.running = [_monitor(plan, rollups[plan.rollup]) for plan in monitors]
        for monitor in self.running:
            window, plan = rollups[monitor.plan.rollup], monitor.plan
            window.retain_buckets(plan.step_ms // BUCKET_MS)
            window.retain_silent((plan.kept_ms + plan.step_ms) // BUCKET_MS)
        self.labels: Sequence[Label] = ()
        """Labels that people have given to anomalies; noise makes thresholds stricter."""
        self.on_panel: Callable[[MonitorPlan, Panel], None] | None = None
        """Told each step that a detector is shown, but not again after a restart."""
        self._reviewed = False
        self._learnt_at: int | None = None
        self._learnt_count = 0
        self._retired: list[Transition] = []

    def active(self) -> list[Alert]:
        """Live anomalies of all detectors."""
        return [alert for monitor in self.running for alert in monitor.book.active()]

    def step(self, bucket: int) -> tuple[list[Transition], list[Block]]:
        """Judge the steps that end with a sealed bucket; returns what to announce and to store."""
        moved, self._retired = self._retired, []
        if not self._reviewed:
            self._apply_reviews()
        shown: dict[str, Any] = {}
        for monitor in self.running:
            if (bucket + 1) * BUCKET_MS % monitor.plan.step_ms or monitor.failures:
                continue
            panel = self._panel(monitor, bucket + 1)
            if self.on_panel is not None:
                self.on_panel(monitor.plan, panel)
            told: dict[SeriesName, Mapping[str, Any]] = {}
            factors = self._factors(monitor.plan, bucket)
            moved += self._judge(monitor, panel, factors, self._noting(monitor, told))
            evidence = [[list(series), found] for series, found in told.items()]
            shown[monitor.plan.name] = {
                "digest": monitor.digest,
                "panel": _stored(panel),
                "evidence": evidence,
                "factors": [[list(series), kind, factor] for (series, kind), factor in factors.items()],
            }
        blocks = []
        if shown:
            blocks.append(Block(self._source, PANELS_LEVEL, bucket, (), encode_state(shown)))
            if self._learnt_at is None:
                self._learnt_at = bucket
            elif bucket - self._learnt_at >= LEARNT_EVERY_BUCKETS:
                learnt, ended = self._learnt(bucket)
                blocks.append(learnt)
                moved += ended
        return moved, blocks

    def load(self, blocks: Sequence[Block], latest: int) -> None:
        """Restore the state after the bucket `latest` from the stored blocks."""
        learnt = [block for block in blocks if block.level == LEARNT_LEVEL]
        self._learnt_count = max((block.slot + 1 for block in learnt), default=0)
        after = self._load_learnt(learnt, latest)
        panels = [b for b in blocks if b.level == PANELS_LEVEL and after < b.slot <= latest]
        for shown in _readable(panels):
            self._show_again(shown)
        if panels and self._learnt_at is None:
            self._learnt_at = panels[0].slot
        for monitor in self.running:
            monitor.anomalies.clear()  # counted by who announced them

    def adopt(self, name: str, role: Role, model: StoredModel | None) -> None:
        """Use a trained model, or try it as a shadow; None leaves the role empty.

        Raises ValueError if a detector cannot use it.
        """
        for monitor in self.running:
            if monitor.plan.model != name or monitor.failures:
                continue
            if model is not None and model.manifest.detector != monitor.plan.detector:
                raise ValueError(f"it is of detector {model.manifest.detector}, not {monitor.plan.detector}")
            if role == "champion":
                version = "" if model is None else model.manifest.version
                if model is not None and version != monitor.model:
                    _adopt(monitor.detector, model)
                    self._learnt_at = NEVER  # what a restart goes on with has to have it
                monitor.model = version
            else:
                monitor.shadow = None if model is None else _on_trial(monitor, model)

    def _apply_reviews(self) -> None:
        """Decisions about log templates, as they are now; after `load`, which comes back to what was decided
        when its panels were shown."""
        self._reviewed = True
        for monitor in self.running:
            detector = monitor.detector
            if isinstance(detector, Reviewed) and detector.decide(monitor.plan.reviews):
                self._learnt_at = NEVER  # what a restart goes on with has to have them

    def _panel(self, monitor: Monitor, end: int) -> Panel:
        plan = monitor.plan
        window = self._rollups[plan.rollup]
        at_ms = end * BUCKET_MS
        if window.newest < end - plan.step_ms // BUCKET_MS:
            active = _NO_SERIES  # as in most steps of what is rare
        else:
            active = np.flatnonzero(step_counts(window, plan, end).any(axis=1))
        if plan.kept_ms:
            labels = window.table.labels
            monitor.seen |= {labels[number]: at_ms for number in active.tolist()}
            _expire(monitor, at_ms)
            judged = _NO_SERIES
            if monitor.seen:
                judged = np.array(
                    [n for n, name in enumerate(labels) if name in monitor.seen], dtype=np.int64
                )
        else:
            judged = active
        order = np.argsort(window.table.hashes[judged], kind="stable")
        return panel_of(window, plan, end, judged[order])

    def _noting(self, monitor: Monitor, told: dict[SeriesName, Mapping[str, Any]]) -> EvidenceOf:
        """Evidence of series, noted in `told`, since a restart has to tell the same."""
        model = {"model": monitor.model} if monitor.model else {}
        plan = monitor.plan

        def evidence_of(series: SeriesName) -> Mapping[str, Any]:
            told[series] = {**self._evidence_of(plan, series), **model}
            return told[series]

        return evidence_of

    def _factors(self, plan: MonitorPlan, bucket: int) -> Factors:
        if not self.labels:
            return {}
        return factors_of(self.labels, plan.detector, now_ms=(bucket + 1) * BUCKET_MS)

    def _judge(
        self, monitor: Monitor, panel: Panel, factors: Factors, evidence_of: EvidenceOf
    ) -> list[Transition]:
        began = time.perf_counter()
        try:
            verdicts = (monitor.shadow or monitor.detector).update(panel)
            check_verdicts(verdicts, panel)
        except Exception:
            return _left_out(monitor, int(panel.times[0]))
        finally:
            monitor.seconds += time.perf_counter() - began
        if factors:
            verdicts = recalibrated(verdicts, panel.series, factors, threshold=_alarm_tail(monitor))
        monitor.series, monitor.tail = panel.series, verdicts.tail[0]
        reasons: Mapping[SeriesName, Sequence[str]] = {}
        if verdicts.alarm.any() and isinstance(monitor.detector, Explaining):
            reasons = monitor.detector.reasons
        moved = monitor.book.step(panel, verdicts, evidence_of, reasons)
        for transition in moved:
            if transition.alert.state == "firing":
                labels = transition.alert.labels
                monitor.anomalies[labels.get("kind", ""), labels["severity"]] += 1
        return moved

    def _learnt(self, bucket: int) -> tuple[Block, list[Transition]]:
        """What is to be stored, and what ends because a detector has no state that could be."""
        learnt, ended = {}, []
        for monitor in self.running:
            if not monitor.failures:
                try:
                    learnt[monitor.plan.name] = packed(dict(monitor.detector.state()))
                except Exception:
                    ended += _left_out(monitor, (bucket + 1) * BUCKET_MS)
        state = {
            "bucket": bucket,
            "watches": {
                monitor.plan.name: {
                    "digest": monitor.digest,
                    "model": monitor.model,
                    "detector": learnt[monitor.plan.name],
                    "book": msgspec.json.encode(monitor.book.state()).decode(),
                    "seen": [[list(series), at_ms] for series, at_ms in monitor.seen.items()],
                }
                for monitor in self.running
                if not monitor.failures
            },
        }
        block = Block(self._source, LEARNT_LEVEL, self._learnt_count, (), encode_state(state))
        self._learnt_at = bucket
        self._learnt_count += 1
        return block, ended

    def _load_learnt(self, blocks: Sequence[Block], latest: int) -> int:
        """Restore the newest state that is not after `latest`; returns its bucket, -1 for none."""
        usable = [state for state in _readable(blocks) if state["bucket"] <= latest]
        if not usable:
            return -1
        state = max(usable, key=lambda each: each["bucket"])
        self._learnt_at = state["bucket"]
        known = {monitor.plan.name: monitor for monitor in self.running}
        for name, stored in state["watches"].items():
            monitor = known.get(name)
            if monitor is not None and monitor.digest == stored["digest"]:
                monitor.model = stored["model"]
                try:
                    monitor.detector.restore(stored["detector"])
                except Exception as error:
                    # a third-party one may raise more than the contract allows
                    logger.warning(
                        "Detector %s learns from scratch: %s: %s", name, type(error).__name__, error
                    )
                    monitor.detector = make(monitor.plan.detector, **monitor.plan.settings)
                monitor.book.load(msgspec.json.decode(stored["book"]))
                monitor.seen = {tuple(series): at_ms for series, at_ms in stored["seen"]}
            else:
                # set otherwise, or gone: what it has announced must not stay live for ever
                retired = AnomalyBook(Naming("", "", self._source, ()))
                retired.load(msgspec.json.decode(stored["book"]))
                self._retired += retired.end_all((latest + 1) * BUCKET_MS)
        return int(state["bucket"])

    def _show_again(self, shown: Mapping[str, Any]) -> None:
        known = {monitor.plan.name: monitor for monitor in self.running}
        for name, stored in shown.items():
            monitor = known.get(name)
            if monitor is None or monitor.digest != stored["digest"] or monitor.failures:
                continue
            panel = _panel_from(stored["panel"])
            if monitor.plan.kept_ms:
                at_ms = int(panel.times[0])
                active = np.nan_to_num(panel.values[0, :, 0]) > 0
                monitor.seen |= {panel.series[row]: at_ms for row in np.flatnonzero(active).tolist()}
                _expire(monitor, at_ms)
            # another version of a detector may flag what this one's evidence does not know
            told = defaultdict[SeriesName, dict[str, Any]](dict)
            told |= {tuple(series): evidence for series, evidence in stored["evidence"]}
            factors = {(tuple(series), kind): factor for series, kind, factor in stored["factors"]}
            transitions = self._judge(monitor, panel, factors, told.__getitem__)
            if monitor.failures:
                self._retired += transitions


def _monitor(plan: MonitorPlan, window: RollupWindow) -> Monitor:
    naming = Naming(plan.alertname, plan.detector, plan.source, window.rollup.by, plan.service)
    features = feature_names(window.rollup, plan)
    told = repr((plan.detector, sorted(plan.settings.items()), plan.step_ms, features, window.rollup.by))
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    book = AnomalyBook(naming, keep_steps=max(KEEP_STEPS, KEEP_MS // plan.step_ms))
    return Monitor(plan, digest, make(plan.detector, **plan.settings), book)


def _left_out(monitor: Monitor, at_ms: int) -> list[Transition]:
    """Whatever a detector may have raised, the stream goes on without it; its anomalies end."""
    logger.exception("Detector %s failed; it is left out until the next start", monitor.plan.name)
    monitor.failures += 1
    return monitor.book.end_all(at_ms)


def _alarm_tail(monitor: Monitor) -> float:
    """Tail below which one step of one series is flagged: the detector's own, or else by the rate of false
    alarms that is accepted."""
    plan = monitor.plan
    if isinstance(monitor.detector, Calibrated):
        return monitor.detector.alarm_tail
    weekly = float(plan.settings.get("false_alarms_per_series_per_week", FALSE_ALARMS_PER_WEEK))
    return weekly * plan.step_ms / WEEK_MS


def _expire(monitor: Monitor, at_ms: int) -> None:
    first = at_ms - monitor.plan.kept_ms
    monitor.seen = {series: seen for series, seen in monitor.seen.items() if seen > first}


def _adopt(detector: Detector, model: StoredModel) -> None:
    if not isinstance(detector, Adopting):
        raise ValueError(f"detector {model.manifest.detector} does not go on with trained models")
    with _value_errors():
        detector.adopt(model.state)


@contextmanager
def _value_errors() -> Iterator[None]:
    """Errors of a detector as ValueErrors: one of somebody else may raise more than the contract says."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _on_trial(monitor: Monitor, model: StoredModel) -> Shadow:
    """The same detector with the same past, but with another model."""
    other = make(monitor.plan.detector, **monitor.plan.settings)
    with _value_errors():
        other.restore(monitor.detector.state())
    _adopt(other, model)
    return Shadow(monitor.detector, other)


def _readable(blocks: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """States and panels as they were stored; those of another version are left out."""
    for block in blocks:
        try:
            yield decode_state(block.state)
        except ValueError as error:
            logger.warning("What detectors had stored at slot %d is left out: %s", block.slot, error)


def _stored(panel: Panel) -> dict[str, Any]:
    return {
        "times": panel.times,
        "series": [list(name) for name in panel.series],
        "features": list(panel.features),
        "values": panel.values,
    }


def _panel_from(stored: Mapping[str, Any]) -> Panel:
    times: EpochMs = stored["times"]
    values: Numbers = stored["values"]
    series = tuple(tuple(name) for name in stored["series"])
    return Panel(times, series, tuple(stored["features"]), values)
