"""All detectors of one source in one partition of the partials: shown each step once it is sealed.

What a restart needs lies beside the sealed buckets: every half hour all that detectors have learnt, and
between these the panels that they were shown. It loads the one and shows them the others again, which gives
the same state, live anomalies included, and announces nothing twice.

A detector that fails is left out from then on and counted; SLIs, SLOs and the other detectors go on.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from detectors.alerts.alert import Alert, Transition
from detectors.alerts.anomaly_alert import KEEP_STEPS, AnomalyBook, EvidenceOf, Naming
from detectors.api.detector import Adopting, Calibrated, Detector, Explaining, Panel, Reviewed, SeriesName
from detectors.api.registry import make
from detectors.feedback.labels import Label
from detectors.feedback.recalibration import Factors, factors_of, recalibrated
from detectors.feedback.shadow import Shadow
from models.arrays import EpochMs, Numbers, Rows
from models.registry.manifest import Role
from streams.judge.panels import feature_names, panel_of, step_counts
from streams.judge.state_codec import decode_state, encode_state
from streams.plan.plan import BUCKET_MS, NEVER, Watch
from streams.window.blocks import LEARNT_LEVEL, PANELS_LEVEL, Block
from streams.window.rollup_window import RollupWindow

if TYPE_CHECKING:
    from models.registry.registry import StoredModel

logger = logging.getLogger(__name__)

KEEP_MS = 180_000
"""An anomaly ends after so long without it, at least; steps may be as short as a bucket."""

WEEK_MS = 7 * 86_400_000

FALSE_ALARMS_PER_WEEK = 0.1
"""What detectors accept for each series unless they are told otherwise."""

LEARNT_EVERY_BUCKETS = 180
"""What was learnt is stored every half hour; panels are kept for twice as long."""

_NO_SERIES: Rows = np.zeros(0, dtype=np.int64)


@dataclass(slots=True)
class Watcher:
    """One detector, what it has said last, and its live anomalies.

    seen      : series to the end of the last step with events, for those whose silence is judged
    anomalies : (kind, severity) to anomalies that have begun
    model     : version of the trained model that it goes on with; empty for none
    shadow    : another model on trial
    seconds   : time taken
    """

    watch: Watch
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
        """Steps flagged since the trial began: by what is in charge, by what is on trial, by both."""
        if self.shadow is None:
            return None
        found = self.shadow.comparison
        return found.champion.alarm_steps, found.shadow.alarm_steps, found.both_alarm_steps


class Judges:
    """The watches of one source.

    watches : those of this source
    evidence_of : (watch, series) to what is known of its events, for alerts
    """

    def __init__(
        self,
        source: str,
        watches: Sequence[Watch],
        rollups: Mapping[str, RollupWindow],
        evidence_of: Callable[[Watch, SeriesName], Mapping[str, Any]],
    ) -> None:
        self._source = source
        self._rollups = rollups
        self._evidence_of = evidence_of
        self.watchers = [_watcher(watch, rollups[watch.rollup]) for watch in watches]
        for watcher in self.watchers:
            window, watch = rollups[watcher.watch.rollup], watcher.watch
            window.keep(watch.step_ms // BUCKET_MS)
            window.keep_silent((watch.kept_ms + watch.step_ms) // BUCKET_MS)
        self.labels: Sequence[Label] = ()
        """What people have said of anomalies, which makes thresholds stricter."""
        self.on_panel: Callable[[Watch, Panel], None] | None = None
        """Told each step that a detector is shown, but not again after a restart."""
        self._reviewed = False
        self._learnt_at: int | None = None
        self._learnt_count = 0
        self._retired: list[Transition] = []

    def active(self) -> list[Alert]:
        """Live anomalies of all detectors."""
        return [alert for watcher in self.watchers for alert in watcher.book.active()]

    def step(self, bucket: int) -> tuple[list[Transition], list[Block]]:
        """Judge the steps that end with a sealed bucket; returns what to announce and to store."""
        moved, self._retired = self._retired, []
        if not self._reviewed:
            self._take_reviews()
        shown: dict[str, Any] = {}
        for watcher in self.watchers:
            if (bucket + 1) * BUCKET_MS % watcher.watch.step_ms or watcher.failures:
                continue
            panel = self._panel(watcher, bucket + 1)
            if self.on_panel is not None:
                self.on_panel(watcher.watch, panel)
            told: dict[SeriesName, Mapping[str, Any]] = {}
            factors = self._factors(watcher.watch, bucket)
            moved += self._judge(watcher, panel, factors, self._noting(watcher, told))
            evidence = [[list(series), found] for series, found in told.items()]
            shown[watcher.watch.name] = {
                "digest": watcher.digest,
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
                blocks.append(self._learnt(bucket))
        return moved, blocks

    def load(self, blocks: Sequence[Block], latest: int) -> None:
        """Come back to the state after the bucket `latest` from what was stored."""
        learnt = [block for block in blocks if block.level == LEARNT_LEVEL]
        self._learnt_count = max((block.slot + 1 for block in learnt), default=0)
        after = self._load_learnt(learnt, latest)
        panels = [b for b in blocks if b.level == PANELS_LEVEL and after < b.slot <= latest]
        for shown in _readable(panels):
            self._show_again(shown)
        if panels and self._learnt_at is None:
            self._learnt_at = panels[0].slot
        for watcher in self.watchers:
            watcher.anomalies.clear()  # counted by who announced them

    def adopt(self, name: str, role: Role, model: StoredModel | None) -> None:
        """Go on with a trained model, or try it beside what is in charge; None leaves the place empty.

        Raises ValueError if a detector cannot use it.
        """
        for watcher in self.watchers:
            if watcher.watch.model != name or watcher.failures:
                continue
            if model is not None and model.manifest.detector != watcher.watch.detector:
                raise ValueError(f"it is of detector {model.manifest.detector}, not {watcher.watch.detector}")
            if role == "champion":
                version = "" if model is None else model.manifest.version
                if model is not None and version != watcher.model:
                    _adopt(watcher.detector, model)
                    self._learnt_at = NEVER  # what a restart goes on with has to have it
                watcher.model = version
            else:
                watcher.shadow = None if model is None else _on_trial(watcher, model)

    def _take_reviews(self) -> None:
        """Decisions about log templates, as they are now; after `load`, which comes back to what was decided
        when its panels were shown."""
        self._reviewed = True
        for watcher in self.watchers:
            detector = watcher.detector
            if isinstance(detector, Reviewed) and detector.decide(watcher.watch.reviews):
                self._learnt_at = NEVER  # what a restart goes on with has to have them

    def _panel(self, watcher: Watcher, end: int) -> Panel:
        watch = watcher.watch
        window = self._rollups[watch.rollup]
        at_ms = end * BUCKET_MS
        if window.newest < end - watch.step_ms // BUCKET_MS:
            active = _NO_SERIES  # as in most steps of what is rare
        else:
            active = np.flatnonzero(step_counts(window, watch, end).any(axis=1))
        if watch.kept_ms:
            labels = window.table.labels
            watcher.seen |= {labels[number]: at_ms for number in active.tolist()}
            _forget(watcher, at_ms)
            judged = _NO_SERIES
            if watcher.seen:
                judged = np.array(
                    [n for n, name in enumerate(labels) if name in watcher.seen], dtype=np.int64
                )
        else:
            judged = active
        order = np.argsort(window.table.hashes[judged], kind="stable")
        return panel_of(window, watch, end, judged[order])

    def _noting(self, watcher: Watcher, told: dict[SeriesName, Mapping[str, Any]]) -> EvidenceOf:
        """Evidence of series, noted in `told`, since a restart has to tell the same."""
        model = {"model": watcher.model} if watcher.model else {}
        watch = watcher.watch

        def evidence_of(series: SeriesName) -> Mapping[str, Any]:
            told[series] = {**self._evidence_of(watch, series), **model}
            return told[series]

        return evidence_of

    def _factors(self, watch: Watch, bucket: int) -> Factors:
        if not self.labels:
            return {}
        return factors_of(self.labels, watch.detector, now_ms=(bucket + 1) * BUCKET_MS)

    def _judge(
        self, watcher: Watcher, panel: Panel, factors: Factors, evidence_of: EvidenceOf
    ) -> list[Transition]:
        began = time.perf_counter()
        try:
            verdicts = (watcher.shadow or watcher.detector).update(panel)
        except Exception:
            # whatever a detector of others may raise, the stream goes on without it
            logger.exception("Detector %s failed; it is left out until the next start", watcher.watch.name)
            watcher.failures += 1
            return watcher.book.end_all(int(panel.times[0]))
        finally:
            watcher.seconds += time.perf_counter() - began
        if factors:
            verdicts = recalibrated(verdicts, panel.series, factors, threshold=_alarm_tail(watcher))
        watcher.series, watcher.tail = panel.series, verdicts.tail[0]
        reasons: Mapping[SeriesName, Sequence[str]] = {}
        if verdicts.alarm.any() and isinstance(watcher.detector, Explaining):
            reasons = watcher.detector.reasons
        moved = watcher.book.step(panel, verdicts, evidence_of, reasons)
        for transition in moved:
            if transition.alert.state == "firing":
                labels = transition.alert.labels
                watcher.anomalies[labels.get("kind", ""), labels["severity"]] += 1
        return moved

    def _learnt(self, bucket: int) -> Block:
        state = {
            "bucket": bucket,
            "watches": {
                watcher.watch.name: {
                    "digest": watcher.digest,
                    "model": watcher.model,
                    "detector": dict(watcher.detector.state()),
                    "book": msgspec.json.encode(watcher.book.state()).decode(),
                    "seen": [[list(series), at_ms] for series, at_ms in watcher.seen.items()],
                }
                for watcher in self.watchers
                if not watcher.failures
            },
        }
        block = Block(self._source, LEARNT_LEVEL, self._learnt_count, (), encode_state(state))
        self._learnt_at = bucket
        self._learnt_count += 1
        return block

    def _load_learnt(self, blocks: Sequence[Block], latest: int) -> int:
        """Restore the newest state that is not after `latest`; returns its bucket, -1 for none."""
        usable = [state for state in _readable(blocks) if state["bucket"] <= latest]
        if not usable:
            return -1
        state = max(usable, key=lambda each: each["bucket"])
        self._learnt_at = state["bucket"]
        known = {watcher.watch.name: watcher for watcher in self.watchers}
        for name, stored in state["watches"].items():
            watcher = known.get(name)
            if watcher is not None and watcher.digest == stored["digest"]:
                watcher.model = stored["model"]
                try:
                    watcher.detector.restore(stored["detector"])
                except ValueError as error:
                    logger.warning("Detector %s begins anew: %s", name, error)
                    watcher.detector = make(watcher.watch.detector, **watcher.watch.settings)
                watcher.book.load(msgspec.json.decode(stored["book"]))
                watcher.seen = {tuple(series): at_ms for series, at_ms in stored["seen"]}
            else:
                # set otherwise, or gone: what it has announced must not stay live for ever
                retired = AnomalyBook(Naming("", "", self._source, ()))
                retired.load(msgspec.json.decode(stored["book"]))
                self._retired += retired.end_all((latest + 1) * BUCKET_MS)
        return int(state["bucket"])

    def _show_again(self, shown: Mapping[str, Any]) -> None:
        known = {watcher.watch.name: watcher for watcher in self.watchers}
        for name, stored in shown.items():
            watcher = known.get(name)
            if watcher is None or watcher.digest != stored["digest"] or watcher.failures:
                continue
            panel = _panel_from(stored["panel"])
            if watcher.watch.kept_ms:
                at_ms = int(panel.times[0])
                active = np.nan_to_num(panel.values[0, :, 0]) > 0
                watcher.seen |= {panel.series[row]: at_ms for row in np.flatnonzero(active).tolist()}
                _forget(watcher, at_ms)
            # another version of a detector may flag what this one's evidence does not know
            told = defaultdict[SeriesName, dict[str, Any]](dict)
            told |= {tuple(series): evidence for series, evidence in stored["evidence"]}
            factors = {(tuple(series), kind): factor for series, kind, factor in stored["factors"]}
            transitions = self._judge(watcher, panel, factors, told.__getitem__)
            if watcher.failures:
                self._retired += transitions


def _watcher(watch: Watch, window: RollupWindow) -> Watcher:
    naming = Naming(watch.alertname, watch.detector, watch.source, window.rollup.by, watch.service)
    features = feature_names(window.rollup, watch)
    told = repr((watch.detector, sorted(watch.settings.items()), watch.step_ms, features, window.rollup.by))
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    book = AnomalyBook(naming, keep_steps=max(KEEP_STEPS, KEEP_MS // watch.step_ms))
    return Watcher(watch, digest, make(watch.detector, **watch.settings), book)


def _alarm_tail(watcher: Watcher) -> float:
    """Tail below which one step of one series is flagged: the detector's own, or else by the rate of false
    alarms that is accepted."""
    watch = watcher.watch
    if isinstance(watcher.detector, Calibrated):
        return watcher.detector.alarm_tail
    weekly = float(watch.settings.get("false_alarms_per_series_per_week", FALSE_ALARMS_PER_WEEK))
    return weekly * watch.step_ms / WEEK_MS


def _forget(watcher: Watcher, at_ms: int) -> None:
    first = at_ms - watcher.watch.kept_ms
    watcher.seen = {series: seen for series, seen in watcher.seen.items() if seen > first}


def _adopt(detector: Detector, model: StoredModel) -> None:
    if not isinstance(detector, Adopting):
        raise ValueError(f"detector {model.manifest.detector} does not go on with trained models")
    detector.adopt(model.state)


def _on_trial(watcher: Watcher, model: StoredModel) -> Shadow:
    """The same detector with the same past, but with another model."""
    other = make(watcher.watch.detector, **watcher.watch.settings)
    other.restore(watcher.detector.state())
    _adopt(other, model)
    return Shadow(watcher.detector, other)


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
